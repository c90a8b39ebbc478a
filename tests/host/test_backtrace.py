"""Backtraces of suspended calls: functions and offsets are those that the engine shows, and values are right."""

from __future__ import annotations

import asyncio
import math
import struct
from dataclasses import replace

import pytest

import caesura
from caesura.inspection.backtrace import Reference
from tests.host.engine_stacks import (
    original_stack,
)
from tests.support.engine import assemble

HEAD = '(import "env" "ask" (func $ask (param i32) (result i32)))'

# Each calls `ask` some times from `run`; the stack at each of them is the same as in the module as it is.
MODULES = {
    "deep recursion": """
      (func $deep (param $n i32) (param $x i32) (result i32)
        (if (result i32) (local.get $n)
          (then (i32.add (local.get $n) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $x))))
          (else (i32.add (call $ask (local.get $x)) (call $ask (local.get $n))))))
      (func (export "run") (param $x i32) (result i32) (call $deep (i32.const 11) (local.get $x)))""",
    "loops and branches": """
      (func $loop (param $n i32) (result i32) (local $sum i32)
        (loop $again
          (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $n))))
          (block $out (br_if $out (i32.and (local.get $n) (i32.const 1)))
            (local.set $sum (i32.sub (call $ask (local.get $sum)) (local.get $sum))))
          (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
      (func (export "run") (param $x i32) (result i32)
        (i32.mul (call $loop (i32.const 3)) (i32.add (call $loop (local.get $x)) (i32.const 1))))""",
    "through tables": """
      (type $t (func (param i32) (result i32)))
      (table (export "table") 9 funcref)
      (elem (i32.const 2) func $one $two $three)
      (elem declare func $four)
      (func $one (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
      (func $two (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
      (func $three (type $t) (i32.add (call_indirect (type $t) (local.get 0) (i32.const 2)) (i32.const 1)))
      (func $four (type $t) (i32.add (call_indirect (type $t) (local.get 0) (i32.const 3)) (i32.const 1)))
      (func $pick (param $x i32) (param $i i32) (result i32)
        (i32.add (call_indirect (type $t) (local.get $x) (local.get $i)) (local.get $i)))
      (func (export "run") (param $x i32) (result i32)
        (table.set (i32.const 7) (ref.func $four))
        (i32.add
          (i32.add (call $pick (local.get $x) (i32.const 4)) (call $pick (i32.const 1) (i32.const 7)))
          (call_indirect (type $t) (local.get $x) (i32.load (i32.const 8)))))
      (memory 1) (data (i32.const 8) "\\03")""",
    "through references": """
      (type $t (func (param i32) (result i32)))
      (elem declare func $one $two)
      (func $one (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
      (func $two (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
      (func $pick (param $f (ref null $t)) (param $g funcref) (result i32)
        (i32.add (call_ref $t (i32.const 1) (local.get $f)) (ref.is_null (local.get $g))))
      (func (export "run") (param $x i32) (result i32)
        (i32.add (call $pick (ref.func $two) (ref.func $one))
          (i32.add (call $pick (ref.func $one) (ref.null func)) (call_ref $t (local.get $x) (ref.func $two)))))""",
    "without frames": """
      (func $wrapper (param i32) (result i32) (call $tail (local.get 0) (i32.const 7)))
      (func $tail (param i32 i32) (result i32)
        (if (result i32) (local.get 0) (then (call $asks (local.get 1))) (else (i32.const 3))))
      (func $asks (param i32) (result i32) (i32.add (call $ask (local.get 0)) (local.get 0)))
      (func $back (param i32) (result i32) (call $wrapper (call $asks (local.get 0))))
      (func (export "run") (param $x i32) (result i32)
        (i32.add (call $wrapper (local.get $x)) (call $back (local.get $x))))""",
    "tail calls": """
      (type $t (func (param i32) (result i32)))
      (table 4 funcref) (elem (i32.const 0) func $ends $asks)
      (func $asks (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
      (func $ends (type $t) (if (result i32) (i32.gt_u (local.get 0) (i32.const 3))
        (then (return_call $ends (i32.sub (local.get 0) (i32.const 1))))
        (else (i32.add (call $asks (local.get 0)) (call $leaves (local.get 0))))))
      (func $leaves (type $t) (return_call_indirect (type $t) (local.get 0) (i32.const 1)))
      (func (export "run") (param $x i32) (result i32)
        (i32.add (call $ends (i32.const 9)) (i32.add (call $leaves (local.get $x)) (call $ends (local.get $x)))))""",
    "exceptions": """
      (tag $e (param i32))
      (func $throws (param i32) (throw $e (call $ask (local.get 0))))
      (func (export "run") (param $x i32) (result i32)
        (block $caught (result i32)
          (try_table (catch $e $caught) (call $throws (local.get $x)))
          (i32.const 0))
        (i32.add (call $ask (local.get $x))))""",
    "many call sites": "(func $many (param $x i32) (result i32) "
    + "(local.set $x (i32.add (call $ask (local.get $x)) (local.get $x)))" * 80
    + """ (local.get $x))
      (func (export "run") (param $x i32) (result i32) (i32.add (call $many (local.get $x)) (local.get $x)))""",
}


