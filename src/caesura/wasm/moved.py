"""Code whose instructions are the same in other places: because numbers became shorter, or something was put between.

What speaks of instructions by their offsets, such as branch hints, asks where they are.
"""

from __future__ import annotations

from bisect import bisect_right


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


class Redirected(Moved):
    """A body in which calls or references are of others: `code`, whether it `is_changed`, and where places are.

    `ends` are the places behind what has another length now, ascending, `added` how many bytes that added up to there.
    """

    def __init__(self) -> None:
        self.code = b""
        self.is_changed = False
        self.ends: list[int] = []
        self.added: list[int] = []

    def place(self, offset: int) -> int:
        """Return where a place in the body is now."""
        found = bisect_right(self.ends, offset)
        return offset + self.added[found - 1] if found else offset
