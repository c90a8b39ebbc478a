"""A budget that ends in what a host function has called, where the two are parted: the error leaves the host function,
the call is dropped, or the guest is restored elsewhere.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

import caesura
from tests.host.slices.test_handed_out import FUEL, WORK, Tool, handed_out, inner, load, outer
from tests.host.support import run


async def in_a_task(guest: caesura.Guest) -> int:
    return int(await asyncio.create_task(guest.call("inner")))


async def gathered(guest: caesura.Guest) -> int:
    return sum(await asyncio.gather(guest.call("inner")))


async def after_waiting(guest: caesura.Guest) -> int:
    await asyncio.sleep(0)
    return await in_a_task(guest)


async def with_its_own_budget(guest: caesura.Guest) -> int:
    return int(await guest.call("inner", budget=FUEL))


LEAVING = [in_a_task, gathered, after_waiting, with_its_own_budget]


@pytest.mark.parametrize("tool", LEAVING)
def test_an_error_that_leaves_a_host_function_says_that_the_calls_have_ended(tool: Tool) -> None:
    async def main() -> None:
        guest = await load(tool)
        budget = caesura.Budget(fuel=1 << 40) if tool is with_its_own_budget else FUEL
        with pytest.raises(
            caesura.BudgetExhausted,
            match=r"inner has used up .* has ended: .* left host function env.tool.* call of run",
        ) as pause:
            await guest.call("run", budget=budget)
        call = pause.value.call
        assert guest.pending == [] and not call.is_held
        attempts: list[Callable[[], Any]] = [call.aresume, lambda: call.athrow(ValueError()), lambda: _awaited(call)]
        for attempt in attempts:
            with pytest.raises(caesura.UsageError, match=r"the call of inner has ended: .* env\.tool"):
                await attempt()
        call.drop()
        call.drop()
        assert await guest.call("inner") == WORK

    run(main())


async def in_a_group(guest: caesura.Guest) -> int:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(guest.call("inner"))
    return int(task.result())


async def as_the_cause(guest: caesura.Guest) -> int:
    try:
        return await in_a_task(guest)
    except caesura.BudgetExhausted as error:
        raise ValueError("the tool has failed") from error


async def in_another_error(guest: caesura.Guest) -> int:
    try:
        return await in_a_task(guest)
    except caesura.BudgetExhausted:
        raise ValueError("the tool has failed")  # noqa: B904


def _inside(error: BaseException) -> caesura.BudgetExhausted:
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    found = error if isinstance(error, caesura.BudgetExhausted) else error.__cause__ or error.__context__
    assert isinstance(found, caesura.BudgetExhausted)
    return found


@pytest.mark.parametrize("tool", [in_a_group, as_the_cause, in_another_error])
def test_so_it_does_within_another_error(tool: Tool) -> None:
    async def main() -> None:
        guest = await load(tool)
        with pytest.raises((ExceptionGroup, ValueError)) as failure:
            await guest.call("run", budget=FUEL)
        pause = _inside(failure.value)
        assert "has ended: " in str(pause) and guest.pending == [] and not pause.call.is_held
        with pytest.raises(caesura.UsageError, match="the call of inner has ended"):
            await pause.call.aresume()
        pause.call.drop()
        assert await guest.call("inner") == WORK

    run(main())


def test_steps_whose_error_leaves_a_host_function() -> None:
    async def main() -> None:
        async def stepping(guest: caesura.Guest) -> int:
            return int(guest.start("inner", budget=FUEL))

        guest = await load(stepping)
        with pytest.raises(caesura.BudgetExhausted, match="has ended") as pause:
            await guest.call("run")
        pause.value.call.drop()
        assert guest.pending == [] and await guest.call("inner") == WORK

    run(main())


def test_an_error_that_is_of_another_guest_leaves_its_call_suspended() -> None:
    async def main() -> None:
        other = await load()

        async def elsewhere(guest: caesura.Guest) -> int:
            return int(await other.call("inner", budget=FUEL))

        guest = await load(elsewhere)
        with pytest.raises(caesura.BudgetExhausted, match=r"is suspended: let it go on") as pause:
            await guest.call("run")
        assert guest.pending == [] and other.pending == [pause.value.call]
        assert await pause.value.call.aresume() == WORK

    run(main())


async def by_generator(guest: caesura.Guest) -> int:
    async for _ in guest.agenerate("inner"):
        raise AssertionError("it does not yield")
    return 7


async def by_generators(guest: caesura.Guest) -> int:
    async def of_its_own() -> Any:
        async for item in guest.agenerate("outer"):
            yield item

    async for _ in of_its_own():
        raise AssertionError("it does not yield")
    return 7


@pytest.mark.parametrize("tool", [inner, outer, by_generator, by_generators])
def test_what_is_dropped_is_dropped_with_all_that_is_inside(tool: Tool) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        closed: list[str] = []

        async def tidy(guest: caesura.Guest) -> int:
            try:
                return await tool(guest)
            finally:
                closed.append("closed")

        guest = await load(tidy)
        call = await handed_out(guest)
        assert guest.pending[0] == call and len(guest.pending) == 2 + (tool in (outer, by_generators))
        call.drop()
        assert guest.pending == [] and closed == ["closed"]
        assert await guest.call("inner") == WORK
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not told
        call = await handed_out(guest)
        assert await call.aresume() in (107, 100 + WORK, 101 + WORK)

    run(main())


each_depth = pytest.mark.parametrize("tool", [inner, outer])


async def forked(guest: caesura.Guest, tool: Tool) -> caesura.Guest:
    async def called(guest: caesura.Guest) -> int:
        return await tool(guest)

    (child,) = await guest.snapshot().fork(1, {"env": {"tool": called, "deeper": inner}})
    return child


@each_depth
@pytest.mark.parametrize("anew", [False, True])
def test_forks_go_on_from_the_innermost_call_outwards(tool: Tool, anew: bool) -> None:
    async def main() -> None:
        guest = await load(tool)
        original = await handed_out(guest)
        child = await forked(guest, tool)
        exports = ["run", *(["outer"] if tool is outer else []), "inner"]
        assert [call.export for call in child.pending] == [call.export for call in guest.pending] == exports
        with pytest.raises(caesura.BudgetExhausted):
            await child.pending[-1].aresume(budget=caesura.Budget(fuel=100))
        assert [call.export for call in child.pending] == exports
        answer = await child.pending[-1].aresume(budget=caesura.Budget(fuel=1 << 40))
        assert answer == WORK
        while child.pending:
            last = child.pending[-1]
            answer = await last if anew else await last.aresume(answer)
        assert answer == 100 + WORK + (tool is outer)
        assert await original.aresume() == answer

    run(main())


@each_depth
def test_another_order_is_an_error_and_changes_nothing(tool: Tool) -> None:
    async def main() -> None:
        guest = await load(tool)
        await handed_out(guest)
        child = await forked(guest, tool)
        before = [call.export for call in child.pending]
        attempts: list[Callable[[], Any]] = [
            lambda: child.pending[0].aresume(5),
            lambda: child.pending[0].aresume(5, budget=FUEL),
            lambda: _awaited(child.pending[0]),
            lambda: child.pending[0].athrow(ValueError("not now")),
        ]
        for attempt in attempts:
            with pytest.raises(
                caesura.UsageError, match=r"inner is paused .* `pause`\), and only then the call whose host"
            ):
                await attempt()
            assert [call.export for call in child.pending] == before
            assert all(call.is_held for call in child.pending)
        await child.pending[-1].aresume()
        while len(child.pending) > 1:
            await child.pending[-1].aresume(5)
        assert await child.pending[0].aresume(7) == 107

    run(main())


async def _awaited(call: caesura.PendingCall) -> Any:
    return await call


WITH_A_LOCK = """(module
  (import "env" "work" (func $work))
  (memory (export "memory") 1)
  {start}
  (func (export "run") (call $work))
  (func (export "spin") (loop (br 0))))"""


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("how", ["close", "aclose", "drop", "load"])
def test_host_functions_below_a_call_in_hands_end_with_the_guest(how: str, preempt: str) -> None:
    """And at once, not when Python's garbage collector finds them: what they hold is free."""

    async def main() -> None:
        lock = asyncio.Lock()
        ended: list[str] = []

        async def work(guest: caesura.Guest) -> None:
            async with lock:
                try:
                    await guest.call("spin")
                finally:
                    ended.append("host function")

        budget = caesura.Budget(fuel=100_000) if preempt == "fuel" else caesura.Budget(cpu=0.01)
        imports = {"env": {"work": work}}
        if how == "load":
            text = WITH_A_LOCK.format(start="(func $begin (call $work)) (start $begin)").encode()
            with pytest.raises(caesura.BudgetExhausted):
                await caesura.load(text, imports, preempt=preempt, budget=budget)
        else:
            guest = await caesura.load(WITH_A_LOCK.format(start="").encode(), imports, preempt=preempt)
            with pytest.raises(caesura.BudgetExhausted) as pause:
                await guest.call("run", budget=budget)
            assert lock.locked() and not ended
            if how == "drop":
                pause.value.call.drop()
            elif how == "close":
                guest.close()
            else:
                await guest.aclose()
            if how != "drop":
                with pytest.raises(caesura.UsageError, match="closed"):
                    await pause.value.call.resume()
        assert ended == ["host function"]
        assert not lock.locked()

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_one_that_waits_while_it_is_ended_is_told_of() -> None:
    async def main() -> None:
        async def work(guest: caesura.Guest) -> None:
            try:
                await guest.call("spin")
            finally:
                await asyncio.sleep(0)

        guest = await caesura.load(WITH_A_LOCK.format(start="").encode(), {"env": {"work": work}}, preempt="fuel")
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("run", budget=caesura.Budget(fuel=1000))
        with pytest.warns(RuntimeWarning, match="was closed, and a host function below its call of run did not end"):
            guest.close()
        with pytest.raises(caesura.UsageError, match="closed"):
            await guest.call("run")

    run(main())


def test_a_host_function_that_closes_its_guest_with_a_call_in_hand_is_told_so() -> None:
    def work(guest: caesura.Guest) -> None:
        assert isinstance(guest.start("spin"), caesura.PendingCall)
        guest.close()

    async def main() -> None:
        text = WITH_A_LOCK.format(start="").encode()
        guest = await caesura.load(text, {"env": {"work": work}}, time_slice=0.001)
        with pytest.raises(caesura.UsageError, match="this guest is closed"):
            await guest.call("run")

    run(main())
