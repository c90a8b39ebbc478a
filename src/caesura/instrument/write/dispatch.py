"""Region heads: the labels opened there and the dispatch of a rewinding frame to its landing points.

A function's own dispatch stands in the cold arm of its prologue and costs ordinary runs nothing. A loop or a try looks
at the state each time its head is passed: until the innermost frame has reached its call, the guest is rewinding, and
control can only be on its way to a landing point. Then it branches there, by the number of the call site where there
are several. The normal body of a function with two bodies is entered when the rewinding is over, so its hand-off loops
look at the number instead, which is forgotten on landing. To do so everywhere was rejected: forgetting took four bytes
at most landing points, and the number had to be merged in every loop.

On the way some loops set locals, which then need not pass through the loops around them (see `late`).
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import block_types
from caesura.analysis.limits import MAXIMUM_TABLE
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.moving import leaves_number, pop_frame
from caesura.instrument.plan.regions import BLOCK, ELSE_ARM, FUNCTION, LANDING, Layout, Region
from caesura.instrument.write.labels import AT_HEAD, Labels
from caesura.instrument.write.subject import Subject
from caesura.wasm import code as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.pieces import join_pieces
from caesura.wasm.types import I32, encode_value_type

# Inner regions with more sites than this are told apart by a comparison instead of by table entries.
_LARGE_REGION: Final = 8

# Below this number, table entries for the numbers before a region's first are shorter than a subtraction.
_PADDING: Final = 3

# In place of the label where a function leaves that is entered while unwinding: this function never is.
NEVER: Final = -1


class Dispatcher:
    """Writes the heads of the regions of one body of a function."""

    def __init__(self, subject: Subject, layout: Layout, labels: Labels, arms: dict[int, bytes]) -> None:
        self._module = subject.module
        self._body = subject.body
        self._reads = subject.plan.crossing.reads
        self._layout = layout
        self._arms = arms
        self._frame = subject.frame
        self._labels = labels
        self._runtime = subject.runtime
        self._types = subject.types
        self._site = encode_unsigned(subject.frame.site_local())
        # Whether this is a normal body that another body hands over to, so that loops look at the number.
        self._by_number = layout.numbers is not subject.numbers

    def enter_function(self, leave: int, leaving: bytes = b"") -> None:
        """Write the head of the function body.

        `leave` is the height of the label behind which it returns zeros, or NEVER; `leaving` is code that does so.
        """
        has_else = self.open_arm(self._layout.regions[0], self._runtime.state_get)
        if leaving:
            self._labels.out.append(self._runtime.is_unwinding() + c.IF_EMPTY + leaving + c.END)
        elif leave == NEVER:
            self._labels.out.append(self._runtime.refuse_entry())
        self.pop_and_land(leave, self._labels.innermost())
        self.close_arm(has_else)

    def open_function(self) -> None:
        """Open the labels of the function body's region."""
        self._open_labels(self._layout.regions[0])

    def open_arm(self, region: Region, condition: bytes) -> bool:
        """Open the labels of a region and the arm that is run in a rewind; tell whether it has an else arm.

        It has if no frame lands at the region's head: then the innermost label is that of the `if` itself, whose else
        arm holds the code up to there.
        """
        labels = self._labels
        outside = labels.innermost()
        self._open_labels(region)
        has_else = labels.innermost() > outside and not self.lands_at_head(region)
        if has_else:
            labels.out[-1] = condition + c.IF + labels.out[-1][1:]
        else:
            labels.out.append(condition)
            labels.begin(c.IF_EMPTY)
        return has_else

    def close_arm(self, has_else: bool) -> None:
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
        if leave != NEVER and (not self._runtime.pops_check or region.numbers.start == 0):
            labels.out.append(self._runtime.is_unwinding())
            labels.branch(c.BR_IF, leave)
            leave = NEVER
        targets = self.targets(region, labels.depth(head))
        wants_number = leave != NEVER or len(targets) > 1 or self._frame.has_site_local
        labels.out.append(pop_frame(self._runtime, self._frame, wants_number))
        if self._frame.number_bias and leaves_number(self._frame, wants_number):
            labels.out.append(c.CONST_I32 + encode_signed(self._frame.number_bias) + c.I32_ADD)
        if leave == NEVER and len(targets) == 1:
            if leaves_number(self._frame, wants_number):
                labels.out.append(c.LOCAL_SET + self._site if self._frame.has_site_local else c.DROP)
            if targets[0] != labels.depth(head):
                labels.out.append(c.BR + encode_unsigned(targets[0]))
            return
        if self._frame.has_site_local:
            labels.out.append(c.LOCAL_TEE + self._site)
        if region.numbers.start > 0:
            targets.insert(0, targets[0] if leave == NEVER else labels.depth(leave))
        labels.out.append(br_table(self._frame, targets[:-1], targets[-1]))

    def enter(self, number: int) -> None:
        """Write the head of a loop's or try's region."""
        region = self._layout.regions[number]
        if not self._layout.dispatching[number]:
            self._open_labels(region)
            return
        labels = self._labels
        out = labels.out
        condition = c.LOCAL_GET + self._site if self._by_number else self._runtime.state_get
        arm = self._arms.get(number, b"")
        if not arm and not self._layout.needs_number(number):
            self._skip_to_landing(region, condition)
            return
        has_else = self.open_arm(region, condition)
        out.append(arm)
        groups = self._groups(region, 0)
        if len(groups) > 1 and groups[-1][1] > _LARGE_REGION:
            target, count = groups.pop()
            bound = c.CONST_I32 + encode_signed(region.numbers.stop - count)
            out.append(c.LOCAL_GET + self._site + bound + c.I32_GE_U + c.BR_IF + encode_unsigned(target))
        targets = _expand(groups)
        if len(groups) > 1:
            out.append(c.LOCAL_GET + self._site)
            low = region.numbers.start
            if low <= _PADDING:
                targets = [targets[0]] * low + targets
            else:
                out.append(c.CONST_I32 + encode_signed(low) + c.I32_SUB)
            out.append(br_table(self._frame, targets[:-1], targets[-1]))
        elif targets[0] > 0:
            out.append(c.BR + encode_unsigned(targets[0]))
        self.close_arm(has_else)

    def _skip_to_landing(self, region: Region, condition: bytes) -> None:
        """Write the head of a region with one place to land at, and nothing to do on the way there."""
        labels = self._labels
        self._open_labels(region)
        target = self._groups(region, 0)[0][0]
        if target > 0:
            labels.out.append(condition + c.BR_IF + encode_unsigned(target))
        else:
            labels.out[-1] = condition + c.I32_EQZ + c.IF_EMPTY

    def forget_number(self, region: Region) -> None:
        """Forget the site number on landing in a loop that looks at it."""
        if self._by_number and region.kind != FUNCTION and self._frame.has_site_local:
            self._labels.out.append(c.CONST_I32 + b"\0" + c.LOCAL_SET + self._site)

    def _open_labels(self, region: Region) -> None:
        """Open a label for each landing point of a region and each block that landing points stand in.

        A block that ends just before a landing point, or before another block's end, takes that label: it is the same
        place.
        """
        labels = self._labels
        # The label opened last, if a block can share it, and the moment where it ends.
        last = NEVER
        last_moment = NEVER
        for moment, kind, subject in region.openings:
            if kind == BLOCK and subject in labels.elided:
                continue
            if kind == BLOCK:
                is_plain = self.is_plain(subject)
                if is_plain and last != NEVER and last_moment - moment <= 2:
                    labels.blocks[subject] = last
                    labels.sharing.add(subject)
                else:
                    labels.blocks[subject] = labels.begin(c.BLOCK + self.result_type(subject))
                    last = labels.blocks[subject] if is_plain else NEVER
            elif kind == ELSE_ARM:
                labels.elses[subject] = labels.begin(c.BLOCK_EMPTY)
                last = NEVER
            elif kind == LANDING:
                last = labels.sites[subject] = labels.begin(c.BLOCK_EMPTY)
            else:
                last = labels.regions[subject] = labels.begin(c.BLOCK_EMPTY)
            last_moment = moment

    def is_plain(self, construct: int) -> bool:
        """Tell whether a construct is a block or if with nothing on the stack, nor put there, at its end."""
        body = self._body
        if body.codes[construct] == op.LOOP or 2 * body.ends[construct] + 1 in self._reads:
            return False
        return not block_types(self._module, body.immediates[construct], body.positions[construct] + 1)[1]

    def result_type(self, construct: int) -> bytes:
        """Return the block type with a construct's results and without its parameters."""
        body = self._body
        offset = body.positions[construct] + 1
        params, results = block_types(self._module, body.immediates[construct], offset)
        if not params:
            return self._module.data[offset : skip_block_type(self._module.data, offset)]
        return self.block_type(results)

    def block_type(self, results: tuple[int, ...]) -> bytes:
        """Return the block type with these results and no parameters."""
        if not results:
            return b"\x40"
        if len(results) == 1:
            return encode_value_type(results[0])
        return encode_signed(self._types.index_of((), results))

    def targets(self, region: Region, head: int) -> list[int]:
        """Return the label index for each site number of a region, `head` for what lands at its head."""
        return _expand(self._groups(region, head))

    def lands_at_head(self, region: Region) -> bool:
        """Tell whether a frame lands at a region's head, the labels opened there being known."""
        labels = self._labels
        for kind, which in region.destinations:
            if (labels.sites[which] if kind == LANDING else labels.regions[which]) == AT_HEAD:
                return True
        return False

    def _groups(self, region: Region, head: int) -> list[tuple[int, int]]:
        """Return (label index, how many site numbers) for each own site and each inner region, in number order."""
        labels = self._labels
        groups: list[tuple[int, int]] = []
        for kind, which in region.destinations:
            height = labels.sites[which] if kind == LANDING else labels.regions[which]
            target = head if height == AT_HEAD else labels.depth(height)
            groups.append((target, 1 if kind == LANDING else len(self._layout.regions[which].numbers)))
        return groups


def _expand(groups: list[tuple[int, int]]) -> list[int]:
    targets: list[int] = []
    for target, count in groups:
        targets += [target] * count
    return targets


def br_table(frame: Frame, targets: list[int], default: int, most: int = MAXIMUM_TABLE) -> bytes:
    """Return the code that branches by the number on the stack, without entries at its end that are the default anyway.

    Where a table would have more than `most` entries there are several; the number is kept in a new local then.
    """
    count = len(targets)
    while count > 0 and targets[count - 1] == default:
        count -= 1
    if count <= most:
        return _table(targets[:count], default)
    number = encode_unsigned(frame.scratch(I32))
    bound = c.CONST_I32 + encode_signed(most)
    first = [target + 1 for target in targets[:most]]
    code = c.LOCAL_TEE + number + bound + c.I32_LT_U + c.IF_EMPTY + c.LOCAL_GET + number
    code += _table(first, default + 1) + c.END + c.LOCAL_GET + number + bound + c.I32_SUB
    return code + br_table(frame, targets[most:], default, most)


def _table(targets: list[int], default: int) -> bytes:
    table = join_pieces([encode_unsigned(target) for target in targets])
    return c.BR_TABLE + encode_unsigned(len(targets)) + table + encode_unsigned(default)
