"""Plans one function: where rewinding frames land, and which operands leave the stack meanwhile.

A walk over the body with an abstract operand stack. For every call site it finds the landing point: back from the
call over code that can be run again, at best to where the region's operand stack is empty. Operands that must stand
across a landing point, or across a construct with call sites, cross (see `crossing`). Backward walks from each call
were rejected: they visit long argument lists again and again.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTION_TABLE, GIVEN, TAKEN
from caesura.analysis.body import Body, label_of_cast, second_immediate
from caesura.analysis.limits import check_sites
from caesura.errors import MalformedModule
from caesura.instrument.plan.control import Control
from caesura.instrument.plan.crossing import Crossing
from caesura.instrument.plan.operand_stack import NO_READ, OperandStack
from caesura.instrument.plan.operand_types import OperandTypes
from caesura.instrument.plan.plan import SLOT, CallSites, Moment, Plan, Saved
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex, InstructionIndex, LabelDepth, LocalIndex
from caesura.wasm.instructions import RESULTS
from caesura.wasm.module import Module
from caesura.wasm.types import is_non_null

# Call sites between two looks at their number, less one.
_SITES_UNCHECKED: Final = 0xFFFF

# In place of the instruction that read a local last: none has.
_NEVER: Final = -1


def plan_function(
    module: Module,
    body: Body,
    results: tuple[int, ...],
    exact_arguments: list[bool],
    *,
    handoff_loops: set[InstructionIndex] | None = None,
    restores_nothing: bool = False,
) -> Plan:
    """Plan a function with these results; raises MalformedModule and UnsupportedModule with the byte offset.

    `exact_arguments[f]` tells whether a call of function f must get its real arguments again in a rewind (it is an
    import or part of the guest's own runtime). `handoff_loops` are those of a function that gets two bodies (see
    `frames.two_bodies`). `restores_nothing` says that locals are not restored in a rewind, so that what may trap cannot
    be run again, and nothing is saved.
    """
    walk = _Walk(module, body, results, exact_arguments, handoff_loops, restores_nothing=restores_nothing)
    try:
        walk.run()
    except IndexError:
        raise MalformedModule("the function body is not valid code", body.code_start) from None
    return walk.plan()


class _Walk:
    """One walk over a function body; the parameters are those of `plan_function`."""

    def __init__(
        self,
        module: Module,
        body: Body,
        results: tuple[int, ...],
        exact_arguments: list[bool],
        handoff_loops: set[InstructionIndex] | None,
        *,
        restores_nothing: bool,
    ) -> None:
        self._module = module
        self._body = body
        self._results = results
        self._exact = exact_arguments
        self._restores_nothing = restores_nothing
        self._stack = OperandStack()
        self._types = OperandTypes(module, body)
        self._crossing = Crossing(body, self._stack, self._types)
        self._control = Control(module, body, self._stack, self._types, self._crossing, handoff_loops)
        # What each instruction does to the operand stack.
        self._actions = ACTION_TABLE.of(body)
        self._last_read: dict[int, int] = {}
        # What the plan says of call sites.
        self._calls: list[InstructionIndex] = []
        self._landings: list[InstructionIndex] = []
        self._leads: list[InstructionIndex] = []
        self._operands_behind: list[int] = []
        self._ignored_reads: set[InstructionIndex] = set()

    def plan(self) -> Plan:
        """Return the plan, when the walk is over."""
        saved = self._crossing.saved()
        if self._restores_nothing:
            saved = Saved(saved.temporary_types, set(), set())
        return Plan(
            sites=CallSites(self._calls, self._landings, self._leads, self._operands_behind, self._ignored_reads),
            constructs=self._control.constructs(),
            crossing=self._crossing.operands(),
            saved=saved,
            dead=self._control.dead,
            ends_live=self._control.ends_live,
        )

    def run(self) -> None:
        """Walk from the first instruction to the last; raises IndexError where the code is not valid."""
        body = self._body
        codes = body.codes
        immediates = body.immediates
        stack = self._stack
        producers = stack.producers
        reads = stack.reads
        starts = stack.starts
        last_read = self._last_read
        actions_of = self._actions
        count = len(codes)
        index = 0
        sites = body.sites
        next_site = 0
        while index < count:
            code = codes[index]
            action = actions_of[index]
            if action == actions.LOCAL_GET:
                producers.append(index)
                reads.append(NO_READ)
                starts.append(index)
                last_read[immediates[index]] = index
                index += 1
                continue
            if action == actions.CONSTANT:
                producers.append(index)
                reads.append(NO_READ)
                starts.append(index)
                index += 1
                continue
            if action == actions.PURE:
                taken = TAKEN[code]
                if taken == 1:
                    producers[-1] = index
                else:
                    read = reads[-1]
                    for _ in range(taken - 1):
                        producers.pop()
                        reads.pop()
                        starts.pop()
                        if reads[-1] > read:
                            read = reads[-1]
                    producers[-1] = index
                    reads[-1] = read
                if GIVEN[code] == 2:
                    self._give_second(InstructionIndex(index), RESULTS[code])
                index += 1
                continue
            if action == actions.READ_TRAPPING and TAKEN[code] == 1:
                if reads[-1] >= stack.fence:
                    stack.fence = reads[-1] + 1
                producers[-1] = index
                reads[-1] = index
                index += 1
                continue
            if action == actions.LOCAL_SET or action == actions.LOCAL_TEE:
                self._write_local(index, action)
            elif action == actions.EFFECT:
                stack.take(TAKEN[code])
                stack.fence = index + 1
                if GIVEN[code] == 1:
                    stack.push(index, NO_READ, index)
            elif action == actions.CALL or action == actions.CALL_INDIRECT or action == actions.CALL_REF:
                while next_site < len(sites) and sites[next_site] < index:
                    next_site += 1
                self._call(
                    InstructionIndex(index), action, is_site=next_site < len(sites) and sites[next_site] == index
                )
            elif action == actions.GLOBAL_GET:
                is_mutable = self._types.is_mutable_global(InstructionIndex(index))
                stack.push(index, index if is_mutable else NO_READ, index)
            elif action == actions.TRAPPING or action == actions.READ or action == actions.READ_TRAPPING:
                self._read_or_trap(index, code, action)
            elif action == actions.DROP:
                stack.take(1)
            elif action == actions.SELECT:
                self._select(InstructionIndex(index))
            elif action == actions.BR_IF:
                self._branch_if(InstructionIndex(index))
            elif action == actions.CREATION:
                stack.take(self._created_from(InstructionIndex(index), code))
                stack.fence = index + 1
                stack.push(index, NO_READ, index)
            elif action == actions.CONVERSION or action == actions.NON_NULL:
                self._types.note_conversion(InstructionIndex(index), producers[-1])
                if action == actions.CONVERSION:
                    producers[-1] = index
                else:
                    self._read_or_trap(index, code, actions.TRAPPING)
            elif action == actions.BR_ON:
                self._branch_on(InstructionIndex(index), code)
            elif action != actions.NOP:
                if index in body.pausing_loops:
                    self._place_pause(InstructionIndex(index))
                index = self._control.step(InstructionIndex(index), code, action)
                continue
            if len(producers) == stack.base:
                stack.empty = index + 1
            index += 1
        if self._control.is_open():
            raise MalformedModule("the function body ends inside a block", body.positions[-1])
        if self._control.ends_live and len(producers) != len(self._results):
            raise IndexError

    # Instructions.

    def _give_second(self, index: InstructionIndex, types: tuple[int, ...]) -> None:
        """Put the second value that an instruction gives on the stack.

        A landing point cannot stand between the two: they are not run again.
        """
        self._types.note_types(index, types)
        self._stack.push(index + SLOT, NO_READ, index)
        self._stack.fence = index + 1

    def _write_local(self, index: int, action: int) -> None:
        stack = self._stack
        if stack.reads[-1] >= stack.fence or self._last_read.get(self._body.immediates[index], _NEVER) >= stack.empty:
            stack.fence = index + 1
        self._crossing.note_write(index)
        if action == actions.LOCAL_TEE:
            stack.producers[-1] = index
            stack.reads[-1] = NO_READ
        else:
            stack.take(1)

    def _read_or_trap(self, index: int, code: int, action: int) -> None:
        stack = self._stack
        start = index
        for _ in range(TAKEN[code]):
            read = stack.reads[-1]
            if read >= stack.fence:
                stack.fence = read + 1
            start = stack.starts[-1]
            stack.take(1)
        runs_again = action == actions.TRAPPING and not self._restores_nothing
        stack.push(index, NO_READ if runs_again else index, start)

    def _select(self, index: InstructionIndex) -> None:
        stack = self._stack
        read = max(stack.reads[-1], stack.reads[-2], stack.reads[-3])
        start = stack.starts[-3]
        if self._body.codes[index] == op.SELECT:
            self._types.note_select(index, stack.producers[-3])
        stack.take(3)
        stack.push(index, read, start)

    def _branch_if(self, index: InstructionIndex) -> None:
        self._stack.take(1)
        types = self._carried(index, self._body.immediates[index])
        self._stack.take(len(types))
        self._go_on(index, types)

    def _branch_on(self, index: InstructionIndex, code: int) -> None:
        label = self._body.immediates[index] if code < 0x100 else label_of_cast(self._module.data, self._body, index)
        carried = self._carried(index, label)
        producer = self._stack.producers[-1]
        # What the label takes is on the stack, but for br_on_null the reference as well, which the label does not take.
        self._stack.take(len(carried) + (1 if code == op.BR_ON_NULL else 0))
        self._go_on(index, self._types.behind_branch_on(index, carried, producer))

    def _carried(self, index: InstructionIndex, label: int) -> tuple[int, ...]:
        """Return the types that a branch to a label carries."""
        types = self._control.label_types(index, LabelDepth(label))
        return self._results if types is None else types

    def _go_on(self, index: InstructionIndex, types: tuple[int, ...]) -> None:
        """Go on behind a branch that is not taken, and gives these."""
        if types:
            self._types.note_branch(index, types)
            self._stack.push_results(index, len(types))
        self._stack.fence = index + 1

    def _created_from(self, index: InstructionIndex, code: int) -> int:
        """Return how many operands a struct or array is made from; raises MalformedModule."""
        if code == op.ARRAY_NEW_FIXED:
            return second_immediate(self._module.data, self._body, index)
        number = self._body.immediates[index]
        if number >= len(self._module.types):
            raise MalformedModule(f"type index {number} is out of range", self._body.positions[index])
        return len(self._module.types[number].fields)

    # Calls.

    def _call(self, index: InstructionIndex, action: int, *, is_site: bool) -> None:
        body = self._body
        stack = self._stack
        immediate = body.immediates[index]
        exact = True
        if action == actions.CALL:
            definition = self._module.function_type(FunctionIndex(immediate))
            exact = self._exact[immediate]
            taken = len(definition.params)
        else:
            if immediate >= len(self._module.types):
                raise MalformedModule(f"type index {immediate} is out of range", body.positions[index])
            definition = self._module.types[immediate]
            taken = len(definition.params) + 1
        if is_site:
            self._place(index, taken, exact=exact)
            self._leads.append(index)
        stack.take(taken)
        stack.fence = index + 1
        if len(definition.results) > 1:
            self._types.note_types(index, definition.results)
        stack.push_results(index, len(definition.results))
        if is_site:
            self._operands_behind.append(len(stack.producers) - stack.base)

    def _place(self, index: InstructionIndex, taken: int, *, exact: bool) -> None:
        """Place the landing point of a call site that takes so many operands; if `exact`, the real ones in a rewind."""
        stack = self._stack
        reads = stack.reads
        starts = stack.starts
        height = len(starts)
        if height - taken < stack.base:
            raise IndexError
        arguments = height if exact else height - taken  # from this operand on they are ignored
        fence = stack.fence
        for operand in range(stack.base, arguments):
            if reads[operand] >= fence:
                fence = reads[operand] + 1
        lowest = height
        while lowest > stack.base and starts[lowest - 1] >= fence:
            lowest -= 1
        landing = starts[lowest] if lowest < height else index
        if lowest > stack.base:
            self._crossing.cross_site(stack.base, lowest, Moment(2 * landing), arguments)
        for operand in range(max(lowest, arguments), height):
            self._ignore_reads(starts[operand], stack.producers[operand])
        number = len(self._calls)
        if number & _SITES_UNCHECKED == 0:
            check_sites(number, self._body.positions[-1] - self._body.code_start, self._body.code_start)
        self._calls.append(index)
        self._landings.append(InstructionIndex(landing))

    def _place_pause(self, loop: InstructionIndex) -> None:
        """Place the landing point of a loop's pause point just before the loop.

        Nothing before the loop runs again: what it set was for the first iteration.
        """
        self._stack.fence = loop
        self._place(loop, 0, exact=True)
        self._leads.append(loop)
        self._calls[-1] = self._body.pausing_loops[loop]
        self._operands_behind.append(0)

    def _ignore_reads(self, start: int, producer: int) -> None:
        """Note the reads of locals for an argument that is ignored, where nothing else depends on them.

        The code that computes it goes from `start` to the producer.
        """
        actions_of = self._actions
        reads: list[InstructionIndex] = []
        for index in range(start, (producer & (SLOT - 1)) + 1):
            action = actions_of[index]
            if action == actions.LOCAL_GET:
                if self._body.has_non_null and is_non_null(
                    self._body.local_type(LocalIndex(self._body.immediates[index]))
                ):
                    return  # what reads it would trap if it were not restored
                reads.append(InstructionIndex(index))
            elif action != actions.CONSTANT and action != actions.PURE and action != actions.SELECT:
                return
        self._ignored_reads.update(reads)
