"""Operands that cross something, in the new body: to their temporaries, and back on the operand stack.

The plan says which operands go to which temporary locals, right behind the instruction that gave them, and where they
are read again (see `plan.crossing`). Here that becomes code, of the locals that the frame has for temporaries.
"""

from __future__ import annotations

from caesura.analysis.actions import ACTIONS, LOCAL_TEE
from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.plan.plan import SLOT, Moment, Producer
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.marks import NARROWED
from caesura.wasm import encoded as c
from caesura.wasm.indices import InstructionIndex, LocalIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.types import defaultable, is_non_null


class CrossingCode:
    """Writes this code for one body, to `out`; `data` is the module's, `marks` those of its instructions."""

    def __init__(
        self, data: bytes, planned: PlannedFunction, frame_code: FrameCode, marks: bytes, out: list[bytes]
    ) -> None:
        self._data = data
        self._body = planned.body
        self._frame = planned.frame
        self._added = frame_code.added
        self._out = out
        self._temporaries = planned.plan.crossing.temporaries
        self._reads = planned.plan.crossing.reads
        self._several = planned.plan.crossing.several
        self._non_null = planned.plan.crossing.non_null
        self._marks = marks
        self._else_parameters = planned.plan.constructs.else_parameters

    def get(self, local: LocalIndex) -> None:
        """Put the value of a local on the operand stack."""
        self._out.append(c.LOCAL_GET + encode_unsigned(local))

    def set(self, local: LocalIndex) -> None:
        """Move the operand on top to a local."""
        self._out.append(c.LOCAL_SET + encode_unsigned(local))

    def read_again(self, moment: Moment) -> None:
        """Put the operands back on the stack that crossed something until this moment; the plan has such ones."""
        body = self._body
        for producer in self._reads[moment]:
            if producer in self._temporaries:
                self._get_operand(producer)
                continue
            code = self._data[body.positions[producer] : body.positions[producer + 1]]
            self._out.append(c.LOCAL_GET + code[1:] if ACTIONS[body.codes[producer]] == LOCAL_TEE else code)
            if self._marks[producer] & NARROWED:
                self._out.append(c.REF_AS_NON_NULL)

    def _get_operand(self, producer: Producer) -> None:
        self.get(self._frame.temporary(self._temporaries[producer]))
        if producer in self._non_null:
            self._out.append(c.REF_AS_NON_NULL)

    def spill(self, index: InstructionIndex) -> None:
        """Move the values that an instruction gave and that cross something to their temporaries."""
        temporaries = self._temporaries
        if index not in self._several:
            self.set(self._frame.temporary(temporaries[Producer(index)]))
            return
        types = self._several[index]
        lowest = 0
        while Producer(index + lowest * SLOT) not in temporaries:
            lowest += 1
        staying: list[tuple[LocalIndex, int]] = []
        for slot in range(len(types) - 1, lowest - 1, -1):
            producer = Producer(index + slot * SLOT)
            if producer in temporaries:
                self.set(self._frame.temporary(temporaries[producer]))
            else:
                local = self._added.scratch(defaultable(types[slot]))
                staying.append((local, types[slot]))
                self.set(local)
        for place in range(len(staying) - 1, -1, -1):
            local, value_type = staying[place]
            self.get(local)
            if is_non_null(value_type):
                self._out.append(c.REF_AS_NON_NULL)

    def take_in_parameters(self, region: InstructionIndex) -> None:
        """Move the parameters of a region, which is given by the instruction that opens it, to their temporaries."""
        slot = 0
        while Producer(region + slot * SLOT) in self._temporaries:
            slot += 1
        while slot > 0:
            slot -= 1
            self.set(self._frame.temporary(self._temporaries[Producer(region + slot * SLOT)]))

    def read_else_parameters(self, index: InstructionIndex) -> None:
        """Put the parameters of an `if` on the stack for the arm that begins with an `else`."""
        for producer in self._else_parameters.get(index, []):
            self._get_operand(producer)
