"""Who goes on next: shares by weight, priorities, nobody starves, and policies of one's own."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

import caesura
from tests.host.slices.guests import SLICE, load
from tests.host.support import run


def turns(policy: caesura.Policy, shares: list[caesura.Share], count: int) -> Counter[object]:
    """Return how many of so many turns each guest has, if all compute and use up their slices."""
    for share in shares:
        policy.add(share)
    had: Counter[object] = Counter()
    for _ in range(count):
        chosen = policy.choose()
        assert chosen is not None
        had[chosen.guest] += 1
        chosen.ran = 0.005
        policy.add(chosen)
    return had


def test_shares_are_in_proportion_to_weights() -> None:
    shares = [caesura.Share(weight, weight, 0) for weight in (1.0, 2.0, 7.0)]
    had = turns(caesura.FairShares(), shares, 1000)
    assert all(abs(had[weight] - 100 * weight) < 5 for weight in (1.0, 2.0, 7.0))


def test_higher_priorities_come_first_and_nobody_starves() -> None:
    shares = [caesura.Share(name, 1.0, priority) for name, priority in (("low", -1), ("high", 1), ("high too", 1))]
    had = turns(caesura.FairShares(), shares, 800)
    assert had["low"] >= 800 // 8 // 3 and had["high"] > 300 and had["high too"] > 300


def test_who_comes_late_has_saved_nothing_up() -> None:
    policy = caesura.FairShares()
    first, late = caesura.Share("first", 1.0, 0), caesura.Share("late", 1.0, 0)
    turns(policy, [first], 100)
    had = turns(policy, [late], 100)
    assert abs(had["first"] - had["late"]) <= 2


def test_who_does_not_wait_any_more_is_not_chosen() -> None:
    policy = caesura.FairShares()
    one, other = caesura.Share("one", 1.0, 0), caesura.Share("other", 1.0, 0)
    policy.add(one)
    policy.add(other)
    policy.remove(one)
    policy.add(one)
    policy.remove(one)
    assert policy.choose() is other and policy.choose() is None
    policy.add(one)
    assert policy.choose() is one


def test_time_of_guests_with_weights() -> None:
    async def main() -> None:
        light, heavy = await load(), await load(weight=8)
        tasks = [asyncio.create_task(guest.call("spin")) for guest in (light, heavy)]
        while heavy.usage.slices < 40:
            await asyncio.sleep(SLICE)
        for task in tasks:
            task.cancel()
        assert 0 < light.usage.slices < heavy.usage.slices / 3

    run(main())


class Stubborn:
    """The guest that was added last goes on, so long as there is one."""

    def __init__(self) -> None:
        self.waiting: list[caesura.Share] = []
        self.chosen: list[object] = []

    def add(self, share: caesura.Share) -> None:
        """A guest waits."""
        self.waiting.append(share)

    def remove(self, share: caesura.Share) -> None:
        """It does not any more."""
        self.waiting.remove(share)

    def choose(self) -> caesura.Share | None:
        """Return the last."""
        if not self.waiting:
            return None
        self.chosen.append(self.waiting[-1].guest)
        return self.waiting.pop()


def test_a_policy_of_ones_own() -> None:
    async def main() -> None:
        policy = Stubborn()
        caesura.use_policy(policy)
        guests = [await load() for _ in range(3)]
        tasks = [asyncio.create_task(guest.call("spin")) for guest in guests]
        while len(policy.chosen) < 10:
            await asyncio.sleep(SLICE)
        assert len(set(policy.chosen[3:])) == 1
        with pytest.raises(caesura.UsageError, match="choose one before guests compute"):
            caesura.use_policy(caesura.FairShares())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert policy.waiting == []
        caesura.use_policy(caesura.FairShares())

    run(main())
    with pytest.raises(caesura.UsageError, match="none is running here"):
        caesura.use_policy(caesura.FairShares())
    with pytest.raises(caesura.UsageError, match="has no method `add`"):
        caesura.use_policy(5)  # type: ignore[arg-type]


class Counting(caesura.FairShares):
    """Counts turns."""

    turns = 0

    def choose(self) -> caesura.Share | None:
        """Return the guest that goes on."""
        chosen = super().choose()
        self.turns += chosen is not None
        return chosen


def test_timers_come_between_two_turns() -> None:
    """However many guests compute: a timer waits for the one whose turn it is, and callbacks for no more."""

    async def main() -> None:
        policy = Counting()
        caesura.use_policy(policy)
        tasks = [asyncio.create_task((await load()).call("spin")) for _ in range(50)]
        loop = asyncio.get_running_loop()
        while not policy.turns:
            await asyncio.sleep(0)
        waited = []
        for _ in range(50):
            due = loop.create_future()
            before = policy.turns
            loop.call_later(SLICE / 4, due.set_result, None)
            await due
            waited.append(policy.turns - before)
            before = policy.turns
            await asyncio.sleep(0)
            waited.append(policy.turns - before)
        assert max(waited) <= 2 and sorted(waited)[len(waited) // 2] <= 1
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())
