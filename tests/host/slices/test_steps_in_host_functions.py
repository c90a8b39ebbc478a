"""What a host function resumes goes on for a slice each time, however long ago that of what has called it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import caesura
from tests.host.slices.guests import SLICE
from tests.host.support import run

STEPS = 20_000_000

# Far more than it takes in slices of any length; one for each time the loop goes round would be STEPS.
MOST_RESUMPTIONS = 10_000

GUEST = b"""(module
  (import "env" "work" (func $work))
  (memory (export "memory") 1)
  (func (export "count_in_memory")
    (loop (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))) (br 0)))
  (func (export "run") (result i32) (call $work) (i32.const 7))
  (func (export "count") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (i32.const 2)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))"""


def by_start(guest: caesura.Guest, count: int = STEPS) -> tuple[Any, int]:
    step, resumptions = guest.start("count", count), 0
    while isinstance(step, caesura.PendingCall) and resumptions < MOST_RESUMPTIONS:
        step = step.resume()
        resumptions += 1
    return step, resumptions


def by_generate(guest: caesura.Guest, count: int = STEPS) -> tuple[Any, int]:
    resumptions = 0
    steps = guest.generate("count", count)
    while resumptions < MOST_RESUMPTIONS:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, resumptions
        resumptions += 1
    return None, resumptions


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("budget", [None, caesura.Budget(cpu=1000)])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("go_on", [by_start, by_generate])
def test_each_resumption_gets_on(
    go_on: Callable[..., tuple[Any, int]], preempt: str, budget: caesura.Budget | None, is_coroutine: bool
) -> None:
    async def main() -> None:
        outcomes: list[tuple[Any, int]] = []

        def work() -> None:
            outcomes.append(go_on(guest))

        async def work_as_coroutine() -> None:
            work()

        imports = {"env": {"work": work_as_coroutine if is_coroutine else work}}
        guest = await caesura.load(GUEST, imports, time_slice=SLICE / 4, preempt=preempt)
        assert await guest.call("run", budget=budget) == 7
        ((result, resumptions),) = outcomes
        assert result == 2 * STEPS
        assert 0 < resumptions < MOST_RESUMPTIONS

    run(main())


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("go_on", [by_start, by_generate])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("time_slice", [SLICE / 4, None])
def test_a_budget_of_processor_time_ends_there(
    time_slice: float | None, preempt: str, go_on: Callable[..., tuple[Any, int]], is_coroutine: bool
) -> None:
    async def main() -> None:
        ended: list[str] = []

        def work() -> None:
            with pytest.raises(caesura.BudgetExhausted) as pause:
                go_on(guest, -1)
            pause.value.call.drop()
            ended.append(pause.value.call.export)

        async def work_as_coroutine() -> None:
            work()

        imports = {"env": {"work": work_as_coroutine if is_coroutine else work}}
        guest = await caesura.load(GUEST, imports, time_slice=time_slice, preempt=preempt)
        try:
            result = await guest.call("run", budget=caesura.Budget(cpu=0.05))
        except caesura.BudgetExhausted as pause:  # what is left may be enough for the little that comes
            result = await pause.call.resume()
        assert ended == ["count"] and result == 7

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_a_budget_bounds_it_all_the_same(preempt: str) -> None:
    async def main() -> None:
        resumptions = 0

        def work() -> None:
            nonlocal resumptions
            step = guest.start("count", -1)
            while isinstance(step, caesura.PendingCall):
                resumptions += 1
                step = step.resume()

        guest = await caesura.load(GUEST, {"env": {"work": work}}, time_slice=SLICE / 4, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("run", budget=caesura.Budget(cpu=0.1))
        assert 0 < resumptions < MOST_RESUMPTIONS
        assert guest.usage.time >= 0.1

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_has_called_it_is_paused_as_soon_as_it_goes_on(preempt: str) -> None:
    async def main() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())

        def work() -> None:
            by_start(guest)

        guest = await caesura.load(GUEST, {"env": {"work": work}}, time_slice=SLICE / 4, preempt=preempt)
        before = turns
        assert await guest.call("run") == 7
        assert turns > before and guest.usage.slices > 1
        other.cancel()

    run(main())


def in_hand(go_on: Callable[[], Any]) -> caesura.PendingCall:
    """Return the call that is paused again, be it handed out or told of by an error."""
    try:
        step = go_on()
    except caesura.BudgetExhausted as error:
        step = error.call
    assert isinstance(step, caesura.PendingCall)
    return step


async def in_hand_again(going_on: Awaitable[Any]) -> caesura.PendingCall:
    """Return the call whose budget is used up again."""
    with pytest.raises(caesura.BudgetExhausted) as pause:
        await going_on
    return pause.value.call


BUDGETS = {
    "flag": [caesura.Budget(cpu=0.001)],
    "fuel": [caesura.Budget(fuel=1000), caesura.Budget(cpu=0.001)],
}


@pytest.mark.parametrize("time_slice", [SLICE / 4, None])
@pytest.mark.parametrize(("preempt", "budget"), [(kind, budget) for kind in BUDGETS for budget in BUDGETS[kind]])
def test_so_does_each_beyond_a_budget_that_is_used_up(
    preempt: str, budget: caesura.Budget, time_slice: float | None
) -> None:
    """The host function decides; who has given the budget is told when it has returned."""

    async def main() -> None:
        counts: list[int] = []

        def work() -> None:
            step = in_hand(lambda: guest.start("count_in_memory"))
            while len(counts) < 20:
                counts.append(counted(guest))
                step = in_hand(step.resume)
            step.drop()

        guest = await caesura.load(GUEST, {"env": {"work": work}}, preempt=preempt, time_slice=time_slice)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=budget)
        check_progress(counts, preempt)
        assert await pause.value.call.resume() == 7

    run(main())


@pytest.mark.parametrize("time_slice", [SLICE / 4, None])
@pytest.mark.parametrize(("preempt", "budget"), [(kind, budget) for kind in BUDGETS for budget in BUDGETS[kind]])
def test_so_does_each_that_is_awaited_in_a_task_of_a_host_function(
    preempt: str, budget: caesura.Budget, time_slice: float | None
) -> None:
    async def main() -> None:
        counts: list[int] = []

        async def again_and_again() -> None:
            step = await in_hand_again(guest.call("count_in_memory"))
            while len(counts) < 20:
                counts.append(counted(guest))
                step = await in_hand_again(step.aresume())
            step.drop()

        async def work() -> None:
            await asyncio.create_task(again_and_again())

        guest = await caesura.load(GUEST, {"env": {"work": work}}, preempt=preempt, time_slice=time_slice)
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("run", budget=budget)
        check_progress(counts, preempt)

    run(main())


@pytest.mark.parametrize("time_slice", [SLICE / 4, None])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_so_does_each_with_next_to_no_budget(preempt: str, time_slice: float | None) -> None:
    async def main() -> None:
        nothing = caesura.Budget(cpu=1e-9)
        counts: list[int] = []
        guest = await caesura.load(GUEST, {"env": {"work": lambda: None}}, preempt=preempt, time_slice=time_slice)
        step = await in_hand_again(guest.call("count_in_memory", budget=nothing))
        while len(counts) < 20:
            counts.append(counted(guest))
            step = await in_hand_again(step.aresume(budget=nothing))
        check_progress(counts, preempt)

    run(main())


def counted(guest: caesura.Guest) -> int:
    (count,) = guest.memory.read_struct("<Q", 0)
    return int(count)


def check_progress(counts: list[int], preempt: str) -> None:
    """By the clock, a machine may be busy just then: but not each time."""
    assert counts == sorted(counts)
    assert len(set(counts)) > len(counts) // 2 if preempt == "flag" else len(set(counts)) == len(counts)
