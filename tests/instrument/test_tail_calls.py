"""Tail calls of each kind that may suspend: what is suspended behind them is resumed, whatever entered and left before.

The modules are run with and without suspensions, with garbage for the export's arguments in each rewind; the largest at
every call of an import, and in several ways of moving frames.
"""

from __future__ import annotations

import pytest

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import EVERYWHERE, LARGE_FUNCTIONS, GroupRule
from tests.instrument.building import assert_valid, bodies
from tests.instrument.tail_calls import EXPORTS, HOST, MODULE
from tests.support.engine import assemble
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    HostCall,
    HostFunction,
    PlainGuest,
    StackArea,
    SuspendAt,
    always,
    every,
    never,
    some,
)

OPTIONS: list[dict[str, object]] = [
    {},
    {"two_bodies": "all"},
    {"optimize": "size"},
    {"optimize": "speed"},
    {"asserts": True},
    {"in_secondary_memory": True},
    {"no_multivalue": True},
    {"export_globals": True},
    {"imports": ("env.ask",)},
    {"imports": ("env.tell",)},
    {"ignore_indirect": True},
    {"remove_list": ("see",)},
]


@pytest.mark.parametrize(
    ("moves", "group_rule"),
    [(AUTOMATIC, None), (SHARED, EVERYWHERE), (INLINE, LARGE_FUNCTIONS)],
    ids=["pieces", "shared, all groups", "inline"],
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_suspended_and_resumed(options: dict[str, object], moves: int, group_rule: GroupRule | None) -> None:
    binary = assemble(MODULE)
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    instrumented = instrument_as(binary, chosen, None, moves, group_rule).module
    memory = "asyncify_memory" if "in_secondary_memory" in options else "memory"
    suspending = {entry.rpartition(".")[2] for entry in chosen.imports or ("ask", "tell")}
    runs = [
        (name, value)
        for name in EXPORTS
        for value in (0, 1, 2, 3, 7)
        if "ignore_indirect" not in options or name not in ("wide", "table", "open_table", "reference")
    ]
    original = PlainGuest(binary, HOST, suspend_at=never)
    expected = [original.call(name, value) for name, value in runs]
    for choose in (always, some(moves, 0.4)):

        def suspend_at(call: HostCall, choose: SuspendAt = choose) -> bool:
            return call.name in suspending and choose(call)

        guest = PlainGuest(instrumented, HOST, suspend_at=suspend_at, memory=memory, stacks=StackArea(4096, 8192, 1))
        for run, result in zip(runs, expected, strict=True):
            assert guest.call(*run) == result, run
        assert guest.log == original.log and guest.globals() == original.globals()
        assert guest.suspensions > 30


FLAT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (type $t (func (param i32 i32) (result i32)))
    (table $closed 2 funcref) (elem (table $closed) (i32.const 0) func $by_reference $by_name)
    (table $open (export "open") 2 funcref) (elem (table $open) (i32.const 0) func $through_closed $by_name)
    (func $next (param i32 i32) (result i32)
      (if (result i32) (i32.eqz (i32.rem_u (local.get 0) (i32.const %d)))
        (then (i32.add (local.get 1) (call $ask (local.get 0))))
        (else (local.get 1))))
    (func $by_name (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call $through_open (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1))))
    (func $through_open (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_indirect $open (type $t)
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (i32.const 0)))
    (func $through_closed (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_indirect $closed (type $t)
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (i32.const 0)))
    (func $by_reference (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_ref $t
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (ref.func $by_name)))
    (func (export "f") (param i32) (result i32) (call $by_name (local.get 0) (i32.const 0))))
