"""Region heads: the dispatch of a rewinding frame to its landing points.

A function's own dispatch stands in the cold arm of its prologue and costs ordinary runs nothing. A loop or a try looks
at the state each time its head is passed: until the innermost frame has reached its call, the guest is rewinding, and
control can only be on its way to a landing point. Then it branches there, by the number of the call site where there
are several. The normal body of a function with two bodies is entered when the rewinding is over, so its hand-off loops
look at the number instead, which is forgotten on landing. To do so everywhere was rejected: forgetting took four bytes
at most landing points, and the number had to be merged in every loop.

On the way some loops set locals, which then need not pass through the loops around them (see `frames.late_locals`).
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.limits import MAXIMUM_TABLE
from caesura.instrument.frames.added_locals import AddedLocals
from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.plan.regions import FUNCTION, Region
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.head_labels import HeadLabels
from caesura.instrument.write.output import Output
from caesura.wasm import encoded as c
from caesura.wasm.indices import LabelDepth
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.pieces import join_pieces
from caesura.wasm.types import I32

# The largest inner region comes last in a dispatch. With more call sites than this it gets a comparison, which takes
# frames there at once; else each of its numbers has an entry in the table.
_LARGE_REGION: Final = 8

# A table begins at number 0, or the region's least number is subtracted first: up to this least number, entries for the
# numbers before it are shorter.
_PADDING: Final = 3

# The label that is open last.
_INNERMOST: Final = LabelDepth(0)

# Instead of a label by which to leave: nobody enters the function while the guest unwinds, so it need not leave.
NEVER: Final = -1


class Dispatcher:
    """Writes the heads of the regions of one body of a function.

    `heads` are the labels opened there, whose layout says where frames land; `arms` is the code that sets locals at the
    heads of regions, by region.
    """

    def __init__(
        self,
        output: Output,
        planned: PlannedFunction,
        frame_code: FrameCode,
        heads: HeadLabels,
        arms: dict[int, bytes],
    ) -> None:
        self.heads: Final = heads
        self._layout = heads.layout
        self._labels = heads.labels
        self._helpers = output.helpers
        self._runtime = output.helpers.runtime
        self._state_get = output.helpers.stack.state_get
        self._frame = planned.frame
        self._frame_code = frame_code
        self._arms = arms
        # What finds out in a rewind whether the frame on top of the stack is the function's.
        self._recognise = output.tail_dispatch.recognise(planned.function)
        self._site = encode_unsigned(planned.frame.site_local())
        # Whether loops see by the number that a frame comes, which is 0 at all other times, and not by the state: in a
        # normal body, since the state is normal again when the resume body hands over to it.
        self._sees_by_number = heads.layout is not planned.frame.layout

    def enter_function(self, leave: int, leaving: bytes = b"") -> None:
        """Write the head of the function body.

        `leave` is the height of the label behind which it returns zeros, or NEVER; `leaving` is code that does so.
        """
        has_else = self.open_arm(self._layout.regions[0], self._state_get)
        if leaving:
            self._labels.out.append(self._runtime.is_unwinding() + c.IF_EMPTY + leaving + c.END)
        elif leave == NEVER:
            self._labels.out.append(self._runtime.refuse_entry())
        elif self._recognise:
            self._labels.out.append(self._runtime.is_unwinding())
            self._labels.branch(c.BR_IF, leave)
            leave = NEVER
        self._labels.out.append(self._recognise)
        self.pop_and_land(leave, self._labels.innermost())
        self.close_arm(has_else=has_else)

    def open_function(self) -> None:
        """Open the labels of the function body's region."""
        self.heads.open(self._layout.regions[0])

    def open_arm(self, region: Region, condition: bytes) -> bool:
        """Open the labels of a region and the arm that is run in a rewind; tell whether it has an else arm.

        It has if no frame lands at the region's head: then the innermost label is that of the `if` itself, whose else
        arm holds the code up to there.
        """
        labels = self._labels
        outside = labels.innermost()
        self.heads.open(region)
        has_else = labels.innermost() > outside and not self.heads.lands_at_head(region)
        if has_else:
            labels.make_if(condition)
        else:
            labels.out.append(condition)
            labels.begin(c.IF_EMPTY)
        return has_else

    def close_arm(self, *, has_else: bool) -> None:
        """End the arm that is run in a rewind."""
        if has_else:
            self._labels.out.append(c.ELSE)
        else:
            self._labels.close(self._labels.innermost())

    def pop_and_land(self, leave: int, head: int) -> None:
        """Write the code that pops the frame and goes to its landing point.

        `leave` and `head` are the heights of the labels for call site 0 and for landing points at the body's head;
        `head` must be the innermost one.
        """
        labels = self._labels
        region = self._layout.regions[0]
        pops_tell = (
            self._helpers.pops_check and region.destinations.numbers.start > 0 and not self._frame.has_non_null()
        )
        if leave != NEVER and not pops_tell:
            labels.out.append(self._runtime.is_unwinding())
            labels.branch(c.BR_IF, leave)
            leave = NEVER
        targets = self.targets(region, labels.depth(head))
        wants_number = leave != NEVER or len(targets) > 1 or self._frame.has_site_local
        labels.out.append(self._frame_code.pop(wants_number=wants_number))
        if self._frame.number_bias and self._frame_code.leaves_number(wants_number=wants_number):
            labels.out.append(c.CONST_I32 + encode_signed(self._frame.number_bias) + c.I32_ADD)
        if leave == NEVER and len(targets) == 1:
            if self._frame_code.leaves_number(wants_number=wants_number):
                labels.out.append(c.LOCAL_SET + self._site if self._frame.has_site_local else c.DROP)
            if targets[0] != labels.depth(head):
                labels.out.append(c.BR + encode_unsigned(targets[0]))
            return
        if self._frame.has_site_local:
            labels.out.append(c.LOCAL_TEE + self._site)
        if region.destinations.numbers.start > 0:
            targets.insert(0, targets[0] if leave == NEVER else labels.depth(leave))
        labels.out.append(br_table(self._frame_code.added, targets[:-1], targets[-1]))

    def enter(self, number: int) -> None:
        """Write the head of a loop's or try's region."""
        region = self._layout.regions[number]
        if not self._layout.dispatching[number]:
            self.heads.open(region)
            return
        labels = self._labels
        out = labels.out
        condition = c.LOCAL_GET + self._site if self._sees_by_number else self._state_get
        arm = self._arms.get(number, b"")
        if not arm and not self._layout.needs_number(number):
            self._skip_to_landing(region, condition)
            return
        has_else = self.open_arm(region, condition)
        out.append(arm)
        groups = self.heads.groups(region, _INNERMOST)
        if len(groups) > 1 and groups[-1][1] > _LARGE_REGION:
            target, count = groups.pop()
            bound = c.CONST_I32 + encode_signed(region.destinations.numbers.stop - count)
            out.append(c.LOCAL_GET + self._site + bound + c.I32_GE_U + c.BR_IF + encode_unsigned(target))
        targets = _expand(groups)
        if len(groups) > 1:
            out.append(c.LOCAL_GET + self._site)
            low = region.destinations.numbers.start
            if low <= _PADDING:
                targets = [targets[0]] * low + targets
            else:
                out.append(c.CONST_I32 + encode_signed(low) + c.I32_SUB)
            out.append(br_table(self._frame_code.added, targets[:-1], targets[-1]))
        elif targets[0] > 0:
            out.append(c.BR + encode_unsigned(targets[0]))
        self.close_arm(has_else=has_else)

    def _skip_to_landing(self, region: Region, condition: bytes) -> None:
        """Write the head of a region with one place to land at, and nothing to do on the way there."""
        labels = self._labels
        self.heads.open(region)
        target = self.heads.groups(region, _INNERMOST)[0][0]
        if target > 0:
            labels.out.append(condition + c.BR_IF + encode_unsigned(target))
        else:
            labels.make_if(condition + c.I32_EQZ)

    def forget_number(self, region: Region) -> None:
        """Forget the site number on landing in a loop that looks at it."""
        if self._sees_by_number and region.kind != FUNCTION and self._frame.has_site_local:
            self._labels.out.append(c.CONST_I32 + b"\0" + c.LOCAL_SET + self._site)

    def targets(self, region: Region, head: LabelDepth) -> list[LabelDepth]:
        """Return the label index for each site number of a region, `head` for what lands at its head."""
        return _expand(self.heads.groups(region, head))


