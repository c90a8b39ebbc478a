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

How long the host takes for a function of its own no count of instructions tells. So a call that comes back from there
is as long as everything: behind each stands a look. That goes for calls of imports, but for those that are known to
take no time (`builtins`), for calls through tables and references that may be the host's functions (`host_calls`), and
for calls of functions that have left by a tail call of such a function. None stands where the code traps or looks soon
in any case (`soon_looked`), as it does where a loop's head follows. What the host throws comes back in a handler: one
around a call from which the host may be reached looks before it calls anything. Functions that call each other are
looked at again when one of them comes back from the host by its end, and a last time as if all did.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.builtins import takes_no_time
from caesura.analysis.bulk import is_bulk, length_of_bulk, length_of_struct
from caesura.analysis.cycles import all_components
from caesura.analysis.path_lengths import CallCosts, read_branch
from caesura.analysis.soon_looked import SoonLooked
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

# The length of a way that has come back from the host.
_FROM_HOST: Final = MOST_IN_A_ROW + 1

# How often functions that call each other are looked at, until all are taken for ones that come back from the host.
_MOST_ROUNDS: Final = 4

# The length of a way that does not lead here.
_DEAD: Final = -1


class ReturnWays:
    """How long a way has been without a look when a call returns: by function index, and by type index for calls
    through tables and references. `functions_reach_host` and `types_reach_host` tell whether a call may come to the
    host, so that it may throw there.
    """

    def __init__(self, functions: int) -> None:
        self.functions: Final = [0] * functions
        self.types: Final[dict[int, int]] = {}
        self.functions_reach_host: Final = [False] * functions
        self.types_reach_host: Final[dict[int, bool]] = {}

    def of(self, code: int, immediate: int) -> int:
        """Return it for a call instruction."""
        if code == op.CALL or code == op.RETURN_CALL:
            return self.functions[immediate]
        return self.types.get(immediate, 0)

    def reach_host(self, code: int, immediate: int) -> bool:
        """Tell it for a call instruction."""
        if code == op.CALL or code == op.RETURN_CALL:
            return self.functions_reach_host[immediate]
        return self.types_reach_host.get(immediate, False)


class Calls:
    """Who calls whom, also in loops, as a graph: own functions, types of calls through tables and references, the host.

    `types` has for the nodes that stand for types the type indices; `host` is the last node, and leads to what it may
    call. `simple` tells of own functions that have neither calls nor looks, `from_host` of nodes whether they may be
    functions of the host's.
    """

    def __init__(
        self, successors: list[list[int]], types: dict[int, list[int]], simple: list[bool], from_host: list[bool]
    ) -> None:
        self.successors: Final = successors
        self.types: Final = types
        self.simple: Final = simple
        self.from_host: Final = from_host
        self.host: Final = len(successors) - 1


def find_breaks(
    module: Module, calls: Calls, costs: CallCosts, looking: dict[ByteOffset, int]
) -> dict[OwnFunction, list[ByteOffset]]:
    """Return places behind instructions where looks must stand besides, by function, for functions with any.

    `looking` has the positions behind the block types of all loops that look, and what may run before they do again.
    """
    ways = _Ways(module, calls, costs, looking)
    for component in all_components(calls.successors):
        ways.walk(component)
    return ways.breaks


