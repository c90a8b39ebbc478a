"""The constructs of the original that are open where its new body is being written, and what their labels are now.

A construct's label in the original is, in the new body, the label of the same construct, or one that was opened at the
head of its region, or that of something else that ends at the same place. Label indices in immediates are encoded anew
by that.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.write.labels import OWN_LABEL, Labels
from caesura.wasm.indices import InstructionIndex, LabelDepth
from caesura.wasm.relabel import Relabeling

# In place of the instruction that opens the function body: there is none.
_BODY: Final = InstructionIndex(-1)


class OpenConstructs(Relabeling):
    """The open constructs, innermost last, the function body being the first.

    Of each it keeps the instruction that opens it, the height of the label that branches to it go to, and the height of
    the label that its end closes.
    """

    def __init__(self, data: bytes, labels: Labels) -> None:
        super().__init__(data)
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

    def label(self, depth: int) -> int:
        """Return the label index for the one of the original."""
        return self._labels.depth(self._heights[-1 - depth])
