"""Groups of call sites: made where much is merged, and resumed through wherever the guest was suspended."""

from __future__ import annotations

from typing import Final

import pytest

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import EVERYWHERE, LARGE_FUNCTIONS, NO_GROUPS, GroupRule
from tests.support.engine import assemble
from tests.support.plain_abi import HostFunction, PlainGuest, SuspendAt, always, every, some

LOCALS: Final = 24
# Groups wherever they save more merges than they take bytes.
BY_MERGES: Final[GroupRule] = (200, 8, 0)
ASK: Final[dict[tuple[str, str], HostFunction]] = {("env", "ask"): lambda value: value * 7 % 1009 + 1}


def call(local: int, source: int) -> str:
    """Return code that asks for a local's next value; this one and its neighbour are written."""
    return f"""
      (local.set {local} (i32.add (local.get {local}) (call $ask (local.get {source}))))
      (local.set {1 + local % (LOCALS - 1)} (i32.xor (local.get {local}) (local.get {source})))"""


def machine(cases: int) -> bytes:
    """Return a loop over a switch, each case having four calls, one of them under a condition and one in a loop."""
    code = ""
    for case in range(cases):
        a, b = 2 + case % (LOCALS - 2), 2 + case * 5 % (LOCALS - 2)
        code += f"""
          end
          {call(a, b)}
          local.get {b} i32.const 1 i32.and
          if {call(b, a)} else local.get {a} local.set {b} end
          i32.const {1 + case % 3} local.set {LOCALS}
          loop {call(1 + (a + 3) % (LOCALS - 1), b)}
            local.get {LOCALS} i32.const 1 i32.sub local.tee {LOCALS} br_if 0
          end
          {call(a, b)}
          br {cases - 1 - case}"""
    targets = " ".join(str(case) for case in range(cases))
    everything = "\n".join(f"local.get {local} i32.add i32.const 31 i32.mul" for local in range(1, LOCALS))
    return assemble(f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 2)
        (func (export "run") (param i32) (result i32) (local {"i32 " * LOCALS})
          loop $again
            {"block " * cases}
            block
              local.get 0 i32.const {cases} i32.rem_u
              br_table {targets}
            {code}
            end
            local.get 0 i32.const 1 i32.sub local.tee 0
            br_if $again
          end
          i32.const 0
          {everything}))""")


def row(calls: int) -> bytes:
    """Return a function that calls so many times in a row, with 24 locals live at each call, of which few change."""
    code = "".join(call(1 + place % 3, 1 + place % 5) for place in range(calls))
    everything = "\n".join(f"local.get {local} i32.add i32.const 31 i32.mul" for local in range(1, LOCALS))
    return assemble(f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 2)
        (func (export "run") (param i32) (result i32) (local {"i32 " * LOCALS}) {code} i32.const 0 {everything}))""")


def instrumented(module: bytes, rule: GroupRule) -> bytes:
    """Return a module with the groups that a rule makes."""
    return instrument_as(module, caesura.Options(two_bodies="never"), None, AUTOMATIC, rule).module


@pytest.mark.parametrize("suspend_at", [always, every(3), some(1, 0.4)], ids=["always", "every third", "some"])
@pytest.mark.parametrize("rule", [BY_MERGES, EVERYWHERE], ids=["by merges", "everywhere"])
def test_resuming_through_groups(rule: GroupRule, suspend_at: SuspendAt) -> None:
    """What is suspended in a group equals what never was."""
    module = machine(20)
    binary = instrumented(module, rule)
    assert len(binary) != len(instrumented(module, NO_GROUPS))
    plain = PlainGuest(module, ASK)
    guest = PlainGuest(binary, ASK, suspend_at=suspend_at)
    assert guest.call("run", 45) == plain.call("run", 45)
    assert guest.log == plain.log
    assert guest.memory_image() == plain.memory_image()


def test_groups_are_for_large_functions() -> None:
    """Balanced and speed group in functions with many merges; smaller ones, and the level size, have no groups.

    In small modules a function has to be larger for that at balanced than at speed.
    """
    large, medium, small = row(70), row(30), row(4)
    assert instrumented(large, LARGE_FUNCTIONS) != instrumented(large, NO_GROUPS)
    for optimize in ("balanced", "speed"):
        options = caesura.Options(two_bodies="never", optimize=optimize)
        assert caesura.instrument(large, options).module == instrumented(large, LARGE_FUNCTIONS)
        assert caesura.instrument(small, options).module == instrumented(small, NO_GROUPS)
    balanced = caesura.Options(two_bodies="never")
    speed = caesura.Options(two_bodies="never", optimize="speed")
    assert instrumented(medium, LARGE_FUNCTIONS) != instrumented(medium, NO_GROUPS)
    assert caesura.instrument(medium, balanced).module == instrumented(medium, NO_GROUPS)
    assert caesura.instrument(medium, speed).module == instrumented(medium, LARGE_FUNCTIONS)
    for_size = caesura.Options(optimize="size")
    ungrouped = instrument_as(large, for_size, None, AUTOMATIC, NO_GROUPS).module
    assert caesura.instrument(large, for_size).module == ungrouped


def test_a_small_switch_has_no_groups_in_front_of_it() -> None:
    """What is saved by groups of several arms is less than what looking at the heads of all of them costs."""
    module = machine(20)
    assert instrumented(module, BY_MERGES) != instrumented(module, NO_GROUPS)
    assert instrumented(module, LARGE_FUNCTIONS) == instrumented(module, NO_GROUPS)
