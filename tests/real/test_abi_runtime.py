"""Guests that bring their own runtime: imports of module `asyncify` become calls inside the module."""

from __future__ import annotations

import pytest
import wasmtime

import caesura
from tests.support.engine import assemble, engine
from tests.support.guests import text_guest
from tests.support.instrumenting import instrument
from tests.support.plain_abi import PlainGuest


def run_tasks(binary: bytes, argument: int) -> tuple[object, list[int]]:
    """Run the guest's two tasks; return the number of rounds and what was printed."""
    printed: list[int] = []
    guest = PlainGuest(binary, {("env", "print"): lambda value: printed.append(value)}, grow=False)
    rounds = guest.call("run", argument)
    assert guest.call("state") == 0
    return rounds, printed


def test_two_tasks_take_turns() -> None:
    """A scheduler in the guest interleaves two call stacks, which it leaves and enters by itself."""
    binary = instrument(text_guest("tasks"), caesura.Options(ignore_imports=True))
    assert [item.module for item in wasmtime.Module(engine(), binary).imports] == ["env"]
    rounds, printed = run_tasks(binary, 3)
    assert printed == [100, 200, 101, 200, 102, 200, 3, 3000, 3000, 3001]
    assert rounds == 7


@pytest.mark.parametrize("argument", [1, 2, 10])
def test_tasks_of_other_lengths(argument: int) -> None:
    """The tasks' own results and outputs do not depend on how they are interleaved."""
    _, printed = run_tasks(instrument(text_guest("tasks"), caesura.Options(ignore_imports=True)), argument)
    assert [value for value in printed if 100 <= value < 100 + argument] == list(range(100, 100 + argument))
    assert printed.count(200) == argument
    assert printed.count(argument * 1000) == 2
    assert printed[-1] == argument * 1000 + 1


def test_runtime_is_not_instrumented() -> None:
    """Of the guest, only what can be on the stack between the two ends of the runtime is instrumented."""
    report = caesura.instrument(text_guest("tasks"), caesura.Options(ignore_imports=True))
    assert {function.name for function in report.functions if function.instrumented} == {
        "say",
        "counter",
        "mixer",
    }


def test_get_state_alone() -> None:
    """`asyncify.get_state` may be imported by itself, and tells the state at any time."""
    text = """
      (module
        (import "asyncify" "get_state" (func $get_state (result i32)))
        (import "env" "ask" (func $ask (result i32)))
        (memory (export "memory") 1)
        (func (export "state") (result i32) (call $get_state))
        (func (export "run") (result i32) (i32.add (call $ask) (call $get_state))))
    """
    seen: list[object] = []

    def ask() -> int:
        seen.append(guest.call("state"))
        return 40

    guest = PlainGuest(instrument(assemble(text)), {("env", "ask"): ask}, suspend_at=lambda call: True)
    assert guest.call("state") == 0
    assert guest.call("run") == 40
    assert guest.suspensions == 1
    assert seen == [0]
    guest.set_stack_pointers(0, 64, 128)
    guest.function("asyncify_start_unwind")(guest.store, 0)
    assert guest.function("state")(guest.store) == 1
    guest.function("asyncify_start_rewind")(guest.store, 0)
    assert guest.function("state")(guest.store) == 2
