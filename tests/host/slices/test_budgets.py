"""Calls that have used their budget up are suspended where they stand, and go on with another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import caesura
from tests.host.slices.guests import MUCH, SLICE, load
from tests.host.support import run

PLENTY = caesura.Budget(fuel=1 << 40)


async def exhausted(call: Any) -> caesura.PendingCall:
    """Return the call that BudgetExhausted has."""
    with pytest.raises(caesura.BudgetExhausted, match=r"has used up its budget.*resume\(budget=\.\.\.\)") as pause:
        await call
    return pause.value.call


def test_fuel_ends_at_the_same_place_whatever_the_slices() -> None:
    async def main() -> None:
        found = []
        for time_slice in (None, SLICE, 0.02):
            guest = await load(preempt="fuel", time_slice=time_slice)
            call = await exhausted(guest.call("depth", 5, MUCH, budget=caesura.Budget(fuel=12_345_678)))
            assert call.is_held and call.function == "pause" and guest.pending == [call]
            assert [frame.function for frame in call.backtrace()] == ["count"] + ["depth"] * 6
            first, used = bytes(guest.snapshot()), guest.usage.fuel
            assert used is not None and used > 12_345_678
            call = await exhausted(call.resume(budget=caesura.Budget(fuel=1_000_000)))
            assert await call.resume() == MUCH + 5
            found.append((first, used, guest.usage.fuel))
        assert found[0] == found[1] == found[2]

    run(main())


def test_what_a_budget_allows_does_not_end_a_call() -> None:
    async def main() -> None:
        guest = await load(preempt="fuel", time_slice=None)
        assert await guest.call("count", 1000) == 1000
        once = guest.usage.fuel
        assert once is not None
        assert await guest.call("count", 1000, budget=caesura.Budget(fuel=once)) == 1000
        await exhausted(guest.call("count", 1000, budget=caesura.Budget(fuel=once * 9 // 10)))

    run(main())


def test_processor_time() -> None:
    async def main() -> None:
        guest = await load()
        call = await exhausted(guest.call("spin", budget=caesura.Budget(cpu=0.03)))
        before = guest.usage.slices
        call = await exhausted(call.resume(budget=caesura.Budget(cpu=0.01)))
        assert guest.usage.slices > before
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await call.resume()  # which has no budget any more
        assert guest.suspended == 0
        assert await guest.call("count", 1000, budget=caesura.Budget(cpu=100)) == 1000
        unsliced = await load(preempt="flag")
        await exhausted(unsliced.call("spin", budget=caesura.Budget(cpu=0.01)))

    run(main())


# Each iteration counts for more than any portion of fuel, and takes moments.
GROWING = b"""(module (table 1 1 externref)
  (func (export "run") (loop (drop (table.grow (ref.null extern) (i32.const -1))) (br 0))))"""


@pytest.mark.parametrize("in_steps", [False, True])
def test_who_pauses_after_every_moment_pays_for_his_pauses(in_steps: bool) -> None:
    async def main() -> None:
        guest = await caesura.load(GROWING, preempt="fuel", time_slice=SLICE)

        def go_on() -> None:
            step = guest.start("run", budget=caesura.Budget(cpu=0.01))
            while True:
                step = step.resume()

        if in_steps:
            with pytest.raises(caesura.BudgetExhausted) as pause:
                go_on()
            pause.value.call.drop()
        else:
            await exhausted(guest.call("run", budget=caesura.Budget(cpu=0.01)))
        slices = guest.usage.slices
        assert 1 < slices <= 0.01 / 15e-6
        assert guest.usage.time >= slices * 15e-6

    run(main())


WAITING = b"""(module
  (import "env" "wait" (func $wait))
  (func (export "run") (loop (call $wait) (br 0))))"""


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_who_waits_within_moments_does_not_escape_his_budget(preempt: Any) -> None:
    """However short each of the ways from one waiting to the next is, they are charged, and the last one is paused."""

    async def main() -> None:
        waited = 0

        async def wait() -> None:
            nonlocal waited
            waited += 1
            assert waited < 100_000, "the budget ends some time"
            await asyncio.sleep(0)

        guest = await caesura.load(WAITING, {"env": {"wait": wait}}, preempt=preempt, time_slice=SLICE)
        call = await exhausted(guest.call("run", budget=caesura.Budget(cpu=0.01)))
        before = waited
        assert call.function == "pause" and before > 1
        await exhausted(call.resume(budget=caesura.Budget(cpu=0.005)))
        assert waited > before

    run(main())


def test_functions_of_wasi_take_time_though_they_count_for_little() -> None:
    """Wasmtime's own, too: the clock is looked at when one has returned."""
    text = b"""(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 65)
      (func (export "_start") (loop (drop (call $random (i32.const 0) (i32.const 0x400000))) (br 0))))"""

    async def main() -> None:
        guest = await caesura.load(text, wasi=caesura.Wasi(stdin=b""), preempt="fuel", time_slice=SLICE)
        await exhausted(guest.call("_start", budget=caesura.Budget(cpu=0.1)))
        assert guest.usage.slices > 1
        assert guest.usage.fuel is not None and guest.usage.fuel < 500  # the first portion is larger

    run(main())


