"""Guests that wait for nothing just before each of their slices ends: they have no more of the time than others, and no
more at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

import caesura
from caesura.host.slices.turns import Turns
from tests.host.slices.guests import SLICE, load
from tests.host.support import run

# What a guest computes before it waits: two of these are more than a slice.
MOST_OF_A_SLICE = 0.6 * SLICE
MORE_THAN_A_QUARTER = 0.3 * SLICE

# Waits, and computes then.
WAITING = b"""(module
  (import "env" "wait" (func $wait))
  (import "env" "compute" (func $compute))
  (func (export "run") (loop (call $wait) (call $compute) (br 0))))"""


class Counted(caesura.FairShares):
    """Counts the turns of each guest."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Counter[object] = Counter()

    def choose(self) -> caesura.Share | None:
        """Return the guest that goes on."""
        chosen = super().choose()
        if chosen is not None:
            self.turns[chosen.guest] += 1
        return chosen


async def until_cancelled(guest: caesura.Guest) -> None:
    while True:
        await guest.call("call_later", 1)


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("others", [1, 4])
def test_who_waits_early_takes_turns(others: int, preempt: str) -> None:
    async def main() -> None:
        units = 0

        async def later(value: int) -> int:
            nonlocal units
            time.sleep(MOST_OF_A_SLICE)
            units += 1
            await asyncio.sleep(0)
            return value

        policy = Counted()
        caesura.use_policy(policy)
        waiter = await load(later=later, time_slice=SLICE, preempt=preempt)
        spinners = [await load(time_slice=SLICE, preempt=preempt) for _ in range(others)]
        tasks = [asyncio.create_task(guest.call("spin")) for guest in spinners]
        tasks.append(asyncio.create_task(until_cancelled(waiter)))
        while policy.turns[spinners[0]] < 20:
            await asyncio.sleep(0)
        assert 1 < units <= 2 * (policy.turns[waiter] + 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())


def test_of_those_who_wait_early_one_runs_at_once_besides_the_one_whose_turn_it_is() -> None:
    async def main() -> None:
        iteration = 0
        units: Counter[int] = Counter()

        gate = asyncio.Event()

        async def count_iterations() -> None:
            nonlocal iteration
            while True:
                iteration += 1
                gate.set() if iteration % 20 == 0 else gate.clear()  # all of them go on in the same iteration
                await asyncio.sleep(0)

        async def wait() -> None:
            await asyncio.sleep(0)
            await gate.wait()

        def compute() -> None:
            time.sleep(MORE_THAN_A_QUARTER)
            units[iteration] += 1

        async def wait_and_compute() -> None:
            program = await caesura.compile(WAITING, {"env": {"wait": wait, "compute": compute}}, preempt="flag")
            guest = await program.load(time_slice=SLICE)
            await guest.call("run")

        tasks = [asyncio.create_task(count_iterations())]
        tasks += [asyncio.create_task(wait_and_compute()) for _ in range(5)]
        tasks += [asyncio.create_task((await load()).call("spin")) for _ in range(2)]
        while units.total() < 60:
            await asyncio.sleep(0)
        assert max(units.values()) <= 2
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())


def test_each_second_is_charged_once() -> None:
    """Where several calls of a guest wait for turns, too."""

    class Charged(Counted):
        def __init__(self) -> None:
            super().__init__()
            self.charged: list[float] = []

        def add(self, share: caesura.Share) -> None:
            """A guest waits for a turn."""
            self.charged.append(share.ran)
            super().add(share)

    async def main() -> None:
        turns = Turns(asyncio.get_running_loop())
        policy = Charged()
        turns.change_policy(policy)
        share = caesura.Share("guest", 1.0, 0)
        share.ran = 0.5
        futures = [turns.wait(share)]
        share.ran = 0.25
        futures.append(turns.wait(share))
        await asyncio.gather(*futures)
        assert policy.charged == [0.5, 0.25]
        assert share.ran == 0.0

    run(main())


class Never(caesura.FairShares):
    """Gives a guest no turn while others wait for one, which compute for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.unlucky: object = None

    def choose(self) -> caesura.Share | None:
        """Return the guest that goes on."""
        chosen = super().choose()
        if chosen is not None and chosen.guest is self.unlucky:
            instead = super().choose()
            self.add(chosen)
            return instead
        return chosen


@pytest.mark.parametrize("how", ["close", "aclose"])
def test_a_guest_is_closed_whose_calls_wait_for_a_turn(how: str) -> None:
    async def main() -> None:
        policy = Never()
        caesura.use_policy(policy)
        spinning = [asyncio.create_task((await load()).call("spin")) for _ in range(2)]
        guest = policy.unlucky = await load()
        while not policy._turns:
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(guest.call("quick", 1)) for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        if how == "close":
            guest.close()
        else:
            await guest.aclose()
        for task in waiting:
            with pytest.raises(caesura.UsageError, match="this guest is closed"):
                await task
        for task in spinning:
            task.cancel()
        await asyncio.wait(spinning)

    run(main())
