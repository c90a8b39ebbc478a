"""Where a module's pause points stand, and what each counts for: a fact of the module, the same everywhere.

A pause point is a place where the guest looks whether it is to suspend itself. There are two kinds, heads of loops and
entries of functions, and no cycle of control may be without: an iteration of a loop passes its head, and so does a call
inside the loop before it is made. What is left are cycles of calls that stand in no loop: recursion, direct, by tail
calls, through tables and references. As few functions as is quickly found break these (`cycles`), by a pause point at
their entry. A call through a table or a reference may reach every function of a fitting type that a reference can be
made of.

Without cycles, calls still multiply: a function that calls another one twice, which calls a third one twice, and so on.
So the cost of each function is added up, its instructions and what those that it calls cost; where that is beyond a
bound, the function has a pause point too. What comes back to a module through its host is the host's to count: each
entry into the guest is bounded by its own.

The *weight* of a pause point is how many instructions there may be up to the next ones: those of the loop's body,
without inner loops, or of the function's, without its loops; with the cost of the functions without a pause point that
are called there. It is an estimate, since arms of a branch all count; what matters is that no instruction runs without
being counted.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.cycles import break_cycles, callees_first
from caesura.analysis.entries import may_be_referenced
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, FunctionIndex, OwnFunction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.types import I32, is_reference

# In place of the function that pause points call, in modules without any.
NO_PAUSE: Final = FunctionIndex(-1)

# Where a call stands that is in no loop.
_NO_LOOP: Final = -1

# Instructions that a function may run, with all that it calls, before it must have a pause point: some microseconds.
_MOST_UNCOUNTED: Final = 10_000

# What a function costs that is not the module's own.
_IMPORT_COST: Final = 1


class PausePoints:
    """Where they are, by own function.

    `entries` has the weights of those at entries; `loops` has for each function with loops the position behind each
    loop's block type, ascending, and its weight.
    """

    def __init__(self) -> None:
        self.entries: dict[OwnFunction, int] = {}
        self.loops: dict[OwnFunction, list[tuple[ByteOffset, int]]] = {}

    def count(self) -> int:
        """Return how many there are."""
        return len(self.entries) + sum([len(loops) for loops in self.loops.values()])


class _Code:
    """What counts of one function: instructions outside of loops, the loops, and the calls with the loop of each.

    A callee from 0 on is a function, one below that a type of calls through tables and references.
    """

    def __init__(self) -> None:
        self.instructions = 0
        self.loop_starts: list[ByteOffset] = []
        self.loop_instructions: list[int] = []
        self.callees: list[int] = []
        self.call_loops: list[int] = []


def find_pause_points(module: Module) -> PausePoints:
    """Return where a module's pause points stand; its code must be valid."""
    return _Finder(module).find()


