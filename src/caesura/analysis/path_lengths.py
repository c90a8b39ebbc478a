"""How many instructions lie on the longest way through a function's loops, and through what is outside of them.

A function is divided into regions: each loop without the loops in it, and what is in no loop. One walk over the code
keeps, for every open region, the length of the longest way from its beginning to the current place; labels keep the
longest one that branches to them, and the catch clauses of a try that in the region so far. A call counts for what it
costs, an inner loop for nothing: its instructions are those of its own region.

Adding up all instructions was the first form: in an interpreter's loop, around a switch with hundreds of arms, that is
a hundred times what an iteration runs.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.bulk import is_bulk, length_of_bulk, length_of_struct
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# The length of a way that does not lead here.
_DEAD: Final = -1


class CallCosts:
    """What calls cost: of functions by function index, and of calls through tables and references by type index.

    With `has_bulk` an instruction that fills or copies as much as its operands say costs for that, too.
    """

    def __init__(self, functions: list[int], types: dict[int, int], *, has_bulk: bool) -> None:
        self.functions: Final = functions
        self.types: Final = types
        self.has_bulk: Final = has_bulk

    def at_most(self, most: int) -> CallCosts:
        """Return the same, but with none above a bound."""
        functions = [min(cost, most) for cost in self.functions]
        types = {index: min(cost, most) for index, cost in self.types.items()}
        return CallCosts(functions, types, has_bulk=self.has_bulk)

    def set_types(self, types: list[int], functions: list[int]) -> None:
        """Let calls by these types cost as much as the most expensive function that they may reach."""
        cost = max([1] + [self.functions[function] for function in functions])
        for type_index in types:
            self.types[type_index] = cost

    def of(self, code: int, immediate: int) -> int:
        """Return what a call instruction costs, besides itself."""
        if code == op.CALL or code == op.RETURN_CALL:
            return self.functions[immediate]
        return self.types[immediate]


def read_branch(data: bytes, code: int, flow: int, immediates: int) -> list[int]:
    """Return the labels that a branch goes to, or the catch clauses of a `try_table`; none for other instructions."""
    if flow == table.FLOW_BRANCH or flow == table.FLOW_BRANCH_IF:
        return [read_u32(data, immediates)[0]]
    if flow == table.FLOW_BRANCH_TABLE:
        return read_immediates(data, immediates, code)[0]
    if flow == table.FLOW_BRANCH_ON:
        numbers = read_immediates(data, immediates, code)[0]
        return [numbers[0] if len(numbers) == 1 else numbers[1]]
    if code == op.TRY_TABLE:
        clauses = read_immediates(data, immediates, code)[0]
        return [clauses[place] for place in range(3, len(clauses), 3)]
    return []


def longest_ways(module: Module, own: OwnFunction, costs: CallCosts) -> list[int]:
    """Return the lengths for one of the module's own functions: outside of loops, then of its loops in their order."""
    walk = _Walk(module, costs)
    walk.run(skip_locals(module.data, module.body_starts[own]), module.body_ends[own])
    return walk.longest


class _Walk:
    """`longest` has for each region what is longest so far, `_lengths` what it is here."""

    def __init__(self, module: Module, costs: CallCosts) -> None:
        self._module = module
        self._data = module.data
        self._costs = costs
        self.longest = [0]
        self._lengths = [0]
        self._region = 0
        # Of each open construct, the function first: its opening code, the region that its label belongs to, the
        # longest way to the label, the longest way to an `if`, and the labels of a `try_table`.
        self._codes = [op.BLOCK]
        self._regions = [0]
        self._labels = [_DEAD]
        self._starts = [_DEAD]
        self._handlers: list[list[int]] = [[]]

    def run(self, position: int, end: int) -> None:
        """Walk over the code."""
        data = self._data
        flows = table.FLOWS
        start = position
        while position < end:
            before = start
            start = position
            code, immediates, position = read_instruction(data, position)
            region = self._region
            if self._lengths[region] != _DEAD:
                self._lengths[region] += 1
                if table.EFFECTS[code] == table.CALL:
                    self._lengths[region] += self._costs.of(code, read_u32(data, immediates)[0])
                elif self._costs.has_bulk and is_bulk(code):
                    self._lengths[region] += length_of_bulk(data, code, before)
                elif code == op.STRUCT_NEW_DEFAULT and self._costs.has_bulk:
                    self._lengths[region] += length_of_struct(self._module, immediates)
                if self._lengths[region] > self.longest[region]:
                    self.longest[region] = self._lengths[region]
            flow = flows[code]
            if flow == table.FLOW_NEXT:
                continue
            if flow <= table.FLOW_TRY:
                self._open(code, flow, immediates)
            elif flow == table.FLOW_ELSE:
                self._join_label()
                self._lengths[self._region] = self._starts[-1]
                self._starts[-1] = _DEAD
            elif flow == table.FLOW_CATCH:
                self._join_label()
                self._lengths[self._region] = self.longest[self._region]
            elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
                self._close()
            else:
                self._branch(code, flow, immediates)

    def _open(self, code: int, flow: int, immediates: int) -> None:
        handlers: list[int] = []
        if code == op.TRY_TABLE:
            labels = read_branch(self._data, code, flow, immediates)
            handlers = [len(self._codes) - 1 - label for label in labels]
        self._codes.append(code)
        self._starts.append(self._lengths[self._region] if flow == table.FLOW_IF else _DEAD)
        self._handlers.append(handlers)
        self._labels.append(_DEAD)
        if flow == table.FLOW_LOOP:
            is_live = self._lengths[self._region] != _DEAD
            self._regions.append(self._region)
            self._region = len(self.longest)
            self.longest.append(0)
            self._lengths.append(0 if is_live else _DEAD)
        else:
            self._regions.append(self._region)

    def _close(self) -> None:
        if len(self._codes) == 1:
            return
        for label in self._handlers.pop():
            region = self._regions[label]
            if self.longest[region] > self._labels[label]:
                self._labels[label] = self.longest[region]
        code = self._codes.pop()
        outer = self._regions.pop()
        label_length = self._labels.pop()
        start = self._starts.pop()
        if code == op.LOOP:
            if self._lengths[self._region] == _DEAD:
                self._lengths[outer] = _DEAD
            self._region = outer
            return
        self._lengths[outer] = max(self._lengths[outer], label_length, start)

    def _join_label(self) -> None:
        """Let what comes to the end of an arm come to the end of the construct."""
        self._labels[-1] = max(self._labels[-1], self._lengths[self._region])

    def _branch(self, code: int, flow: int, immediates: int) -> None:
        for label in read_branch(self._data, code, flow, immediates):
            self._branch_to(label)
        if flow >= table.FLOW_BRANCH:
            self._lengths[self._region] = _DEAD

    def _branch_to(self, label: int) -> None:
        """Note a way that leads to a label; those to the head of a loop end there."""
        construct = len(self._codes) - 1 - label
        if self._codes[construct] != op.LOOP:
            length = self._lengths[self._regions[construct]]
            if self._lengths[self._region] != _DEAD and length > self._labels[construct]:
                self._labels[construct] = length
