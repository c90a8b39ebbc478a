"""The normal body of a function with two (see `frames.two_bodies`): it runs, and lands at hand-off loops only.

A call at a pause point, in a branch that is next to never taken, would make engines keep the values of the loop around
it in memory (V8 does; an interpreter takes a fifth longer then). Since no frame lands there, such a call can stand
behind the code: the pause point only looks whether it is going to pause, and branches there.
"""

from __future__ import annotations

from caesura.instrument.frames.late_locals import take_from
from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.frames.two_bodies import Handoff
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.dispatch import Dispatcher, br_table
from caesura.instrument.write.head_labels import HeadLabels
from caesura.instrument.write.labels import Labels
from caesura.instrument.write.new_body import NewBody
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import WITH_NUMBERS, Unwinding
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex, SiteNumber
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
            Unwinding(output, planned, frame_code, handoff.pads, labels, WITH_NUMBERS),
            not_unrolled,
        )
        self._handoff = handoff
        self._runtime = output.helpers.runtime
        self._recognise = output.tail_dispatch.recognise(planned.function)
        self._pause_call = c.CALL + encode_unsigned(output.pause)
        self._may_pause = output.may_pause
        calls = planned.plan.sites.calls
        body = planned.body
        self._pauses = {call for call in calls if body.codes[call] == op.CALL and body.immediates[call] == output.pause}
        self._killed = {loop.start: loop.killed for loop in handoff.loops}

    def write(self, resume: int, *, is_entered: bool) -> bytes:
        """Return the encoded body; `resume` is the function index of the resume body."""
        labels = self._labels
        leave = labels.begin(c.BLOCK_EMPTY) if self._results else 0
        self._unwinding.open()
        if self._pauses:
            self._unwinding.open_pauses([SiteNumber(site) for site in self._pause_sites()])
        has_else = self._dispatcher.open_arm(self._layout.regions[0], self._runtime.stack.state_get)
        if is_entered or not self._runtime.guards:
            self._out.append(self._runtime.is_unwinding())
            labels.branch(c.BR_IF, leave)
        else:
            self._out.append(self._runtime.refuse_entry())
        self._out.append(self._recognise)
        self._resume(resume, leave, labels.innermost())
        self._dispatcher.close_arm(has_else=has_else)
        return self._code_and_tail(leave)

    def _pause_sites(self) -> list[int]:
        return [site for site in range(len(self._site_calls)) if self._site_calls[site] in self._pauses]

    def _call(self, index: int) -> None:
        if index not in self._pauses:
            super()._call(index)
            return
        self._flush(self._body.positions[index])
        self._copied = self._body.positions[index + 1]

    def _check(self, call: InstructionIndex) -> None:
        if call in self._pauses:
            self._unwinding.leave_by_pause(self._site_of(call), self._may_pause)
        else:
            super()._check(call)

    def _close_unwinding(self) -> None:
        self._unwinding.close_pauses(self._pause_call)
        super()._close_unwinding()

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
