"""Labels of a function being rewritten: what is open, and how deep a branch reaches.

A label's height is the number of labels that were open when it was opened; the function's own has height 0. Branches
count the other way, from the innermost label, so a depth is only known where the branch is written.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import InternalError
from caesura.wasm.encoded import BR, DROP, END, IF
from caesura.wasm.indices import LabelDepth
from caesura.wasm.leb128 import encode_unsigned

# In place of the height of a label where none is needed: for a landing point that stands at the head of its region, and
# for a block that ends where another label does.
AT_HEAD: Final = -1

# Height of the function's own label.
OWN_LABEL: Final = 0

# In place of the place of a drop: none may go.
NO_DROP: Final = -1


class Labels:
    """The code of a body that is written so far, in pieces, and the labels open at its end.

    Those who write a body share this as one shares a file: each appends to `out`, and opens and closes labels here.

    Where control leaves for good, what is left on the operand stack does not matter. So a `drop` before that can go, as
    long as no block ends in between; the last one that may is kept track of.
    """

    def __init__(self) -> None:
        self.out: Final[list[bytes]] = []
        # Of each open label, whether anything branches to it; the function's own comes first.
        self._targeted: list[bool] = [False]
        # The last drop that may go: its place in `out` and the innermost label there.
        self._drop = NO_DROP
        self._drop_label = 0

    def begin(self, code: bytes) -> int:
        """Write the start of a block and return the height of its label."""
        self.out.append(code)
        self._targeted.append(False)
        return self.innermost()

    def make_if(self, condition: bytes) -> None:
        """Let the block whose start was written last be an `if`, with this condition before it."""
        self.out[-1] = condition + IF + self.out[-1][1:]

    def innermost(self) -> int:
        """Return the height of the innermost label."""
        return len(self._targeted) - 1

    def close(self, height: int) -> bool:
        """Write the end of the innermost block, which must have this height; AT_HEAD means there is none.

        Returns whether anything branched to it.
        """
        if height == AT_HEAD:
            return True
        if self.innermost() != height:
            raise InternalError(f"label {height} ends inside label {self.innermost()}")
        self.out.append(END)
        self._keep_drop()
        return self._targeted.pop()

    def end_by_delegate(self) -> None:
        """Forget the innermost label: its block ends with `delegate` instead of `end`."""
        self._keep_drop()
        self._targeted.pop()

    def next_arm(self, code: bytes) -> None:
        """Write what begins another arm of the innermost construct."""
        self.out.append(code)
        self._keep_drop()

    def drop(self, *, may_go: bool) -> None:
        """Write a drop, which may go if what is below it on the operand stack is not needed before control leaves."""
        if may_go:
            self._drop = len(self.out)
            self._drop_label = self.innermost()
        self.out.append(DROP)

    def leave(self) -> None:
        """Say that control does not go on from here."""
        if self._drop != NO_DROP and self.innermost() == self._drop_label:
            self.out[self._drop] = b""
            self._drop = NO_DROP

    def _keep_drop(self) -> None:
        """Keep the last drop if it stands in the innermost construct, an arm of which ends."""
        if self.innermost() <= self._drop_label:
            self._drop = NO_DROP

    def depth(self, height: int) -> LabelDepth:
        """Return the label index that a branch from here to a label takes."""
        self._targeted[height] = True
        return LabelDepth(len(self._targeted) - 1 - height)

    def branch(self, opcode: bytes, height: int) -> None:
        """Write a branch to a label."""
        self._targeted[height] = True
        self.out.append(opcode + encode_unsigned(len(self._targeted) - 1 - height))
        if opcode == BR:
            self.leave()