def _expand(groups: list[tuple[LabelDepth, int]]) -> list[LabelDepth]:
    targets: list[LabelDepth] = []
    for target, count in groups:
        targets += [target] * count
    return targets


def br_table(added: AddedLocals, targets: list[LabelDepth], default: LabelDepth, most: int = MAXIMUM_TABLE) -> bytes:
    """Return the code that branches by the number on the stack, without entries at its end that are the default anyway.

    Where a table would have more than `most` entries there are several; the number is kept in a new local then.
    """
    count = len(targets)
    while count > 0 and targets[count - 1] == default:
        count -= 1
    if count <= most:
        return _table(targets[:count], default)
    number = encode_unsigned(added.scratch(I32))
    bound = c.CONST_I32 + encode_signed(most)
    first = [LabelDepth(target + 1) for target in targets[:most]]
    code = c.LOCAL_TEE + number + bound + c.I32_LT_U + c.IF_EMPTY + c.LOCAL_GET + number
    code += _table(first, LabelDepth(default + 1)) + c.END + c.LOCAL_GET + number + bound + c.I32_SUB
    return code + br_table(added, targets[most:], default, most)


def _table(targets: list[LabelDepth], default: LabelDepth) -> bytes:
    table = join_pieces([encode_unsigned(target) for target in targets])
    return c.BR_TABLE + encode_unsigned(len(targets)) + table + encode_unsigned(default)
