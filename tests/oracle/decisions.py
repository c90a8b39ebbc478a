"""The decisions a generator takes, read from a string of bytes.

Hypothesis draws and shrinks byte strings fast, and deep strategies slowly; so the generator draws one string and
reads it byte by byte. Zero is always the simplest choice and stands for every byte after the end: a shorter string
and smaller bytes give a smaller module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Decisions:
    """A reader of decisions."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def byte(self) -> int:
        """The next byte."""
        position = self.position
        if position >= len(self.data):
            return 0
        self.position = position + 1
        return self.data[position]

    def below(self, count: int) -> int:
        """A number from 0 to count - 1; 0 is the simplest."""
        return self.byte() % count

    def choose(self, items: Sequence[Item]) -> Item:
        """One of the items; the first is the simplest."""
        return items[self.byte() % len(items)]

    def chance(self, in_256: int) -> bool:
        """True for that many of 256 byte values, and never when the bytes are used up."""
        return self.byte() > 255 - in_256

    @property
    def exhausted(self) -> bool:
        """Whether all bytes are read."""
        return self.position >= len(self.data)
