"""Values that loops set instead of the cold arm: which ones, where, and that they are the right ones."""

from __future__ import annotations

import re
from itertools import count

import pytest

import caesura
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from tests.support.engine import assemble
from tests.support.instrumenting import instrument
from tests.support.plain_abi import HostFunction, PlainGuest, always, some

# Each loop computes something that call sites further in need, and counts; $c is written before the first site of the
# innermost loop, which $d only passes through. The second site needs other locals than the first.
NESTED = """
  (func $nested (export "run") (param $n i32) (result f64)
    (local $i i32) (local $j i32) (local $k i32) (local $a i64) (local $b f32) (local $c f64) (local $d i64)
    (loop $outer
      (local.set $a (i64.extend_i32_u (i32.mul (local.get $i) (i32.const 5))))
      (local.set $j (i32.const 0))
      (loop $middle
        (local.set $b (f32.convert_i64_s (i64.add (local.get $a) (i64.extend_i32_u (local.get $j)))))
        (local.set $d (i64.add (local.get $a) (i64.const 3)))
        (local.set $k (i32.const 0))
        (loop $inner
          (local.set $c (f64.add (local.get $c) (f64.promote_f32 (local.get $b))))
          (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get $k)))
          (drop (call $ask (local.get $i)))
          (local.set $c (f64.add (local.get $c) (f64.convert_i64_s (local.get $d))))
          {more}
          (br_if $inner (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 3))))
        (br_if $middle (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 3))))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $c))"""

MORE = "(local.set $c (f64.add (local.get $c) (f64.convert_i32_u (call $ask (local.get $k)))))"


def module(functions: str) -> bytes:
    """Return a guest that imports $ask and has a memory, and a named global, so that added ones have names."""
    return assemble(f"""(module (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1) (global $named i32 (i32.const 0)) {functions})""")


def nested(sites: int) -> bytes:
    """Return a guest with so many call sites in the innermost of three loops."""
    return module(NESTED.format(more=MORE * (sites - 1)))


def set_late(binary: bytes, **options: object) -> list[list[str]]:
    """Return the names of the locals that each loop of $nested sets from globals, outermost loop first."""
    output = Module(caesura.instrument(binary, caesura.Options(**options)).module)  # type: ignore[arg-type]
    assert "nested" in FunctionNames(output).names
    text = print_module(output.data)
    body = text[text.index("(func $nested ") :].partition("\n  (func ")[0]
    _, *loops = body.split(" loop")
    return [re.findall(r"global\.get \$asyncify_handoff\w+\s+local\.set \$(\w+)", loop) for loop in loops]


def answers() -> dict[tuple[str, str], HostFunction]:
    """Return an import that answers differently each time."""
    numbers = count()
    return {("env", "ask"): lambda value: value * 7 + next(numbers)}


@pytest.mark.parametrize("options", [{}, {"optimize": "size"}, {"optimize": "speed"}, {"two_bodies": "all"}], ids=str)
@pytest.mark.parametrize("sites", [1, 2, 8, 9])
def test_suspended_anywhere(sites: int, options: dict[str, object]) -> None:
    binary = nested(sites)
    original = PlainGuest(binary, answers())
    wanted = original.call("run", 3)
    for suspend_at in (always, some(1, 0.5), some(2, 0.2)):
        guest = PlainGuest(
            instrument(binary, caesura.Options(**options)),  # type: ignore[arg-type]
            answers(),
            suspend_at=suspend_at,
        )
        assert guest.call("run", 3) == wanted
        assert guest.log == original.log
        assert guest.suspensions > 1
        assert guest.read(8, 4) == original.read(8, 4)


def test_the_innermost_loop_sets_what_it_computes() -> None:
    assert set_late(nested(1)) == [[], [], ["c"]]
    assert set_late(nested(8)) == [[], [], ["c"]]


def test_not_with_many_call_sites() -> None:
    assert set_late(nested(9)) == [[], [], []]


def test_not_where_size_counts() -> None:
    assert set_late(nested(1), optimize="size") == [[], [], []]


def test_not_in_a_loop_on_its_own() -> None:
    alone = """
      (func $nested (param $n i32) (local $a i32)
        (loop $only
          (local.set $a (i32.load (local.get $n)))
          (drop (call $ask (i32.const 1)))
          (i32.store (local.get $n) (local.get $a))
          (br_if $only (local.get $a))))"""
    assert set_late(module(alone)) == [[]]


def test_two_bodies_set_each_value_as_far_in_as_they_can() -> None:
    """Control is handed over at the head of the innermost loop: what is live there is set at the loops around it."""
    assert set_late(nested(9), two_bodies="all") == [["j", "a"], ["k", "b", "d"], []]


def test_two_bodies_with_few_call_sites_hand_over_at_the_outermost_loop() -> None:
    assert set_late(nested(8), two_bodies="all") == [[], [], []]
    text = print_module(caesura.instrument(nested(8), caesura.Options(two_bodies="all")).module)
    body = text[text.index("(func $nested ") :].partition("\n  (func ")[0]
    loops = body[body.index(" loop") : body.rindex(" end\n")]
    # The loops only hold the program's own code and the checks behind its eight call sites.
    assert loops.count("global.get $__asyncify_state") == 8


def test_with_a_switch_the_innermost_loop_is_handed_over_to() -> None:
    blocks = "(block " * 16 + f"(br_table {' '.join(map(str, range(16)))} (local.get $k))" + ")" * 16
    assert set_late(module(NESTED.format(more=blocks)), two_bodies="all") == [["j", "a"], ["k", "b", "d"], []]
