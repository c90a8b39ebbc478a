"""A call that is in somebody's hands, its budget used up inside of a host function: nothing of it concerns anybody
else's task, and each resumption brings it further.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

import caesura
from tests.host.support import run

# `run` calls `tool`, that `inner` (or `outer`, which calls `deeper`), which counts to as much as the host has written.
GUEST: Final = b"""(module
  (import "env" "tool" (func $tool (result i32)))
  (import "env" "deeper" (func $deeper (result i32)))
  (memory (export "memory") 1)
  (func (export "inner") (result i32) (local $n i32)
    (loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.load (i32.const 0)))))
    (local.get $n))
  (func (export "outer") (result i32) (i32.add (call $deeper) (i32.const 1)))
  (func (export "run") (result i32) (i32.add (call $tool) (i32.const 100))))"""

WORK: Final = 10_000
FUEL: Final = caesura.Budget(fuel=WORK // 4)

Tool = Callable[[caesura.Guest], Awaitable[int]]


async def inner(guest: caesura.Guest) -> int:
    return int(await guest.call("inner"))


async def outer(guest: caesura.Guest) -> int:
    return int(await guest.call("outer"))


async def load(tool: Tool = inner, **given: Any) -> caesura.Guest:
    async def called(guest: caesura.Guest) -> int:
        return await tool(guest)

    given.setdefault("preempt", "fuel")
    guest = await caesura.load(GUEST, {"env": {"tool": called, "deeper": inner}}, **given)
    guest.memory.write(0, WORK.to_bytes(4, "little"))
    return guest


async def handed_out(guest: caesura.Guest, budget: caesura.Budget = FUEL) -> caesura.PendingCall:
    with pytest.raises(caesura.BudgetExhausted) as pause:
        await guest.call("run", budget=budget)
    return pause.value.call


each_depth = pytest.mark.parametrize("tool", [inner, outer])


@each_depth
@pytest.mark.parametrize("awaits", [False, True])
def test_who_has_a_call_and_closes_the_guest_is_not_cancelled(tool: Tool, awaits: bool) -> None:
    async def main() -> None:
        guest = await load(tool)

        async def served() -> None:
            if awaits:
                async with guest:
                    await guest.call("run", budget=FUEL)
            else:
                with contextlib.closing(guest):
                    await guest.call("run", budget=FUEL)

        with pytest.raises(caesura.BudgetExhausted):
            await served()
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None and not task.cancelling()

    run(main())


@each_depth
def test_who_had_a_call_is_not_cancelled_when_another_closes_the_guest(tool: Tool) -> None:
    async def main() -> None:
        guest = await load(tool)
        gate = asyncio.Event()
        had: list[caesura.PendingCall] = []

        async def holder() -> str:
            had.append(await handed_out(guest))
            await gate.wait()
            return "went on"

        holding = asyncio.create_task(holder())
        while not had:
            await asyncio.sleep(0)
        await guest.aclose()
        gate.set()
        assert await holding == "went on"
        with pytest.raises(caesura.UsageError, match="closed"):
            await had[0].aresume()

    run(main())


@each_depth
def test_who_goes_on_with_a_call_is_cancelled_when_another_closes_the_guest(tool: Tool) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def waiting(guest: caesura.Guest) -> int:
            await tool(guest)
            reached.set()
            return int(await asyncio.get_running_loop().create_future())

        guest = await load(waiting)
        call = await handed_out(guest)
        going_on = asyncio.ensure_future(call.aresume())
        await reached.wait()
        await guest.aclose()
        with pytest.raises(asyncio.CancelledError, match="the guest was closed"):
            await going_on

    run(main())


@each_depth
def test_a_timer_of_a_host_function_ends_its_waiting_and_nobody_elses(tool: Tool) -> None:
    """It fires while the call is in the hands of the task that has called the guest, which waits for something else."""

    async def main() -> None:
        fired = asyncio.Event()

        async def impatient(guest: caesura.Guest) -> int:
            timer = asyncio.timeout(None)
            try:
                async with timer:
                    loop = asyncio.get_running_loop()
                    timer.reschedule(loop.time() + 0.005)
                    loop.call_at(loop.time() + 0.006, fired.set)
                    return await tool(guest)
            except TimeoutError:
                return 7

        guest = await load(impatient)
        call = await handed_out(guest)
        await fired.wait()
        await asyncio.sleep(0)
        assert await call.aresume() == 107
        assert guest.suspended == 0
        task = asyncio.current_task()
        assert task is not None and not task.cancelling()

    run(main())


@each_depth
def test_a_timer_of_a_host_function_ends_its_waiting_in_another_task(tool: Tool) -> None:
    """It fires when the call goes on elsewhere, and the task in which the host function began is done, or busy."""

    async def main() -> None:
        async def impatient(guest: caesura.Guest) -> int:
            timer = asyncio.timeout(None)
            try:
                async with timer:
                    await tool(guest)
                    timer.reschedule(asyncio.get_running_loop().time())
                    return int(await asyncio.get_running_loop().create_future())
            except TimeoutError:
                return 7

        guest = await load(impatient)
        calls: list[caesura.PendingCall] = []
        gate = asyncio.Event()

        async def first() -> str:
            calls.append(await handed_out(guest))
            await gate.wait()
            return "went on"

        beginning = asyncio.create_task(first())
        while not calls:
            await asyncio.sleep(0)
        assert await asyncio.create_task(calls[0].aresume()) == 107
        gate.set()
        assert await beginning == "went on"

    run(main())


def test_a_task_group_of_a_host_function_ends_its_waiting_and_nobody_elses() -> None:
    async def main() -> None:
        gate, failed = asyncio.Event(), asyncio.Event()

        async def fails() -> None:
            await gate.wait()
            failed.set()
            raise ZeroDivisionError("a child")

        async def grouping(guest: caesura.Guest) -> int:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
                    await guest.call("inner")
            except* ZeroDivisionError:
                pass
            return 7

        guest = await load(grouping)
        call = await handed_out(guest)
        gate.set()
        await failed.wait()
        await asyncio.sleep(0)
        assert await call.aresume() == 107 and guest.suspended == 0

    run(main())


def test_cancelling_who_drives_the_call_reaches_the_host_function_as_ever() -> None:
    """Also while it has a timeout of its own, which has fired in the same moment."""

    async def main() -> None:
        seen: list[str] = []
        timers: list[asyncio.Timeout] = []

        async def waiting(guest: caesura.Guest) -> int:
            try:
                async with asyncio.timeout(1000) as timer:
                    timers.append(timer)
                    await asyncio.get_running_loop().create_future()
            except BaseException as error:
                seen.append(type(error).__name__)
                raise
            return 0

        for expires in (False, True):
            guest = await load(waiting)
            calling = asyncio.create_task(guest.call("run", budget=FUEL))
            while len(timers) <= expires:
                await asyncio.sleep(0)
            if expires:
                timers[-1].reschedule(0)
                await asyncio.sleep(0)  # it is called in the next iteration
            calling.cancel()
            await asyncio.wait([calling])
            assert calling.cancelled()
        assert seen == ["CancelledError"] * 2

        async def cancels_itself(guest: caesura.Guest) -> int:
            task = asyncio.current_task()
            assert task is not None
            task.cancel("by itself")
            return 7

        guest = await load(cancels_itself)
        calling = asyncio.create_task(guest.call("run", budget=FUEL))
        with pytest.raises(asyncio.CancelledError, match="by itself"):  # as a task that does so at its end
            await calling

    run(main())


def test_the_task_that_a_host_function_sees() -> None:
    async def main() -> None:
        names: list[str] = []

        async def looking(guest: caesura.Guest) -> int:
            for _ in range(2):
                task = asyncio.current_task()
                assert task is not None and not task.done() and task.cancelling() == 0
                names.append(task.get_name())
                async with asyncio.TaskGroup() as group:
                    begun = group.create_task(asyncio.sleep(0))
                assert begun.done()
            return 1

        guest = await load(looking)
        calling = asyncio.create_task(guest.call("run", budget=caesura.Budget(fuel=1 << 40)), name="caller")
        assert await calling == 101
        assert names == ["caller"] * 2
        assert asyncio.current_task() in asyncio.all_tasks()

    run(main())


@each_depth
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_however_small_a_budget_is_each_brings_the_call_further(tool: Tool, preempt: str) -> None:
    async def main() -> None:
        guest = await load(tool, preempt=preempt)
        guest.memory.write(0, (20).to_bytes(4, "little"))
        budget = caesura.Budget(cpu=1e-9)
        step: Awaitable[Any] = guest.call("run", budget=budget)
        result = None
        exports: list[str] = []
        while result is None and len(exports) < 200:
            try:
                result = await step
            except caesura.BudgetExhausted as pause:
                exports.append(pause.call.export)
                step = pause.call.aresume(budget=budget)
        assert result == 120 + (tool is outer) and exports == ["run"] * len(exports)
        assert guest.usage.slices > 1

    run(main())


@each_depth
def test_the_outer_budget_hands_out_the_outer_call(tool: Tool) -> None:
    """A budget that is larger, of a call inside, is not the one that has ended."""

    async def main() -> None:
        async def with_budget(guest: caesura.Guest) -> int:
            name = "inner" if tool is inner else "outer"
            return int(await guest.call(name, budget=caesura.Budget(fuel=1 << 40)))

        guest = await load(with_budget)
        call = await handed_out(guest)
        assert call.export == "run" and call.is_held
        assert [item.export for item in guest.pending] == ["run", *(["outer"] if tool is outer else []), "inner"]
        assert await call.aresume() == 100 + WORK + (tool is outer)

    run(main())


def test_a_task_of_a_host_function_gets_the_call_that_it_awaits_with_all_that_is_inside() -> None:
    async def main() -> None:
        exports: list[str] = []

        async def in_a_task(guest: caesura.Guest) -> int:
            try:
                return int(await asyncio.create_task(guest.call("outer")))
            except caesura.BudgetExhausted as pause:
                exports.append(pause.call.export)
                pause.call.drop()
                return 7

        guest = await load(in_a_task)
        call = None
        try:
            result = await guest.call("run", budget=FUEL)
        except caesura.BudgetExhausted as pause:
            call = pause.call
            result = await call.aresume()
        assert result == 107 and exports == ["outer"] and guest.suspended == 0

    run(main())


def test_through_another_guest() -> None:
    async def main() -> None:
        async def back() -> int:
            return int(await guest.call("inner"))

        between = await caesura.load(GUEST, {"env": {"tool": back, "deeper": back}}, preempt="fuel")

        async def through(guest: caesura.Guest) -> int:
            return int(await between.call("run"))

        guest = await load(through)
        call = await handed_out(guest)
        assert call.export == "run" and [item.export for item in guest.pending] == ["run", "inner"]
        assert await call.aresume() == 200 + WORK
        assert guest.suspended == between.suspended == 0

    run(main())
