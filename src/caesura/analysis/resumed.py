"""How much of a function's code a resume body repeats: what control can come to from a landing point.

From there it runs on, to the function's end or to the head of a hand-off loop (see `frames.two_bodies`). One walk
over the body comes near enough to say what a second body costs: an opcode of an interpreter that calls nothing is left
out altogether, one that begins with a call is repeated as a whole.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.analysis.code_table import CodeTable
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex, LabelDepth
from caesura.wasm.leb128 import read_u32

_FLOW_TABLE: Final = CodeTable(table.FLOWS)


def resumed_bytes(data: bytes, body: Body, handoff_loops: set[InstructionIndex]) -> int:
    """Return how many bytes of a function's code can be reached from its call sites.

    Loops with call sites that are not handed over to, and what catches exceptions, count as a whole.
    """
    return _Walk(data, body, handoff_loops).run()


class _Walk:
    """`live` tells whether control comes to the instruction that is looked at, `targeted` are the blocks whose ends it
    comes to by a branch.
    """

    def __init__(self, data: bytes, body: Body, handoff_loops: set[InstructionIndex]) -> None:
        self._data = data
        self._body = body
        self._handoff_loops = handoff_loops
        self._live = False
        self._targeted: set[int] = set()
        self._open: list[int] = []
        # Whether control comes to the constructs that are open.
        self._entered: list[bool] = []

    def run(self) -> int:
        body = self._body
        positions = body.positions
        codes = body.codes
        flows = _FLOW_TABLE.of(body)
        sites = body.sites
        next_site = 0
        pauses = set(body.pausing_loops.values())  # where no frame lands, but before the loop
        total = 0
        for index in range(len(codes)):
            if next_site < len(sites) and sites[next_site] == index:
                next_site += 1
                self._live = self._live or index not in pauses
            if index in body.pausing_loops:
                self._live = True
            if self._live:
                total += positions[index + 1] - positions[index]
            flow = flows[index]
            if flow == table.FLOW_NEXT:
                continue
            if flow <= table.FLOW_TRY:
                self._enter(InstructionIndex(index))
            elif flow == table.FLOW_END and self._open:
                construct = self._open.pop()
                entered = self._entered.pop()
                skips_arm = codes[construct] == op.IF and construct not in body.elses and entered
                self._live = self._live or construct in self._targeted or skips_arm
            elif flow == table.FLOW_ELSE:
                if self._live:
                    self._targeted.add(self._open[-1])
                self._live = self._entered[-1]
            elif flow == table.FLOW_CATCH or flow == table.FLOW_DELEGATE:
                if self._live:
                    self._targeted.add(self._open[-1])
                self._live = True
            elif self._live:
                self._branch(InstructionIndex(index), flow)
        return total

    def _enter(self, index: InstructionIndex) -> None:
        body = self._body
        self._open.append(index)
        self._entered.append(self._live)
        if body.codes[index] == op.LOOP:
            if index in self._handoff_loops:
                self._live = False
            elif index in body.with_sites:
                self._live = True

    def _branch(self, index: InstructionIndex, flow: int) -> None:
        """Note where a branch goes to."""
        if flow == table.FLOW_BRANCH_TABLE:
            count, position = read_u32(self._data, self._body.positions[index] + 1)
            for _ in range(count + 1):
                label, position = read_u32(self._data, position)
                self._target(LabelDepth(label))
        elif flow == table.FLOW_BRANCH or flow == table.FLOW_BRANCH_IF:
            self._target(LabelDepth(self._body.immediates[index]))
        if flow >= table.FLOW_BRANCH:
            self._live = False

    def _target(self, label: LabelDepth) -> None:
        if label < len(self._open):
            self._targeted.add(self._open[-1 - label])
