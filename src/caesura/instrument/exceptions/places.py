"""Where the instructions of a translated function are, and where they were.

Code is copied in stretches, between which something was added or replaced. Each stretch is two numbers, so that
offsets in messages can be those of the module that was given, and branch hints can follow their branches.
"""

from __future__ import annotations

from bisect import bisect_right

from caesura.wasm.moved import Moved


class Places(Moved):
    """The stretches of a body that were copied, by where they began and begin; offsets count from the body's start."""

    def __init__(self) -> None:
        self._old: list[int] = []
        self._new: list[int] = []

    def add(self, old: int, new: int) -> None:
        """Note where a stretch began and begins; those before it must have been noted."""
        self._old.append(old)
        self._new.append(new)

    def shift(self, added: int) -> None:
        """Move all stretches to behind a head of so many bytes."""
        self._new = [place + added for place in self._new]

    def place(self, offset: int) -> int:
        """Return where an instruction of the old body is now, or what stands in its place."""
        return _follow(self._old, self._new, offset)

    def old(self, offset: int) -> int:
        """Return where an instruction of the new body was, or the one next to which it was added."""
        return _follow(self._new, self._old, offset)


def _follow(starts: list[int], others: list[int], offset: int) -> int:
    stretch = bisect_right(starts, offset) - 1
    if stretch < 0:
        return offset  # the declarations of locals
    place = others[stretch] + offset - starts[stretch]
    return min(place, others[stretch + 1]) if stretch + 1 < len(others) else place
