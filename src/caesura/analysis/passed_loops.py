"""Which loops pass another loop's head in each of their iterations: they need no pause point of their own.

Inner loops are looked at first. A loop's body is walked through once, with one fact: whether control may be here
without having passed the head of an inner loop that has a pause point. Where that holds at a branch back to the loop's
own head, the loop needs one. What stands in an inner loop with a pause point is not looked at, since control has passed
that by then; one without is code like any other. Exceptions may come from anywhere in a try.
"""

from __future__ import annotations

from caesura.analysis.path_lengths import read_branch
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction
from caesura.wasm.indices import ByteOffset


def passing_loops(data: bytes, starts: list[ByteOffset], ends: list[ByteOffset]) -> list[bool]:
    """Tell for each loop of a function whether each iteration passes another one's pause point.

    `starts` (ascending) are the positions behind the loops' block types, `ends` those behind their ends.
    """
    passes = [False] * len(starts)
    numbers: dict[int, int] = {starts[loop]: loop for loop in range(len(starts))}
    for loop in range(len(starts) - 1, -1, -1):
        if loop + 1 < len(starts) and starts[loop + 1] < ends[loop]:
            passes[loop] = not _Walk(data, ends, passes, numbers).comes_back(starts[loop], ends[loop])
    return passes


class _Walk:
    """A walk through one loop's body. Of each open construct, the loop itself first: its code, whether control may come
    to its label without having passed a pause point, and to its beginning.
    """

    def __init__(self, data: bytes, ends: list[ByteOffset], passes: list[bool], numbers: dict[int, int]) -> None:
        self._data = data
        self._ends = ends
        self._passes = passes
        self._numbers = numbers
        self._codes = [op.LOOP]
        self._labels = [False]
        self._starts = [True]

    def comes_back(self, position: int, end: int) -> bool:
        """Tell whether control may come back to the loop's head without having passed a pause point."""
        flows = table.FLOWS
        unpassed = True
        while position < end:
            code, immediates, position = read_instruction(self._data, position)
            flow = flows[code]
            if flow == table.FLOW_NEXT:
                continue
            if flow == table.FLOW_LOOP and not self._passes[self._numbers[position]]:
                position = self._ends[self._numbers[position]]
                unpassed = False
            elif flow <= table.FLOW_TRY:
                self._open(code, immediates, unpassed=unpassed)
            elif flow == table.FLOW_ELSE or flow == table.FLOW_CATCH:
                self._labels[-1] = self._labels[-1] or unpassed
                unpassed = self._starts[-1]
                if flow == table.FLOW_ELSE:
                    self._starts[-1] = False
            elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
                opened = self._codes.pop()
                may_skip = self._starts.pop() and opened == op.IF
                to_label = self._labels.pop()
                if not self._codes:
                    return to_label
                unpassed = unpassed or may_skip or (to_label and opened != op.LOOP)
            else:
                if unpassed:
                    for label in read_branch(self._data, code, flow, immediates):
                        if label < len(self._labels):
                            self._labels[-1 - label] = True
                if flow >= table.FLOW_BRANCH:
                    unpassed = False
        return True

    def _open(self, code: int, immediates: int, *, unpassed: bool) -> None:
        if code == op.TRY_TABLE and unpassed:
            for label in read_branch(self._data, code, table.FLOW_TRY, immediates):
                if label < len(self._labels):
                    self._labels[-1 - label] = True
        self._codes.append(code)
        self._labels.append(False)
        self._starts.append(unpassed)
