"""How a body unwinds: the checks behind its call sites, and the code that saves its frame and leaves.

Each check looks at the state and branches to an unwind pad (see `frames.pads`) with the number of the call site. All
pads lead to the end of the body, where the frame is pushed and zeros are returned, so that code that runs need not jump
over that. With one call site there is no number to bring along, and where only bytes count its check does all of it in
place, which is shorter then.

The calls of some pause points stand at the end, in front of the pad (see `new_body`).
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.frames.pads import Pads
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.labels import Labels
from caesura.instrument.write.output import Output
from caesura.wasm import encoded as c
from caesura.wasm.indices import InstructionIndex, SiteNumber
from caesura.wasm.leb128 import encode_signed, encode_unsigned

# What a check does: it branches to a pad with the number of its call site; with one call site there is none to bring
# along; or the only check does all of it in place.
WITH_NUMBERS: Final = 0
ONE_SITE: Final = 1
IN_PLACE: Final = 2


def form_of_two_bodies(planned: PlannedFunction) -> int:
    """Return what checks do in the two bodies of a function."""
    return ONE_SITE if planned.runs_to_end and len(planned.plan.sites.calls) == 1 else WITH_NUMBERS


class Unwinding:
    """Writes this code in one body. `form` says what a check does: WITH_NUMBERS, ONE_SITE or IN_PLACE."""

    def __init__(
        self,
        output: Output,
        planned: PlannedFunction,
        frame_code: FrameCode,
        pads: Pads,
        labels: Labels,
        form: int,
    ) -> None:
        self._body = planned.body
        self._operands_behind = planned.plan.sites.operands_behind
        self._checked_late = planned.checked_late
        self._numbers = planned.frame.layout.numbers
        self._frame = planned.frame
        self._frame_code = frame_code
        self._pads = pads
        self._state_get = output.helpers.stack.state_get
        self._dummies = output.dummies
        self._results = output.module.function_type(planned.function).results
        self._labels = labels
        self._out = labels.out
        self._form = form
        self._function = planned.function
        self._calls = planned.plan.sites.calls
        self._recording = output.recording
        # What is pushed on top of the frame.
        self._identity = output.tail_dispatch.push(planned.function) if planned.frame.is_saved else b""
        # The label of each pad, the root's coming first; and where it is paused before, by pad.
        self._pad_labels: list[int] = []
        self._pause_labels: dict[int, int] = {}

    def open(self) -> None:
        """Open the labels that call sites branch to when they unwind."""
        labels = self._labels
        self._pad_labels.append(labels.begin(c.BLOCK_I32 if self._form == WITH_NUMBERS else c.BLOCK_EMPTY))
        for _ in range(1, len(self._pads.live)):
            self._pad_labels.append(labels.begin(c.BLOCK_I32))

    def open_pauses(self, sites: list[SiteNumber]) -> None:
        """Open the labels that these call sites, which are pause points, branch to when they pause."""
        for pad in sorted({self._pad_of(site) for site in sites}):
            block = c.BLOCK_I32 if self._form == WITH_NUMBERS else c.BLOCK_EMPTY
            self._pause_labels[pad] = self._labels.begin(block)

    def close_pauses(self, pause: bytes) -> None:
        """Write the call of the function that begins to unwind, `pause`, in front of each pad that needs it."""
        labels = self._labels
        for pad in sorted(self._pause_labels, reverse=True):
            labels.close(self._pause_labels[pad])
            self._out.append(pause)
            labels.branch(c.BR, self._pad_labels[pad])

    def leave_by_pause(self, site: SiteNumber, may_pause: bytes) -> None:
        """Write a branch to where the call of a pause point is, on a condition: what stands in the place of that."""
        if self._form == WITH_NUMBERS:
            self._out.append(self._number_of(site))
        self._out.append(may_pause)
        self._labels.branch(c.BR_IF, self._pause_labels[self._pad_of(site)])
        if self._form == WITH_NUMBERS:
            self._labels.drop(may_go=False)

    def _pad_of(self, site: SiteNumber) -> int:
        return self._pads.of_site[site] if self._pads.of_site else 0

    def _number_of(self, site: SiteNumber) -> bytes:
        return c.CONST_I32 + encode_signed(self._numbers[site] - self._frame.number_bias)

    def close(self) -> None:
        """Write the pads, each of which zeroes what is dead there and not at its parent, and push the frame."""
        pads = self._pads
        labels = self._labels
        for pad in range(len(self._pad_labels) - 1, 0, -1):
            labels.close(self._pad_labels[pad])
            parent = pads.parents[pad]
            for local in self._frame.values:
                if (
                    local < self._body.local_count
                    and pads.live[parent] >> local & 1
                    and not pads.live[pad] >> local & 1
                    and self._frame.can_be_zero(self._body, local)
                ):
                    self._out.append(c.zero(self._frame.type_of(self._body, local)))
                    self._out.append(c.LOCAL_SET + encode_unsigned(local))
            if parent != pad - 1:
                labels.branch(c.BR, self._pad_labels[parent])
        labels.close(self._pad_labels[0])
        self._push_frame()

    def check(self, site: SiteNumber, call: InstructionIndex) -> None:
        """Write the check of a call site, whose call instruction is `call`."""
        if self._form == WITH_NUMBERS:
            self._out.append(self._number_of(site))
        self._out.append(self._state_get)
        if self._form == IN_PLACE:
            self._out.append(c.IF_EMPTY)
            self._push_frame()
            self._out.append(self.zeros() + c.RETURN + c.END)
            return
        self._labels.branch(c.BR_IF, self._pad_labels[self._pad_of(site)])
        if self._form == WITH_NUMBERS:
            taken = 1 if call in self._checked_late else 0
            self._labels.drop(may_go=self._operands_behind[site] == taken)

    def zeros(self) -> bytes:
        """Return zeros, or what stands for them, for the function's results."""
        return self._dummies.values(self._results)

    def _push_frame(self) -> None:
        self._out.append(self._note())
        self._out.append(self._frame_code.push(None if self._form == WITH_NUMBERS else self._numbers[0]))
        self._out.append(self._identity)

    def _note(self) -> bytes:
        """Return the code that notes that the function is on the stack, and what import it called, if that is wanted.

        The number of the call site, if there are several, is on the operand stack, and stays there.
        """
        recording = self._recording
        if recording is None:
            return b""
        code = b""
        called: list[tuple[SiteNumber, int]] = []
        for site in range(len(self._calls)):
            function = recording.import_called_at(self._body, self._calls[site])
            if function is not None:
                called.append((SiteNumber(site), function))
        if called and self._form != WITH_NUMBERS:
            code = recording.note_import(called[0][1])
        elif called:
            number = encode_unsigned(self._frame_code.added.number())
            code = c.LOCAL_TEE + number
            for site, function in called:
                code += c.LOCAL_GET + number + self._number_of(site) + c.I32_EQ + c.IF_EMPTY
                code += recording.note_import(function) + c.END
        return code + recording.note(self._function)
