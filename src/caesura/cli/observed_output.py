"""What is kept of a command's output while it runs: what it says is missing in a list, and its last lines.

A command may print for ever, or a line without an end. So the output is read as it comes, and what is not needed is
forgotten; a line is divided where it is longer than any host's error. A file in between was rejected: it would grow
until the command is stopped.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from caesura.recording.refusals import RefusalReader, Refusals

# How many bytes a line has at most, and how many of the last lines are kept, with so many characters each.
_LONGEST_LINE: Final = 1 << 24
_LAST_LINES: Final = 20
_SHOWN: Final = 1_000


class ObservedOutput:
    """Takes an output in pieces of any size."""

    def __init__(self) -> None:
        self._reader = RefusalReader()
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._line = bytearray()  # what has come behind the last line end

    def take(self, data: bytes) -> None:
        """Take the bytes that come next."""
        lines, end, rest = data.rpartition(b"\n")
        if end:
            self._line += lines
            self._read_lines()
        self._line += rest
        if len(self._line) >= _LONGEST_LINE:
            self._read_lines()

    def end(self) -> Refusals:
        """Return what the output says is missing, when all of it was taken."""
        self._read_lines()
        return self._reader.refusals()

    def last_lines(self) -> list[str]:
        """Return the last lines; long ones are cut off."""
        return list(self._last)

    def _read_lines(self) -> None:
        lines = self._line.decode(errors="replace").splitlines()
        self._line.clear()
        self._reader.read(lines)
        self._last.extend([line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..." for line in lines[-_LAST_LINES:]])
