"""Portions of fuel: a guest gets on and keeps to its slices, whatever it takes to suspend it, and at whatever speed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import caesura
from caesura.analysis.pause_points import MOST_IN_A_CHUNK
from caesura.host.slices.pace import _MEASURABLE, MOST_IN_A_LOOK, MOST_SPEED, Pace
from tests.host.support import run

SPEED = 300e6
SLICE = 0.0005


def portions(
    cost: Callable[[int], float],
    speed: Callable[[int], float],
    count: int = 200,
    time_slice: float = SLICE,
    in_a_look: int = 1,
) -> list[tuple[float, float]]:
    """Return for how many seconds a guest computes in each portion, and how many that takes with what suspends it.

    It counts so many units each time it looks, and pauses when it looks.
    """
    pace, frames = Pace(), int(max(cost(number) for number in range(count)) / 1e-8)
    taken: list[tuple[float, float]] = []
    for number in range(count):
        units = -(-int(pace.portion(time_slice, is_whole=True)) // in_a_look) * in_a_look
        computes = units / speed(number)
        taken.append((computes, cost(number) + computes))
        pace.learn(units, taken[-1][1], time_slice, frames, is_used_up=True)
    return taken


def efficiency(taken: list[tuple[float, float]]) -> float:
    return sum([computes for computes, _ in taken]) / sum([elapsed for _, elapsed in taken])


@pytest.mark.parametrize("cost", [1e-6, 1e-5, 1e-4, 4e-4, 6e-4, 1e-3, 3e-3, 2e-2])
@pytest.mark.parametrize("speed", [SPEED / 100, SPEED, SPEED * 3])
@pytest.mark.parametrize("in_a_look", [1, 100, MOST_IN_A_CHUNK])
def test_a_guest_gets_on_however_long_it_takes_to_suspend_it(cost: float, speed: float, in_a_look: int) -> None:
    taken = portions(lambda _: cost, lambda _: speed, in_a_look=in_a_look)
    assert efficiency(taken[20:]) > (0.4 if cost > 2 * SLICE else 0.1)
    assert max(elapsed for _, elapsed in taken[20:]) < 2 * SLICE + 3 * cost + 3 * in_a_look / speed


def test_what_suspending_takes_may_be_chance() -> None:
    chance = random.Random(1)
    taken = portions(lambda _: chance.uniform(0.5e-3, 2e-3), lambda _: SPEED)
    assert efficiency(taken[20:]) > 0.3
    assert max(elapsed for _, elapsed in taken) < 0.02


def test_slices_are_short_again_when_the_stack_is_not_deep_any_more() -> None:
    taken = portions(lambda number: 3e-3 if 50 <= number < 100 else 1e-5, lambda _: SPEED)
    assert max(elapsed for _, elapsed in taken[30:50]) < 1.1 * SLICE
    assert efficiency(taken[60:100]) > 0.3
    assert max(elapsed for _, elapsed in taken[120:]) < 1.1 * SLICE


@pytest.mark.parametrize("times", [3, 10, 100])
def test_a_guest_that_becomes_slow_keeps_the_thread_once(times: int) -> None:
    taken = portions(lambda _: 1e-5, lambda number: SPEED if number < 50 else SPEED / times)
    assert taken[50][1] < 1.1 * SLICE * times
    assert max(elapsed for _, elapsed in taken[51:]) < 8 * SLICE
    assert max(elapsed for _, elapsed in taken[60:]) < 2 * SLICE


@pytest.mark.parametrize("times", [3, 10, 30])
def test_one_that_is_now_fast_now_slow_gains_no_more_than_that(times: int) -> None:
    taken = portions(lambda _: 1e-5, lambda number: SPEED if number % 2 else SPEED / times)
    assert max(elapsed for _, elapsed in taken) < 1.1 * SLICE * max(times, 5)


def measured(pace: Pace, *, used: int, elapsed: float, frames: int) -> float:
    """Return the seconds for which portions last, after one that was much too slow, and one that measured why."""
    for _ in range(50):
        pace.learn(int(pace.portion(SLICE, is_whole=True)), SLICE, SLICE, frames, is_used_up=True)
    pace.learn(int(pace.portion(SLICE, is_whole=True)), 100 * SLICE, SLICE, frames, is_used_up=True)
    assert pace.portion(SLICE, is_whole=True) == 1
    pace.learn(used, elapsed, SLICE, frames, is_used_up=True)
    return max(SLICE, pace.cost)


def test_a_busy_machine_or_what_takes_long_is_not_taken_for_a_deep_stack() -> None:
    assert measured(Pace(), used=1, elapsed=0.2, frames=100) == SLICE
    assert measured(Pace(), used=8_000_000, elapsed=0.2, frames=1 << 20) == SLICE
    assert measured(Pace(), used=1, elapsed=0.02, frames=1 << 20) == 0.02


def test_what_a_guest_counts_is_bounded_however_its_portions_end() -> None:
    pace = Pace()
    for number in range(100):
        pace.learn(1 << 40, 2 * SLICE, SLICE, 0, is_used_up=number % 2 == 0)
        assert pace.speed <= MOST_SPEED


def test_who_never_has_a_whole_slice_is_not_waited_for() -> None:
    """As below a call that has its own: then nothing can be measured, and what is slow is the guest."""
    pace = Pace()
    for speed in (SPEED, SPEED / 100):
        for _ in range(60):
            units = int(pace.portion(SLICE / 2, is_whole=False))
            pace.learn(units, units / speed, SLICE / 2, 0, is_used_up=True)
        assert pace.portion(SLICE / 2, is_whole=False) / speed < SLICE


def test_small_budgets_tell_nothing_of_a_guests_speed() -> None:
    """What a budget ends at once would be taken for a portion that was used up early."""

    async def main() -> None:
        guest = await caesura.load(DEEP, preempt="fuel", time_slice=0.05)
        for _ in range(20):
            with pytest.raises(caesura.BudgetExhausted) as pause:
                await guest.call("run", 1, 1_000_000, budget=caesura.Budget(fuel=2000))
            pause.value.call.drop()
        slicing = guest._instance.slicing
        # What took long enough, on a busy machine, is measured all the same.
        assert slicing is not None and slicing._pace.speed <= 2000 / _MEASURABLE

    run(main())


def test_the_speed_of_what_a_host_function_drives_is_learnt() -> None:
    async def main() -> None:
        def work() -> None:
            step = inner.start("run", 1, 1_000_000)
            while isinstance(step, caesura.PendingCall):
                step = step.resume()

        inner = await caesura.load(DEEP, preempt="fuel", time_slice=SLICE)
        text = b'(module (import "env" "work" (func $work)) (func (export "run") (call $work)))'
        outer = await caesura.load(text, {"env": {"work": work}}, preempt="fuel", time_slice=SLICE)
        await outer.call("run")
        assert 0 < inner.usage.slices < 3000  # of 250,000,000 units; without, 1,000 units each

    run(main())


DEEP = b"""(module
  (func $work (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (local.get 0)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func $deep (param $n i32) (param $times i32) (result i32) (local $sum i32)
    (if (i32.eqz (local.get $n))
      (then
        (loop
          (local.set $sum (i32.add (local.get $sum) (call $work (i32.const 20))))
          (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (return (local.get $sum))))
    (i32.add (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $times)) (i32.const 1)))
  (func (export "run") (param i32 i32) (result i32) (call $deep (local.get 0) (local.get 1))))"""


# The loop looks once in thousands of iterations.
DEEP_AND_IN_CHUNKS = b"""(module
  (func $run (export "run") (param $n i32) (param $times i32) (result i32) (local $sum i32)
    (if (local.get $n)
      (then (return (i32.add (call $run (i32.sub (local.get $n) (i32.const 1)) (local.get $times)) (i32.const 1)))))
    (loop
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $times)))
      (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))"""


@pytest.mark.parametrize(("module", "times"), [(DEEP, 300_000), (DEEP_AND_IN_CHUNKS, 30_000_000)])
def test_a_deep_recursion_gets_on_in_slices(module: bytes, times: int) -> None:
    """What suspends it takes longer than a slice; with portions that got smaller by that it was suspended for ever."""

    async def main() -> None:
        program = await caesura.compile(module, preempt="fuel", native_stack_size=4 << 20)
        whole = await program.load()
        sliced = await program.load(time_slice=SLICE)
        results = [await guest.call("run", 20_000, times) for guest in (whole, sliced)]
        assert results[0] == results[1]
        assert sliced.usage.fuel == whole.usage.fuel
        assert 0 < sliced.usage.slices < 1000

    run(main())


def test_so_does_one_that_takes_far_longer_by_request() -> None:
    """Else its time would be over while it is resumed."""

    async def main() -> None:
        program = await caesura.compile(DEEP_AND_IN_CHUNKS, preempt="flag", native_stack_size=32 << 20)
        guest = await program.load(time_slice=SLICE)
        await guest.call("run", 200_000, 30_000_000)
        assert 0 < guest.usage.slices < 500

    before = threading.stack_size(64 << 20)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(run, main()).result()
    finally:
        threading.stack_size(before)


def test_what_one_look_counts_is_known() -> None:
    assert MOST_IN_A_LOOK >= MOST_IN_A_CHUNK
