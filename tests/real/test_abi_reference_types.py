"""References of every type across call sites, under the plain ABI: in locals, parameters, operands and results.

A guest makes values of a type from numbers and numbers from values again, and holds values wherever code can hold them
while it is suspended. What it returns must be what it returns without.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import EVERYWHERE
from tests.support.engine import assemble
from tests.support.node import newer_node, run_driver
from tests.support.plain_abi import PlainGuest, always, never, some

# Of each type: how the number in local $n becomes a value, and a value on the stack a number.
FROM_SMALL = "(ref.i31 (local.get $n))"
TO_SMALL = "(i31.get_u (ref.cast i31ref))"
MADE = {
    "externref": (f"(extern.convert_any {FROM_SMALL})", f"any.convert_extern {TO_SMALL}"),
    "anyref": (FROM_SMALL, TO_SMALL),
    "eqref": ("(struct.new $box (local.get $n))", "(struct.get $box 0 (ref.cast (ref null $box)))"),
    "i31ref": (FROM_SMALL, "i31.get_u"),
    "structref": ("(struct.new $box (local.get $n))", "(struct.get $box 0 (ref.cast (ref null $box)))"),
    "arrayref": ("(array.new $row (i32.const 7) (local.get $n))", "array.len"),
    "(ref null $box)": ("(struct.new $box (local.get $n))", "(struct.get $box 0)"),
    "(ref null $lower)": ("(struct.new $lower (local.get $n) (ref.null $row))", "(struct.get $box 0)"),
    "(ref null $row)": ("(array.new $row (i32.const 7) (local.get $n))", "array.len"),
    "(ref null $full)": (
        "(struct.new $full (struct.new $box (local.get $n)) (ref.func $one))",
        "(struct.get $full 0) (struct.get $box 0)",
    ),
    "funcref": (
        "(table.get $numbers (i32.and (local.get $n) (i32.const 1)))",
        "(ref.cast (ref null $number)) (local.set $called) (call_ref $number (local.get $called))",
    ),
    "(ref null $number)": (
        "(ref.cast (ref null $number) (table.get $numbers (i32.and (local.get $n) (i32.const 1))))",
        "(local.set $called) (call_ref $number (local.get $called))",
    ),
    "exnref": (
        "(block (result exnref) (try_table (catch_all_ref 0) (throw $thrown (local.get $n))) (unreachable))",
        "(local.set $caught)"
        "(block (result i32) (try_table (catch $thrown 0) (throw_ref (local.get $caught))) (unreachable))",
    ),
}
NON_NULL = {
    "(ref extern)": "externref",
    "(ref any)": "anyref",
    "(ref eq)": "eqref",
    "(ref i31)": "i31ref",
    "(ref struct)": "structref",
    "(ref array)": "arrayref",
    "(ref $box)": "(ref null $box)",
    "(ref $lower)": "(ref null $lower)",
    "(ref $row)": "(ref null $row)",
    "(ref $full)": "(ref null $full)",
    "(ref func)": "funcref",
    "(ref $number)": "(ref null $number)",
    "(ref exn)": "exnref",
}

TEXT = """
  (module
    (type $box (sub (struct (field i32))))
    (type $row (array (mut i8)))
    (type $lower (sub $box (struct (field i32) (field (ref null $row)))))
    (type $number (func (result i32)))
    (type $full (struct (field (ref $box)) (field (ref $number))))
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (tag $thrown (param i32))
    (memory (export "memory") 1)
    (table $numbers 2 funcref)
    (table $kept 4 {null})
    (elem (table $numbers) (i32.const 0) func $one $two)
    (global $calls (export "depth") (mut i32) (i32.const 0))
    (func $one (type $number) (i32.const 1))
    (func $two (type $number) (i32.const 2))

    (func $make (param $n i32) (result {type})
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (drop (call $ask (i32.const 100)))
      (call $made (local.get $n)))
    (func $made (param $n i32) (result {type}) {make})
    (func $number_of (param $value {type}) (result i32) (local $called (ref null $number)) (local $caught exnref)
      (local.get $value) {number})
    (func $both (param $value {type}) (param $number i32) (param $other {type}) (result i32)
      (drop (call $ask (local.get $number)))
      (i32.add (local.get $number)
        (i32.add (call $number_of (local.get $value)) (i32.mul (i32.const 1000) (call $number_of (local.get $other))))))
    (func $several (param $n i32) (result {type} i32 {type})
      (call $make (local.get $n)) (call $ask (local.get $n)) (call $made (i32.add (local.get $n) (i32.const 1))))

    (func (export "local") (param $n i32) (result i32) (local $x {type}) (local $sum i32)
      (local.set $x (call $made (local.get $n)))
      (drop (call $ask (i32.const 1)))
      (loop
        (local.set $sum (i32.add (local.get $sum) (call $number_of (local.get $x))))
        (local.set $x (call $make (local.get $n)))
        (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $sum))))
        (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (i32.add (local.get $sum) (call $number_of (local.get $x))))
    (func $holding (export "holding") (param $n i32) (result i32) (local $x {type}) (local $y {type})
      (if (result i32) (i32.eqz (local.get $n))
        (then (call $ask (i32.const 5)))
        (else
          (local.set $y (local.tee $x (call $make (local.get $n))))
          (i32.add (call $holding (i32.sub (local.get $n) (i32.const 1)))
            (i32.add (call $number_of (local.get $x)) (call $number_of (local.get $y)))))))
    (func (export "operands") (param $n i32) (result i32)
      (call $both
        (call $made (local.get $n)) (call $ask (local.get $n)) (call $make (i32.add (local.get $n) (i32.const 1)))))
    (func (export "ignored") (param $n i32) (result i32) (local $x {type}) (local $y {type})
      (local.set $x (call $made (local.get $n)))
      (local.set $y (call $made (i32.add (local.get $n) (i32.const 3))))
      (i32.add (call $both (local.get $x) (i32.const 4) (local.get $y))
        (call $both (local.get $y) (i32.const 9) (call $made (local.get $n)))))
    (func (export "selected") (param $n i32) (result i32)
      (call $number_of
        (select (result {type}) (call $make (local.get $n)) (call $made (i32.const 8)) (call $ask (local.get $n)))))
    (func (export "results") (param $n i32) (result i32) (local $last {type}) (local $middle i32)
      (call $several (local.get $n))
      (local.set $last) (local.set $middle) (call $number_of)
      (i32.add (call $ask (local.get $middle)))
      (i32.add (call $number_of (local.get $last))))
    (func (export "below") (param $n i32) (result i32)
      (call $several (local.get $n))
      (call $both (call $ask (local.get $n)) (call $made (local.get $n)))
      (i32.add)
      (call $both (call $made (i32.const 6))))
    (func (export "parameters") (param $n i32) (result i32)
      (call $made (local.get $n))
      (loop $again (param {type}) (result {type})
        (drop (call $number_of))
        (drop (call $ask (local.get $n)))
        (call $make (local.get $n))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
        (if (param {type}) (result {type}) (i32.and (call $ask (local.get $n)) (i32.const 1))
          (then (drop (call $ask (local.get $n))))
          (else (drop) (call $make (i32.const 11))))
        (block $out (param {type}) (result {type})
          (br_if $out (i32.eq (call $ask (i32.const 1)) (i32.const 77)))
          (drop (call $ask (i32.const 3)))))
      (call $number_of))
    (func (export "kept") (param $n i32) (result i32) (local $x {type})
      (local.set $x (call $made (local.get $n)))
      (block (result i32)
        (try_table (result i32) (catch $thrown 0)
          (drop (call $ask (i32.const 3)))
          (table.set $kept (i32.const 2) (local.get $x))
          (throw $thrown (call $ask (local.get $n)))))
      (i32.add (call $number_of (local.get $x)))
      (i32.add (call $number_of ({cast} (table.get $kept (i32.const 2)))))))
