"""What a coroutine function awaits in a guest goes on at the end of a slice, or of a budget, where that function cannot
wait: below `call_nowait`, and in steps. Whatever the clock says, the same comes of it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

import caesura
from tests.host.slices.guests import SLICE
from tests.host.support import run

# `run` calls `plain`, that `mid` without waiting, that `tool`, a coroutine function, which awaits `leaf`.
GUEST: Final = b"""(module
  (import "env" "plain" (func $plain (param i32) (result i32)))
  (import "env" "tool" (func $tool (param i32) (result i32)))
  (func (export "leaf") (param $to i32) (result i32) (local $n i32)
    (loop (br_if 0 (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $to))))
    (local.get $n))
  (func (export "mid") (param i32) (result i32) (i32.add (call $tool (local.get 0)) (i32.const 10)))
  (func (export "deep") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call $tool (local.get 0)))
      (else (i32.const 7))))
  (func (export "run") (param i32) (result i32) (i32.add (call $plain (local.get 0)) (i32.const 100)))
  (func (export "many") (param i32 i32)
    (loop
      (drop (call $plain (local.get 0)))
      (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))))"""

# More than a slice, and less than what is allowed beyond it, on any machine.
SOME: Final = 1_500_000


def plain(guest: caesura.Guest, value: int) -> int:
    return int(guest.call_nowait("mid", value))


async def tool(guest: caesura.Guest, value: int) -> int:
    return int(await guest.call("leaf", value))


async def load(**given: Any) -> caesura.Guest:
    functions = {"plain": plain, "tool": tool, **given.pop("functions", {})}
    return await caesura.load(GUEST, {"env": functions}, **given)


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_slices_end_behind_it(preempt: str) -> None:
    async def main() -> None:
        guest = await load(time_slice=0.0005, preempt=preempt)
        assert await guest.call("run", SOME) == SOME + 110
        assert guest.call_nowait("mid", SOME) == SOME + 10
        assert guest.suspended == 0

    run(main())


def test_a_budget_ends_at_the_same_place_whatever_it_is_and_whatever_the_slices() -> None:
    async def main() -> None:
        counted = set()
        for time_slice in (None, 0.0005, SLICE):
            for fuel in (1, 2, 3, 5, 10, 50, 1000):
                guest = await load(time_slice=time_slice, preempt="fuel")
                with pytest.raises(caesura.BudgetExhausted) as pause:
                    await guest.call("run", 50_000, budget=caesura.Budget(fuel=fuel))
                call = pause.value.call
                assert call.export == "run" and guest.pending == [call]
                used = guest.usage.fuel
                assert await call.aresume() == 50_110
                counted.add((used, guest.usage.fuel))
        assert len(counted) == 1

    run(main())


def test_processor_time() -> None:
    async def main() -> None:
        guest = await load(preempt="flag")
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", SOME, budget=caesura.Budget(cpu=1e-6))
        assert pause.value.call.export == "run" and await pause.value.call.aresume() == SOME + 110

    run(main())


def test_what_goes_on_for_too_long_traps() -> None:
    async def main() -> None:
        for preempt in ("flag", "fuel"):
            guest = await load(time_slice=SLICE, preempt=preempt)
            with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):
                await guest.call("run", 0)  # 2**32 times
            assert guest.suspended == 0 and await guest.call("leaf", SOME) == SOME

    run(main())


def test_all_that_it_calls() -> None:
    async def main() -> None:
        async def deeper(guest: caesura.Guest, value: int) -> int:
            counted = await guest.call("leaf", SOME // 4)
            return int(await guest.call("deep", value - 1)) + int(counted)

        guest = await load(time_slice=0.0005, functions={"tool": deeper})
        assert guest.call_nowait("deep", 4) == 7 + SOME // 4 * 4
        assert await guest.call("deep", 4) == 7 + SOME // 4 * 4
        assert guest.usage.slices  # where all of them wait, they are suspended

    run(main())


def test_steps_whose_coroutine_functions_cannot_wait() -> None:
    """The call itself is paused at the end of its slice, and what a coroutine function awaits inside of it is not."""

    async def main() -> None:
        guest = await load(time_slice=0.0005)
        step = guest.start("mid", SOME)
        while isinstance(step, caesura.PendingCall):
            assert (step.export, step.function) == ("mid", "pause")
            step = step.resume()
        assert step == SOME + 10
        generator = guest.generate("mid", SOME)

        def iterate() -> Any:
            result = yield from generator
            results.append(result)

        results: list[int] = []
        assert all(step.export == "mid" for step in iterate())
        assert results == [SOME + 10]

    run(main())


def test_another_guest_below_it() -> None:
    """One that has no slices stands in between, or is the one that cannot wait."""

    async def main() -> None:
        computing = await load(time_slice=0.0005)

        async def elsewhere(value: int) -> int:
            return int(await computing.call("leaf", value))

        between = await load(functions={"tool": elsewhere})
        assert between.call_nowait("mid", SOME) == SOME + 10

        async def through(value: int) -> int:
            return int(await between.call("mid", value))

        outer = await load(functions={"tool": through})
        assert outer.call_nowait("mid", SOME) == SOME + 20
        assert computing.suspended == between.suspended == 0
        slices = computing.usage.slices
        while computing.usage.slices == slices:  # where they can, they wait
            assert await outer.call("mid", SOME) == SOME + 20

    run(main())


def test_what_really_waits_is_an_error_as_before() -> None:
    async def main() -> None:
        async def waiting(value: int) -> int:
            await asyncio.sleep(0)
            return value

        guest = await load(time_slice=SLICE, functions={"tool": waiting})
        with pytest.raises(caesura.UsageError, match="tool has to wait, but mid was called with `call_nowait`"):
            await guest.call("run", 1)
        assert guest.suspended == 0

    run(main())


@pytest.mark.filterwarnings("ignore:the thread waits")
@pytest.mark.parametrize("when", ["error", "block"])
def test_a_list_that_leaves_out_what_is_on_the_stack(when: str) -> None:
    """Where the thread is to wait instead, the other guest is suspended as ever, in an event loop of its own."""

    async def main() -> None:
        computing = await load(time_slice=0.0005)

        async def elsewhere(value: int) -> int:
            return int(await computing.call("leaf", value))

        options = caesura.Options(only_list=("leaf",))
        guest = await load(functions={"tool": elsewhere}, options=options, when_unsuspendable=when)
        slices = 0
        for _ in range(20):
            assert await guest.call("mid", SOME) == SOME + 10
            slices = computing.usage.slices
        assert (slices > 0) == (when == "block")

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("bounds", [{"time_slice": SLICE}, {"budget": caesura.Budget(cpu=SLICE)}])
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_all_that_a_host_function_calls_so_has_one_time(is_coroutine: bool, bounds: Any, preempt: str) -> None:
    """Else a guest that lets a host function call it for each of its elements keeps the thread."""

    async def main() -> None:
        done = 0

        def each(guest: caesura.Guest, value: int) -> int:
            nonlocal done
            for _ in range(1000):
                guest.call_nowait("leaf", value)
                done += 1
            return value

        async def awaited_each(guest: caesura.Guest, value: int) -> int:
            return each(guest, value)

        functions = {"plain": awaited_each if is_coroutine else each}
        guest = await load(functions=functions, time_slice=bounds.get("time_slice"), preempt=preempt)
        with pytest.raises(caesura.GuestTrap, match="time slice or budget over where the guest cannot be suspended"):
            await guest.call("run", SOME, budget=bounds.get("budget"))
        assert 0 < done < 1000

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_a_budget_bounds_what_is_called_so_after_waiting(preempt: str) -> None:
    """Each call has a time of its own there, but there is one budget."""

    async def main() -> None:
        done = 0

        async def each(guest: caesura.Guest, value: int) -> int:
            nonlocal done
            await asyncio.sleep(0)
            for _ in range(1000):
                guest.call_nowait("leaf", value)
                done += 1
            return value

        guest = await load(functions={"plain": each}, preempt=preempt)
        with pytest.raises(caesura.GuestTrap, match="time slice or budget over where the guest cannot be suspended"):
            await guest.call("run", SOME, budget=caesura.Budget(cpu=SLICE))
        assert 0 < done < 1000

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_each_slice_has_that_anew(preempt: str) -> None:
    async def main() -> None:
        calls = 0

        def one(guest: caesura.Guest, value: int) -> int:
            nonlocal calls
            calls += 1
            return int(guest.call_nowait("leaf", value))

        guest = await load(functions={"plain": one}, time_slice=0.0005, preempt=preempt)
        await guest.call("many", SOME, 200)
        assert calls == 200 and guest.usage.slices > 0

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_short_callbacks_take_none_of_that(preempt: str) -> None:
    """A host function that sorts by the guest's comparisons, say: most of it is the host's own time."""

    async def main() -> None:
        def each(guest: caesura.Guest, value: int) -> int:
            return sum(guest.call_nowait("leaf", value) for _ in range(20_000))

        guest = await load(functions={"plain": each}, time_slice=SLICE, preempt=preempt)
        assert await guest.call("run", 5) == 5 * 20_000 + 100

    run(main())


def test_short_ones_that_are_nested_take_none_either() -> None:
    async def main() -> None:
        def again(guest: caesura.Guest, value: int) -> int:
            if value == 4:
                return sum(guest.call_nowait("run", 3) for _ in range(5000))
            return value if value == 0 else int(guest.call_nowait("run", value - 1))

        guest = await load(functions={"plain": again}, time_slice=SLICE, preempt="flag")
        assert await guest.call("run", 4) == 5000 * 400 + 100

    run(main())
