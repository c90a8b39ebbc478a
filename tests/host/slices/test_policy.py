"""Who goes on next: shares by weight, priorities, nobody starves, and policies of one's own."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections import Counter
from typing import cast

import pytest

import caesura
from tests.host.slices.guests import SLICE, load, until_paused
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
    with pytest.raises(caesura.UsageError, match="the policy is the class Stubborn: give an object of it"):
        caesura.use_policy(Stubborn)  # type: ignore[arg-type]

    class Awaited(Stubborn):
        async def choose(self) -> caesura.Share | None:  # type: ignore[override]
            return super().choose()

    with pytest.raises(caesura.UsageError, match=r"the method `choose` of the policy .* is a coroutine function"):
        caesura.use_policy(Awaited())  # type: ignore[arg-type]


class Failing(Stubborn):
    """Works for ten turns, and then once does what a policy must not do."""

    def __init__(self, fault: str, error: BaseException | None = None, chosen: object = None) -> None:
        super().__init__()
        self.fault = fault
        self.error = error or StopIteration("the policy is wrong")
        self.other = chosen or caesura.Share("another", 1.0, 0)

    def add(self, share: caesura.Share) -> None:
        """A guest waits."""
        self._fail("add")
        super().add(share)

    def choose(self) -> caesura.Share | None:
        """Return the last."""
        self._fail("choose")
        if self._fails_now("nobody"):
            return None
        if self._fails_now("another"):
            return cast("caesura.Share", self.other)
        return super().choose()

    def _fails_now(self, fault: str) -> bool:
        if self.fault != fault or len(self.chosen) < 10 or not self.waiting:
            return False
        self.fault = ""
        return True

    def _fail(self, fault: str) -> None:
        if self._fails_now(fault):
            raise self.error


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("choose", r"has failed, so no turn comes: StopIteration\('the policy is wrong'\)"),
        ("nobody", "has failed.*it has chosen nobody, though guests wait"),
        ("another", "has failed.*a guest that does not wait"),
        ("add", "has failed.*StopIteration"),
    ],
)
def test_who_waits_for_a_policy_that_fails_is_told(fault: str, message: str) -> None:
    """Nobody waits for ever: the calls that wait raise, and those that come later have their turns again."""
    all_are_told(Failing(fault), message)


class Unspeakable(Exception):
    """Cannot be written."""

    def __repr__(self) -> str:
        raise asyncio.CancelledError


@pytest.mark.parametrize("fault", ["choose", "add"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (asyncio.CancelledError(), "has failed.*CancelledError"),
        (GeneratorExit(), "has failed.*GeneratorExit"),
        (Unspeakable(), "has failed.*a Unspeakable"),
    ],
)
def test_whatever_a_policy_raises(fault: str, error: BaseException, message: str) -> None:
    all_are_told(Failing(fault, error), message)


@pytest.mark.parametrize("chosen", [5, [5], "a share", Unspeakable()])
def test_whatever_a_policy_chooses(chosen: object) -> None:
    all_are_told(Failing("another", chosen=chosen), "it has chosen .*: `choose` returns the share of a guest, or None")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_policy_that_ends_the_process(kind: type[BaseException]) -> None:
    async def main() -> None:
        caesura.use_policy(Failing("choose", kind()))
        guests = [await load() for _ in range(3)]
        await asyncio.gather(*(guest.call("spin") for guest in guests))

    with pytest.raises(kind):
        asyncio.run(main())


def all_are_told(policy: Failing, message: str) -> None:
    """Let three guests compute while a policy fails once: the calls that wait raise, and later ones have turns."""
    fault = policy.fault

    async def main() -> None:
        caesura.use_policy(policy)
        guests = [await load() for _ in range(3)]
        tasks = [asyncio.create_task(guest.call("spin")) for guest in guests]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if fault != "add":  # which concerns the guest that is added
            done, pending = await asyncio.wait(tasks)
        for task in done:
            with pytest.raises(caesura.UsageError, match=message):
                await task
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        assert await asyncio.gather(*(until_paused(guest, 2) for guest in guests)) == [2] * 3

    run(main())


class Unforgetting(Stubborn):
    """Cannot remove a guest."""

    def remove(self, share: caesura.Share) -> None:
        """A guest does not wait any more."""
        raise ValueError("the policy does not know it")


def test_a_policy_that_fails_does_not_hide_a_cancellation() -> None:
    async def main() -> None:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        caesura.use_policy(Unforgetting())
        guests = [await load() for _ in range(3)]
        tasks = [asyncio.create_task(guest.call("spin")) for guest in guests]
        while not any(guest.usage.slices for guest in guests):
            await asyncio.sleep(SLICE)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert told and "has failed" in told[0] and "does not know it" in told[0]

    run(main())


def test_guests_that_do_not_wait_any_more_are_forgotten() -> None:
    """Also where others of a higher priority never let what is left of them come up."""
    policy = caesura.FairShares()
    high, low = caesura.Share("high", 1.0, 1), caesura.Share("low", 1.0, 0)
    policy.add(high)
    policy.add(low)
    gone = []
    for _ in range(1000):
        share = caesura.Share("gone", 1.0, 0)
        policy.add(share)
        policy.remove(share)
        gone.append(weakref.ref(share))
        del share
        chosen = policy.choose()
        assert chosen is not None
        chosen.ran = 0.005
        policy.add(chosen)
    assert sum(reference() is not None for reference in gone) < 20


class Counting(caesura.FairShares):
    """Counts turns."""

    turns = 0

    def choose(self) -> caesura.Share | None:
        """Return the guest that goes on."""
        chosen = super().choose()
        self.turns += chosen is not None
        return chosen


def test_sockets_are_served_between_two_turns() -> None:
    """What has come is read after the turn in which it came, and answered after the next."""

    async def main() -> None:
        policy = Counting()
        caesura.use_policy(policy)
        tasks = [asyncio.create_task((await load()).call("spin")) for _ in range(50)]
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        other_reader, other_writer = await asyncio.open_connection(sock=far)

        async def echo() -> None:
            while line := await other_reader.readline():
                other_writer.write(line)

        tasks.append(asyncio.create_task(echo()))
        while not policy.turns:
            await asyncio.sleep(0)
        waited = []
        for number in range(50):
            before = policy.turns
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
            waited.append(policy.turns - before)
        assert sorted(waited)[len(waited) // 2] <= 6, "there and back, through a task on each side"
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        writer.close()
        other_writer.close()

    run(main())


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
