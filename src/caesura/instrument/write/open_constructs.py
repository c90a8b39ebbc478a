"""The constructs of the original that are open where its new body is being written, and what their labels are now.

A construct's label in the original is, in the new body, the label of the same construct, or one that was opened at the
head of its region, or that of something else that ends at the same place. Label indices in immediates are encoded anew
by that.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.write.labels import OWN_LABEL, Labels
from caesura.wasm.indices import InstructionIndex, LabelDepth
from caesura.wasm.leb128 import encode_unsigned, read_u32

# In place of the instruction that opens the function body: there is none.
_BODY: Final = InstructionIndex(-1)


class OpenConstructs:
    """The open constructs, innermost last, the function body being the first.

    Of each it keeps the instruction that opens it, the height of the label that branches to it go to, and the height of
    the label that its end closes.
    """

    def __init__(self, data: bytes, labels: Labels) -> None:
        self._data = data
        self._labels = labels
        self._starts: list[InstructionIndex] = [_BODY]
        self._heights: list[int] = [OWN_LABEL]
        self._closing: list[int] = [OWN_LABEL]

    def leave_by(self, height: int) -> None:
        """Let branches to the label of the original's body go to a label of this height."""
        self._heights[0] = height

    def open(self, start: InstructionIndex, height: int, closing: int) -> None:
        """Open a construct inside of the innermost one."""
        self._starts.append(start)
        self._heights.append(height)
        self._closing.append(closing)

    def innermost(self) -> InstructionIndex:
        """Return the instruction that opens the innermost construct."""
        return self._starts[-1]

    def closing(self) -> int:
        """Return the height of the label that the end of the innermost construct closes."""
        return self._closing[-1]

    def end(self) -> InstructionIndex:
        """Leave the innermost construct; return the instruction that opened it."""
        self._heights.pop()
        self._closing.pop()
        return self._starts.pop()

    def height(self, depth: LabelDepth) -> int:
        """Return the height of the label that the original names by a depth."""
        return self._heights[-1 - depth]

    def height_of_body(self) -> int:
        """Return the height of the label that branches to the body's label go to."""
        return self._heights[0]

    def targets(self, position: int) -> bytes:
        """Return the immediates of a `br_table`, which stand at a position, encoded anew."""
        count, position = read_u32(self._data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count + 1):
            label, position = self._label(position)
            parts.append(label)
        return b"".join(parts)

    def catches(self, position: int) -> bytes:
        """Return the catch clauses of a `try_table`, whose own label is not open yet, encoded anew."""
        count, position = read_u32(self._data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count):
            start = position
            position += 1
            if self._data[start] < 2:
                _, position = read_u32(self._data, position)
            parts.append(self._data[start:position])
            label, position = self._label(position)
            parts.append(label)
        return b"".join(parts)

    def cast(self, start: int, end: int) -> bytes:
        """Return a whole `br_on_cast` or `br_on_cast_fail`: opcode, flags, label, two heap types."""
        _, flags = read_u32(self._data, start + 1)
        label, rest = self._label(flags + 1)
        return self._data[start : flags + 1] + label + self._data[rest:end]

    def _label(self, position: int) -> tuple[bytes, int]:
        """Return the new label index for the one at a position, and the position behind it."""
        label, position = read_u32(self._data, position)
        return encode_unsigned(self._labels.depth(self._heights[-1 - label])), position
