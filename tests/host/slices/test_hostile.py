"""Hostile guests are held to their slices, budgets and limits, and the others do not notice."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import caesura
from tests.host.slices.guests import SLICE
from tests.host.slices.zoo import STOPPED, ZOO, module
from tests.host.support import run

BUDGET = caesura.Budget(cpu=0.01)


def imports() -> dict[str, dict[str, Any]]:
    """Return host functions that call the guest back, if it wants that."""

    def host(guest: caesura.Guest, value: int) -> int:
        return int(guest.call_nowait("callback", value)) if value else 0

    async def wait(guest: caesura.Guest, value: int) -> int:
        await asyncio.sleep(0)
        return int(await guest.call("callback", value)) if value else 0

    return {"env": {"host": host, "wait": wait}}


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("name", ZOO)
def test_each_is_suspended_when_its_budget_is_used_up(name: str, preempt: str) -> None:
    async def main() -> None:
        guest = await caesura.load(
            module(ZOO[name]), imports(), time_slice=SLICE, preempt=preempt, memory_limit=8 << 20, table_limit=1000
        )
        budget = BUDGET if preempt == "flag" else caesura.Budget(fuel=100_000)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=budget)
        assert guest.usage.memory <= 2 * (8 << 20)
        call = pause.value.call
        if call.export == "run":
            assert call.backtrace()[-1].function in {"run", "one", "again", "other"}
            with pytest.raises(caesura.BudgetExhausted) as pause:
                await call.resume(budget=budget)
        pause.value.call.drop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * SLICE):
                await guest.call("run")
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("name", STOPPED)
def test_what_computes_above_a_plain_function_is_stopped(name: str, preempt: str) -> None:
    """Python's recursion may end it, too. Garbage of other tests whose finalizers have no frames left then would be
    this one's failure.
    """

    async def main() -> None:
        guest = await caesura.load(module(STOPPED[name]), imports(), time_slice=SLICE, preempt=preempt)
        with pytest.raises((caesura.GuestTrap, RecursionError)) as error:
            await guest.call("run")
        assert isinstance(error.value, RecursionError) or "cannot be suspended" in str(error.value)
        assert guest.suspended == 0

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_callbacks_that_double_and_never_wait(preempt: str) -> None:
    """Calls through coroutine functions of the host that do not wait are suspended, and charged, as any others."""

    async def main() -> None:
        async def again(guest: caesura.Guest, value: int) -> None:
            await guest.call("run", value)

        guest = await caesura.load(
            b"""(module (import "env" "again" (func $again (param i32)))
              (func (export "run") (param i32) (if (local.get 0) (then
                (call $again (i32.sub (local.get 0) (i32.const 1)))
                (call $again (i32.sub (local.get 0) (i32.const 1)))))))""",
            {"env": {"again": again}},
            time_slice=SLICE,
            preempt=preempt,
        )
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", 60, budget=BUDGET if preempt == "flag" else caesura.Budget(fuel=10_000))
        pause.value.call.drop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * SLICE):
                await guest.call("run", 60)
        assert guest.suspended == 0

    run(main())


def test_next_to_well_behaved_guests() -> None:
    """A hundred others have their calls answered while all of the zoo computes, and are never the ones that wait."""

    async def main() -> None:
        hostile = [
            await caesura.load(module(fields), imports(), time_slice=SLICE, memory_limit=8 << 20, table_limit=1000)
            for fields in ZOO.values()
        ]
        tasks = [asyncio.create_task(guest.call("run")) for guest in hostile]
        program = await caesura.compile(
            b"""(module (import "env" "wait" (func $wait (param i32) (result i32)))
              (func (export "ask") (param i32) (result i32) (local i32)
                (loop (local.set 1 (i32.add (local.get 1) (call $wait (i32.const 0))))
                  (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.const 42)))""",
            imports(),
            preempt="flag",
        )
        good = [await program.load(time_slice=SLICE) for _ in range(100)]
        assert await asyncio.gather(*(guest.call("ask", 3) for guest in good)) == [42] * 100
        assert max(guest.usage.slices for guest in good) <= 1
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for guest in hostile:
            await guest.aclose()

    run(main())


def test_it_overwrites_all_of_its_memory() -> None:
    """What asks it to pause lies elsewhere."""

    async def main() -> None:
        guest = await caesura.load(
            module("""(func (export "run") (loop
              (memory.fill (i32.const 0) (i32.const 0) (i32.shl (memory.size) (i32.const 16))) (br 0)))"""),
            imports(),
            time_slice=SLICE,
        )
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("run", budget=BUDGET)

    run(main())


def test_one_instruction_runs_to_its_end() -> None:
    async def main() -> None:
        guest = await caesura.load(
            module("""(memory $large 4096)
              (func (export "run") (param i32) (memory.fill $large (i32.const 0) (local.get 0) (i32.const 0x10000000)))
              (func (export "found") (result i32) (i32.load8_u $large (i32.const 0xfffffff)))"""),
            imports(),
            time_slice=SLICE,
        )
        await guest.call("run", 7)  # it takes many slices, and is not paused in between
        assert guest.call_nowait("found") == 7

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_few_such_instructions_run_in_a_row(preempt: str) -> None:
    """Each takes a part of a slice only, and there is neither a loop nor a call between them."""
    fill = "(memory.fill $large (i32.const 0) (i32.const 7) (i32.const 0x400000))"

    async def main() -> None:
        text = f'(memory $large 64) (func (export "run") {fill * 320})'
        guest = await caesura.load(module(text), imports(), time_slice=0.0005, preempt=preempt)
        await guest.call("run")
        assert guest.usage.slices >= 2

    run(main())


def test_thousands_of_pending_calls() -> None:
    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()

        async def wait(value: int) -> int:
            await asyncio.shield(gate)
            return value

        functions: dict[str, dict[str, Any]] = {"env": {"host": lambda value: value, "wait": wait}}
        guest = await caesura.load(
            module('(func (export "run") (param i32) (result i32) (call $wait (local.get 0)))'),
            functions,
            time_slice=SLICE,
            suspended_calls=2000,
        )
        calls = [asyncio.create_task(guest.call("run", number)) for number in range(3000)]
        await asyncio.sleep(0)
        while sum(call.done() for call in calls) < 1000:
            await asyncio.sleep(0)
        assert guest.suspended == 2000
        gate.set_result(None)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[:2000] == list(range(2000))
        assert all(isinstance(result, caesura.UsageError) for result in results[2000:])

    run(main())