class _Finder:
    def __init__(self, module: Module) -> None:
        self._module = module
        self._imported = module.imported_functions
        # Types that may stand for one another are one: by the number and kinds of parameters and results.
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._shape_of_type: dict[int, int] = {}
        self._codes = [self._read(own) for own in module.own_functions()]
        own_functions = len(self._codes)
        self._successors = [self._outside_loops(code) for code in self._codes]
        self._successors += self._reached(own_functions)
        # What an activation costs whoever calls, by node: own functions, then shapes of calls.
        self._costs = [0] * len(self._successors)

    def find(self) -> PausePoints:
        """Find them all."""
        points = PausePoints()
        own_functions = len(self._codes)
        has_entry = [False] * len(self._successors)
        for node in break_cycles(self._successors, own_functions):
            has_entry[node] = True
        for node in callees_first(self._successors, has_entry):
            if node >= own_functions:
                self._costs[node] = max([self._costs[callee] for callee in self._successors[node]], default=0)
                continue
            cost = self._cost(self._codes[node], _NO_LOOP)
            if cost > _MOST_UNCOUNTED:
                has_entry[node] = True
            else:
                self._costs[node] = cost
        for own in self._module.own_functions():
            code = self._codes[own]
            if has_entry[own]:
                points.entries[own] = self._cost(code, _NO_LOOP)
            if code.loop_starts:
                weights = self._loop_costs(code)
                points.loops[own] = [(code.loop_starts[loop], weights[loop]) for loop in range(len(weights))]
        return points

    def _cost(self, code: _Code, loop: int) -> int:
        """Return what the instructions cost that stand in a loop, or in none, and the calls there."""
        cost = code.instructions if loop == _NO_LOOP else code.loop_instructions[loop]
        for place in range(len(code.callees)):
            if code.call_loops[place] == loop:
                cost += self._call_cost(code.callees[place])
        return cost

    def _loop_costs(self, code: _Code) -> list[int]:
        costs = code.loop_instructions.copy()
        for place in range(len(code.callees)):
            loop = code.call_loops[place]
            if loop != _NO_LOOP:
                costs[loop] += self._call_cost(code.callees[place])
        return costs

    def _call_cost(self, callee: int) -> int:
        node = self._node(callee)
        return _IMPORT_COST if node < 0 else self._costs[node]

    def _node(self, callee: int) -> int:
        """Return the node that stands for a callee, which is negative for an import."""
        return callee - self._imported if callee >= 0 else len(self._codes) - 1 - callee

    def _outside_loops(self, code: _Code) -> list[int]:
        """Return the nodes of what a function calls outside of loops, without repetitions, in their order."""
        nodes: dict[int, bool] = {}
        for place in range(len(code.callees)):
            node = self._node(code.callees[place])
            if code.call_loops[place] == _NO_LOOP and node >= 0:
                nodes[node] = True
        return list(nodes)

    def _reached(self, own_functions: int) -> list[list[int]]:
        """Return, for each shape of calls, the own functions that they may reach."""
        reached: list[list[int]] = [[] for _ in self._shapes]
        module = self._module
        referenced = may_be_referenced(module)
        for own in range(own_functions):
            function = FunctionIndex(self._imported + own)
            if referenced[function]:
                shape = self._shapes.get(self._shape_key(module.function_types[function]))
                if shape is not None:
                    reached[shape].append(own)
        return reached

    def _shape_key(self, type_index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        definition = self._module.types[type_index]
        return _without_kinds(definition.params), _without_kinds(definition.results)

    def _shape(self, type_index: int) -> int:
        if type_index not in self._shape_of_type:
            key = self._shape_key(type_index)
            self._shape_of_type[type_index] = self._shapes.setdefault(key, len(self._shapes))
        return self._shape_of_type[type_index]

    def _read(self, own: OwnFunction) -> _Code:
        module = self._module
        data = module.data
        flows = table.FLOWS
        code = _Code()
        open_loops: list[int] = []  # of each open construct, the innermost loop
        loop = _NO_LOOP
        position = skip_locals(data, module.body_starts[own])
        end = module.body_ends[own]
        while position < end:
            opcode, immediates, position = read_instruction(data, position)
            flow = flows[opcode]
            if flow == table.FLOW_LOOP:
                open_loops.append(loop)
                loop = len(code.loop_starts)
                code.loop_starts.append(ByteOffset(position))
                code.loop_instructions.append(0)
            elif flow == table.FLOW_BLOCK or flow == table.FLOW_IF or flow == table.FLOW_TRY:
                open_loops.append(loop)
            elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
                if open_loops:
                    loop = open_loops.pop()
                continue
            if loop == _NO_LOOP:
                code.instructions += 1
            else:
                code.loop_instructions[loop] += 1
            if opcode == op.CALL or opcode == op.RETURN_CALL:
                code.callees.append(read_u32(data, immediates)[0])
                code.call_loops.append(loop)
            elif table.EFFECTS[opcode] == table.CALL:
                code.callees.append(-1 - self._shape(read_u32(data, immediates)[0]))
                code.call_loops.append(loop)
        return code


def _without_kinds(types: tuple[int, ...]) -> tuple[int, ...]:
    """Return types with all references taken for one: a function may be called by a type above its own."""
    return tuple([I32 - 0x100 if is_reference(one) else one for one in types])
