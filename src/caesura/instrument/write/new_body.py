"""Writes a new body of a function according to its plan: what all bodies have in common.

The code is copied in runs of bytes; only control instructions (whose label indices change), call sites, crossing
operands and region heads are written anew. What stands before and behind that is up to the kind of body: `one_body`,
`normal_body` and `resume_body`.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.actions import ACTIONS, LOCAL_GET, LOCAL_TEE
from caesura.instrument.abi.kept_branches import KeptBranch
from caesura.instrument.abi.pauses import may_pause_now
from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.plan.plan import Moment
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write import control_kinds
from caesura.instrument.write.control_kinds import CONTROLS
from caesura.instrument.write.crossing_code import CrossingCode
from caesura.instrument.write.declarations import declare
from caesura.instrument.write.dispatch import NEVER, Dispatcher
from caesura.instrument.write.labels import AT_HEAD
from caesura.instrument.write.leaving_body import other_call
from caesura.instrument.write.marks import (
    CHECKED,
    CONTROL,
    FOREIGN,
    LANDING,
    LEAVING,
    MOVED,
    NARROWED,
    SITE,
    SPILLED,
    TAIL_CALL,
    mark_instructions,
)
from caesura.instrument.write.open_constructs import OpenConstructs
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import Unwinding
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.indices import InstructionIndex, LabelDepth, SiteNumber
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.pieces import join_pieces

# The instructions of a look at what is left to count (see `pausing`): the global is read, compared with 0, and this.
_LOOK_AT_COUNT: Final = 3
_LAST_OF_LOOK: Final = 0x53  # i64.lt_s

# What control can come to by another way than from the instruction before.
_ENDS_AN_ARM: Final = (control_kinds.ELSE, control_kinds.END, control_kinds.CLAUSE, control_kinds.DELEGATE)


class NewBody:
    """Writes one new body of a function. `not_unrolled` are the loops that get an empty loop at their head, which keeps
    engines from unrolling them.
    """

    def __init__(
        self,
        output: Output,
        planned: PlannedFunction,
        frame_code: FrameCode,
        dispatcher: Dispatcher,
        unwinding: Unwinding,
        not_unrolled: set[InstructionIndex],
    ) -> None:
        heads = dispatcher.heads
        labels = heads.labels
        self._output = output
        self._state_get = output.helpers.stack.state_get
        self._import_thunks = output.import_thunks
        self._data = output.module.data
        self._body = planned.body
        self._plan = planned.plan
        self._site_calls = planned.plan.sites.calls
        self._regions = planned.plan.constructs.regions
        self._reads = planned.plan.crossing.reads
        self._frame = planned.frame
        self._added = frame_code.added
        self._results = output.module.function_type(planned.function).results
        self._layout = heads.layout
        self._heads = heads
        self._labels = labels
        self._out = labels.out
        self._dispatcher = dispatcher
        self._unwinding = unwinding
        self._marks = mark_instructions(planned, heads.layout, self._own_parameters())
        self._operands = CrossingCode(output.module.data, planned, frame_code, self._marks, labels.out)
        self._open_constructs = OpenConstructs(output.module.data, labels)
        # Blocks that are not written, since they end where a landing point does, which branches to them go to, or since
        # nothing of them is left.
        self._ending_at_landings: set[InstructionIndex] = set()
        # The call site that is written next.
        self._next_site = 0
        self._site_of_landing: dict[InstructionIndex, int] = {
            self._layout.landings[site]: site for site in range(len(self._layout.landings))
        }
        self._copied = 0
        # Whether control can reach the place that is being written.
        self._live = True
        # The conditional branches that hints can follow: instruction, piece of what is written, whether it is opposite.
        self._branches: list[tuple[int, int, bool]] = []
        self._notes_branches = output.branches.are_kept(planned.function)
        self._function = planned.function
        self._not_unrolled = not_unrolled
        # The calls of pause points that are written behind the code, where control branches to (see `_check`).
        self._pause_call = c.CALL + encode_unsigned(output.pause)
        self._may_pause = output.may_pause
        self._looks_at_once = output.looks_at_once
        self._branching: set[InstructionIndex] = set()
        # Those for which a branch in the place of their `if` is all.
        self._left: set[InstructionIndex] = set()
        # Blocks opened at region heads that turned out to have nothing that branches to them.
        self.untargeted: set[InstructionIndex] = set()

    def _own_parameters(self) -> int:
        """Return how many parameters of the original the body has as its own; others are plain locals in it."""
        return self._body.param_count

    def _code_and_tail(self, leave: int) -> bytes:
        """Write the code behind the prologue and what follows it; return the encoded body.

        `leave` is the label for who enters while the guest unwinds, or NEVER.
        """
        labels = self._labels
        self._copy_code()
        if self._plan.ends_live:
            self._out.append(c.RETURN)
            self._labels.leave()
        self._close_unwinding()
        if self._results and leave != NEVER:
            labels.close(leave)
        self._out.append(self._unwinding.zeros() + c.END)
        return self._encoded(())

    def _close_unwinding(self) -> None:
        """Write what the checks lead to."""
        self._unwinding.close_pauses(self._pause_call)
        self._unwinding.close()

    def _encoded(self, params: tuple[int, ...]) -> bytes:
        """Return what was written as a body without size field; `params` are the types of parameters made locals."""
        self._added.check_count(self._body)
        declarations = declare(self._data, self._body, params, self._added.runs())
        if self._branches:
            self._keep_branches(len(declarations))
        return declarations + join_pieces(self._out)

    def _keep_branches(self, place: int) -> None:
        """Say where branches are, given where the code begins."""
        module = self._output.module
        start = module.body_starts[module.own_of(self._function)]
        kept: dict[int, KeptBranch] = {}
        written = 0
        for index, piece, is_opposite in self._branches:
            place += sum([len(self._out[before]) for before in range(written, piece)])
            written = piece
            kept[self._body.positions[index] - start] = KeptBranch(place, is_opposite=is_opposite)
        self._output.branches.by_function[self._function] = kept

    def _note_branch(self, index: int, *, is_opposite: bool) -> None:
        """Note the branch that was written last, for a branch of the original."""
        if self._notes_branches:
            self._branches.append((index, len(self._out) - 1, is_opposite))

    def _copy_code(self) -> None:
        positions = self._body.positions
        dead = self._plan.dead
        marked = self._marks
        last = len(self._body.codes) - 1  # the final end
        self._copied = positions[0]
        index = 0
        while index < last:
            mark = marked[index]
            if not self._live and (mark & LANDING == 0 or not self._lands_at(index)):
                following = self._skip_dead(index, mark)
                if following != index:
                    index = following
                    self._copied = positions[index]
                    continue
            index += 1
            if not mark:
                continue
            self._write(index - 1, mark)
            if mark & LEAVING:
                self._flush(positions[index])
                self._labels.leave()
                index = dead[InstructionIndex(index)]
                self._copied = positions[index]
                self._live = False
        self._flush(positions[last])

    def _lands_at(self, index: int) -> bool:
        """Tell whether a landing point or a group stands before an instruction."""
        return index in self._site_of_landing or 2 * index in self._layout.heads

    def _skip_dead(self, index: int, mark: int) -> int:
        """Return the next instruction to look at where control cannot reach this one, which may be this one."""
        if mark & CONTROL == 0:
            return index + 1
        control = CONTROLS[self._body.codes[index]]
        if control == control_kinds.OPENING:
            construct = InstructionIndex(index)
            head = Moment(2 * index + 1)
            if self._heads.is_opened_at_head(construct) or (
                head in self._layout.heads and self._layout.regions[self._layout.heads[head]].destinations.numbers
            ):
                return index
            return self._body.ends[construct] + 1
        return index if control in _ENDS_AN_ARM else index + 1

    def _flush(self, position: int) -> None:
        """Copy the code up to a position."""
        if position > self._copied:
            self._out.append(self._data[self._copied : position])
        self._copied = position

    def _write(self, index: int, mark: int) -> None:
        positions = self._body.positions
        if mark & LANDING:
            self._flush(positions[index])
            self._land(InstructionIndex(index))
        if mark & MOVED:
            self._flush(positions[index])
            self._copied = positions[index + 1]
            if ACTIONS[self._body.codes[index]] == LOCAL_TEE:
                self._out.append(c.LOCAL_SET + self._data[positions[index] + 1 : self._copied])
            return
        if mark & CONTROL:
            self._control(index)
            self._copied = positions[index + 1]
            if not self._live:
                return
        if mark & SITE:
            self._call(index)
        if mark & NARROWED and ACTIONS[self._body.codes[index]] in (LOCAL_GET, LOCAL_TEE):
            self._flush(positions[index + 1])
            self._out.append(c.REF_AS_NON_NULL)
        elif mark & (TAIL_CALL | FOREIGN):
            self._other_call(index)
        if mark & CHECKED:
            self._flush(positions[index + 1])
            call = InstructionIndex(index if mark & SITE else index - 1)
            self._check(call)
        if mark & SPILLED:
            self._flush(positions[index + 1])
            self._operands.spill(InstructionIndex(index))
        if mark & CONTROL and 2 * index + 1 in self._reads:
            self._operands.read_again(Moment(2 * index + 1))

    # Call sites.

    def _check(self, call: InstructionIndex) -> None:
        """Write the check behind a call site's call.

        A call at a pause point, in a branch that is next to never taken, would make engines keep the values of the loop
        around it in memory (V8 does; an interpreter takes a fifth longer then). Where no frame lands there, such a call
        can stand behind the code: the pause point only looks whether it is going to pause, and branches there.
        """
        if self._branching and call in self._branching:
            if call in self._left:
                return
            self._unwinding.leave_by_pause(self._site_of(call), self._may_pause)
        else:
            self._unwinding.check(self._site_of(call), call)

    def _site_of(self, call: InstructionIndex) -> SiteNumber:
        """Return the call site of a call instruction; calls are asked for in their order."""
        while self._site_calls[self._next_site] < call:
            self._next_site += 1  # its call is in code that is left out
        return SiteNumber(self._next_site)

    def _land(self, index: InstructionIndex) -> None:
        """Write the landing point that stands before an instruction."""
        before = Moment(2 * index)
        if before in self._layout.heads:
            group = self._layout.heads[before]
            self._labels.close(self._heads.regions[group])
            self._live = True
            self._dispatcher.enter(group)
        if index in self._site_of_landing:
            site = self._site_of_landing[index]
            self._labels.close(self._heads.sites[site])
            self._end_pause(site)
            self._dispatcher.forget_number(self._layout.regions[self._layout.site_regions[site]])
            self._live = True
        if before in self._reads:
            self._operands.read_again(before)

    def _end_pause(self, site: int) -> None:
        """Write what ends a pause where a frame lands before a loop, and not before the call at its head."""
        leads = self._plan.sites.leads
        if leads[site] != self._site_calls[site]:
            self._out.append(self._state_get + c.IF_EMPTY + self._pause_call + c.END)

    def _open_pauses(self) -> None:
        """Open the labels that pause points branch to."""
        if not self._branching:
            return
        sites = [site for site in range(len(self._site_calls)) if self._site_calls[site] in self._branching]
        self._unwinding.open_pauses([SiteNumber(site) for site in sites])

    def _call(self, index: int) -> None:
        """Write the call of a call site; an import that may suspend is called through its thunk."""
        body = self._body
        if self._branching and index in self._branching:
            self._flush(body.positions[index])
            self._copied = body.positions[index + 1]
            return
        if body.codes[index] == op.CALL and body.immediates[index] in self._import_thunks:
            self._flush(body.positions[index])
            self._copied = body.positions[index + 1]
            self._out.append(c.CALL + encode_unsigned(self._import_thunks[body.immediates[index]]))
        else:
            self._flush(body.positions[index + 1])

    def _other_call(self, index: int) -> None:
        """Write a tail call, or a call in a handler of a foreign exception."""
        body = self._body
        self._flush(body.positions[index])
        self._copied = body.positions[index + 1]
        self._out.append(other_call(self._output, body, index))

    # Control instructions.

    def _control(self, index: int) -> None:
        """Write a control instruction; its label indices are those of the new code."""
        positions = self._body.positions
        control = CONTROLS[self._body.codes[index]]
        if control == control_kinds.OPENING:
            self._open(InstructionIndex(index))
            return
        self._flush(positions[index])
        if control == control_kinds.END:
            self._end()
        elif control == control_kinds.BRANCH:
            opcode = self._data[positions[index] : positions[index] + 1]
            self._labels.branch(opcode, self._open_constructs.height(LabelDepth(self._body.immediates[index])))
            if opcode == c.BR_IF:
                self._note_branch(index, is_opposite=False)
        elif control == control_kinds.ELSE:
            self._else(InstructionIndex(index))
        elif control == control_kinds.TABLE:
            self._out.append(c.BR_TABLE + self._open_constructs.targets(positions[index] + 1))
        elif control == control_kinds.RETURN:
            self._return()
        elif control == control_kinds.CLAUSE:
            self._live = True
            self._labels.next_arm(self._data[positions[index] : positions[index + 1]])
        elif control == control_kinds.DELEGATE:
            self._open_constructs.end()
            self._labels.end_by_delegate()
            self._live = True
            self._labels.branch(c.DELEGATE, self._open_constructs.height(LabelDepth(self._body.immediates[index])))
        else:
            self._out.append(self._open_constructs.cast(positions[index], positions[index + 1]))

    def _end(self) -> None:
        heads = self._heads
        height = self._open_constructs.closing()
        construct = self._open_constructs.end()
        if construct in heads.elided or construct in heads.sharing or construct in self._ending_at_landings:
            return
        is_targeted = self._labels.close(height)
        if construct in heads.blocks:
            if not is_targeted and self._body.codes[construct] != op.IF:
                self.untargeted.add(construct)
            self._live = self._live or is_targeted
            self._state_dead_end()
        else:
            self._live = True

    def _state_dead_end(self) -> None:
        """Say it where control does not come here, since validation takes the end of a block as reachable."""
        if not self._live:
            self._out.append(c.UNREACHABLE)

    def _return(self) -> None:
        """Write a return, the results being on the stack."""
        self._out.append(c.RETURN)

    def _open(self, index: InstructionIndex) -> None:
        body = self._body
        labels = self._labels
        if self._heads.is_opened_at_head(index):
            self._open_hoisted(index)
            return
        if self._branching and self._looks_at_once and self._leave_by_look(index):
            return
        self._flush(body.positions[index])
        landing = self._landing_behind(index)
        if landing != AT_HEAD:
            self._ending_at_landings.add(index)
            self._open_constructs.open(index, landing, AT_HEAD)
            return
        region = self._layout.heads.get(Moment(2 * index + 1))
        if region is not None:
            labels.close(self._heads.regions[region])
            self._live = True
        if index in self._regions and 2 * index in self._reads:
            self._operands.read_again(Moment(2 * index))
        height = labels.begin(self._construct_start(index))
        if body.codes[index] == op.IF:
            self._note_branch(index, is_opposite=False)
        self._open_constructs.open(index, height, height)
        if index in self._not_unrolled:
            self._out.append(c.EMPTY_LOOP)
        if index in self._regions:
            self._operands.take_in_parameters(index)
        if region is not None:
            self._enter_region(index, region)

    def _leave_by_look(self, index: InstructionIndex) -> bool:
        """Write one branch for a look at what is left to count, with its `if` and call, if that call is made elsewhere.

        Return whether it is. V8 would jump over the arm of the `if` each time. With thunks what the host says is in
        memory, which the guest must not read before it pauses: who runs it may know nothing of pauses.
        """
        body = self._body
        call = InstructionIndex(index + 1)
        if call not in self._branching or body.byte_codes[index - 1] != _LAST_OF_LOOK:
            return False
        look = index - _LOOK_AT_COUNT
        self._flush(body.positions[look])
        left = self._data[self._copied : body.positions[look + 1]]
        self._unwinding.leave_by_pause(self._site_of(call), may_pause_now(left, self._may_pause))
        self._left.add(call)
        self._ending_at_landings.add(index)
        self._open_constructs.open(index, AT_HEAD, AT_HEAD)
        self._copied = body.positions[index + 1]
        return True

    def _landing_behind(self, index: InstructionIndex) -> int:
        """Return the label of the landing point just behind a block that can do with this label, AT_HEAD else."""
        body = self._body
        if body.codes[index] != op.BLOCK or index in body.with_sites:
            return AT_HEAD
        site = self._site_of_landing.get(InstructionIndex(body.ends[index] + 1))
        if site is None or not self._heads.is_plain(index):
            return AT_HEAD
        return self._heads.sites[site]

    def _enter_region(self, index: InstructionIndex, region: int) -> None:
        """Write the head of a region behind its opening instruction."""
        self._dispatcher.enter(region)

    def _open_hoisted(self, index: InstructionIndex) -> None:
        """Write the start of a block or if whose label was opened at the region's head."""
        if not self._live:
            self._copied = self._body.positions[index + 1]
        elif self._body.codes[index] == op.IF:
            self._branch_over(index)
        else:
            self._flush(self._body.positions[index])
        height = self._heads.blocks.get(index, AT_HEAD)
        self._open_constructs.open(index, height, height)

    def _construct_start(self, index: InstructionIndex) -> bytes:
        """Return the opcode, block type and catch clauses of a construct that stays where it is."""
        body = self._body
        position = body.positions[index] + 1
        if index in self._plan.constructs.without_parameters:
            return self._data[position - 1 : position] + self._heads.result_type(index)
        after = skip_block_type(self._data, position)
        start = self._data[position - 1 : after]
        if body.codes[index] == op.TRY_TABLE:
            start += self._open_constructs.catches(after)
        return start

    def _branch_over(self, index: InstructionIndex) -> None:
        """Write an `if` whose label was opened at the region's head: a branch around the then arm."""
        positions = self._body.positions
        before = index - 1
        comparison = self._body.codes[before]
        can_change = not self._marks[before] and self._copied <= positions[before]
        if can_change and (comparison == op.I32_EQZ or comparison in c.OPPOSITES):
            self._flush(positions[before])
            self._out.append(c.OPPOSITES.get(comparison, b""))
        else:
            self._flush(positions[index])
            self._out.append(c.I32_EQZ)
        heads = self._heads
        self._labels.branch(c.BR_IF, heads.elses[index] if index in heads.elses else heads.blocks[index])
        self._note_branch(index, is_opposite=True)

    def _else(self, index: InstructionIndex) -> None:
        construct = self._open_constructs.innermost()
        labels = self._labels
        heads = self._heads
        if construct not in heads.elses:
            labels.next_arm(c.ELSE)
            self._live = True
        else:
            if self._live:
                labels.branch(c.BR, heads.blocks[construct])
            self._live = labels.close(heads.elses[construct])
            if not self._live:
                self._state_dead_end()
                return
        self._operands.read_else_parameters(index)
