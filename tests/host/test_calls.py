"""Calls that wait: one at a time, many at once, in any order, nested, without an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import caesura
from tests.host.support import ABIS, Gates, instrumented, load_calls, load_waiter, run, settle


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


async def at_once(value: int) -> int:
    return 2 * value


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("wait", [double, at_once])
def test_a_coroutine_function_is_awaited(wait: object, abi: str) -> None:
    async def main() -> None:
        async with await load_waiter(wait, abi) as guest:
            assert await guest.call("outer", 21) == 142
            assert await guest.call("twice", 3) == 14
            assert await guest.call("loop", 100) == 2 * sum(range(101))
            assert guest.call_nowait("calls") == 103

    run(main())


def test_plain_functions_need_no_instrumentation() -> None:
    async def main() -> None:
        guest = await load_waiter(lambda value: value + 1)
        assert guest.call_nowait("outer", 1) == 102
        assert await guest.call("outer", 1) == 102

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_other_tasks_run_while_the_guest_waits(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        call = asyncio.create_task(guest.call("outer", 5))
        await settle()
        assert guest.suspended == 1
        assert guest.call_nowait("calls") == 1  # exports can be called meanwhile
        gates.open(5, 7)
        assert await call == 107
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]])
def test_suspended_calls_resume_in_any_order(order: list[int], abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        calls = {key: asyncio.create_task(guest.call("outer", key)) for key in (1, 2, 3, 4)}
        await settle()
        for key in order:
            gates.open(key, 10 * key)
            await settle()
            assert calls[key].done()
        assert [call.result() for call in calls.values()] == [110, 120, 130, 140]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_each_call_has_its_own_c_stack(order: list[int], abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        depths = [5, 40, 1, 17]
        calls = [asyncio.create_task(guest.call("descend", depth, 100 + depth)) for depth in depths]
        await settle()
        for place in order:
            depth = depths[place]
            assert guest.call_nowait("add", 20, 22) == 42  # uses the C stack too
            gates.open(100 + depth, 0)
            await settle()
            seed = 100 + depth
            assert calls[place].result() == sum(seed * 31 + d * 16 + (d & 15) for d in range(depth + 1))

    run(main())


def test_a_thousand_calls_are_suspended_in_one_instance() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(wait=gates.wait, shadow_stack_size=4096)
        calls = [asyncio.create_task(guest.call("descend", 3, seed)) for seed in range(1000)]
        await settle()
        assert guest.suspended == 1000
        for seed in reversed(range(1000)):
            gates.open(seed, 1)
        results = await asyncio.gather(*calls)
        assert results == [1 + sum(seed * 31 + d * 16 + (d & 15) for d in range(4)) for seed in range(1000)]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_the_host_writes_to_the_c_stack_of_a_suspended_call(abi: str) -> None:
    async def main() -> None:
        async def fill(guest: caesura.Guest, target: int, size: int) -> int:
            await asyncio.sleep(0)
            guest.memory.write(target, bytes([3]) * size)
            return size

        guest = await load_calls(abi, fill=fill)
        assert await asyncio.gather(*[guest.call("sum_filled", size) for size in (10, 20, 30)]) == [
            30,
            60,
            90,
        ]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_host_functions_call_the_guest_again(abi: str) -> None:
    async def main() -> None:
        async def again(guest: caesura.Guest, value: int) -> int:
            if value == 0:
                return 0
            first = guest.call_nowait("add", value, 0)
            await asyncio.sleep(0)
            return int(await guest.call("nested", first - 1)) + 1

        guest = await load_calls(abi, again=again)
        assert await guest.call("nested", 20) == 41
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_the_first_step_of_a_coroutine_may_call_the_guest(abi: str) -> None:
    async def main() -> None:
        async def again(guest: caesura.Guest, value: int) -> int:
            return int(await guest.call("descend", value, 7)) if value else 0

        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait, again=again)
        call = asyncio.create_task(guest.call("nested", 3))
        await settle()
        gates.open(7, 0)
        assert await call == 1 + sum(7 * 31 + d * 16 + d for d in range(4))

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_waiting_in_call_nowait_is_an_error_and_harmless(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(double, abi)
        with pytest.raises(caesura.UsageError, match=r"env\.wait has to wait, but outer was called with `call_nowait`"):
            guest.call_nowait("outer", 1)
        assert await guest.call("outer", 1) == 102

    run(main())


def test_deep_stacks_grow_their_memory() -> None:
    async def main() -> None:
        guest = await load_waiter(double)
        depth = 5000
        assert await guest.call("deep", depth) == depth * (depth + 1) // 2
        assert await guest.call("deep", 3) == 6

    run(main())


def test_nothing_leaks() -> None:
    async def main() -> None:
        guest = await load_calls(wait=double)
        await guest.call("descend", 3, 1)
        size = len(guest.memory)
        for seed in range(2000):
            await guest.call("descend", 3, seed)
        assert len(guest.memory) == size

    run(main())


@pytest.mark.parametrize("abi", ["load", "thunks", "plain"])
def test_an_asyncify_stack_that_is_full(abi: str) -> None:
    async def main() -> None:
        options = caesura.Options(secondary_memory_maximum=1)
        guest = await load_waiter(double, abi, options=options)
        for _ in range(2):
            with pytest.raises(caesura.GuestTrap) as caught:
                await guest.call("deep", 10_000)
            assert caught.value.kind == "asyncify stack overflow"
            assert await guest.call("deep", 4) == 10

    run(main())


WIDE = b"""(module
  (import "env" "wait" (func $wait (param i64) (result i64)))
  (memory (export "memory") i64 1)
  (func (export "keep") (param i64) (result i64)
    (i64.store (i64.const 8) (local.get 0))
    (i64.add (call $wait (local.get 0)) (i64.load (i64.const 8)))))"""


@pytest.mark.parametrize("abi", ABIS)
def test_memories_with_64_bit_addresses(abi: str) -> None:
    async def main() -> None:
        place = (1024, 65536) if abi in ("thunks", "plain") else None
        guest = await caesura.load(instrumented(WIDE, abi), {"env": {"wait": double}}, stack_space=place)
        assert await asyncio.gather(*[guest.call("keep", 2**40) for _ in range(3)]) == [3 * 2**40] * 3
        assert guest.memory.read_struct("<q", 8) == (2**40,)

    run(main())


def test_the_transformation_does_not_import_wasmtime() -> None:
    program = "import sys, caesura; caesura.instrument; assert 'wasmtime' not in sys.modules; caesura.load"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        caesura.nothing  # type: ignore[attr-defined]  # noqa: B018