"""


@pytest.mark.parametrize("two_bodies", ["never", "all"])
def test_a_million_tail_calls_take_no_stack(two_bodies: str) -> None:
    """Nor native stack: Wasmtime's is half a megabyte, and the frames of 40,000 functions would fill it.

    The asyncify stack has room for the three frames that there are at each of some hundred suspensions.
    """
    guest = PlainGuest(
        instrument(assemble(FLAT % 9_001), caesura.Options(two_bodies=two_bodies)),
        {("env", "ask"): lambda value: value & 7},
        suspend_at=always,
        stacks=StackArea(4096, 96, 1),
    )
    assert guest.call("f", 1_000_000) == sum(value & 7 for value in range(9_001, 1_000_001, 9_001))
    assert guest.suspensions == 111


def test_a_ring_that_is_suspended_all_the_time() -> None:
    guest = PlainGuest(
        instrument(assemble(FLAT % 1)),
        {("env", "ask"): lambda value: value & 7},
        suspend_at=every(3),
        stacks=StackArea(4096, 96, 1),
    )
    assert guest.call("f", 3_000) == sum(value & 7 for value in range(3_001))
    assert guest.suspensions == 1_000


def test_what_only_passes_on_by_a_tail_call_stays_as_it_is() -> None:
    binary = assemble(MODULE)
    result = caesura.instrument(binary)
    reports = {function.name: function for function in result.functions}
    passing = reports["passing"]
    assert (passing.frameless, passing.instrumented, passing.sites) == (True, True, 1)
    own = passing.index - 2
    assert bodies(result.module)[own] == bodies(binary)[own]
    assert not reports["framed"].frameless and not reports["at_tail"].frameless
    assert reports["through"].instrumented and reports["through"].sites == 2  # its two tail calls


def test_tail_calls_that_cannot_suspend_stay_as_they_are() -> None:
    text = """
      (module
        (import "env" "ask" (func $ask))
        (memory (export "memory") 1)
        (func $quiet (param i32) (if (local.get 0) (then (return_call $quiet (i32.const 0)))))
        (func (export "f") (call $ask) (return_call $quiet (i32.const 1))))
    """
    calls = """
      (module
        (import "env" "ask" (func $ask))
        (memory (export "memory") 1)
        (func $quiet (param i32) (if (local.get 0) (then (call $quiet (i32.const 0)) (return))))
        (func (export "f") (call $ask) (call $quiet (i32.const 1)) (return)))
    """
    result = caesura.instrument(assemble(text))
    assert bodies(result.module)[0] == bodies(assemble(text))[0]
    assert result.bytes_after - result.bytes_before <= len(instrument(assemble(calls))) - len(assemble(calls))


def test_tail_calls_that_cannot_suspend_from_two_bodies() -> None:
    """The resume body returns something else than the function: it calls them."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table 2 funcref) (elem (i32.const 0) func $quiet)
        (func $quiet (type $t) (i32.add (local.get 0) (i32.const 100)))
        (func $loud (param i32) (result i32) (i32.mul (call $ask (local.get 0)) (i32.const 2)))
        (func (export "f") (param i32) (result i32)
          (loop $again
            (local.set 0 (call $ask (local.get 0)))
            (if (i32.lt_s (local.get 0) (i32.const 10)) (then (return_call $quiet (local.get 0))))
            (if (i32.lt_s (local.get 0) (i32.const 20))
              (then (return_call_indirect (type $t) (local.get 0) (i32.const 0))))
            (if (i32.lt_s (local.get 0) (i32.const 30)) (then (return_call $loud (local.get 0))))
            (br $again))
          (unreachable)))
    """
    host: dict[tuple[str, str], HostFunction] = {("env", "ask"): lambda value: value - 9}
    for value in (7, 15, 29, 38, 70):
        expected = PlainGuest(assemble(text), host).call("f", value)
        guest = PlainGuest(instrument(assemble(text), caesura.Options(two_bodies="all")), host, suspend_at=always)
        assert guest.call("f", value) == expected


REFERENCES = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "give" (func $give (param externref) (result externref)))
    (memory (export "memory") 1)
    (type $pair (sub (struct (field (mut i32)) (field (mut i32)))))
    (type $triple (sub $pair (struct (field (mut i32)) (field (mut i32)) (field (ref $pair)))))
    (type $step (func (param i32 (ref $pair) externref (ref func)) (result (ref $pair))))
    (type $finish (func (param i32 (ref $pair) externref (ref func)) (result (ref $triple))))
    (table $steps 4 (ref null $step))
    (elem (table $steps) (i32.const 0) (ref null $step) (ref.func $first) (ref.func $second))
    (func $first (type $step)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (struct.set $pair 0 (local.get 1) (i32.add (call $ask (local.get 0)) (struct.get $pair 0 (local.get 1))))
      (return_call_indirect $steps (type $step)
        (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2) (local.get 3) (i32.const 1)))
    (func $second (type $step) (local $kept externref)
      (local.set $kept (call $give (local.get 2)))
      (struct.set $pair 1 (local.get 1)
        (i32.add
          (ref.is_null (local.get $kept))
          (i32.add (call $ask (local.get 0)) (i32.mul (i32.const 3) (struct.get $pair 1 (local.get 1))))))
      (if (i32.lt_s (local.get 0) (i32.const 3))
        (then (return_call $last (local.get 0) (local.get 1) (local.get $kept) (local.get 3))))
      (return_call_ref $step (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get $kept) (local.get 3)
        (ref.cast (ref $step) (local.get 3))))
    ;; a subtype of the results that are asked for
    (func $last (type $finish)
      (struct.set $pair 0 (local.get 1) (i32.add (call $ask (i32.const 77)) (struct.get $pair 0 (local.get 1))))
      (struct.new $triple (call $ask (local.get 0)) (struct.get $pair 0 (local.get 1)) (local.get 1)))
    (func $sum (param (ref $pair)) (result i32)
      (i32.add (i32.mul (i32.const 10) (struct.get $pair 0 (local.get 0))) (struct.get $pair 1 (local.get 0))))
    (func (export "f") (param i32 externref) (result i32)
      (call $sum
        (call $first
          (local.get 0) (struct.new $pair (i32.const 1) (i32.const 2)) (local.get 1) (ref.func $first))))
  )
"""


