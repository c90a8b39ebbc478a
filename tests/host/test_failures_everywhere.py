"""Something goes wrong at every point of a call, for every ABI: the error arrives, and nothing else is harmed.

Each scenario runs in a guest in which another call is suspended, which must go on afterwards as if nothing had been,
and several times over, since what is left behind by one failure shows in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_calls, run, settle


class Broken(Exception):
    """An error that only the tests raise."""


class Harder(BaseException):
    """An error that is no Exception."""


class Scene:
    """A guest, and what its host functions are told to do."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.error: BaseException = Broken()
        self.again: Callable[[caesura.Guest, int], Awaitable[Any]] = self.nothing

    async def nothing(self, guest: caesura.Guest, value: int) -> int:
        """Return at once."""
        return value

    def note(self, value: int) -> None:
        """Raise where the number says so."""
        if value < 0:
            raise self.error

    async def load(self, abi: str) -> caesura.Guest:
        """Load the guest."""

        async def again(guest: caesura.Guest, value: int) -> Any:
            return await self.again(guest, value)

        return await load_calls(abi, wait=self.gates.wait, note=self.note, again=again)


async def at_once(scene: Scene, guest: caesura.Guest) -> None:
    """A plain function raises before anything was suspended."""
    await guest.call("note_then_wait", -1)


async def in_the_first_step(scene: Scene, guest: caesura.Guest) -> None:
    """A coroutine raises before it waits."""

    async def again(guest: caesura.Guest, value: int) -> int:
        raise scene.error

    scene.again = again
    await guest.call("nested", 1)


async def after_waiting(scene: Scene, guest: caesura.Guest) -> None:
    """A coroutine raises after it has waited."""

    async def again(guest: caesura.Guest, value: int) -> int:
        await asyncio.sleep(0)
        raise scene.error

    scene.again = again
    await guest.call("nested", 1)


async def after_waiting_twice(scene: Scene, guest: caesura.Guest) -> None:
    """A coroutine survives an error that is thrown in, waits again, and raises."""

    async def again(guest: caesura.Guest, value: int) -> int:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            await asyncio.sleep(0)
        raise scene.error

    scene.again = again
    await guest.call("nested", 1)


async def in_a_nested_call(scene: Scene, guest: caesura.Guest) -> None:
    """The error passes through the guest twice: from a call that a coroutine made before it waited."""

    async def again(guest: caesura.Guest, value: int) -> int:
        guest.call_nowait("note_then_wait", -1)
        return value

    scene.again = again
    await guest.call("nested", 1)


async def in_a_nested_call_that_waits(scene: Scene, guest: caesura.Guest) -> None:
    """The same in a call that is suspended while the outer one is."""

    async def again(guest: caesura.Guest, value: int) -> int:
        if value:
            await asyncio.sleep(0)
            return int(await guest.call("nested", value - 1))
        await asyncio.sleep(0)
        raise scene.error

    scene.again = again
    await guest.call("nested", 5)


async def while_another_is_resumed(scene: Scene, guest: caesura.Guest) -> None:
    """Two calls are ready in the same turn of the loop; the first of them fails."""

    async def again(guest: caesura.Guest, value: int) -> int:
        await asyncio.sleep(0)
        if value == 1:
            raise scene.error
        return value

    scene.again = again
    failing, other = (asyncio.create_task(guest.call("nested", value)) for value in (1, 2))
    await asyncio.wait([failing, other])
    assert other.result() == 3
    await failing


async def in_a_result(scene: Scene, guest: caesura.Guest) -> None:
    """What a coroutine returns without waiting does not fit, and converting it raises."""

    class Wrong:
        def __index__(self) -> int:
            raise scene.error

    async def again(guest: caesura.Guest, value: int) -> object:
        return Wrong()

    scene.again = again
    await guest.call("nested", 1)


async def in_a_result_after_waiting(scene: Scene, guest: caesura.Guest) -> None:
    """What a coroutine returns after waiting does not fit."""

    class Wrong:
        def __index__(self) -> int:
            raise scene.error

    async def again(guest: caesura.Guest, value: int) -> object:
        await asyncio.sleep(0)
        return Wrong()

    scene.again = again
    await guest.call("nested", 1)


async def in_an_argument(scene: Scene, guest: caesura.Guest) -> None:
    """An argument cannot be converted."""

    class Wrong:
        def __index__(self) -> int:
            raise scene.error

    await guest.call("nested", Wrong())


async def by_cancelling_from_inside(scene: Scene, guest: caesura.Guest) -> None:
    """A coroutine is cancelled while it waits and raises something else."""

    async def again(guest: caesura.Guest, value: int) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise scene.error from None
        return value

    scene.again = again
    task = asyncio.create_task(guest.call("nested", 1))
    await settle()
    task.cancel()
    await task


async def in_closing_a_coroutine(scene: Scene, guest: caesura.Guest) -> None:
    """The guest cannot be suspended, and the coroutine raises when it is told so."""

    async def again(guest: caesura.Guest, value: int) -> int:
        try:
            await asyncio.sleep(60)
        finally:
            raise scene.error

    scene.again = again
    guest.call_nowait("nested", 1)


POINTS = [
    at_once,
    in_the_first_step,
    after_waiting,
    after_waiting_twice,
    in_a_nested_call,
    in_a_nested_call_that_waits,
    while_another_is_resumed,
    in_a_result,
    in_a_result_after_waiting,
    in_an_argument,
    by_cancelling_from_inside,
    in_closing_a_coroutine,
]


@pytest.mark.parametrize("error", [Broken, Harder, asyncio.CancelledError, StopAsyncIteration])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("abi", ABIS)
def test_an_error_at_every_point(
    abi: str, point: Callable[[Scene, caesura.Guest], Awaitable[None]], error: type[BaseException]
) -> None:
    async def main() -> None:
        scene = Scene()
        guest = await scene.load(abi)
        other = asyncio.create_task(guest.call("descend", 30, 7))
        await settle()
        for _ in range(3):
            scene.error = error()
            caught = await outcome(point(scene, guest))
            assert caught is scene.error
            assert guest.suspended == 1 and guest.call_nowait("add", 20, 22) == 42
        check = asyncio.create_task(guest.call("descend", 12, 8))
        await settle()
        scene.gates.open(8, 0)
        assert await check == sum(8 * 31 + d * 16 + d for d in range(13))
        scene.gates.open(7, 1)
        assert await other == 1 + sum(7 * 31 + d * 16 + (d & 15) for d in range(31))

    run(main())


async def outcome(attempt: Awaitable[None]) -> BaseException | None:
    """Return what an attempt raises."""
    try:
        await attempt
    except BaseException as error:
        return error
    return None
