"""Where a function must look whether to pause between two of its instructions, lest a way without a look be too long.

One walk over the code keeps the length of the longest way from the last look, or the function's beginning, to the
current place; labels keep the longest that branches to them, catch clauses the longest in their try. At the head of a
loop that looks it is 0 again, or as long as a chunk of iterations that the loop runs between two looks. Behind a call
it is at least what a way through the callee has been since its own last look: on the way down every recursion looks,
but not on its way back, when thousands of activations can follow each other, each with what its function does behind
the call. So a call that comes back to the function itself, and one of the host, which may call exports, count for
nearly as much as is allowed; what is left is MOST_ON_A_WAY_BACK. Where the way becomes longer than is allowed, a look
stands behind the instruction, and it begins anew. Functions are looked at callees first, those that call each other in
any order.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.bulk import is_bulk, length_of_bulk, length_of_struct
from caesura.analysis.cycles import all_components
from caesura.analysis.path_lengths import CallCosts, read_branch
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, OwnFunction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# Instructions on a way without a look, at most.
MOST_IN_A_ROW: Final = 1_000_000

# The same, behind a call that may come back to the function itself, to the function's end.
MOST_ON_A_WAY_BACK: Final = 100_000

# The length of a way that does not lead here.
_DEAD: Final = -1


class ReturnWays:
    """How long a way has been without a look when a call returns: by function index, and by type index for calls
    through tables and references.
    """

    def __init__(self, functions: int) -> None:
        self.functions: Final = [0] * functions
        self.types: Final[dict[int, int]] = {}

    def of(self, code: int, immediate: int) -> int:
        """Return it for a call instruction."""
        if code == op.CALL or code == op.RETURN_CALL:
            return self.functions[immediate]
        return self.types.get(immediate, 0)


class Calls:
    """Who calls whom, also in loops, as a graph: own functions, types of calls through tables and references, the host.

    `types` has for the nodes that stand for types the type indices; `host` is the last node, and leads to what it may
    call. `simple` tells of own functions that have neither calls nor looks.
    """

    def __init__(self, successors: list[list[int]], types: dict[int, list[int]], simple: list[bool]) -> None:
        self.successors: Final = successors
        self.types: Final = types
        self.simple: Final = simple
        self.host: Final = len(successors) - 1


def find_breaks(
    module: Module, calls: Calls, costs: CallCosts, looking: dict[ByteOffset, int]
) -> dict[OwnFunction, list[ByteOffset]]:
    """Return places behind instructions where looks must stand besides, by function, for functions with any.

    `looking` has the positions behind the block types of all loops that look, and what may run before they do again.
    """
    returns = ReturnWays(len(module.function_types))
    breaks: dict[OwnFunction, list[ByteOffset]] = {}
    at_end = [0] * len(calls.successors)
    for component in all_components(calls.successors):
        if len(component) > 1 or component[0] in calls.successors[component[0]]:
            for node in component:
                _set_return(module, calls, returns, node, MOST_IN_A_ROW - MOST_ON_A_WAY_BACK)
        for node in component:
            if node >= len(calls.simple):
                at_end[node] = max([0] + [at_end[callee] for callee in calls.successors[node]])
                continue
            own = OwnFunction(node)
            if calls.simple[node]:
                at_end[node] = costs.functions[module.function_of(own)]
                continue
            walk = _Walk(module, costs, returns, looking)
            walk.run(skip_locals(module.data, module.body_starts[own]), module.body_ends[own])
            at_end[node] = walk.at_end
            if walk.breaks:
                breaks[own] = walk.breaks
        for node in component:
            _set_return(module, calls, returns, node, at_end[node])
    return breaks


def _set_return(module: Module, calls: Calls, returns: ReturnWays, node: int, length: int) -> None:
    """Let calls of what a node stands for return after a way of so many instructions."""
    if node < len(calls.simple):
        returns.functions[module.function_of(OwnFunction(node))] = length
    elif node != calls.host:
        for type_index in calls.types[node]:
            returns.types[type_index] = length
    else:
        for imported in range(module.imported_functions):
            returns.functions[imported] = length


class _Walk:
    def __init__(self, module: Module, costs: CallCosts, returns: ReturnWays, looking: dict[ByteOffset, int]) -> None:
        self._module = module
        self._data = module.data
        self._costs = costs
        self._returns = returns
        self._looking = looking
        self.breaks: list[ByteOffset] = []
        self.at_end = 0
        self._length = 0
        self._peak = 0  # the longest way since the innermost try began
        # Of each open construct, the function first: its opening code, the longest way to its label, the longest way to
        # an `if`, the longest in the try around it, and the labels of a `try_table`.
        self._codes = [op.BLOCK]
        self._labels = [_DEAD]
        self._starts = [_DEAD]
        self._peaks = [0]
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
            if self._length != _DEAD:
                self._pass(code, immediates, before)
            flow = flows[code]
            if flow == table.FLOW_NEXT:
                if self._length > MOST_IN_A_ROW:
                    self.breaks.append(ByteOffset(position))
                    self._length = 0
            elif flow <= table.FLOW_TRY:
                self._open(code, flow, immediates)
                if flow == table.FLOW_LOOP and self._length != _DEAD and position in self._looking:
                    self._length = self._looking[ByteOffset(position)]
            elif flow == table.FLOW_ELSE:
                self._join_label()
                self._length = self._starts[-1]
                self._starts[-1] = _DEAD
            elif flow == table.FLOW_CATCH:
                self._join_label()
                self._length = self._peak
            elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
                self._close()
            else:
                self._branch(code, flow, immediates)

    def _pass(self, code: int, immediates: int, before: int) -> None:
        """Add an instruction to the way; `before` is where the one before it stands."""
        length = self._length + 1
        if table.EFFECTS[code] == table.CALL:
            callee = read_u32(self._data, immediates)[0]
            length = max(length + self._costs.of(code, callee), self._returns.of(code, callee))
        elif is_bulk(code):
            length += length_of_bulk(self._data, code, before)
        elif code == op.STRUCT_NEW_DEFAULT:
            length += length_of_struct(self._module, immediates)
        self._length = length
        if length > self._peak:
            self._peak = length

    def _open(self, code: int, flow: int, immediates: int) -> None:
        handlers: list[int] = []
        if code == op.TRY_TABLE:
            handlers = [len(self._codes) - 1 - label for label in read_branch(self._data, code, flow, immediates)]
        self._codes.append(code)
        self._labels.append(_DEAD)
        self._starts.append(self._length if flow == table.FLOW_IF else _DEAD)
        self._handlers.append(handlers)
        self._peaks.append(self._peak)
        if flow == table.FLOW_TRY:
            self._peak = self._length

    def _close(self) -> None:
        for construct in self._handlers.pop():
            if self._codes[construct] != op.LOOP and self._peak > self._labels[construct]:
                self._labels[construct] = self._peak
        opened = self._codes.pop()
        length = max(self._length, self._starts.pop())
        label = self._labels.pop()
        self._length = length if opened == op.LOOP else max(length, label)
        self._peak = max(self._peak, self._peaks.pop())
        if not self._codes:
            self._leave()

    def _join_label(self) -> None:
        """Let what comes to the end of an arm come to the end of the construct."""
        self._labels[-1] = max(self._labels[-1], self._length)

    def _branch(self, code: int, flow: int, immediates: int) -> None:
        for label in read_branch(self._data, code, flow, immediates):
            construct = len(self._codes) - 1 - label
            if self._codes[construct] != op.LOOP and self._length > self._labels[construct]:
                self._labels[construct] = self._length
        if flow == table.FLOW_RETURN or (flow == table.FLOW_RAISE and code != op.UNREACHABLE):
            self._leave()
        if flow >= table.FLOW_BRANCH:
            self._length = _DEAD

    def _leave(self) -> None:
        self.at_end = max(self.at_end, self._length)
