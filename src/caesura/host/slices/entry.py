"""One entry of guest code with a deadline, by which clock that is, and what is left of its time.

A slice is time that passes; what cannot be suspended has processor time, which stops while its host functions run: see
`slicing`, which makes entries, and alone writes to them.
"""

from __future__ import annotations

from math import inf
from time import thread_time
from typing import TYPE_CHECKING, Final

from caesura.host.slices.budget import Allowance

if TYPE_CHECKING:
    from caesura.host.slices.slicing import Slicing

# Seconds for which a guest may go on, beyond its slice or its budget, where it cannot be suspended.
TOLERANCE: Final = 0.05


class Entry:
    """One entry of guest code that is on the thread's stack.

    `outer` is the entry around it, of whichever guest. `deadline` is when it is to end, by `monotonic`, or by
    `thread_time` if it is masked; `resumed` since when it has run; `entered` what `thread_time` showed then, where the
    clock of the one around it is stopped. While a host function runs that a masked entry has called, the clock
    `is_stopped`, since `stopped` by `thread_time` and `stopped_at` by `monotonic`, and `left` is what it has of the
    `given` seconds. `waited` is what counts of the time that has passed in such host functions, for it and what it is
    called by, as far as that is `bounded`: masked, or below what is. `tolerance` is how long that may go on beyond its
    deadline, all together, which its host functions call masked, and `covered` what such a one has until then.
    `granted` is the fuel that the guest got last, until it is settled; `portion` is what it has for its time, and
    `counted` what the guest had used before; `free` are seconds that do not count of those below it.
    """

    __slots__ = (
        "allowance",
        "began",
        "bounded",
        "counted",
        "covered",
        "deadline",
        "entered",
        "free",
        "given",
        "granted",
        "inner",
        "is_masked",
        "is_stopped",
        "left",
        "longest",
        "outer",
        "portion",
        "resumed",
        "slicing",
        "stopped",
        "stopped_at",
        "tolerance",
        "waited",
        "waited_before",
    )

    def __init__(self, slicing: Slicing, allowance: Allowance | None, outer: Entry | None, now: float) -> None:
        self.slicing = slicing
        self.outer = outer
        self.began = self.resumed = now
        self.allowance = allowance
        self.is_masked = self.bounded = False
        self.is_stopped = False
        self.waited = self.waited_before = self.stopped_at = 0.0
        self.deadline = self.given = self.left = inf
        self.entered = self.stopped = self.inner = self.longest = 0.0
        self.tolerance, self.covered = TOLERANCE, 0.0
        self.granted: int | None = None
        self.counted = 0
        self.free = 0.0
        self.portion = 0.0


def time_left(entry: Entry, now: float) -> float:
    """Return for how many seconds an entry may run now."""
    if entry.is_stopped:
        return entry.left
    if entry.is_masked and entry.deadline < inf:
        return entry.deadline - thread_time()
    return entry.deadline - now


def processor_time(entry: Entry) -> float:
    """Return the seconds of the processor that an entry has used below one whose clock is stopped; none that is masked
    counts what its own host functions have taken.
    """
    if entry.is_masked:
        return entry.given - (entry.deadline - thread_time())
    return thread_time() - entry.entered


def below(entry: Entry) -> Entry | None:
    """Return the next entry of the same guest on the thread's stack."""
    outer = entry.outer
    while outer is not None and outer.slicing is not entry.slicing:
        outer = outer.outer
    return outer
