"""The normal body of a function with two (see `frames.two_bodies`): it runs, and lands at hand-off loops only."""

from __future__ import annotations

from caesura.instrument.frames.late_locals import take_from
from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.frames.two_bodies import Handoff
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.dispatch import NEVER, Dispatcher, br_table
from caesura.instrument.write.head_labels import HeadLabels
from caesura.instrument.write.labels import Labels
from caesura.instrument.write.new_body import NewBody
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import Unwinding, form_of_two_bodies
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned


class NormalBody(NewBody):
    """Writes this body."""

    def __init__(
        self,
        output: Output,
        planned: PlannedFunction,
        handoff: Handoff,
        frame_code: FrameCode,
        not_unrolled: set[InstructionIndex],
    ) -> None:
        labels = Labels()
        heads = HeadLabels(output, planned, handoff.layout, labels, set())
        super().__init__(
            output,
            planned,
            frame_code,
            Dispatcher(output, planned, frame_code, heads, handoff.arms),
            Unwinding(output, planned, frame_code, handoff.pads, labels, form_of_two_bodies(planned)),
            not_unrolled,
        )
        self._handoff = handoff
        self._runs_to_end = planned.runs_to_end
        self._runtime = output.helpers.runtime
        self._recognise = output.tail_dispatch.recognise(planned.function)
        body = planned.body
        self._branching.update(
            [call for call in self._site_calls if body.codes[call] == op.CALL and body.immediates[call] == output.pause]
        )
        self._killed = {loop.start: loop.killed for loop in handoff.loops}

    def write(self, resume: int, *, is_entered: bool) -> bytes:
        """Return the encoded body; `resume` is the function index of the resume body."""
        labels = self._labels
        leave = NEVER
        if is_entered or not self._runs_to_end:
            leave = labels.begin(c.BLOCK_EMPTY) if self._results else 0
        self._unwinding.open()
        self._open_pauses()
        has_else = self._dispatcher.open_arm(self._layout.regions[0], self._runtime.stack.state_get)
        if is_entered or (leave != NEVER and not self._runtime.guards):
            self._out.append(self._runtime.is_unwinding())
            labels.branch(c.BR_IF, leave)
        else:
            self._out.append(self._runtime.refuse_entry())
        self._out.append(self._recognise)
        if self._runs_to_end:
            self._out.append(c.CALL + encode_unsigned(resume) + c.RETURN)
        else:
            self._resume(resume, leave, labels.innermost())
        self._dispatcher.close_arm(has_else=has_else)
        return self._code_and_tail(leave)

    def _end_pause(self, site: int) -> None:
        """No frame lands at a pause point: that is for the resume body."""

    def _resume(self, resume: int, leave: int, head: int) -> None:
        """Write the cold arm: let the resume body run, and go on where it hands over."""
        handoff = self._handoff
        labels = self._labels
        out = self._out
        places = len(handoff.loops)
        arms = [0] * places
        for place in range(places - 1, -1, -1):
            arms[place] = labels.begin(c.BLOCK_EMPTY)
        finished = labels.begin(c.BLOCK_EMPTY)
        out.append(c.CALL + encode_unsigned(resume))
        targets = [labels.depth(finished), labels.depth(leave)] + [labels.depth(arm) for arm in arms]
        out.append(br_table(self._added, targets[:-1], targets[-1]))
        labels.close(finished)
        for carrier, value_type in zip(handoff.results, self._results, strict=True):
            out.append(take_from(carrier, value_type))
        out.append(c.RETURN)
        for place in range(places):
            labels.close(arms[place])
            for local in handoff.loops[place].entering:
                out.append(take_from(handoff.carriers[local], self._frame.held_type(self._body, local)))
                self._operands.set(local)
            number = self._layout.numbers[place]
            if self._layout.dispatches():
                out.append(c.CONST_I32 + encode_signed(number))
                self._operands.set(self._frame.site_local())
            targets = self._dispatcher.targets(self._layout.regions[0], labels.depth(head))
            out.append(c.BR + encode_unsigned(targets[number - 1]))

    def _enter_region(self, index: InstructionIndex, region: int) -> None:
        super()._enter_region(index, region)
        for local in self._killed.get(index, []):
            if not self._frame.can_be_zero(self._body, local):
                continue
            self._out.append(c.zero(self._frame.type_of(self._body, local)))
            self._operands.set(local)
