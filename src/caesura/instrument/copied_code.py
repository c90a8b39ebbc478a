"""Code that is copied in stretches, with something added or replaced between, and where its instructions are then.

Each stretch is noted as two numbers, so that offsets in messages can be those of the module that was given, and branch
hints can follow their branches.
"""

from __future__ import annotations

from bisect import bisect_right

from caesura.wasm.moved import Moved
from caesura.wasm.pieces import join_pieces


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


class PlacesTwice(Places):
    """The same of a body that was copied, and then copied again."""

    def __init__(self, first: Places, second: Places) -> None:
        super().__init__()
        self._first = first
        self._second = second

    def place(self, offset: int) -> int:
        """Return where an instruction of the old body is now, or what stands in its place."""
        return self._second.place(self._first.place(offset))

    def old(self, offset: int) -> int:
        """Return where an instruction of the new body was, or the one next to which it was added."""
        return self._first.old(self._second.old(offset))


class CopiedCode:
    """A copy of a body's code, from `position` in `data` on; `start` is where the body's declarations begin."""

    def __init__(self, data: bytes, start: int, position: int) -> None:
        self.places = Places()
        self._data = data
        self._start = start
        self._out: list[bytes] = []
        self._size = 0
        self._copied = position

    def replace(self, position: int, code: bytes, behind: int) -> None:
        """Write code in the place of what stands between two positions, behind a copy of all up to there."""
        self._copy(position)
        self._out.append(code)
        self._size += len(code)
        self._copied = behind

    def finish(self, end: int, head: bytes) -> bytes:
        """Copy what is left up to a position; return the whole body, with these declarations."""
        self._copy(end)
        self.places.shift(len(head))
        return head + join_pieces(self._out)

    def _copy(self, position: int) -> None:
        if position > self._copied:
            self.places.add(self._copied - self._start, self._size)
            self._out.append(self._data[self._copied : position])
            self._size += position - self._copied


def _follow(starts: list[int], others: list[int], offset: int) -> int:
    stretch = bisect_right(starts, offset) - 1
    if stretch < 0:
        return offset  # the declarations of locals
    place = others[stretch] + offset - starts[stretch]
    return min(place, others[stretch + 1]) if stretch + 1 < len(others) else place
