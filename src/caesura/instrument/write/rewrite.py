"""Rewrites one function according to its plan.

The code is copied in runs of bytes; only control instructions (whose label indices change), call sites, crossing
operands and region heads are written anew. The result has this shape (docs/design.md explains why):

    block $leave                      ;; only where the function has results, and can be entered from outside
      block $unwind (result i32)
        ...labels opened at the head of the body...
        global.get $state
        if                            ;; cold: rewinding, or called by the host while unwinding
          pop the frame, set the locals
          br_table                    ;; to landing points; 0 leaves
        end
        ...code: after each call site `i32.const site; global.get $state; br_if $unwind; drop`...
        return
      end
      push the frame
    end
    zeros for the results
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.actions import ACTIONS, LOCAL_TEE
from caesura.instrument.plan.plan import SLOT, instruction_of
from caesura.instrument.plan.regions import Layout
from caesura.instrument.write import controls
from caesura.instrument.write.controls import CONTROLS, IS_CONTROL
from caesura.instrument.write.declarations import declare
from caesura.instrument.write.dispatch import NEVER, Dispatcher
from caesura.instrument.write.labels import AT_HEAD, Labels
from caesura.instrument.write.relabel import Relabeler
from caesura.instrument.write.subject import Subject
from caesura.instrument.write.unwinding import Unwinding
from caesura.wasm import code as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.pieces import join_pieces

# Marks of instructions that are not just copied.
_CONTROL: Final = 1
_SITE: Final = 2
_LANDING: Final = 4
_MOVED: Final = 8
_SPILLED: Final = 16
_CHECKED: Final = 32
_LEAVING: Final = 64


class Rewriter:
    """Writes one new body of a function; `layout` says where frames land in it, `arms` has the code of
    regions that set locals late (see `late`).
    """

    def __init__(self, subject: Subject, layout: Layout, arms: dict[int, bytes]) -> None:
        module = subject.module
        self._import_thunks = subject.import_thunks
        self._data = module.data
        self._body = subject.body
        self._plan = subject.plan
        self._checked_late = subject.checked_late
        self._frame = subject.frame
        self._runtime = subject.runtime
        self._results = module.function_type(subject.function).results
        self._layout = layout
        self._labels = Labels(len(layout.landings), len(layout.regions))
        self._out = self._labels.out
        self._dispatcher = Dispatcher(subject, layout, self._labels, arms)
        self._unwinding = Unwinding(subject, self._labels)
        # For each open construct of the original: where branches to its label go, and the label that its end closes.
        self._heights: list[int] = [0]
        self._closing: list[int] = [0]
        self._relabel = Relabeler(module.data, self._labels, self._heights)
        self._constructs: list[int] = [-1]
        # The call site that is written next.
        self._next_site = 0
        self._site_of_landing: dict[int, int] = {}
        self._copied = 0
        # Whether control can reach the place that is being written.
        self._live = True
        # Loops that get an empty loop at their head, which keeps engines from unrolling them.
        self._not_unrolled: set[int] = set()
        # Hand-off loops of a resume body: the label where it leaves instead of entering them.
        self._exits: dict[int, int] = {}
        self._is_for_size = subject.is_for_size
        self._has_frame = subject.has_frame
        # Blocks opened at region heads that turned out to have nothing that branches to them.
        self.untargeted: set[int] = set()

    def run(self, is_entered_from_outside: bool) -> bytes:
        """Return the encoded body without its size field.

        Only what others than instrumented functions enter must be able to leave at once (see `analysis.entries`).
        """
        if not self._has_frame:
            return self._run_without_frame()
        self._unwinding.has_one_site = len(self._plan.sites.calls) == 1
        leaves_with_results = is_entered_from_outside and bool(self._results)
        if (
            self._is_for_size
            and self._unwinding.has_one_site
            and not (leaves_with_results and self._runtime.pops_check)
        ):
            return self._run_in_place(is_entered_from_outside)
        leave = NEVER
        if is_entered_from_outside:
            leave = self._labels.begin(c.BLOCK_EMPTY) if self._results else 0
        self._unwinding.open()
        self._dispatcher.enter_function(leave)
        return self._code_and_tail(leave)

    def _run_without_frame(self) -> bytes:
        """Return the encoded body of a function that only has to come to its call again."""
        self._dispatcher.enter(0)
        self._copy_code()
        self._out.append(c.END)
        return self._declarations() + join_pieces(self._out)

    def _run_in_place(self, is_entered_from_outside: bool) -> bytes:
        """Return the encoded body of a function that unwinds, and leaves, right where it finds out that it has to.

        That is shorter with one call site. Elsewhere the code for it stands at the end, where code that runs need not
        jump over it.
        """
        self._unwinding.in_place = True
        if not is_entered_from_outside:
            self._dispatcher.enter_function(NEVER)
        elif self._results:
            self._dispatcher.enter_function(NEVER, self._unwinding.zeros() + c.RETURN)
        else:
            self._dispatcher.enter_function(0)
        self._copy_code()
        self._out.append(c.END)
        return self._declarations() + join_pieces(self._out)

    def _code_and_tail(self, leave: int) -> bytes:
        """Write the code behind the prologue and what follows it; return the encoded body."""
        labels = self._labels
        self._copy_code()
        if self._plan.ends_live:
            self._out.append(c.RETURN)
            self._labels.leave()
        self._unwinding.close()
        if self._results and leave != NEVER:
            labels.close(leave)
        self._out.append(self._unwinding.zeros() + c.END)
        return self._declarations() + join_pieces(self._out)

    def _declarations(self) -> bytes:
        self._frame.check_count(self._body)
        return declare(self._data, self._body, (), self._frame.new_runs())

    def _marks(self) -> bytes:
        plan = self._plan
        marks = bytearray(IS_CONTROL.of(self._body) + b"\0")
        for site in range(len(plan.sites.calls)):
            call = plan.sites.calls[site]
            marks[call] |= _SITE
            if self._has_frame:
                marks[call + 1 if call in self._checked_late else call] |= _CHECKED
            marks[plan.sites.landings[site]] |= _LANDING
        for site in range(len(self._layout.landings)):
            marks[self._layout.landings[site]] |= _LANDING
            self._site_of_landing[self._layout.landings[site]] = site
        for head in self._layout.heads:
            if head & 1 == 0:  # a group's
                marks[head >> 1] |= _LANDING
        for producer in plan.crossing.moved:
            marks[producer] |= _MOVED
        for producer in plan.crossing.temporaries:
            index = instruction_of(producer)
            if index not in plan.constructs.regions:  # parameters of regions are taken in at the region's head
                marks[index] |= _SPILLED
        for behind in plan.dead:
            marks[behind - 1] |= _LEAVING
        return bytes(marks)  # which compiled code reads faster

    def _copy_code(self) -> None:
        positions = self._body.positions
        dead = self._plan.dead
        marks = self._marks()
        last = len(self._body.codes) - 1  # the final end
        self._copied = positions[0]
        index = 0
        while index < last:
            mark = marks[index]
            if not self._live and (mark & _LANDING == 0 or not self._lands_at(index)):
                following = self._skip_dead(index, mark)
                if following != index:
                    index = following
                    self._copied = positions[index]
                    continue
            index += 1
            if not mark:
                continue
            self._write(index - 1, mark, marks)
            if mark & _LEAVING:
                self._flush(positions[index])
                self._labels.leave()
                index = dead[index]
                self._copied = positions[index]
                self._live = False
        self._flush(positions[last])

    def _lands_at(self, index: int) -> bool:
        """Tell whether a landing point or a group stands before an instruction."""
        return index in self._site_of_landing or 2 * index in self._layout.heads

    def _skip_dead(self, index: int, mark: int) -> int:
        """Return the next instruction to look at where control cannot reach this one, which may be this one."""
        if mark & _CONTROL == 0:
            return index + 1
        control = CONTROLS[self._body.codes[index]]
        if control == controls.OPENING:
            head = 2 * index + 1
            hoisted = index in self._labels.blocks or index in self._labels.elided
            if hoisted or (head in self._layout.heads and self._layout.regions[self._layout.heads[head]].numbers):
                return index
            return self._body.ends[index] + 1
        return index if control in (controls.ELSE, controls.END, controls.CLAUSE, controls.DELEGATE) else index + 1

    def _flush(self, position: int) -> None:
        """Copy the code up to a position."""
        if position > self._copied:
            self._out.append(self._data[self._copied : position])
        self._copied = position

    def _write(self, index: int, mark: int, marks: bytes) -> None:
        positions = self._body.positions
        if mark & _LANDING:
            self._flush(positions[index])
            self._land(index)
        if mark & _MOVED:
            self._flush(positions[index])
            self._copied = positions[index + 1]
            if ACTIONS[self._body.codes[index]] == LOCAL_TEE:
                self._out.append(c.LOCAL_SET + self._data[positions[index] + 1 : self._copied])
            return
        if mark & _CONTROL:
            self._control(index, marks)
            self._copied = positions[index + 1]
            if not self._live:
                return
        if mark & _SITE:
            self._call(index)
        if mark & _CHECKED:
            self._flush(positions[index + 1])
            call = index if mark & _SITE else index - 1
            self._unwinding.check(self._site_of(call), call)
        if mark & _SPILLED:
            self._flush(positions[index + 1])
            self._spill(index)
        if mark & _CONTROL:
            self._read_again(2 * index + 1)

    # Call sites.

    def _site_of(self, call: int) -> int:
        """Return the call site of a call instruction; calls are asked for in their order."""
        while self._plan.sites.calls[self._next_site] < call:
            self._next_site += 1  # its call is in code that is left out
        return self._next_site

    def _land(self, index: int) -> None:
        """Write the landing point that stands before an instruction."""
        if 2 * index in self._layout.heads:
            group = self._layout.heads[2 * index]
            self._labels.close(self._labels.regions[group])
            self._live = True
            self._dispatcher.enter(group)
        if index in self._site_of_landing:
            site = self._site_of_landing[index]
            self._labels.close(self._labels.sites[site])
            self._dispatcher.forget_number(self._layout.regions[self._layout.site_regions[site]])
            self._live = True
        self._read_again(2 * index)

    def _call(self, index: int) -> None:
        """Write the call of a call site; an import that may suspend is called through its thunk."""
        body = self._body
        if body.codes[index] == op.CALL and body.immediates[index] in self._import_thunks:
            self._flush(body.positions[index])
            self._copied = body.positions[index + 1]
            self._out.append(c.CALL + encode_unsigned(self._import_thunks[body.immediates[index]]))
        else:
            self._flush(body.positions[index + 1])

    # Crossing operands.

    def _get(self, local: int) -> None:
        self._out.append(c.LOCAL_GET + encode_unsigned(local))

    def _set(self, local: int) -> None:
        self._out.append(c.LOCAL_SET + encode_unsigned(local))

    def _read_again(self, moment: int) -> None:
        """Put operands back on the stack that crossed something until this moment."""
        if moment not in self._plan.crossing.reads:
            return
        body = self._body
        for producer in self._plan.crossing.reads[moment]:
            if producer in self._plan.crossing.temporaries:
                self._get(self._frame.temporary(self._plan.crossing.temporaries[producer]))
                continue
            code = self._data[body.positions[producer] : body.positions[producer + 1]]
            self._out.append(c.LOCAL_GET + code[1:] if ACTIONS[body.codes[producer]] == LOCAL_TEE else code)

    def _spill(self, index: int) -> None:
        """Move the values that an instruction gave and that cross something to their temporaries."""
        temporaries = self._plan.crossing.temporaries
        if index not in self._plan.crossing.several:
            self._set(self._frame.temporary(temporaries[index]))
            return
        types = self._plan.crossing.several[index]
        lowest = 0
        while index + lowest * SLOT not in temporaries:
            lowest += 1
        staying: list[int] = []
        for slot in range(len(types) - 1, lowest - 1, -1):
            producer = index + slot * SLOT
            if producer in temporaries:
                self._set(self._frame.temporary(temporaries[producer]))
            else:
                staying.append(self._frame.scratch(types[slot]))
                self._set(staying[-1])
        for place in range(len(staying) - 1, -1, -1):
            self._get(staying[place])

    # Control instructions.

    def _control(self, index: int, marks: bytes) -> None:
        """Write a control instruction; its label indices are those of the new code."""
        positions = self._body.positions
        control = CONTROLS[self._body.codes[index]]
        if control == controls.OPENING:
            self._open(index, marks)
            return
        self._flush(positions[index])
        if control == controls.END:
            self._end(self._constructs.pop())
        elif control == controls.BRANCH:
            opcode = self._data[positions[index] : positions[index] + 1]
            self._labels.branch(opcode, self._heights[-1 - self._body.immediates[index]])
        elif control == controls.ELSE:
            self._else(index)
        elif control == controls.TABLE:
            self._out.append(c.BR_TABLE + self._relabel.vector(positions[index] + 1))
        elif control == controls.RETURN:
            self._return()
        elif control == controls.CLAUSE:
            self._live = True
            self._labels.next_arm(self._data[positions[index] : positions[index + 1]])
        elif control == controls.DELEGATE:
            self._constructs.pop()
            self._heights.pop()
            self._closing.pop()
            self._labels.end_by_delegate()
            self._live = True
            self._labels.branch(b"\x18", self._heights[-1 - self._body.immediates[index]])
        else:
            self._out.append(self._relabel.cast(positions[index], positions[index + 1]))

    def _end(self, construct: int) -> None:
        self._heights.pop()
        height = self._closing.pop()
        if construct in self._labels.elided or construct in self._labels.sharing:
            return
        is_targeted = self._labels.close(height)
        if construct in self._labels.blocks:
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

    def _open(self, index: int, marks: bytes) -> None:
        body = self._body
        labels = self._labels
        self._constructs.append(index)
        if index in labels.blocks or index in labels.elided:
            self._open_hoisted(index, marks)
            return
        self._flush(body.positions[index])
        landing = self._landing_behind(index)
        if landing != AT_HEAD:
            labels.sharing.add(index)
            self._heights.append(landing)
            self._closing.append(AT_HEAD)
            return
        region = self._layout.heads.get(2 * index + 1)
        if region is not None:
            labels.close(labels.regions[region])
            self._live = True
        if index in self._plan.constructs.regions:
            self._read_again(2 * index)
        self._heights.append(labels.begin(self._construct_start(index)))
        self._closing.append(self._heights[-1])
        if index in self._not_unrolled:
            self._out.append(c.EMPTY_LOOP)
        if index in self._plan.constructs.regions:
            self._take_in_parameters(index)
        if region is not None:
            self._enter_region(index, region)

    def _landing_behind(self, index: int) -> int:
        """Return the label of the landing point just behind a block that can do with this label, AT_HEAD else."""
        body = self._body
        if body.codes[index] != op.BLOCK or index in body.with_sites:
            return AT_HEAD
        site = self._site_of_landing.get(body.ends[index] + 1, -1)
        if site < 0 or not self._dispatcher.is_plain(index):
            return AT_HEAD
        return self._labels.sites[site]

    def _enter_region(self, index: int, region: int) -> None:
        """Write the head of a region behind its opening instruction."""
        self._dispatcher.enter(region)

    def _open_hoisted(self, index: int, marks: bytes) -> None:
        """Write the start of a block or if whose label was opened at the region's head."""
        if not self._live:
            self._copied = self._body.positions[index + 1]
        elif self._body.codes[index] == op.IF:
            self._branch_over(index, marks)
        else:
            self._flush(self._body.positions[index])
        self._heights.append(self._labels.blocks.get(index, AT_HEAD))
        self._closing.append(self._heights[-1])

    def _construct_start(self, index: int) -> bytes:
        """Return the opcode, block type and catch clauses of a construct that stays where it is."""
        body = self._body
        position = body.positions[index] + 1
        if index in self._plan.constructs.without_parameters:
            return self._data[position - 1 : position] + self._dispatcher.result_type(index)
        after = skip_block_type(self._data, position)
        start = self._data[position - 1 : after]
        if body.codes[index] == op.TRY_TABLE:
            start += self._relabel.catches(after)
        return start

    def _take_in_parameters(self, index: int) -> None:
        slot = 0
        while index + slot * SLOT in self._plan.crossing.temporaries:
            slot += 1
        while slot > 0:
            slot -= 1
            self._set(self._frame.temporary(self._plan.crossing.temporaries[index + slot * SLOT]))

    def _branch_over(self, index: int, marks: bytes) -> None:
        """Write an `if` whose label was opened at the region's head: a branch around the then arm."""
        positions = self._body.positions
        before = index - 1
        comparison = self._body.codes[before]
        can_change = not marks[before] and self._copied <= positions[before]
        if can_change and (comparison == op.I32_EQZ or comparison in c.OPPOSITES):
            self._flush(positions[before])
            self._out.append(c.OPPOSITES.get(comparison, b""))
        else:
            self._flush(positions[index])
            self._out.append(c.I32_EQZ)
        labels = self._labels
        labels.branch(c.BR_IF, labels.elses[index] if index in labels.elses else labels.blocks[index])

    def _else(self, index: int) -> None:
        construct = self._constructs[-1]
        labels = self._labels
        if construct not in labels.elses:
            self._labels.next_arm(c.ELSE)
            self._live = True
        else:
            if self._live:
                labels.branch(c.BR, labels.blocks[construct])
            self._live = labels.close(labels.elses[construct])
            if not self._live:
                self._state_dead_end()
                return
        for producer in self._plan.constructs.else_parameters.get(index, []):
            self._get(self._frame.temporary(self._plan.crossing.temporaries[producer]))
