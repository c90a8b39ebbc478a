"""What is put on the program's own C stack stays there: arguments of calls that begin while the first one waits."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from tests.host.own_stack import OWN, load_program
from tests.host.support import ABIS, Gates, run, settle


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("others", [0, 1, 2])
def test_what_is_allocated_on_a_suspended_stack_stays(abi: str, others: int) -> None:
    """For the first call, and for one on a stack of its own."""

    async def main() -> None:
        gates = Gates()

        async def wait(guest: caesura.Guest, key: int) -> int:
            if key:
                return await gates.wait(key)
            await asyncio.sleep(0)
            pointer: int = guest.call_nowait("stackAlloc", 4)
            guest.memory.write_struct("<i", pointer, 1234)
            return pointer

        guest = await load_program(abi, wait)
        calls = [asyncio.create_task(guest.call("run", 64, key + 1)) for key in range(others)]
        await settle()
        rest = guest.call_nowait("position")
        for _ in range(300):  # more than a stack holds, if what is allocated were never given back
            assert await guest.call("use_string", 0) == 1234
        assert guest.call_nowait("position") == rest
        for key in range(others):
            gates.open(key + 1, 10)
        assert await asyncio.gather(*calls) == [key + 11 for key in range(others)]

    run(main())


def put_on_stack(guest: caesura.Guest, number: int) -> int:
    pointer: int = guest.call_nowait("stackAlloc", 4)
    guest.memory.write_struct("<i", pointer, number)
    return pointer


@pytest.mark.parametrize("abi", ABIS)
def test_arguments_of_a_call_that_begins_while_the_first_one_waits_stay(abi: str) -> None:
    """The first call waits, with the keys 1 to 3, and those behind it with 4 and 5, in many orders."""

    async def main() -> None:
        gates = Gates()

        async def wait(key: int) -> int:
            return 0 if key == 100 else await gates.wait(key)

        guest = await load_program(abi, wait)
        top = guest.call_nowait("position")
        order: tuple[int, ...]
        for order in ((4, 5, 1, 2, 3), (1, 4, 2, 5, 3), (1, 2, 5, 3, 4), (1, 2, 3, 4, 5), (1, 2, 3, 5, 4)):
            first = asyncio.create_task(guest.call("deeper", 0))
            await settle()
            second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
            await settle()
            if order[0] == 1:
                gates.open(1, 0)
                await settle()
            third = asyncio.create_task(guest.call("late", 5, put_on_stack(guest, 77)))
            await settle()
            for key in order[order[0] == 1 :]:
                gates.open(key, 0)
                await settle()
                guest.call_nowait("use", 1008)
            assert [await first, await second, await third] == [None, 2468, 154]
            assert guest.call_nowait("position") == top
        # After the first call has ended, others begin there, and have arguments too.
        first = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
        await settle()
        for key in (1, 2, 3):
            gates.open(key, 0)
            await settle()
        again = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        third = asyncio.create_task(guest.call("late", 5, put_on_stack(guest, 77)))
        await settle()
        for key in (1, 4, 2, 5, 3):
            gates.open(key, 0)
            await settle()
        assert [await call for call in (first, second, again, third)] == [None, 2468, None, 154]
        assert guest.call_nowait("position") == top

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_guest_is_closed_while_a_call_has_arguments_there(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        first = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
        await settle()
        await guest.aclose()
        ends = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError, asyncio.CancelledError]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_arguments_whose_place_the_first_call_needs(abi: str) -> None:
    """Who would read them then is refused, and who reads them later finds them."""

    async def main() -> None:
        order: tuple[int, ...]
        for order in ((1, 4, 2, 3), (1, 2, 4, 3)):
            gates = Gates()

            async def wait(key: int, gates: Gates = gates) -> int:
                return 0 if key == 100 else await gates.wait(key)

            guest = await load_program(abi, wait)
            first = asyncio.create_task(guest.call("deeper", 256))
            await settle()
            second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
            await settle()
            for key in order:
                gates.open(key, 0)
                await settle()
            assert await first is None
            if order[1] == 2:
                assert await second == 2468
            else:
                with pytest.raises(caesura.UsageError, match=r"arguments on a C stack were overwritten"):
                    await second
            assert guest.call_nowait("position") == OWN
            assert guest.suspended == 0

    run(main())


def test_more_is_allocated_on_a_suspended_stack_than_it_has() -> None:
    async def main() -> None:
        async def wait(guest: caesura.Guest, key: int) -> int:
            await asyncio.sleep(0)
            guest.call_nowait("stackAlloc", key)
            return 0

        guest = await load_program("load", wait)
        with pytest.raises(caesura.UsageError, match="the guest's own C stack is full"):
            await guest.call("run", 64, 64600)
        assert await guest.call("run", 64, 64) == 64

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_what_a_host_function_calls_runs_on_the_stack_of_its_call(abi: str) -> None:
    async def main() -> None:
        positions: list[int] = []

        async def wait(guest: caesura.Guest, key: int) -> int:
            positions.append(guest.call_nowait("position"))
            await asyncio.sleep(0)
            positions.append(guest.call_nowait("position"))
            assert guest.call_nowait("fits") == 1
            return key

        guest = await load_program(abi, wait)
        assert await asyncio.gather(*[guest.call("run", 64, key) for key in (1, 2)]) == [2, 4]
        assert positions[0] == positions[2] == OWN - 64
        assert positions[1] == positions[3] > OWN

    run(main())
