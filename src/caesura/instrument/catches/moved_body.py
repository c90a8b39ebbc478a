"""A body in which the code of catch clauses has moved: how it is put together, and where its bytes come from."""

from __future__ import annotations

from typing import Final

from caesura.wasm.indices import ByteOffset
from caesura.wasm.pieces import join_pieces


class MovedBody:
    """A body with locals and code, and the runs of it that are the original's bytes.

    `has_foreign_handlers` tells whether call sites are left in catch clauses, for foreign exceptions. Run n begins at
    `starts[n]` in `code`, at `origins[n]` in the file, and has `lengths[n]` bytes.
    """

    def __init__(
        self, code: bytes, starts: list[int], origins: list[int], lengths: list[int], *, has_foreign_handlers: bool
    ) -> None:
        self.code: Final = code
        self.has_foreign_handlers: Final = has_foreign_handlers
        self._starts: Final = starts
        self._origins: Final = origins
        self._lengths: Final = lengths

    def original_offset(self, place: int) -> ByteOffset:
        """Return where in the file a byte of the body comes from, or what stands just before it."""
        low = 0
        high = len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            if self._starts[middle] <= place:
                low = middle
            else:
                high = middle
        return ByteOffset(self._origins[low] + min(place - self._starts[low], self._lengths[low]))


class MovedCode:
    """The code of such a body as it is written: runs of the original's bytes in `data`, in any order, and new code.

    `size` is how many bytes there are.
    """

    def __init__(self, data: bytes) -> None:
        self.size = 0
        self._data = data
        self._out: list[bytes] = []
        self._copied = 0
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._lengths: list[int] = []

    def write(self, code: bytes) -> None:
        """Write new code."""
        self._out.append(code)
        self.size += len(code)

    def go_to(self, position: int) -> None:
        """Let the next run of the original's bytes begin at a position."""
        self._copied = position

    def copy_to(self, position: int) -> None:
        """Copy the original's bytes up to a position, from where the last run ended."""
        if position > self._copied:
            self._starts.append(self.size)
            self._origins.append(self._copied)
            self._lengths.append(position - self._copied)
            self.write(self._data[self._copied : position])
        self._copied = position

    def replace(self, start: int, code: bytes, behind: int) -> None:
        """Write other code in place of the original's between two positions."""
        self.copy_to(start)
        self.write(code)
        self._copied = behind

    def finish(self, start: int, declarations: bytes, *, has_foreign_handlers: bool) -> MovedBody:
        """Return the whole body, with these declarations of locals; the original began at `start` in the file."""
        starts = [0] + [place + len(declarations) for place in self._starts]
        return MovedBody(
            declarations + join_pieces(self._out),
            starts,
            [start, *self._origins],
            [0, *self._lengths],
            has_foreign_handlers=has_foreign_handlers,
        )
