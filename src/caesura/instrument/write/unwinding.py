"""How a body unwinds: the checks behind its call sites, and the code that saves its frame and leaves.

Each check looks at the state and branches to an unwind pad (see `pads`) with the number of the call site. All pads lead
to the end of the body, where the frame is pushed and zeros are returned, so that code that runs need not jump over
that. With one call site there is no number to bring along, and where only bytes count its check does all of it in
place, which is shorter then.
"""

from __future__ import annotations

from caesura.errors import UnsupportedModule
from caesura.instrument.frames.moving import push_frame
from caesura.instrument.write.labels import Labels
from caesura.instrument.write.subject import Subject
from caesura.wasm import code as c
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import is_nullable, type_name


class Unwinding:
    """Writes this code in one body.

    `has_one_site` says that there is no number to bring along, as in functions with one body and one call site;
    `in_place` that the only check does all of it.
    """

    def __init__(self, subject: Subject, labels: Labels) -> None:
        self._body = subject.body
        self._operands_behind = subject.plan.sites.operands_behind
        self._checked_late = subject.checked_late
        self._numbers = subject.numbers
        self._frame = subject.frame
        self._pads = subject.pads
        self._runtime = subject.runtime
        self._results = subject.module.function_type(subject.function).results
        self._labels = labels
        self._out = labels.out
        self.has_one_site = False
        self.in_place = False
        # The label of each pad, the root's coming first.
        self._pad_labels: list[int] = []

    def open(self) -> None:
        """Open the labels that call sites branch to when they unwind."""
        labels = self._labels
        self._pad_labels.append(labels.begin(c.BLOCK_EMPTY if self.has_one_site else c.BLOCK_I32))
        for _ in range(1, len(self._pads.live)):
            self._pad_labels.append(labels.begin(c.BLOCK_I32))

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
                ):
                    self._out.append(c.ZERO[self._frame.type_of(self._body, local)])
                    self._out.append(c.LOCAL_SET + encode_unsigned(local))
            if parent != pad - 1:
                labels.branch(c.BR, self._pad_labels[parent])
        labels.close(self._pad_labels[0])
        self._push_frame()

    def check(self, site: int, call: int) -> None:
        """Write the check of a call site, whose call instruction is `call`."""
        self._out.append(b"" if self.has_one_site else self._number(site))
        self._out.append(self._runtime.state_get)
        if self.in_place:
            self._out.append(c.IF_EMPTY)
            self._push_frame()
            self._out.append(self.zeros() + c.RETURN + c.END)
            return
        self._labels.branch(c.BR_IF, self._pad_labels[self._pads.of_site[site] if self._pads.of_site else 0])
        if not self.has_one_site:
            taken = 1 if call in self._checked_late else 0
            self._labels.drop(self._operands_behind[site] == taken)

    def zeros(self) -> bytes:
        """Return zeros for the function's results; raises UnsupportedModule where a type has none."""
        for value_type in self._results:
            if value_type not in c.ZERO and not is_nullable(value_type):
                raise UnsupportedModule(
                    f"a result of type {type_name(value_type)} has no default value; a function that may suspend "
                    "cannot return it yet",
                    self._body.code_start,
                    kind=f"result of type {type_name(value_type)}",
                )
        return b"".join([c.zero(value_type) for value_type in self._results])

    def _number(self, site: int) -> bytes:
        return c.CONST_I32 + encode_signed(self._numbers[site] - self._frame.number_bias)

    def _push_frame(self) -> None:
        number = self._numbers[0] if self.has_one_site else -1
        self._out.append(push_frame(self._runtime, self._frame, number))
