"""Control instructions in the planner's walk: constructs with call sites, and what follows where control leaves.

Constructs without call sites are not walked through: they take their parameters and give their results. Those with
call sites are regions, but for blocks, ifs and hand-off loops: where their labels are opened at the region's head
(see `regions`), operands stay on the stack in them.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTION_TABLE
from caesura.analysis.body import Body, block_types
from caesura.errors import MalformedModule
from caesura.instrument.plan.crossing import Crossing
from caesura.instrument.plan.operand_stack import OperandStack
from caesura.instrument.plan.operand_types import OperandTypes
from caesura.instrument.plan.plan import SLOT, Constructs, Moment, Producer
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex, LabelDepth
from caesura.wasm.module import Module


class _Construct:
    """An open construct with call sites.

    `start` is the instruction that opens it; the operands of the construct around it begin at height `outer_base`, its
    own at `base`.
    """

    def __init__(
        self, start: InstructionIndex, outer_base: int, base: int, params: tuple[int, ...], results: tuple[int, ...]
    ) -> None:
        self.start: Final = start
        self.outer_base: Final = outer_base
        self.base: Final = base
        self.params: Final = params
        self.results: Final = results


class Control:
    """Walks through control instructions, and keeps what the plan says of constructs.

    `handoff_loops` are no regions: the resume body runs through their code only once (see `frames.two_bodies`); None
    says that the function has one body.
    """

    def __init__(
        self,
        module: Module,
        body: Body,
        stack: OperandStack,
        types: OperandTypes,
        crossing: Crossing,
        handoff_loops: set[InstructionIndex] | None,
    ) -> None:
        self._module = module
        self._body = body
        self._stack = stack
        self._types = types
        self._crossing = crossing
        self._has_two_bodies = handoff_loops is not None
        self._handoff_loops: set[InstructionIndex] = handoff_loops or set()
        self._actions = ACTION_TABLE.of(body)
        self._open: list[_Construct] = []
        self._reached: list[InstructionIndex] = []
        self._regions: set[InstructionIndex] = set()
        self._without_parameters: set[InstructionIndex] = set()
        self._else_parameters: dict[InstructionIndex, list[Producer]] = {}
        # The operands on the stack at hand-off loops.
        self._below: dict[InstructionIndex, list[Producer]] = {}
        # What the plan says of the same name.
        self.dead: dict[InstructionIndex, InstructionIndex] = {}
        self.ends_live = False

    def is_open(self) -> bool:
        """Tell whether a construct is open."""
        return len(self._open) > 0

    def constructs(self) -> Constructs:
        """Return the constructs with call sites, when the walk is over."""
        below = {loop: self._crossing.holding(producers) for loop, producers in self._below.items()}
        return Constructs(self._reached, self._regions, self._without_parameters, self._else_parameters, below)

    def label_types(self, index: InstructionIndex, depth: LabelDepth) -> tuple[int, ...] | None:
        """Return the types that a branch to a label carries, None for the function's own label."""
        if depth < len(self._open):
            construct = self._open[-1 - depth]
            return construct.params if self._body.codes[construct.start] == op.LOOP else construct.results
        if depth == len(self._open):
            return None
        raise MalformedModule(f"branch to label {depth} is out of range", self._body.positions[index])

    def step(self, index: InstructionIndex, code: int, action: int) -> int:
        """Walk through a control instruction and return the instruction to go on with."""
        if action == actions.CONSTRUCT:
            return self._start(index, code)
        if action == actions.END:
            return self._end(index)
        if action == actions.ELSE:
            return self._else(index)
        if action == actions.HANDLER:
            end = self._body.ends[self._open[-1].start]
            self._note_writes(index, end)
            return self._end(end)
        if action == actions.LEAVE:
            return self._leave(index)
        raise MalformedModule(f"unknown instruction {code:#x}", self._body.positions[index])

    def _start(self, index: InstructionIndex, code: int) -> int:
        body = self._body
        stack = self._stack
        params, results = block_types(self._module, body.immediates[index], body.positions[index] + 1)
        if code == op.IF:
            stack.take(1)
        base = len(stack.producers) - len(params)
        if base < stack.base:
            raise IndexError
        if index not in body.with_sites:
            return self._pass(index, len(params), results)
        self._open.append(_Construct(index, stack.base, base, params, results))
        self._reached.append(index)
        self._crossing.open_construct(stack.base, base, Moment(2 * body.ends[index] + 1))
        stack.base = base
        if index in self._handoff_loops:
            self._below[index] = [Producer(producer) for producer in stack.producers]
        elif code == op.BLOCK:
            self._start_block(index, params)
        elif code == op.IF:
            self._start_if(index, params)
        else:
            self._start_region(index, params)
        stack.begin_at(index + 1)
        return index + 1

    def _pass(self, index: InstructionIndex, params: int, results: tuple[int, ...]) -> int:
        """Pass a construct without call sites."""
        stack = self._stack
        end = self._body.ends[index]
        stack.take(params)
        if stack.producers:
            self._note_writes(index, end)
        self._push_results(end, index, results)
        return end + 1

    def _push_results(self, end: InstructionIndex, construct: InstructionIndex, results: tuple[int, ...]) -> None:
        """Put the results of a construct on the stack behind its end."""
        stack = self._stack
        if len(results) > 1:
            self._types.note_types(end, results)
        self._types.note_opener(end, construct)
        stack.push_results(end, len(results))
        stack.fence = end + 1
        if len(stack.producers) == stack.base:
            stack.empty = end + 1

    def _note_writes(self, index: InstructionIndex, end: InstructionIndex) -> None:
        """Note the locals that are written in code without call sites, which is not walked through."""
        actions_of = self._actions
        for inside in range(index + 1, end):
            action = actions_of[inside]
            if action == actions.LOCAL_SET or action == actions.LOCAL_TEE:
                self._crossing.note_write(inside)

    def _start_block(self, index: InstructionIndex, params: tuple[int, ...]) -> None:
        if params and self._has_two_bodies:
            # The normal body has the block in its place, where some parameters may be on the stack, some not.
            stack = self._stack
            self._crossing.cross(stack.base, len(stack.producers), Moment(2 * index + 1), forced=True)
            self._without_parameters.add(index)

    def _start_if(self, index: InstructionIndex, params: tuple[int, ...]) -> None:
        stack = self._stack
        if index in self._body.elses:
            # Both arms need the parameters: the else arm reads them again from the temporaries.
            self._crossing.cross(stack.base, len(stack.producers), Moment(2 * index + 1), forced=True)
            parameters = [Producer(producer) for producer in stack.producers[stack.base :]]
            self._else_parameters[self._body.elses[index]] = parameters
            self._without_parameters.add(index)
        elif params:
            # The branch around the then arm carries the parameters as results, and gives them again.
            stack.take(len(params))
            self._types.note_types(index, params)
            stack.push_results(index, len(params))

    def _start_region(self, index: InstructionIndex, params: tuple[int, ...]) -> None:
        self._regions.add(index)
        if not params:
            return
        # The parameters cross twice: the landing point before the construct, and the dispatch at its head, where the
        # same temporaries take them in again.
        stack = self._stack
        self._crossing.cross(stack.base, len(stack.producers), Moment(2 * index), forced=True)
        self._types.note_types(index, params)
        for slot in range(len(params)):
            outer = Producer(stack.producers[stack.base + slot])
            inner = Producer(index + slot * SLOT)
            self._crossing.take_over(outer, inner, params[slot], Moment(2 * index + 1))
            stack.replace(stack.base + slot, inner, index)

    def _else(self, index: InstructionIndex) -> int:
        construct = self._open[-1]
        stack = self._stack
        stack.take_to(construct.base)
        self._types.note_opener(index, construct.start)
        self._types.note_types(index, construct.params)
        stack.push_results(index, len(construct.params))
        stack.begin_at(index + 1)
        return index + 1

    def _end(self, index: InstructionIndex) -> int:
        stack = self._stack
        if not self._open:
            self.ends_live = True
            return index + 1
        construct = self._open.pop()
        stack.take_to(construct.base)
        stack.base = construct.outer_base
        self._push_results(index, construct.start, construct.results)
        self._crossing.close_construct()
        if construct.base > construct.outer_base:
            # What stands below is read again here, and the results come on top of it.
            self._crossing.cross(construct.outer_base, len(stack.producers), Moment(2 * index + 1), forced=False)
        return index + 1

    def _leave(self, index: InstructionIndex) -> int:
        body = self._body
        last = len(body.codes) - 1
        if not self._open:
            self.dead[InstructionIndex(index + 1)] = InstructionIndex(last)
            return last + 1
        start = self._open[-1].start
        boundary = body.ends[start]
        if start in body.handlers:
            boundary = body.handlers[start]
        elif start in body.elses and index < body.elses[start]:
            boundary = body.elses[start]
        self.dead[InstructionIndex(index + 1)] = boundary
        return boundary
