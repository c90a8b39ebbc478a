"""The constructs that are open while the code of catch clauses moves, and where branches to their labels go now."""

from __future__ import annotations

from typing import Final

from caesura.instrument.catches.moved_clauses import MovedClause
from caesura.wasm.relabel import Relabeling


class Label:
    """An open construct of the original.

    It has the heights of the label that branches to it go to and of the one for `delegate` and `rethrow`, and the moved
    clause whose body this is, if it is one.
    """

    def __init__(self, branch: int, handler: int, moved: MovedClause | None) -> None:
        self.branch: Final = branch
        self.handler: Final = handler
        self.moved: Final = moved


class OpenLabels(Relabeling):
    """The open constructs of the original, innermost last, the function body being the first.

    The height of a label is how many are open around it in the new code. Whoever writes that opens and closes
    constructs here as they are written; the labels of the original are entered and left besides.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._labels: list[Label] = [Label(0, 0, None)]
        self._height = 1

    def open(self) -> int:
        """Open a construct in the new code, and return the height of its label."""
        self._height += 1
        return self._height - 1

    def next(self) -> int:
        """Return the height that the label of the next construct in the new code will have."""
        return self._height

    def close(self) -> None:
        """Close the innermost construct of the new code."""
        self._height -= 1

    def enter(self, branch: int, handler: int, moved: MovedClause | None) -> None:
        """Enter a construct of the original, or the moved body of a clause (see `Label`)."""
        self._labels.append(Label(branch, handler, moved))

    def leave(self) -> None:
        """Leave the innermost construct of the original."""
        self._labels.pop()

    def of(self, depth: int) -> Label:
        """Return what the original names by a label index."""
        return self._labels[-1 - depth]

    def depth(self, height: int) -> int:
        """Return the label index that names the label of some height from here."""
        return self._height - 1 - height

    def label(self, depth: int) -> int:
        """Return the label index for the one of the original."""
        return self._height - 1 - self._labels[-1 - depth].branch
