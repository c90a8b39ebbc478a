"""How fast a guest counts fuel, so how much of it is good for a slice; and what it takes to suspend it.

Nobody can ask a guest that counts to pause, so it gets its fuel in portions. The first one is small, since nothing is
known yet, and portions grow as long as they are used up early; one that took much too long says at once how slow the
guest has become. No portion is larger than a fast guest needs: one that makes itself fast, by a long way that its code
never takes, cannot get hours so.

A portion ends with a suspension and begins with a resumption, which take time for each frame on the stack: in a deep
recursion more than a slice. Taken for the guest's slowness that would make portions ever smaller, until the guest did
nothing but be suspended. So behind one that took too long comes one that ends at the next pause point, which takes
hardly any time but that; the others are longer by so much, and last as long as that at least. Should the machine be
busy just then, or the guest have done something that takes long, it counts for no more than so many frames may take. To
estimate it by these alone was rejected, since what one takes differs tenfold with frames and machines; to tell it from
any two portions of different sizes, since in what differs between them much is chance.
"""

from __future__ import annotations

from typing import Final

# The least fuel in a portion, but for one that is to end at once; and what one look counts at most, where instructions
# have nothing large to fill: that of a loop which looks once in many iterations.
LEAST_PORTION: Final = 1000
_UP_TO_THE_NEXT_POINT: Final = 1
MOST_IN_A_LOOK: Final = 16_384

# Units of fuel a second, until the guest's own speed is known; for what cannot be suspended at least, since a portion
# that is used up ends it; and at most: what a guest counts may be far more than what it runs, or a sixteenth of it, and
# it may change that on purpose when it has got its portion.
FIRST_SPEED: Final = 2e6
MASKED_SPEED: Final = 500e6
MOST_SPEED: Final = 1e9

# What was measured counts for so much, if it took so many seconds. A portion that is used up after so much of a slice
# was too small, and the next one is so much larger. Behind one that tells of a speed so much smaller than any before,
# it is measured what suspending the guest takes.
_NEW: Final = 0.5
_MEASURABLE: Final = 0.0001
_EARLY: Final = 0.5
_GROWTH: Final = 4
_SLOWER: Final = 0.5

# What of a portion's time is the guest's, at least: it may have become slower just then.
_OWN: Final = 0.25
# What suspending a guest takes at most, in seconds: a part of that for each byte of its frames.
_MOST_COST: Final = 0.00005
_MOST_COST_OF_A_BYTE: Final = 0.000_000_1
# After so many portions it is measured again, where it matters: the stack may not be as deep any more.
_AGE: Final = 8


def most_cost(frames: int) -> float:
    """Return the seconds that it takes at most to suspend a guest with so many bytes of frames, or to resume it."""
    return _MOST_COST + _MOST_COST_OF_A_BYTE * frames


class Pace:
    """`speed` is units of fuel a second, `cost` the seconds that suspending and resuming the guest took last."""

    def __init__(self) -> None:
        self.speed = FIRST_SPEED
        self.cost = 0.0
        # The most that the speed has been since it was known for the guest's; for how many portions the cost is known;
        # units and seconds of a portion of which it is not clear what they were for, until that is measured.
        self._known = FIRST_SPEED
        self._age = _AGE
        self._unclear: tuple[int, float] | None = None
        # Whether the portion that was given last is for a whole slice, as those that measure are; whether it does that.
        self._is_whole = self._measures = False

    def portion(self, seconds: float, *, is_whole: bool) -> float:
        """Return the units for some seconds, which are a whole slice or what is left of something."""
        self._is_whole = is_whole
        self._measures = is_whole and self._unclear is not None
        if self._measures:
            return _UP_TO_THE_NEXT_POINT
        return max((max(seconds, self.cost) if is_whole else seconds) * self.speed, LEAST_PORTION)

    def masked_portion(self, seconds: float) -> float:
        """Return the units for seconds of a guest that cannot be suspended, which only ends it."""
        return max(seconds * max(self.speed, MASKED_SPEED), LEAST_PORTION)

    def masked_seconds(self, units: int) -> float:
        """Return the seconds for which units count there."""
        return units / max(self.speed, MASKED_SPEED)

    def learn(self, used: int, elapsed: float, given: float, frames: int, *, is_used_up: bool) -> None:
        """Note how much fuel the guest has used in how many of the seconds that it was given; those of host functions
        are among them. `frames` are the bytes of the frames that it has written.
        """
        if not self._is_whole:
            self._unclear = None
        if self._unclear is not None:
            if not (self._measures and is_used_up):
                return
            self.cost, self._age = min(elapsed, most_cost(frames)) if used <= MOST_IN_A_LOOK else 0.0, 0
            (used, before), self._unclear = self._unclear, None
            self.speed = self._known = min(self.speed, used / max(before - self.cost, _OWN * before))
            return
        if is_used_up and elapsed < _EARLY * max(given, self.cost):
            self.speed = self._known = min(_GROWTH * self.speed, MOST_SPEED)
        elif elapsed > _MEASURABLE:
            used = max(used, LEAST_PORTION)
            computing = max(elapsed - self.cost, _OWN * elapsed) if is_used_up else elapsed
            speed = min(used / computing, MOST_SPEED)
            self._age += 1
            is_least = used < 2 * MOST_IN_A_LOOK and elapsed > given
            matters = is_least or max(self.cost, elapsed - given) > _OWN * given
            if is_used_up and self._is_whole and (speed < _SLOWER * self._known or (matters and self._age > _AGE)):
                self._unclear = used, elapsed
            else:
                self.speed += _NEW * (speed - self.speed)
                self._known = max(self.speed, self._known)