"""
EXPORTS = ("local", "holding", "operands", "ignored", "selected", "results", "below", "parameters", "kept")

WAYS = {
    "as it is": (caesura.Options(), AUTOMATIC, None),
    "two bodies": (caesura.Options(two_bodies="all"), AUTOMATIC, None),
    "for size": (caesura.Options(optimize="size"), SHARED, None),
    "large": (caesura.Options(optimize="speed"), SHARED, EVERYWHERE),
    "inline and groups": (caesura.Options(two_bodies="never"), INLINE, EVERYWHERE),
}


def guest_of(value_type: str) -> bytes:
    """Return the guest for a type."""
    null = NON_NULL.get(value_type, value_type)
    make, number = MADE[null]
    if value_type in NON_NULL:
        make = f"(ref.as_non_null {make})"
    text = TEXT.replace("({cast} (table.get $kept (i32.const 2)))", _read_kept(value_type))
    return assemble(text.format(type=value_type, null=null, make=make, number=number))


def _read_kept(value_type: str) -> str:
    read = "(table.get $kept (i32.const 2))"
    return f"(ref.as_non_null {read})" if value_type in NON_NULL else read


def ask(number: int) -> int:
    return (number * 7 + 3) & 15


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value_type", [*MADE, *NON_NULL])
def test_values_of_a_type_are_held(value_type: str, way: str) -> None:
    original = guest_of(value_type)
    options, moves, groups = WAYS[way]
    module = instrument_as(original, options, None, moves, groups).module
    imports = {("env", "ask"): ask}
    runs = []
    for binary, suspend_at in ((original, never), (module, always), (module, some(number_of_way(way), 0.5))):
        guest = PlainGuest(binary, imports, suspend_at=suspend_at)
        runs.append(
            ([guest.call(export, number) for export in EXPORTS for number in (1, 4)], guest.globals(), guest.log)
        )
        assert guest.suspensions > 0 or binary is original
    assert runs[1] == runs[0]
    assert runs[2] == runs[0]


def number_of_way(way: str) -> int:
    """Return a number that is another one for each way."""
    return list(WAYS).index(way)


@pytest.mark.parametrize("value_type", [*MADE, *NON_NULL])
def test_values_of_a_type_are_held_in_node(value_type: str, tmp_path: Path) -> None:
    original = guest_of(value_type)
    module = tmp_path / "guest.wasm"
    module.write_bytes(caesura.instrument(original).module)
    calls = [(export, number) for export in EXPORTS for number in (1, 4)]
    guest = PlainGuest(original, {("env", "ask"): lambda number: (number * 31 + 7) & 0xFFFF})
    results = [guest.call(export, number) for export, number in calls]
    told = run_driver("plain.mjs", module, "1", json.dumps(calls), node=newer_node())
    assert told["results"] == results
    assert told["suspensions"] == len(guest.log)
    assert told["depth"] == guest.globals()["depth"]


def test_a_module_with_old_types_alone_needs_no_new_engine(tmp_path: Path) -> None:
    """Modules that only hold externref and funcref run in engines that know no other references."""
    original = assemble("""
      (module
        (type $number (func (result i32)))
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1) (table $functions 2 funcref) (global (export "depth") (mut i32) (i32.const 0))
        (elem (table $functions) (i32.const 0) func $one $two)
        (func $one (type $number) (call $ask (i32.const 1))) (func $two (type $number) (i32.const 2))
        (func $call (param $f funcref) (result i32)
          (table.set $functions (i32.const 1) (local.get $f))
          (call_indirect $functions (type $number) (i32.const 1)))
        (func (export "run") (param $n i32) (result i32) (local $f funcref) (local $nothing externref)
          (local.set $f (table.get $functions (local.get $n)))
          (i32.add
            (call $ask (local.get $n))
            (i32.add (call $call (local.get $f)) (ref.is_null (local.get $nothing))))))
    """)
    module = tmp_path / "guest.wasm"
    module.write_bytes(caesura.instrument(original).module)
    guest = PlainGuest(original, {("env", "ask"): lambda number: (number * 31 + 7) & 0xFFFF})
    results = [guest.call("run", number) for number in (0, 1)]
    told = run_driver("plain.mjs", module, "1", json.dumps([["run", 0], ["run", 1]]))
    assert (told["results"], told["suspensions"]) == (results, len(guest.log))


@pytest.mark.parametrize("translate", [False, True], ids=["old form", "translated"])
def test_references_that_old_exceptions_carry(translate: bool, tmp_path: Path) -> None:
    """They are held while a handler is suspended, and thrown again."""
    original = assemble("""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (tag $e (param funcref i32)) (tag $g (param funcref))
        (type $n (func (result i32)))
        (memory (export "memory") 1) (table $t 3 funcref) (global (export "depth") (mut i32) (i32.const 0))
        (elem (table $t) (i32.const 0) func $one $two)
        (func $one (type $n) (i32.const 1)) (func $two (type $n) (i32.const 2))
        (func $apply (param funcref) (result i32)
          (table.set $t (i32.const 2) (local.get 0))
          (call_indirect $t (type $n) (i32.const 2)))
        (func (export "run") (param $n i32) (result i32)
          (local $kept funcref)
          (local.set $kept (table.get $t (i32.const 0)))
          try (result i32)
            try (result i32)
              (table.get $t (local.get $n)) (call $ask (local.get $n)) throw $e
            catch $e
              (call $ask) drop (call $apply) (i32.add (call $apply (local.get $kept)))
              (global.set 0)
              (table.get $t (i32.const 1)) throw $g
            end
          catch $g
            (drop (call $ask (i32.const 3)))
            (call $apply)
            (i32.add (call $ask (i32.const 9)))
          end))
    """)
    plain, module = tmp_path / "plain.wasm", tmp_path / "guest.wasm"
    plain.write_bytes(original)
    module.write_bytes(caesura.instrument(original, caesura.Options(translate_to_exnref=translate)).module)
    calls = json.dumps([["run", 0], ["run", 1]])
    wanted = run_driver("plain.mjs", plain, "0", calls)
    told = run_driver("plain.mjs", module, "1", calls, node=newer_node())
    assert told["suspensions"] == len(told["log"]) == 8
    assert {**told, "suspensions": 0} == wanted
