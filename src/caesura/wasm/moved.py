"""Code whose instructions are the same in other places: because numbers became shorter, or something was put between.

What speaks of instructions by their offsets, such as branch hints, asks where they are.
"""

from __future__ import annotations


class Moved:
    """Says where a place in the old code is in the new one; this one, that nothing has moved."""

    def place(self, offset: int) -> int:
        """Return where an offset of the old code is now."""
        return offset


class MovedTwice(Moved):
    """Code that has moved, and then moved again."""

    def __init__(self, first: Moved, second: Moved) -> None:
        self._first = first
        self._second = second

    def place(self, offset: int) -> int:
        """Return where an offset of the old code is now."""
        return self._second.place(self._first.place(offset))
