"""What a table says of each instruction of a body, looked up for the whole body at once.

Passes over a body want to know one thing of each instruction: what it does to the operand stack, to liveness, or to
labels. To look that up in a list, instruction by instruction, is a good part of what a pass costs. But nearly all codes
are bytes, and `bytes.translate` looks up all of them in one call; what comes out is also quicker to read than a list.
Instructions with a prefix are looked up one by one.
"""

from __future__ import annotations

from caesura.analysis.body import Body


class CodeTable:
    """A number from 0 to 255 for each instruction code."""

    def __init__(self, values: list[int]) -> None:
        self._values = values
        self._of_bytes = bytes(values[:256])

    def of(self, body: Body) -> bytes:
        """Return the table's number for each instruction of a body."""
        found = body.byte_codes.translate(self._of_bytes)
        if not body.prefixed:
            return found
        mended = bytearray(found)
        for index in body.prefixed:
            mended[index] = self._values[body.codes[index]]
        return bytes(mended)
