"""Which loops pass a pause point in each of their iterations, and which functions in each of their calls: such a loop
needs none of its own.

What passes is the head of an inner loop that has a pause point, and a call of a function that always passes one. Inner
loops are looked at first. A loop's body, and then the function's, is walked through once, with one fact: whether
control may be here without having passed a pause point since the beginning. Where that holds at a branch back to the
loop's own head, the loop needs one. What stands in an inner loop with a pause point is not looked at, since control has
passed that by then; one without is code like any other. Exceptions may come from anywhere in a try.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.looped_calls import LoopedCalls
from caesura.analysis.path_lengths import read_branch
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_u32


class PassedCode:
    """Whether each of a function's loops passes, and each call of the function."""

    def __init__(self, loops: list[bool], *, whole: bool) -> None:
        self.loops: Final = loops
        self.whole: Final = whole


def find_passed(data: bytes, code: LoopedCalls, passing: list[bool]) -> PassedCode:
    """Look at one function; `passing` tells of functions, by function index, whether they always pass a pause point."""
    loops = [False] * len(code.loop_starts)
    walk = _Walk(data, code, loops, passing)
    for loop in range(len(loops) - 1, -1, -1):
        loops[loop] = not walk.comes_back(code.loop_starts[loop], code.loop_ends[loop])
    return PassedCode(loops, whole=not walk.comes_to_end(code.start, code.end))


class _Walk:
    """A walk through one loop's body, or the function's. Of each open construct, that one first: its code, whether
    control may come to its label without having passed a pause point, and to its beginning.
    """

    def __init__(self, data: bytes, code: LoopedCalls, loops: list[bool], passing: list[bool]) -> None:
        self._data = data
        self._ends = code.loop_ends
        self._numbers: dict[int, int] = {code.loop_starts[loop]: loop for loop in range(len(code.loop_starts))}
        self._loops = loops
        self._passing = passing
        self._codes: list[int] = []
        self._labels: list[bool] = []
        self._starts: list[bool] = []
        # Whether control may leave the function without having passed one.
        self._returns = False

    def comes_back(self, position: int, end: int) -> bool:
        """Tell whether control may come back to the loop's head without having passed a pause point."""
        self._run(op.LOOP, position, end)
        return self._labels[0]

    def comes_to_end(self, position: int, end: int) -> bool:
        """Tell whether control may come to the function's end, or return, without having passed one."""
        unpassed = self._run(op.BLOCK, position, end)
        return unpassed or self._labels[0] or self._returns

    def _run(self, outermost: int, position: int, end: int) -> bool:
        """Walk, and tell whether control may come to the end without having passed a pause point."""
        flows = table.FLOWS
        self._codes = [outermost]
        self._labels = [False]
        self._starts = [True]
        self._returns = False
        unpassed = True
        while position < end:
            code, immediates, position = read_instruction(self._data, position)
            if (code == op.CALL or code == op.RETURN_CALL) and self._passing[read_u32(self._data, immediates)[0]]:
                unpassed = False
            flow = flows[code]
            if flow == table.FLOW_NEXT:
                continue
            if flow == table.FLOW_LOOP and not self._loops[self._numbers[position]]:
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
                if len(self._codes) == 1:
                    break
                opened = self._codes.pop()
                may_skip = self._starts.pop() and opened == op.IF
                to_label = self._labels.pop()
                unpassed = unpassed or may_skip or (to_label and opened != op.LOOP)
            else:
                if unpassed:
                    self._returns = self._returns or flow == table.FLOW_RETURN
                    self._branch(read_branch(self._data, code, flow, immediates))
                if flow >= table.FLOW_BRANCH:
                    unpassed = False
        return unpassed

    def _branch(self, labels: list[int]) -> None:
        for label in labels:
            if label < len(self._labels):  # others leave the loop
                self._labels[-1 - label] = True

    def _open(self, code: int, immediates: int, *, unpassed: bool) -> None:
        if code == op.TRY_TABLE and unpassed:
            self._branch(read_branch(self._data, code, table.FLOW_TRY, immediates))
        self._codes.append(code)
        self._labels.append(False)
        self._starts.append(unpassed)
