"""Liveness: which locals a frame that lands at a call site needs, and which those that stand at the head of a loop."""

from __future__ import annotations

import pytest

from caesura.analysis.liveness import Liveness, live_locals
from caesura.wasm.indices import InstructionIndex
from tests.analysis.sample import function_of

LOCALS = "(local i32 i32 i32 i32)"


def liveness_of(code: str, loops: set[int] | None = None) -> Liveness:
    """Return what is live in a function of four i32 locals; frames land right before its calls of `$wait`."""
    sample = function_of(code, LOCALS)
    body = sample.body()
    calls = body.sites
    return live_locals(sample.module.data, body, calls, calls, set(), {InstructionIndex(loop) for loop in loops or ()})


def locals_in(bits: int) -> set[int]:
    return {local for local in range(bits.bit_length()) if bits >> local & 1}


# What is live at each call site, in code order.
AT_CALLS: dict[str, tuple[str, list[set[int]]]] = {
    "nothing is read": ("call $wait", [set()]),
    "read behind the call": ("call $wait local.get 1 drop", [{1}]),
    "read before the call only": ("local.get 1 drop call $wait", [set()]),
    "written before it is read": ("call $wait i32.const 0 local.set 1 local.get 1 drop", [set()]),
    "read and then written": ("call $wait local.get 1 local.set 1", [{1}]),
    "two calls": ("call $wait local.get 0 drop call $wait local.get 1 drop", [{0, 1}, {1}]),
    "one arm reads": ("call $wait local.get 2 if local.get 0 drop else local.get 1 drop end", [{0, 1, 2}]),
    "one arm writes": ("call $wait local.get 2 if i32.const 0 local.set 0 end local.get 0 drop", [{0, 2}]),
    "both arms write": (
        "call $wait local.get 2 if i32.const 0 local.set 0 else i32.const 1 local.set 0 end local.get 0 drop",
        [{2}],
    ),
    "skipped by a branch": ("block call $wait br 0 local.get 0 drop end local.get 1 drop", [{1}]),
    "perhaps skipped": ("block call $wait local.get 2 br_if 0 local.get 0 drop end local.get 1 drop", [{0, 1, 2}]),
    "behind return": ("call $wait return local.get 0 drop", [set()]),
    "in the rest of a loop": ("loop call $wait local.get 0 br_if 0 end", [{0}]),
    "at the start of the next round": ("loop local.get 0 drop call $wait br 0 end", [{0}]),
    "in an outer loop": ("loop local.get 0 drop loop call $wait local.get 1 br_if 0 end br 0 end", [{0, 1}]),
    "at the targets of br_table": (
        "block block call $wait local.get 2 br_table 0 1 end local.get 0 drop end local.get 1 drop",
        [{0, 1, 2}],
    ),
    "in a handler": ("try call $wait catch $tag local.get 0 drop end", [{0}]),
    "in a handler, where a branch leaves the try": ("try call $wait br 0 catch_all local.get 0 drop end", [{0}]),
    "at the target of a catch clause": (
        "block try_table (catch $tag 0) call $wait end return end local.get 0 drop",
        [{0}],
    ),
    "written in a try, read in its handler": (
        "try call $wait i32.const 0 local.set 0 call $wait catch_all local.get 0 drop end",
        [{0}, {0}],
    ),
    "at the branch of a null reference": (
        "block call $wait ref.null func br_on_null 0 drop local.get 0 drop return end local.get 1 drop",
        [{0, 1}],
    ),
}


@pytest.mark.parametrize("name", AT_CALLS)
def test_at_call_sites(name: str) -> None:
    code, expected = AT_CALLS[name]
    found = liveness_of(code)
    assert [locals_in(bits) for bits in found.each_landing] == expected
    assert found.landings == sorted(set().union(*expected))


def test_between_landing_and_call() -> None:
    """Arguments that the callee ignores in a rewind need no locals, but a write between the two ends a local's life."""
    sample = function_of(
        """
        local.get 0
        i32.const 5
        local.set 1
        drop
        call $wait
        local.get 1
        drop
        """,
        LOCALS,
    )
    body = sample.body()
    first, call = InstructionIndex(0), InstructionIndex(4)
    reading = live_locals(sample.module.data, body, [first], [call], set(), set())
    ignoring = live_locals(sample.module.data, body, [first], [call], {first}, set())
    assert (reading.landings, ignoring.landings) == ([0], [])


def test_what_is_written_between_landing_and_call_stays_live_for_handlers() -> None:
    code = """
        try
          i32.const 5
          local.set 0
          call $wait
        catch_all
          local.get 0
          drop
        end"""
    sample = function_of(code, LOCALS)
    landing, call = InstructionIndex(1), InstructionIndex(3)
    assert live_locals(sample.module.data, sample.body(), [landing], [call], set(), set()).landings == [0]


def test_at_the_heads_of_loops() -> None:
    code = """
      loop
        local.get 0
        drop
        loop
          call $wait
          local.get 1
          br_if 0
        end
        br 0
      end"""
    found = liveness_of(code, loops={0, 3})
    assert found.heads == {0: [0, 1], 3: [0, 1]}
    assert {loop: locals_in(bits) for loop, bits in found.all_heads.items()} == {0: {0, 1}, 3: {0, 1}}


def test_huge_functions_keep_every_local_that_is_read() -> None:
    """Exact sets would take more than 2 ** 31 bits here."""
    count = 50_000
    code = "call $wait" + " local.get 7 local.set 6" * 22_000 + " local.get 9 local.set 8"
    sample = function_of(code, f"(local {'i32 ' * count})")
    body = sample.body()
    calls = body.sites
    found = live_locals(sample.module.data, body, calls, calls, set(), {InstructionIndex(0)})
    assert (found.landings, found.each_landing, found.heads) == ([7, 9], [], {0: [7, 9]})
