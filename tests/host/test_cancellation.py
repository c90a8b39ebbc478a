"""Cancelled, timed out, abandoned and closed: the suspended call goes, the guest stays usable."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_calls, load_waiter, run, settle

pytestmark = pytest.mark.parametrize("abi", ABIS)


@pytest.mark.parametrize("place", range(5))
def test_a_task_is_cancelled_at_every_suspension(abi: str, place: int) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        other = asyncio.create_task(guest.call("outer", 99))
        call = asyncio.create_task(guest.call("loop", 5))
        await settle()
        for value in range(5, 5 - place, -1):
            gates.open(value, value)
            await settle()
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call
        assert "innermost first:\n  inner\n  loop" in "".join(caught.value.__notes__)
        assert guest.suspended == 1 and list(gates.futures) == [99]
        gates.open(99, 1)
        assert await other == 101

    run(main())


def test_a_timeout_ends_a_call(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await guest.call("descend", 10, 1)
            assert guest.suspended == 0
        assert guest.call_nowait("add", 1, 1) == 2

    run(main())


@pytest.mark.parametrize("place", range(6))
def test_nested_calls_are_cancelled_at_every_depth(abi: str, place: int) -> None:
    """Calls of one task, each made by the host function of the one before; the task is cancelled at one of them."""

    async def main() -> None:
        ended: list[int] = []

        async def again(guest: caesura.Guest, value: int) -> int:
            try:
                await asyncio.sleep(60 if value == place else 0)
                return int(await guest.call("nested", value - 1)) if value else 0
            finally:
                ended.append(value)

        guest = await load_calls(abi, again=again)
        call = asyncio.create_task(guest.call("nested", 5))
        await settle()
        assert guest.suspended == 6 - place and ended == []
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call
        assert "".join(caught.value.__notes__).count("  nested") == 6 - place
        assert guest.suspended == 0 and ended == list(range(place, 6))
        assert guest.call_nowait("add", 1, 1) == 2

    run(main())


def test_a_task_that_has_not_begun_is_cancelled(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(Gates().wait, abi)
        call = asyncio.create_task(guest.call("outer", 1))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert guest.suspended == 0 and guest.call_nowait("calls") == 0

    run(main())


def test_cancelling_twice_is_cancelling_once(abi: str) -> None:
    async def main() -> None:
        async def wait(value: int) -> int:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return value

        guest = await load_waiter(wait, abi)
        call = asyncio.create_task(guest.call("outer", 1))
        await settle()
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert guest.suspended == 0

    run(main())


def test_calls_of_a_group_end_together(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait, note=lambda value: None)
        calls: list[asyncio.Task[Any]] = []

        async def fail_together() -> None:
            async with asyncio.TaskGroup() as group:
                calls.extend(group.create_task(guest.call("descend", 9, key)) for key in range(3))
                calls.append(group.create_task(guest.call("wait_then_divide", 3)))
                await settle()
                gates.open(3, 0)

        with pytest.raises(ExceptionGroup) as caught:
            await fail_together()
        assert isinstance(caught.value.exceptions[0], caesura.GuestTrap) and len(caught.value.exceptions) == 1
        assert [call.cancelled() for call in calls] == [True, True, True, False]
        assert guest.suspended == 0 and not gates.futures
        assert guest.call_nowait("add", 1, 1) == 2

    run(main())


def test_a_host_function_may_close_its_guest(abi: str) -> None:
    async def main() -> None:
        async def wait(guest: caesura.Guest, value: int) -> int:
            await asyncio.sleep(0)
            if value == 2:
                await guest.aclose()
            else:
                await asyncio.sleep(60)
            return value

        guest = await load_waiter(wait, abi)
        calls = [asyncio.create_task(guest.call("outer", key)) for key in (1, 2)]
        await asyncio.wait(calls)
        assert calls[0].cancelled() and (calls[1].cancelled() or "is closed" in str(calls[1].exception()))
        assert guest.suspended == 0

    run(main())


def test_a_generator_of_a_closed_guest_does_not_go_on(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value), abi)
        new, begun = guest.generate("loop", 3), guest.generate("loop", 3)
        next(begun)
        guest.close()
        for generator in (new, begun):
            with pytest.raises(caesura.UsageError, match="this guest is closed"):
                next(generator)
        assert guest.suspended == 0

    run(main())


def test_a_host_function_may_outlive_its_cancellation(abi: str) -> None:
    async def main() -> None:
        async def wait(value: int) -> int:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                return 5
            raise AssertionError("unreachable")

        guest = await load_waiter(wait, abi)
        call = asyncio.create_task(guest.call("outer", 1))
        await settle()
        call.cancel()
        assert await call == 105

    run(main())


def test_an_abandoned_call_frees_its_stack(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        other = asyncio.create_task(guest.call("descend", 6, 2))
        await settle()
        size = 0
        for _ in range(200):
            call = guest.call("descend", 8, 1)
            call.send(None)
            assert guest.suspended == 2
            call.close()
            assert guest.suspended == 1 and list(gates.futures) == [2]
            size = size or len(guest.memory)
        assert len(guest.memory) == size
        gates.open(2, 0)
        assert await other == sum(2 * 31 + d * 16 + d for d in range(7))

    run(main())


def test_closing_cancels_what_is_in_flight(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        async with await load_waiter(gates.wait, abi) as guest:
            calls = [asyncio.create_task(guest.call("outer", key)) for key in range(3)]
            await settle()
        assert all(call.cancelled() for call in calls)
        assert not gates.futures and guest.suspended == 0
        with pytest.raises(caesura.UsageError, match="closed"):
            await guest.call("outer", 1)
        with pytest.raises(caesura.UsageError, match="closed"):
            guest.memory.read(0, 1)
        await guest.aclose()

    run(main())


def test_a_guest_is_collected_without_warnings(abi: str) -> None:
    async def main() -> weakref.ref[caesura.Guest]:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        call = guest.call("outer", 1)
        call.send(None)
        generator = guest.generate("calls")
        del call, generator
        return weakref.ref(guest)

    reference = asyncio.run(main())
    gc.collect()
    assert reference() is None


def test_closing_a_guest_says_so_to_the_tasks_that_wait_in_it(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(Gates().wait, abi)
        said: list[str] = []

        async def call() -> None:
            try:
                await guest.call("outer", 1)
            except asyncio.CancelledError as error:
                said.append(str(error))
                raise

        task = asyncio.create_task(call())
        await settle()
        await guest.aclose()
        assert task.cancelled() and said == ["the guest was closed"]

    run(main())


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_guest_is_closed_in_another_loop_than_its_calls(abi: str, closes_first: bool) -> None:
    """What waits in a loop that does not run cannot be waited for, and in one that is closed not be cancelled."""
    gates = Gates()
    loop = asyncio.new_event_loop()
    guest = loop.run_until_complete(load_waiter(gates.wait, abi))
    call = loop.create_task(guest.call("outer", 1))
    loop.run_until_complete(settle())
    if closes_first:
        loop.close()
    run(guest.aclose())
    if closes_first:
        assert not call.done()
    else:
        with pytest.raises(asyncio.CancelledError, match="the guest was closed"):
            loop.run_until_complete(call)
        loop.close()
    with pytest.raises(caesura.UsageError, match="this guest is closed"):
        run(guest.call("outer", 1))
