"""Host functions, and event loops, that leave calls paused behind: no other code of the guest runs meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import caesura
from tests.host.support import run

# `inner` is in a critical section while it counts, as `malloc` would be, and `outer` tells if anybody is.
GUEST = b"""(module (import "env" "tool" (func $tool)) (global $locked (mut i32) (i32.const 0))
  (func (export "inner") (param i32) (local i32)
    (global.set $locked (i32.const 1))
    (loop (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (local.get 0))))
    (global.set $locked (i32.const 0)))
  (func (export "outer") (result i32) (call $tool) (global.get $locked)))"""

MUCH = 300_000_000
BUDGETS = {"flag": caesura.Budget(cpu=1e-9), "fuel": caesura.Budget(fuel=1000)}

# Returns what keeps the call.
Leaving = Callable[[caesura.Guest, caesura.Budget], Any]


def by_start(guest: caesura.Guest, budget: caesura.Budget) -> caesura.PendingCall:
    step = guest.start("inner", MUCH)
    assert isinstance(step, caesura.PendingCall)
    return step


def by_start_with_a_budget(guest: caesura.Guest, budget: caesura.Budget) -> caesura.PendingCall:
    try:
        step = guest.start("inner", MUCH, budget=budget)
        while isinstance(step, caesura.PendingCall):  # a slice may end before
            step = step.resume()
    except caesura.BudgetExhausted as pause:
        return pause.call
    raise AssertionError("it has a budget")


def by_a_generator(guest: caesura.Guest, budget: caesura.Budget) -> Any:
    steps = guest.generate("inner", MUCH)
    next(steps)
    return steps


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("leave", [by_start, by_start_with_a_budget, by_a_generator])
def test_what_a_host_function_leaves_paused_ends_its_call(leave: Leaving, preempt: str, kind: str) -> None:
    async def main() -> None:
        left: list[Any] = []

        def tool(guest: caesura.Guest) -> None:
            left.append(leave(guest, BUDGETS[preempt]))

        async def awaited_tool(guest: caesura.Guest) -> None:
            tool(guest)

        function = tool if kind == "plain" else awaited_tool
        guest = await caesura.load(GUEST, {"env": {"tool": function}}, preempt=preempt, time_slice=0.001)
        with pytest.raises(caesura.UsageError, match="a call of inner is paused in the middle of the guest's code"):
            await guest.call("outer")
        assert [(call.export, call.function) for call in guest.pending] == [("inner", "pause")]

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_a_call_whose_budget_is_over_is_dropped_or_left(preempt: str) -> None:
    async def main() -> None:
        drops = True

        async def tool(guest: caesura.Guest) -> None:
            with pytest.raises(caesura.BudgetExhausted) as pause:
                await guest.call("inner", MUCH, budget=BUDGETS[preempt])
            if drops:
                pause.value.call.drop()

        guest = await caesura.load(GUEST, {"env": {"tool": tool}}, preempt=preempt)
        assert await guest.call("outer") == 1  # what was dropped holds its lock for ever
        drops = False
        with pytest.raises(caesura.UsageError, match="a call of inner is paused"):
            await guest.call("outer")

    run(main())


@pytest.mark.parametrize("calls", [1, 3])
def test_a_loop_that_is_closed_in_the_middle_of_a_slice(calls: int) -> None:
    """Nobody waits for what cannot come; what the guest is can be saved still, and goes on elsewhere."""
    nothing = {"env": {"tool": lambda: None}}
    loop = asyncio.new_event_loop()
    guest = loop.run_until_complete(caesura.load(GUEST, nothing, time_slice=0.001))
    tasks = [loop.create_task(guest.call("inner", MUCH)) for _ in range(calls)]  # one is paused, others wait for it
    while not guest.usage.slices:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def main() -> None:
        message = r"a call of inner is paused.*the event loop whose task awaits it is closed"
        with pytest.raises(caesura.UsageError, match=message):
            await guest.call("outer")
        for call in (guest.call_nowait, guest.start):
            with pytest.raises(caesura.UsageError, match=message):
                call("outer")
        saved = guest.snapshot()
        guest.close()
        again = await caesura.restore(bytes(saved), nothing, module=GUEST)
        await again.pending[0].aresume()
        assert await again.call("outer") == 0

    run(main())
    assert not any(task.done() for task in tasks)