class _Ways:
    """Walks over the functions of a module; `breaks` are those found so far.

    Of nodes, `_at_end` has how long a way is where they return, and `_from_host` tells whether they may return with one
    that has come back from the host.
    """

    def __init__(self, module: Module, calls: Calls, costs: CallCosts, looking: dict[ByteOffset, int]) -> None:
        self._module = module
        self._calls = calls
        self._costs = costs
        self._looking = looking
        self._at_end = [0] * len(calls.successors)
        self._from_host = calls.from_host.copy()
        self._reaches_host = [False] * len(calls.successors)
        self._returns = ReturnWays(len(module.function_types))
        for imported, item in enumerate(module.function_imports()):
            if not takes_no_time(item.module, item.name):
                self._returns.functions[imported] = _FROM_HOST
                self._returns.functions_reach_host[imported] = True
        self.breaks: dict[OwnFunction, list[ByteOffset]] = {}

    def walk(self, component: list[int]) -> None:
        """Walk over functions that call each other, or over one; what else they call has been walked over."""
        self._find_reaching(component)
        if len(component) > 1 or component[0] in self._calls.successors[component[0]]:
            for node in component:
                self._set_return(node, MOST_IN_A_ROW - MOST_ON_A_WAY_BACK)
            self._walk_cycle(component)
        else:
            self._walk_node(component[0])
        for node in component:
            self._set_return(node, self._at_end[node])

    def _walk_cycle(self, component: list[int]) -> None:
        """Walk over functions that call each other until it is known which come back from the host by their ends."""
        rounds = 0
        found = component
        while found:
            rounds += 1
            found = [node for node in component if self._walk_node(node)]
            for node in found if rounds < _MOST_ROUNDS else component:
                self._from_host[node] = True
                self._set_return(node, _FROM_HOST)

    def _walk_node(self, node: int) -> bool:
        """Walk over what a node stands for; tell whether it is new that it may return with a way from the host."""
        calls = self._calls
        from_host = False
        if node >= len(calls.simple):
            self._at_end[node] = max([0] + [self._at_end[callee] for callee in calls.successors[node]])
            for callee in calls.successors[node]:
                from_host = from_host or self._from_host[callee]
        elif calls.simple[node]:
            self._at_end[node] = self._costs.functions[self._module.function_of(OwnFunction(node))]
        else:
            own = OwnFunction(node)
            start = skip_locals(self._module.data, self._module.body_starts[own])
            walk = _Walk(self._module, self._costs, self._returns, self._looking, start)
            walk.run(self._module.body_ends[own])
            self._at_end[node] = walk.at_end
            from_host = walk.at_end > MOST_IN_A_ROW
            self.breaks.pop(own, None)
            if walk.breaks:
                self.breaks[own] = walk.breaks
        is_new = from_host and not self._from_host[node]
        self._from_host[node] = self._from_host[node] or from_host
        return is_new

    def _find_reaching(self, component: list[int]) -> None:
        """Note of functions that call each other, or of one, whether calls of them may come to the host."""
        reaches = False
        for node in component:
            reaches = reaches or self._calls.from_host[node]
            for callee in self._calls.successors[node]:
                reaches = reaches or self._reaches_host[callee]
        for node in component:
            self._reaches_host[node] = reaches
            if node < len(self._calls.simple):
                self._returns.functions_reach_host[self._module.function_of(OwnFunction(node))] = reaches
            elif node != self._calls.host:
                for type_index in self._calls.types[node]:
                    self._returns.types_reach_host[type_index] = reaches

    def _set_return(self, node: int, length: int) -> None:
        """Let calls of what a node stands for return after a way of so many instructions."""
        if self._from_host[node]:
            length = _FROM_HOST
        if node < len(self._calls.simple):
            self._returns.functions[self._module.function_of(OwnFunction(node))] = length
        elif node != self._calls.host:
            for type_index in self._calls.types[node]:
                self._returns.types[type_index] = length


class _Walk:
    """A walk over a function, whose code begins at `start`."""

    def __init__(
        self, module: Module, costs: CallCosts, returns: ReturnWays, looking: dict[ByteOffset, int], start: int
    ) -> None:
        self._module = module
        self._data = module.data
        self._costs = costs
        self._returns = returns
        self._looking = looking
        self._start = start
        self.breaks: list[ByteOffset] = []
        self.at_end = 0
        self._length = 0
        self._peak = 0  # the longest way since the innermost try began
        # Of each open construct, the function first: its opening code, where the code inside begins, the longest way to
        # its label, the longest way to an `if`, the longest in the try around it, and the labels of a `try_table`.
        self._codes = [op.BLOCK]
        self._begins = [start]
        self._labels = [_DEAD]
        self._starts = [_DEAD]
        self._peaks = [0]
        self._handlers: list[list[int]] = [[]]

    def run(self, end: int) -> None:
        """Walk over the code, to its end."""
        data = self._data
        flows = table.FLOWS
        position = self._start
        start = position
        soon = SoonLooked(data, position, end, self._looking)
        while position < end:
            before = start
            start = position
            code, immediates, position = read_instruction(data, position)
            if self._length != _DEAD:
                # A call may throw, too.
                if start in soon.stops or (self._is_late() and table.EFFECTS[code] == table.CALL):
                    self._look(start)
                self._pass(code, immediates, before)
            flow = flows[code]
            if flow == table.FLOW_NEXT:
                if self._length > MOST_IN_A_ROW and not (self._is_late() and soon.looks(position, self._begins)):
                    self._look(position)
            elif flow <= table.FLOW_TRY:
                self._open(code, flow, immediates, position)
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
            if self._returns.reach_host(code, callee):
                self._peak = _FROM_HOST
        elif is_bulk(code):
            length += length_of_bulk(self._data, code, before)
        elif code == op.STRUCT_NEW_DEFAULT:
            length += length_of_struct(self._module, immediates)
        self._length = length
        if length > self._peak:
            self._peak = length

    def _open(self, code: int, flow: int, immediates: int, begin: int) -> None:
        handlers: list[int] = []
        if code == op.TRY_TABLE:
            handlers = [len(self._codes) - 1 - label for label in read_branch(self._data, code, flow, immediates)]
        self._codes.append(code)
        self._begins.append(begin)
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
        self._begins.pop()
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
        if flow == table.FLOW_RETURN or (flow == table.FLOW_RAISE and code != op.UNREACHABLE and not self._is_late()):
            self._leave()
        if flow >= table.FLOW_BRANCH:
            self._length = _DEAD

    def _leave(self) -> None:
        self.at_end = max(self.at_end, self._length)

    def _look(self, position: int) -> None:
        self.breaks.append(ByteOffset(position))
        self._length = 0

    def _is_late(self) -> bool:
        """Tell whether the way has come back from the host: where it goes on by an exception, handlers know already."""
        return self._length >= _FROM_HOST
