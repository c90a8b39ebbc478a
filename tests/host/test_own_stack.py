"""The first call runs on the program's own C stack, further ones on stacks as large, and each keeps to its own."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from tests.host.own_stack import OWN, OWN_SIZE, load_program
from tests.host.support import ABIS, Gates, load_calls, run, settle


@pytest.mark.parametrize("abi", ABIS)
def test_calls_find_themselves_within_the_limits_of_their_stacks(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        for _ in range(3):
            calls = [asyncio.create_task(guest.call("run", 60000, key)) for key in (1, 2, 3)]
            await settle()
            assert guest.call_nowait("taken") >= OWN_SIZE
            assert guest.call_nowait("position") == OWN - 60000
            assert guest.call_nowait("fits") == 1
            for key in (2, 1, 3):
                gates.open(key, 10 * key)
                await settle()
            assert await asyncio.gather(*calls) == [11, 22, 33]
            assert (guest.call_nowait("position"), guest.call_nowait("fits")) == (OWN, 1)

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_one_call_at_a_time_needs_no_memory(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        before = guest.call_nowait("taken")  # for the asyncify stack, perhaps
        for key in range(3):
            call = asyncio.create_task(guest.call("run", 16, key))
            await settle()
            gates.open(key, 1)
            assert await call == key + 1
        assert guest.call_nowait("taken") == before

    run(main())


def test_sizes_of_further_stacks_can_be_set() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program("load", gates.wait, shadow_stack_size=4096)
        calls = [asyncio.create_task(guest.call("run", 16, key)) for key in (1, 2)]
        await settle()
        assert guest.call_nowait("taken") == 4096
        for key in (1, 2):
            gates.open(key, 0)
        assert await asyncio.gather(*calls) == [1, 2]

    run(main())


def test_programs_with_large_buffers_run_as_they_were_linked() -> None:
    """A compiled program's own stack has megabytes: the first call has them, and so has a second one."""

    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return value + 4

    async def main() -> None:
        guest = await load_calls(wait=wait)
        assert await asyncio.gather(*[guest.call("overflow_stack", 3_000_000) for _ in range(2)]) == [6, 6]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_stack_pointer_below_its_stack_is_noticed_without_a_trace_in_memory(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait, shadow_stack_size=4096)
        first = asyncio.create_task(guest.call("run", 16, 1))
        await settle()
        with pytest.raises(caesura.UsageError, match="larger shadow_stack_size"):
            await guest.call("run", 8192, 2)
        gates.open(1, 1)
        assert await first == 2
        with pytest.raises(caesura.UsageError, match=r"link the program with a larger stack"):
            await guest.call("run", 65000, 3)
        assert guest.suspended == 0
        call = asyncio.create_task(guest.call("run", 16, 4))
        await settle()
        gates.open(4, 1)
        assert await call == 5

    run(main())