def test_giving_up_and_others_meanwhile() -> None:
    async def main() -> None:
        guest = await load()
        call = await exhausted(guest.call("spin", budget=caesura.Budget(cpu=0.005)))
        with pytest.raises(caesura.UsageError, match=r"spin is paused .* resume or drop one that nobody awaits"):
            await guest.call("quick", 1)
        call.drop()
        assert await guest.call("quick", 1) == 2
        with pytest.raises(caesura.UsageError, match="not yours to resume"):
            call.drop()

    run(main())


def test_those_who_wait_for_a_call_that_is_handed_out_are_told() -> None:
    async def main() -> None:
        guest = await load()
        spinning = asyncio.create_task(exhausted(guest.call("spin", budget=caesura.Budget(cpu=0.02))))
        while not guest.usage.slices:
            await asyncio.sleep(0)
        with pytest.raises(caesura.UsageError, match="spin is paused"):
            await guest.call("quick", 1)
        (await spinning).drop()

    run(main())


def test_calls_from_host_functions_are_charged() -> None:
    async def main() -> None:
        async def later(value: int) -> int:
            await asyncio.sleep(0)
            return int(await guest.call("count", value))

        guest = await load(later=later, preempt="fuel", time_slice=None)
        assert await guest.call("later_and_count", 1000, 1000, budget=PLENTY) == 2000
        whole = guest.usage.fuel
        assert whole is not None
        assert await guest.call("later_and_count", 1000, 1000, budget=caesura.Budget(fuel=whole)) == 2000
        call = await exhausted(guest.call("later_and_count", 1000, 1000, budget=caesura.Budget(fuel=whole * 9 // 10)))
        assert await call.resume() == 2000
        call = await exhausted(guest.call("later_and_count", 1000, 1000, budget=caesura.Budget(fuel=whole // 4)))
        assert (call.export, call.function) == (
            "later_and_count",
            "env.later",
        )  # which waits for the one that is paused
        assert sorted(item.function for item in guest.pending) == ["env.later", "pause"]
        call = await exhausted(call.resume(budget=caesura.Budget(fuel=whole // 8)))
        assert await call.resume(budget=PLENTY) == 2000
        call = await exhausted(guest.call("later_and_count", 1000, 1000, budget=caesura.Budget(fuel=whole // 4)))
        with pytest.raises(ValueError, match="no more"):
            await call.throw(ValueError("no more"))
        call = await exhausted(guest.call("later_and_count", 1000, 1000, budget=caesura.Budget(fuel=whole // 4)))
        call.drop()
        assert guest.suspended == 0

        def again(value: int) -> int:
            return int(guest.call_nowait("count", value))

        guest = await load(again=again, preempt="fuel", time_slice=None)
        with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):  # far beyond
            await guest.call("call_again", MUCH, budget=caesura.Budget(fuel=1000))
        call = await exhausted(guest.call("call_again", 1000, budget=caesura.Budget(fuel=1000)))  # behind it
        assert await call.resume() == 1001

    run(main())


def test_tasks_of_host_functions_are_charged() -> None:
    async def main() -> None:
        async def later(value: int) -> int:
            counting = asyncio.create_task(guest.call("count", MUCH))
            try:
                return int(await counting)
            except caesura.BudgetExhausted as pause:
                if value:
                    raise
                return int(await pause.call.resume() // MUCH)

        guest = await load(later=later, preempt="fuel", time_slice=None)
        call = await exhausted(guest.call("call_later", 0, budget=caesura.Budget(fuel=1_000_000)))
        assert call.function == "env.later" and await call.resume() == 2
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("call_later", 1, budget=caesura.Budget(fuel=1_000_000))
        assert guest.suspended == 0 and guest.call_nowait("quick", 1) == 2

    run(main())


def test_budgets_within_budgets() -> None:
    async def main() -> None:
        async def later(value: int) -> int:
            try:
                await guest.call("count", MUCH, budget=caesura.Budget(fuel=1000))
            except caesura.BudgetExhausted as pause:
                pause.call.drop()
                return value
            raise AssertionError("that was too little")

        guest = await load(later=later, preempt="fuel", time_slice=SLICE)
        assert await guest.call("later_and_count", 7, 1000, budget=PLENTY) == 1007

    run(main())


def test_steps_with_a_budget() -> None:
    guest = asyncio.run(load(preempt="fuel", time_slice=None))
    with pytest.raises(caesura.BudgetExhausted) as pause:
        guest.start("count", MUCH, budget=caesura.Budget(fuel=1000))
    with pytest.raises(caesura.BudgetExhausted) as again:
        pause.value.call.resume(budget=caesura.Budget(fuel=1000))
    assert again.value.call.resume() == MUCH


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a budget has cpu=SECONDS, or fuel=UNITS"),
        ({"cpu": 0}, "cpu is 0: expected seconds of the processor, more than 0"),
        ({"cpu": float("nan")}, "cpu is nan"),
        ({"cpu": float("inf")}, "cpu is inf"),
        ({"cpu": "1"}, "cpu is '1': expected a number or None"),
        ({"fuel": 0}, "fuel is 0: expected a number of units from 1 to"),
        ({"fuel": 1 << 63}, "fuel is 9223372036854775808"),
        ({"fuel": 1.5}, "fuel is 1.5: expected an integer or None"),
        ({"fuel": True}, "fuel is True"),
    ],
)
def test_budgets_that_are_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        caesura.Budget(**given)


def test_budgets_that_a_guest_cannot_keep() -> None:
    async def main() -> None:
        guest = await load()
        with pytest.raises(caesura.UsageError, match=r"counts no fuel: .* preempt='fuel'"):
            await guest.call("spin", budget=caesura.Budget(fuel=5))
        with pytest.raises(caesura.UsageError, match=r"budget is 5: expected a caesura\.Budget"):
            await guest.call("spin", budget=5)  # type: ignore[arg-type]

    run(main())


def test_suspended_calls_have_a_limit() -> None:
    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()

        async def later(value: int) -> int:
            return await gate or value

        guest = await load(later=later, suspended_calls=2)
        calls = [asyncio.create_task(guest.call("call_later", number)) for number in range(3)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(caesura.UsageError, match="2 calls of the guest are suspended, as many as there may be"):
            await done.pop()
        gate.set_result(0)
        assert [await call for call in calls[:2]] == [1, 2]

    run(main())


EMITTING = b"""(module
  (import "env" "emit" (func $emit (param i32) (result i32)))
  (import "env" "wait" (func $wait))
  (func $spin (local $n i32)
    (local.set $n (i32.const 1000))
    (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop
      (call $wait)
      (local.set $sum (i32.add (local.get $sum) (call $emit (local.get $n))))
      (call $spin)
      (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))"""


@caesura.yielding
def emit(value: int) -> int:
    return value


@pytest.mark.parametrize("portion", [1, 1000, 30_000])
def test_a_generator_ends_where_its_budget_does_and_the_call_goes_on(portion: int) -> None:
    async def main() -> None:
        guest = await caesura.load(EMITTING, {"env": {"emit": emit, "wait": lambda: None}}, preempt="fuel")
        seen: list[int] = []
        generator = guest.generate("run", 20, budget=caesura.Budget(fuel=portion))

        def iterate() -> None:
            seen.append(next(generator))
            while True:
                seen.append(generator.send(2))

        with pytest.raises(caesura.BudgetExhausted) as pause:
            iterate()
        assert len(seen) < 20
        with pytest.raises(StopIteration):
            next(generator)
        step: Any = pause.value.call
        assert step.function == "pause" and guest.suspended == 1

        def go_on(step: Any) -> Any:
            while isinstance(step, caesura.PendingCall):
                seen.append(step.arguments[0])
                step = step.resume(2)
            return step

        with pytest.raises(caesura.BudgetExhausted) as pause:
            go_on(step.resume(budget=caesura.Budget(fuel=portion)))
        assert go_on(pause.value.call.resume()) == 40 and seen == list(range(20, 0, -1))
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_an_asynchronous_generator_with_a_budget(waits: bool) -> None:
    async def main() -> None:
        async def wait(guest: caesura.Guest) -> None:
            if waits:
                await guest.call("spin")  # charged to the call that waits for it
            await asyncio.sleep(0)

        text = EMITTING.replace(b"(func $spin", b'(func $spin (export "spin")')
        guest = await caesura.load(text, {"env": {"emit": emit, "wait": wait}}, time_slice=SLICE, preempt="fuel")
        seen: list[int] = []
        generator = guest.agenerate("run", 20, budget=caesura.Budget(fuel=20_000))

        async def iterate() -> None:
            seen.append(await anext(generator))
            while True:
                seen.append(await generator.asend(3))

        with pytest.raises(caesura.BudgetExhausted) as pause:
            await iterate()
        assert 0 < len(seen) < 20
        step = await pause.value.call.resume()
        while isinstance(step, caesura.PendingCall):
            seen.append(step.arguments[0])
            step = await step.resume(3)
        assert step == 60 and seen == list(range(20, 0, -1))
        assert guest.suspended == 0

    run(main())


def test_a_generator_takes_no_budget_that_its_guest_cannot_keep() -> None:
    async def main() -> None:
        guest = await load()
        for generate in (guest.generate, guest.agenerate):
            with pytest.raises(caesura.UsageError, match="counts no fuel"):
                generate("spin", budget=caesura.Budget(fuel=5))

    run(main())