@pytest.mark.parametrize("two_bodies", ["never", "all"])
@pytest.mark.parametrize("name", MODULES)
def test_functions_and_offsets_are_those_of_the_engine(name: str, two_bodies: str) -> None:
    data = assemble(f"(module {HEAD} {MODULES[name]})")
    guest = asyncio.run(caesura.load(data, external=["env.ask"], options=caesura.Options(two_bodies=two_bodies)))
    answers: list[int] = []
    step = guest.start("run", 5)
    while isinstance(step, caesura.PendingCall):
        frames = step.backtrace()
        assert [(frame.index, frame.offset) for frame in frames] == original_stack(data, "run", [5], answers)
        assert all(frame.certain for frame in frames)
        answers.append(3)
        step = step.resume(3)
    assert len(answers) >= 2


@pytest.mark.parametrize("thunks", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_modules_that_were_instrumented_elsewhere_tell_it_themselves(name: str, wide: bool, thunks: bool) -> None:
    """With 64-bit addresses frames have holes, and identities take 8 bytes."""
    text = (
        MODULES[name].replace("(memory 1)", "").replace("(i32.const 8)", "(i64.const 8)" if wide else "(i32.const 8)")
    )
    data = assemble(f'(module {HEAD} {text} (memory (export "memory") {"i64" if wide else ""} 3))')
    instrumented = caesura.instrument(data, caesura.Options(thunks=thunks, frame_layouts=True)).module
    guest = asyncio.run(caesura.load(instrumented, external=["env.ask"], stack_space=(65536, 131072)))
    answers: list[int] = []
    step = guest.start("run", 5)
    while isinstance(step, caesura.PendingCall):
        found = [(frame.index, frame.offset) for frame in step.backtrace()]
        assert found == original_stack(data, "run", [5], answers)
        answers.append(3)
        step = step.resume(3)
    assert len(answers) >= 2


def test_without_layouts_such_a_module_is_refused_by_name() -> None:
    data = assemble(f'(module {HEAD} {MODULES["deep recursion"]} (memory (export "memory") 2))')
    instrumented = caesura.instrument(data, caesura.Options(thunks=True, in_secondary_memory=True)).module
    guest = asyncio.run(caesura.load(instrumented, external=["env.ask"]))
    step = guest.start("run", 5)
    with pytest.raises(caesura.UnsupportedModule, match="--frame-layouts"):
        step.backtrace()


KEEPER = f"""
(module {HEAD}
  (global $numbers (mut i64) (i64.const 0))
  (global $float (mut f64) (f64.const 0))
  (global $vector (mut v128) (v128.const i64x2 0 0))
  (global $function (mut funcref) (ref.null func))
  (global $object (mut externref) (ref.null extern))
  (elem declare func $other)
  (func $other)
  (func $keeps (param $a i32) (param $b i64) (param $c f32) (param $d f64) (param $e v128) (param $f funcref)
      (param $g externref) (param $null funcref) (local $h i64) (local $i f32) (local $unused i32)
    (local.set $h (i64.mul (local.get $b) (i64.const 3)))
    (local.set $i (f32.neg (local.get $c)))
    (global.set $numbers (i64.extend_i32_s (i32.add (local.get $a) (call $ask (local.get $a)))))
    (global.set $numbers (i64.add (global.get $numbers) (i64.add (local.get $h) (local.get $b))))
    (global.set $float (f64.add (local.get $d) (f64.promote_f32 (f32.add (local.get $i) (local.get $c)))))
    (global.set $vector (local.get $e))
    (global.set $function (local.get $f))
    (global.set $function (local.get $null))
    (global.set $object (local.get $g)))
  (func (export "run") (param $object externref) (result i32)
    (call $keeps (i32.const -7) (i64.const -9000000000) (f32.const 1.5) (f64.const nan:0x4000000000123)
      (v128.const i64x2 1 -2) (ref.func $other) (local.get $object) (ref.null func))
    (i32.const 1)))
"""


@pytest.mark.parametrize("two_bodies", ["never", "all"])
def test_values_of_all_types_have_their_names_and_bits(two_bodies: str) -> None:
    guest = asyncio.run(
        caesura.load(KEEPER.encode(), external=["env.ask"], options=caesura.Options(two_bodies=two_bodies))
    )
    step = guest.start("run", "an object")
    (keeps,) = [frame for frame in step.backtrace() if frame.function == "keeps"]
    assert [(one.index, one.name, one.type, one.is_parameter) for one in keeps.variables] == [
        (0, "a", "i32", True),
        (1, "b", "i64", True),
        (2, "c", "f32", True),
        (3, "d", "f64", True),
        (4, "e", "v128", True),
        (5, "f", "funcref", True),
        (6, "g", "externref", True),
        (7, "null", "funcref", True),
        (8, "h", "i64", False),
        (9, "i", "f32", False),
    ]
    values = {one.name: one.value for one in keeps.variables}
    assert math.isnan(values.pop("d"))
    assert values == {
        "a": -7,
        "b": -9000000000,
        "c": 1.5,
        "e": struct.pack("<qq", 1, -2),
        "f": Reference(1, "other"),
        "g": Reference(),
        "null": None,
        "h": -27000000000,
        "i": -1.5,
    }
    assert step.resume(2) == 1


# Which of two functions is called is computed between the landing point and the call, and both have the same frames.
AMBIGUOUS = f"""
(module {HEAD}
  (type $t (func (param i32) (result i32)))
  (table 4 funcref) (elem (i32.const 0) func $one $two $bigger)
  (func $one (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $two (type $t) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $bigger (type $t) (local $wide i64)
    (local.set $wide (i64.extend_i32_s (local.get 0)))
    (i32.add (call $ask (local.get 0)) (i32.wrap_i64 (local.get $wide))))
  (func (export "run") (param $i i32) (result i32)
    (i32.add (local.get $i)
      (call_indirect (type $t) (local.get $i) (i32.add (local.get $i) (i32.const -2))))))
"""


@pytest.mark.parametrize(("argument", "is_certain"), [(2, False), (3, False), (4, True)])
def test_what_cannot_be_known_is_marked(argument: int, is_certain: bool) -> None:
    guest = asyncio.run(caesura.load(AMBIGUOUS.encode(), external=["env.ask"]))
    inner, outer = guest.start("run", argument).backtrace()
    assert (outer.function, outer.certain) == ("run", True)
    assert inner.certain is is_certain
    assert inner.function in ("one", "two") if not is_certain else inner.function == "bigger"


def test_what_is_dead_at_a_call_is_left_out_where_it_may_have_been_zeroed() -> None:
    """A normal body zeroes what is dead at its loop's head, so frames have zeros there."""
    text = f"""(module {HEAD}
      (func (export "run") (param $n i32) (result i32) (local $dead i32) (local $sum i32)
        (local.set $dead (i32.const 77))
        (local.set $sum (call $ask (local.get $dead)))
        (local.set $sum (i32.add (local.get $sum) (local.get $dead)))
        (loop $again
          (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $n))))
          (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"""
    guest = asyncio.run(caesura.load(text.encode(), external=["env.ask"], options=caesura.Options(two_bodies="all")))
    step = guest.start("run", 2)
    seen = []
    while isinstance(step, caesura.PendingCall):
        (frame,) = step.backtrace()
        seen.append({one.name: one.value for one in frame.variables})
        step = step.resume(1)
    assert seen == [{"n": 2, "dead": 77}, {"n": 2, "sum": 78}, {"n": 1, "sum": 79}]
    assert step == 80


def test_a_call_that_has_gone_on_has_no_stack() -> None:
    guest = asyncio.run(caesura.load(AMBIGUOUS.encode(), external=["env.ask"]))
    step = guest.start("run", 4)
    step.resume(1)
    with pytest.raises(caesura.UsageError, match="not suspended"):
        step.backtrace()


LISTED = """(module (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1)
  (type $t (func (param i32) (result i32)))
  (table 2 2 funcref) (elem (i32.const 0) $inner $passing)
  (func $inner (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $passing (export "passing") (param i32) (result i32) (call $inner (local.get 0)))
  (func $run (export "run") (param i32) (result i32)
    (i32.add (call_indirect (type $t) (i32.const 5) (local.get 0)) (i32.const 10))))"""


@pytest.mark.parametrize("abi", ["load", "thunks", "plain"])
def test_what_lists_have_added_is_not_seen(abi: str) -> None:
    """Exports are entered by functions that were added, and what is left out may pass a suspension on."""

    async def main() -> None:
        lists = caesura.Options(only_list=("inner", "run"))
        module = assemble(LISTED)
        if abi == "load":
            guest = await caesura.load(module, {"env": {"ask": caesura.EXTERNAL}}, options=lists, cache=False)
        else:
            options = replace(lists, thunks=abi == "thunks", frame_layouts=True, snapshots=True)
            made = caesura.instrument(module, options).module
            guest = await caesura.load(made, {"env": {"ask": caesura.EXTERNAL}}, stack_space=(1024, 65536), cache=False)
        for export, argument, functions, result in (
            ("run", 0, ["inner", "run"], 18),
            ("run", 1, ["inner", "passing", "run"], 18),
            ("passing", 5, ["inner", "passing"], 8),
        ):
            call = guest.start(export, argument)
            assert [frame.function for frame in call.backtrace()] == functions
            [frames] = guest.snapshot(embed=True).backtraces()
            assert [frame.function for frame in frames] == functions
            assert call.resume(7) == result

    asyncio.run(main())
