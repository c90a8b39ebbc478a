"""The resume body of a function with two (see `frames.two_bodies`): it goes on from a call site, up to a hand-off loop.

It returns whether the function finished, whether it is unwinding again, or which loop it hands over at. Where there is
no such loop it returns what the function does, and the normal body hands that on, as it hands on zeros.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.frames.two_bodies import Handoff
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.dispatch import NEVER, Dispatcher
from caesura.instrument.write.head_labels import HeadLabels
from caesura.instrument.write.labels import AT_HEAD, Labels
from caesura.instrument.write.new_body import NewBody
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import Unwinding, form_of_two_bodies
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex
from caesura.wasm.instructions import FLOW_RETURN, FLOWS
from caesura.wasm.leb128 import encode_signed, encode_unsigned

# What it returns: the function finished, it is unwinding again, or (from here on) it hands over.
_FINISHED: Final = 0
_UNWOUND: Final = 1
_HANDOFF: Final = 2

# The calls for tail calls, by opcode.
_CALL_OF: Final = {op.RETURN_CALL: c.CALL, op.RETURN_CALL_INDIRECT: b"\x11", op.RETURN_CALL_REF: b"\x14"}


class ResumeBody(NewBody):
    """Writes this body.

    Most of a switch's blocks have nothing left that branches to them: write once, look at `untargeted`, and write
    again with these `elided`.
    """

    def __init__(
        self,
        output: Output,
        planned: PlannedFunction,
        handoff: Handoff,
        frame_code: FrameCode,
        not_unrolled: set[InstructionIndex],
        elided: set[InstructionIndex],
    ) -> None:
        labels = Labels()
        heads = HeadLabels(output, planned, planned.frame.layout, labels, elided)
        super().__init__(
            output,
            planned,
            frame_code,
            Dispatcher(output, planned, frame_code, heads, {}),
            Unwinding(output, planned, frame_code, handoff.pads, labels, form_of_two_bodies(planned)),
            not_unrolled,
        )
        self._handoff = handoff
        self._runs_to_end = planned.runs_to_end
        self._params = output.module.function_type(planned.function).params
        # The label behind which it says that the guest unwinds again.
        self._leave = 0
        # The label where it leaves instead of entering a hand-off loop.
        self._exits: dict[InstructionIndex, int] = {}

    def _note_branch(self, index: int, *, is_opposite: bool) -> None:
        """Hints are about the body in the old place."""

    def _own_parameters(self) -> int:
        return 0

    def write(self) -> bytes:
        """Return the encoded body of a function without parameters that returns an i32, or what the original returns.

        The original's parameters are plain locals here.
        """
        return self._write_to_end() if self._runs_to_end else self._write_handing_over()

    def _write_to_end(self) -> bytes:
        self._unwinding.open()
        self._pop_and_go_on(NEVER)
        self._out.append(c.RETURN if self._plan.ends_live and self._live else c.UNREACHABLE)
        self._labels.leave()
        self._unwinding.close()
        self._out.append(self._unwinding.zeros() + c.END)
        return self._encoded(self._params)

    def _pop_and_go_on(self, leave: int) -> None:
        """Write the code that pops the frame, and the original's from the landing points on."""
        labels = self._labels
        self._dispatcher.open_function()
        head = labels.begin(c.BLOCK_EMPTY)
        self._dispatcher.pop_and_land(leave, head)
        labels.close(head)
        self._live = self._heads.lands_at_head(self._layout.regions[0])
        if not self._live:
            self._out.append(c.UNREACHABLE)
        self._copy_code()

    def _write_handing_over(self) -> bytes:
        handoff = self._handoff
        labels = self._labels
        for place in range(len(handoff.loops) - 1, -1, -1):
            self._exits[handoff.loops[place].start] = labels.begin(c.BLOCK_EMPTY)
        leave = self._leave = labels.begin(c.BLOCK_EMPTY)
        finish = labels.begin(c.BLOCK + self._heads.block_type(self._results))
        self._open_constructs.leave_by(finish)
        self._unwinding.open()
        self._pop_and_go_on(leave)
        if self._plan.ends_live and self._live:
            labels.branch(c.BR, finish)
        else:
            self._out.append(c.UNREACHABLE)
        self._unwinding.close()
        self._finish(_UNWOUND)
        labels.close(finish)
        for place in range(len(handoff.results) - 1, -1, -1):
            self._out.append(c.GLOBAL_SET + encode_unsigned(handoff.results[place]))
        self._finish(_FINISHED)
        labels.close(leave)
        self._finish(_UNWOUND)
        for place in range(len(handoff.loops)):
            labels.close(self._exits[handoff.loops[place].start])
            for local in handoff.loops[place].passed:
                self._operands.get(local)
                self._out.append(c.GLOBAL_SET + encode_unsigned(handoff.carriers[local]))
            self._finish(_HANDOFF + place)
        self._out.append(c.UNREACHABLE + c.END)
        return self._encoded(self._params)

    def _finish(self, status: int) -> None:
        self._out.append(c.CONST_I32 + encode_signed(status) + c.RETURN)

    def _other_call(self, index: int) -> None:
        """Write a tail call as a call: this body stays on the native stack, and returns the results another way.

        It does not stand in a `try`: a function with such tail calls has one body. Where what is called is suspended,
        nothing is left to be saved.
        """
        super()._other_call(index)
        if FLOWS[self._body.codes[index]] != FLOW_RETURN:
            return
        code = self._out.pop()
        self._out.append(_CALL_OF[code[0]] + code[1:] + self._output.helpers.stack.state_get)
        self._labels.branch(c.BR_IF, self._leave)
        self._return()

    def _return(self) -> None:
        if self._runs_to_end:
            super()._return()
            return
        self._labels.branch(c.BR, self._open_constructs.height_of_body())

    def _open_hoisted(self, index: InstructionIndex) -> None:
        if index not in self._exits:
            super()._open_hoisted(index)
            return
        exit_height = self._exits[index]
        if self._live:
            self._flush(self._body.positions[index])
            self._labels.branch(c.BR, exit_height)
            self._live = False
        self._copied = self._body.positions[index + 1]
        self._open_constructs.open(index, exit_height, self._heads.blocks.get(index, AT_HEAD))
