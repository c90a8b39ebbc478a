"""Exceptions and traps: what arrives, with which backtrace, and that the guest can be used afterwards."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_calls, load_waiter, run, settle


class Broken(Exception):
    """An error that only the tests raise."""


pytestmark = pytest.mark.parametrize("abi", ABIS)


async def same(value: int) -> int:
    await asyncio.sleep(0)
    return value


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


def test_an_exception_before_waiting_is_the_same_object(abi: str) -> None:
    async def main() -> None:
        error = Broken("at once")

        async def wait(value: int) -> int:
            if value == 1:
                raise error
            return await same(value)

        guest = await load_waiter(wait, abi)
        with pytest.raises(Broken) as caught:
            await guest.call("outer", 1)
        assert caught.value is error
        assert notes_of(error) == "guest backtrace, innermost first:\n  inner\n  outer"
        assert await guest.call("outer", 2) == 102

    run(main())


def test_an_exception_after_waiting_is_the_same_object(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        error = Broken("later")
        call = asyncio.create_task(guest.call("outer", 1))
        other = asyncio.create_task(guest.call("outer", 2))
        await settle()
        gates.fail(1, error)
        with pytest.raises(Broken) as caught:
            await call
        assert caught.value is error
        assert notes_of(error) == "guest backtrace, innermost first:\n  inner\n  outer"
        gates.open(2, 5)
        assert await other == 105

    run(main())


@pytest.mark.parametrize("place", range(6))
def test_an_exception_at_every_suspension(abi: str, place: int) -> None:
    async def main() -> None:
        error = Broken(str(place))

        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            if value == 6 - place:
                raise error
            return value

        guest = await load_waiter(wait, abi)
        with pytest.raises(Broken) as caught:
            await guest.call("loop", 6)
        assert caught.value is error
        assert guest.suspended == 0
        assert guest.call_nowait("calls") == place + 1
        assert await guest.call("twice", 10) == 21

    run(main())


def test_an_exception_of_a_plain_function(abi: str) -> None:
    async def main() -> None:
        error = KeyboardInterrupt()

        def note(value: int) -> None:
            raise error

        guest = await load_calls(abi, note=note, wait=same)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt) as caught:
                await guest.call("note_then_wait", 1)
            assert caught.value is error
        assert await guest.call("descend", 0, 1) == 1 + 31

    run(main())


def test_a_trap_tells_kind_and_place(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(same, abi)
        with pytest.raises(caesura.GuestTrap) as caught:
            await guest.call("trap", 1)
        assert caught.value.kind == "unreachable"
        assert caught.value.backtrace == ("trap",)
        assert await guest.call("outer", 1) == 101

    run(main())


def test_traps_before_and_after_waiting(abi: str) -> None:
    async def main() -> None:
        guest = await load_calls(abi, wait=same, note=lambda value: None)
        for _ in range(3):
            with pytest.raises(caesura.GuestTrap) as caught:
                await guest.call("divide", 1, 0)
            assert caught.value.kind == "integer division by zero"
            with pytest.raises(caesura.GuestTrap, match="integer division by zero"):
                await guest.call("wait_then_divide", 0)
            assert await guest.call("wait_then_divide", 3) == 1
            assert guest.call_nowait("add", 1, 2) == 3

    run(main())


def test_a_trap_in_a_nested_call_leaves_the_outer_one_alone(abi: str) -> None:
    async def main() -> None:
        def again(guest: caesura.Guest, value: int) -> int:
            with pytest.raises(caesura.GuestTrap):
                guest.call_nowait("divide", 1, 0)
            return value

        guest = await load_calls(abi, again=again, note=lambda value: None, wait=same)
        assert guest.call_nowait("nested", 4) == 5
        assert await guest.call("nested", 5) == 6
        assert await guest.call("descend", 0, 1) == 1 + 31

    run(main())


def test_wrong_results_are_the_host_functions_fault(abi: str) -> None:
    async def main() -> None:
        answers: list[object] = ["text", 1 << 40, None, (1, 2)]

        async def wait(value: int) -> object:
            await asyncio.sleep(0)
            return answers[value] if value < len(answers) else value

        guest = await load_waiter(wait, abi)
        for place in range(len(answers)):
            with pytest.raises(caesura.UsageError, match=r"host function env\.wait"):
                await guest.call("outer", place)
        assert await guest.call("outer", 9) == 109

    run(main())


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An exception that refuses attributes."""

    reason: str


@pytest.mark.parametrize("waits", [False, True])
def test_an_exception_that_refuses_attributes(abi: str, waits: bool) -> None:
    async def main() -> None:
        error = Frozen("no")

        async def wait(value: int) -> int:
            if waits:
                await asyncio.sleep(0)
            raise error

        guest = await load_waiter(wait, abi)
        with pytest.raises(Frozen) as caught:
            await guest.call("outer", 1)
        assert caught.value is error

    run(main())


def test_one_exception_raised_many_times(abi: str) -> None:
    async def main() -> None:
        failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        error = Broken("down")
        failed.set_exception(error)
        error.add_note("of somebody else")

        async def wait(value: int) -> int:
            return await failed

        guest = await load_waiter(wait, abi)
        for place in range(30):
            with pytest.raises(Broken):
                await guest.call("outer" if place < 20 else "deep", max(1, place - 19))
        notes = error.__notes__
        assert notes[0] == "of somebody else"
        assert [note.count("deep") for note in notes[1:]] == [0, 0, 0, 0, 9, 10, 11, 12]

    run(main())


def test_an_exception_of_webassembly_that_nobody_catches(abi: str) -> None:
    async def main() -> None:
        text = b"""(module (tag $e (param i32)) (func $f (export "f") (throw $e (i32.const 5))))"""
        guest = await caesura.load(text, {}, cache=False)
        for _ in range(2):
            with pytest.raises(caesura.GuestTrap) as caught:
                guest.call_nowait("f")
            assert (caught.value.kind, caught.value.backtrace) == ("uncaught exception", ("f",))

    run(main())


def test_a_future_is_not_spoilt_by_a_call_that_cannot_wait_for_it(abi: str) -> None:
    """Many wait for one future, such as a connection; a call that fails to be suspended at it leaves it as it was."""

    async def main() -> None:
        shared: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait(value: int) -> int:
            return await shared

        guest = await load_waiter(wait, abi)
        for attempt in range(2):
            with pytest.raises(caesura.UsageError, match="call_nowait"):
                guest.call_nowait("outer", attempt)
        if abi in ("thunks", "plain"):
            with pytest.raises(caesura.GuestTrap, match="asyncify stack overflow"):
                await guest.call("deep", 10_000)
        call = asyncio.create_task(guest.call("outer", 1))
        await settle()
        shared.set_result(7)
        assert await call == 107

    run(main())