@pytest.mark.parametrize("options", [{}, {"two_bodies": "all"}, {"optimize": "size"}], ids=str)
def test_references_are_passed_on(options: dict[str, object]) -> None:
    """Parameters and results that cannot be null, and results of a subtype."""
    binary = assemble(REFERENCES)
    host: dict[tuple[str, str], HostFunction] = {
        ("env", "ask"): lambda value: value * 2 + 1,
        ("env", "give"): lambda value: value,
    }
    original = PlainGuest(binary, host)
    expected = [original.call("f", times, "kept") for times in (0, 1, 2, 5, 10, 11)]  # type: ignore[arg-type]
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    guest = PlainGuest(instrument(binary, chosen), host, suspend_at=always, stacks=StackArea(4096, 4096, 1))
    assert [guest.call("f", times, "kept") for times in (0, 1, 2, 5, 10, 11)] == expected  # type: ignore[arg-type]
    assert guest.suspensions == len(original.log) == 52


def test_many_functions_that_can_be_entered() -> None:
    """More than one dispatch function chooses among; the module stays valid, and each is found."""
    count = 2_300
    functions = "".join(
        f"(func $f{number} (type $t) (i32.add (call $ask (local.get 0)) (i32.const {number})))"
        for number in range(count)
    )
    names = " ".join(f"$f{number}" for number in range(count))
    text = f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table {count} funcref) (elem (i32.const 0) func {names})
        {functions}
        (func (export "f") (type $t) (return_call_indirect (type $t) (i32.const 100000) (local.get 0))))
    """
    binary = instrument(assemble(text))
    assert_valid(binary)
    guest = PlainGuest(binary, {("env", "ask"): lambda value: value}, suspend_at=always)
    for number in (0, 1, 999, 1_000, 1_001, 1_999, 2_000, count - 1):
        assert guest.call("f", number) == 100_000 + number
