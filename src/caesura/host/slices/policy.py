"""Who goes on next, of the guests in one event loop that have something to compute: the policy, which can be replaced.

`FairShares` gives each guest time in proportion to its weight: a guest's *virtual time* runs slower the more weight it
has, and the guest goes on whose virtual time is least. One that has waited for something else does not save time up: it
begins with the virtual time of those that run. Of guests of different priorities, those of the highest go first, but
for every eighth turn, which goes to the guest that has waited for longest: so none starves, whatever the others do.
Lottery tickets were rejected, since nobody could say how long a guest waits at most.

Whoever wants another policy writes a class with these three methods and hands it to `caesura.use_policy`.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final, Protocol

# One turn in so many is that of the guest that has waited for longest.
_LONGEST_WAITING: Final = 8

# So many times as many entries as guests that wait may be in the heaps.
_MOST_STALE: Final = 4


class Share:
    """A guest as a policy sees it. `weight` and `priority` are those that it was loaded with, `guest` is the guest.

    `ran` is for how many seconds it has computed since it was added last. A policy may keep what it needs in
    `virtual_time`.
    """

    __slots__ = ("__weakref__", "guest", "priority", "ran", "virtual_time", "weight")

    def __init__(self, guest: object, weight: float, priority: int) -> None:
        self.guest = guest
        self.weight = weight
        self.priority = priority
        self.ran = 0.0
        self.virtual_time = 0.0


class Policy(Protocol):
    """Whose turn it is, of the guests that wait for one. No guest is added twice."""

    def add(self, share: Share) -> None:
        """A guest waits for a turn."""

    def remove(self, share: Share) -> None:
        """A guest does not wait any more: its call was cancelled."""

    def choose(self) -> Share | None:
        """Return the guest that goes on, which does not wait then; None if there is none."""


class FairShares:
    """Time in proportion to weights; higher priorities first, but nobody starves."""

    def __init__(self) -> None:
        self._waiting: dict[Share, int] = {}  # in the order in which they were added, each with its number
        self._heaps: dict[int, list[tuple[float, int, Share]]] = {}  # by priority
        self._entries = 0  # how many the heaps have
        self._numbers = count()
        self._virtual_time = 0.0
        self._turns = 0

    def add(self, share: Share) -> None:
        """A guest waits for a turn."""
        share.virtual_time = max(share.virtual_time + share.ran / share.weight, self._virtual_time)
        if self._entries > _MOST_STALE * (len(self._waiting) + 1):
            self._drop_stale()
        number = self._waiting[share] = next(self._numbers)
        self._entries += 1
        heapq.heappush(self._heaps.setdefault(share.priority, []), (share.virtual_time, number, share))

    def remove(self, share: Share) -> None:
        """A guest does not wait any more."""
        self._waiting.pop(share, None)  # what is in a heap is thrown away when it comes up, or when there is much of it

    def choose(self) -> Share | None:
        """Return the guest that goes on."""
        if not self._waiting:
            self._heaps.clear()
            self._entries = 0
            return None
        self._turns += 1
        if len(self._heaps) > 1 and self._turns % _LONGEST_WAITING == 0:
            chosen = next(iter(self._waiting))
        else:
            chosen = self._least()
        del self._waiting[chosen]
        self._virtual_time = max(self._virtual_time, chosen.virtual_time)
        return chosen

    def _least(self) -> Share:
        for priority in sorted(self._heaps, reverse=True):
            heap = self._heaps[priority]
            while heap:
                _, number, share = heapq.heappop(heap)
                self._entries -= 1
                if self._waiting.get(share) == number:
                    return share
            del self._heaps[priority]
        raise AssertionError("whoever waits is in a heap")

    def _drop_stale(self) -> None:
        """Keep nothing of guests that do not wait any more: it may never come up, below others of a higher priority."""
        for priority, heap in list(self._heaps.items()):
            kept = [entry for entry in heap if self._waiting.get(entry[2]) == entry[1]]
            heapq.heapify(kept)
            if kept:
                self._heaps[priority] = kept
            else:
                del self._heaps[priority]
        self._entries = sum(map(len, self._heaps.values()))
