"""Where a module's pause points stand, and what each counts for: a fact of the module, the same everywhere.

A pause point is a place where the guest looks whether it is to suspend itself. There are two kinds, heads of loops and
entries of functions, and no cycle of control may be without: an iteration of a loop passes its head, and so does a call
inside the loop before it is made. What is left are cycles of calls that stand in no loop: recursion, direct, by tail
calls, through tables and references. As few functions as is quickly found break these (`cycles`), by a pause point at
their entry, and not those that much of the module calls, if others do (`spared_breakers`). A call through a table or a
reference may reach every function of a fitting type that a reference can be made of. And a cycle may lead through the
host: an export calls an import, and the function of the host calls an export, or a reference that it has got. So the
host is one more node.

Without cycles, calls still multiply: a function that calls another one twice, which calls a third one twice, and so on.
So the cost of each function is found, of its longest way with what is called there; where that is beyond a bound, the
function has a pause point too. Others stand between instructions, where so much has come together since the last one:
behind thousands of calls in a row, say, or behind a recursion, when its activations return (`unlooked_ways`). A host
that calls the guest in a loop of its own counts that itself.

A loop each of whose iterations passes the head of an inner one, or calls a function that always passes a pause point,
needs no look of its own (`passed_loops`, `passed_calls`); calls in it then count as those of the code around. A short
loop that counts its iterations looks once in many (`counted_loops`).

The *weight* of a pause point stands for the instructions up to the next ones: those on the longest way through the
loop's body, without inner loops, or through the function, without its loops (`path_lengths`). A call of a function
that does not count itself counts for what that costs, but for MOST_OF_A_CALL at most: all that could be called, on the
longest ways throughout, is far more than what usually is, mostly because errors are reported somewhere. Functions that
cost more than MOST_RATIO times that count at their entry, without a look. So nothing runs more than MOST_RATIO
instructions for each unit that it counts, whatever ways it goes. A larger share of all costs, instead, would do that
too, but count for a loop's iteration a thousand times what it usually runs; and looks in place of the counts are call
sites, which cost time and bytes.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.counted_loops import CountedLoop, find_counted
from caesura.analysis.cycles import break_cycles, callees_first
from caesura.analysis.entries import may_be_referenced
from caesura.analysis.host_calls import called_by_host, gets_functions
from caesura.analysis.looped_calls import NO_LOOP, read_looped_calls
from caesura.analysis.passed_calls import PassedCalls
from caesura.analysis.path_lengths import CallCosts, longest_ways
from caesura.analysis.spared_breakers import spare_breakers
from caesura.analysis.unlooked_ways import Calls, find_breaks
from caesura.wasm.indices import ByteOffset, FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.types import I32, is_reference

# In place of the function that pause points call, in modules without any.
NO_PAUSE: Final = FunctionIndex(-1)

# Instructions that a function may run, with all that it calls, before it must have a pause point. With a hundred times
# as much QuickJS and PHP had ten times as many pause points between instructions.
_MOST_AT_ONCE: Final = 10_000

# What part of all calls a function must get to be spared its entry where another one's breaks the same cycles. With all
# functions spared that can be, calls multiply further, so that more others have entries: PHP took 1.5% more bytes.
_SHARE_OF_CALLS: Final = 200

# Instructions that are run for a unit that is counted, at most.
MOST_RATIO: Final = 16

# What a call counts for at most in the weight of a pause point.
MOST_OF_A_CALL: Final = 64

# Instructions that a function may run, with all that it calls, before it must count.
_MOST_UNCOUNTED: Final = MOST_RATIO * MOST_OF_A_CALL

# Instructions that a loop which counts its iterations may run before it looks again, and those of an iteration. With so
# many, the look and what stands around it take a hundredth of the time; long iterations take so long themselves.
MOST_IN_A_CHUNK: Final = 16_384
_MOST_OF_AN_ITERATION: Final = 24

# What a function costs that is not the module's own.
_IMPORT_COST: Final = 1


class PausePoints:
    """Where they are, by own function.

    `entries` has the weights of those at entries, `counted` those of further functions, which count at their entry
    without a look whether to pause; `loops` has for each function with loops the position behind each loop's block
    type, ascending, and its weight; `breaks` has the positions of those between instructions, ascending, which count
    nothing; `passing` has those of these positions where it need not be looked
    whether to pause, since each iteration passes another pause point; `chunked` has the loops of which many iterations
    may run between two looks, MOST_IN_A_CHUNK instructions of them.
    """

    def __init__(self) -> None:
        self.entries: dict[OwnFunction, int] = {}
        self.counted: dict[OwnFunction, int] = {}
        self.loops: dict[OwnFunction, list[tuple[ByteOffset, int]]] = {}
        self.breaks: dict[OwnFunction, list[ByteOffset]] = {}
        self.passing: set[ByteOffset] = set()
        self.chunked: dict[ByteOffset, CountedLoop] = {}

    def count(self) -> int:
        """Return how many there are."""
        inside = sum([len(loops) for loops in self.loops.values()]) + sum([len(some) for some in self.breaks.values()])
        return len(self.entries) + inside - len(self.passing)


def find_pause_points(module: Module, *, chunks: bool = True) -> PausePoints:
    """Return where a module's pause points stand; its code must be valid. Without `chunks` no loop runs in chunks."""
    return _Finder(module, chunks=chunks).find()


class _Finder:
    def __init__(self, module: Module, *, chunks: bool) -> None:
        self._module = module
        self._chunks = chunks
        self._imported = module.imported_functions
        # Types that may stand for one another are one: by the number and kinds of parameters and results.
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._shape_of_type: dict[int, int] = {}
        self._codes = [read_looped_calls(module, own) for own in module.own_functions()]
        own_functions = len(self._codes)
        self._host_calls = called_by_host(module)
        # Behind the functions' nodes stand those of calls through tables and references, one for each shape.
        self._imports_through: list[bool] = []
        self._calls_through = self._read_shapes()
        # Of each function's loops, which pass another pause point in each iteration.
        self._passing: list[list[bool]] = []
        self._calls_imports: list[bool] = []  # of each node, whether it calls an import outside of loops
        self._successors: list[list[int]] = []
        # What an activation runs before it comes to a pause point, and what it runs uncounted.
        self._costs = self._no_costs(has_bulk=True)
        self._uncounted = self._no_costs(has_bulk=False)
        # Which functions count at their entry without a look.
        self._counts = [False] * own_functions

    def find(self) -> PausePoints:
        """Find them all."""
        has_entry = self._find_entries()
        points = PausePoints()
        module = self._module
        counted = self._uncounted.at_most(MOST_OF_A_CALL)
        for own in module.own_functions():
            code = self._codes[own]
            if not has_entry[own] and not self._counts[own] and not code.loop_starts:
                continue
            weights = longest_ways(module, own, counted)
            if has_entry[own]:
                points.entries[own] = weights[0]
            elif self._counts[own]:
                points.counted[own] = weights[0]
            if code.loop_starts:
                for loop in range(len(code.loop_starts)):
                    if self._passing[own][loop]:
                        points.passing.add(code.loop_starts[loop])
                points.loops[own] = list(zip(code.loop_starts, weights[1:], strict=True))
                if self._chunks:
                    self._find_chunked(own, weights, points.chunked)
        points.breaks = find_breaks(module, self._all_calls(has_entry), self._costs, self._looking(points.chunked))
        return points

    def _find_chunked(self, own: OwnFunction, weights: list[int], chunked: dict[ByteOffset, CountedLoop]) -> None:
        """Add the loops of a function that run in chunks; those with loops or calls in them do not count so, and dead
        code weighs nothing.
        """
        code = self._codes[own]
        for loop in range(len(code.loop_starts)):
            if not 0 < weights[1 + loop] <= _MOST_OF_AN_ITERATION or loop in code.parents or loop in code.call_loops:
                continue
            counted = find_counted(self._module.data, code.loop_starts[loop], code.loop_ends[loop])
            if counted is not None:
                chunked[counted.start] = counted

    def _with_host(self) -> list[list[int]]:
        """Return the graph of calls outside of loops with one more node, the host, which calls what it can."""
        host = len(self._successors)
        graph = [self._successors[node] + [host] * self._calls_imports[node] for node in range(host)]
        graph.append(self._host_calls)
        return graph

    def _all_calls(self, has_entry: list[bool]) -> Calls:
        """Return the graph of all calls, also of those in loops, and by the host."""
        own_functions = len(self._codes)
        host = len(self._successors)
        successors: list[list[int]] = []
        simple: list[bool] = []
        for own in range(own_functions):
            code = self._codes[own]
            nodes = [self._node(callee) for callee in code.callees]
            successors.append(list(dict.fromkeys([node if node >= 0 else host for node in nodes])))
            simple.append(not nodes and not code.loop_starts and not has_entry[own])
        for shape in range(own_functions, host):
            to_host = [host] if self._calls_imports[shape] else []
            successors.append(self._successors[shape] + to_host)
        successors.append(self._host_calls)
        gets_any = gets_functions(self._module)
        from_host = [False] * own_functions
        from_host += [gets_any or through for through in self._imports_through]
        return Calls(successors, self._types_by_node(), simple, [*from_host, True])

    def _looking(self, chunked: dict[ByteOffset, CountedLoop]) -> dict[ByteOffset, int]:
        """Return the positions behind the block types of the loops that look, and what may run before they do again."""
        looking: dict[ByteOffset, int] = {}
        for own in range(len(self._codes)):
            starts = self._codes[own].loop_starts
            for loop in range(len(starts)):
                if not self._passing[own][loop]:
                    looking[starts[loop]] = MOST_IN_A_CHUNK if starts[loop] in chunked else 0
        return looking

    def _find_entries(self) -> list[bool]:
        """Tell of which functions the entries are pause points; find what they cost, and which count besides."""
        own_functions = len(self._codes)
        has_entry = self._break_cycles()
        types = self._types_by_node()
        for node in callees_first(self._successors, has_entry):
            if node >= own_functions:
                for costs in (self._costs, self._uncounted):
                    costs.set_types(types[node], [self._imported + callee for callee in self._successors[node]])
                continue
            function = self._imported + node
            cost = self._cost_unpaused(OwnFunction(node))
            if cost > _MOST_AT_ONCE:
                has_entry[node] = True
                continue
            self._costs.functions[function] = cost
            if cost > _MOST_UNCOUNTED:
                cost = longest_ways(self._module, OwnFunction(node), self._uncounted)[0]
            if cost > _MOST_UNCOUNTED:
                self._counts[node] = True
            else:
                self._uncounted.functions[function] = cost
        return has_entry

    def _cost_unpaused(self, own: OwnFunction) -> int:
        """Return what a function may run without coming to a pause point, at most, where it comes to some besides.

        That of a loop without one is part of it: its last iteration may end before it passes one.
        """
        ways = longest_ways(self._module, own, self._costs)
        parents = self._codes[own].parents
        passing = self._passing[own]
        counts = [False] * len(parents)
        cost = ways[0]
        for loop in range(len(parents)):
            counts[loop] = passing[loop] and (parents[loop] == NO_LOOP or counts[parents[loop]])
            if counts[loop]:
                cost += ways[1 + loop]
        return cost

    def _break_cycles(self) -> list[bool]:
        """Tell which entries break all cycles of calls in no loop with a pause point; find out which loops have none.

        The entries that break them spare loops their pause points; calls in these then count as those of the code
        around, where there may be further cycles. Functions whose entry may have spared loops theirs keep it.
        """
        calls = PassedCalls(self._module, self._codes)
        nodes = len(self._codes) + len(self._calls_through)
        has_entry = [False] * nodes
        busy = self._busy()
        for _ in range(2):
            self._find_successors(calls.passing_loops(has_entry))
            graph = self._with_host()
            before = [*has_entry, False]
            taken = before.copy()
            for node in break_cycles(graph, len(self._codes), before):
                taken[node] = True
            spare_breakers(graph, taken, [node for node in busy if not before[node]])
            has_entry = taken[:nodes]
        return has_entry

    def _busy(self) -> list[int]:
        """Return the own functions that a large part of all calls name, those that most do first."""
        calls = [0] * len(self._codes)
        for code in self._codes:
            for callee in code.callees:
                if callee >= self._imported:
                    calls[callee - self._imported] += 1
        least = sum(calls) // _SHARE_OF_CALLS
        busy = [(-calls[own], own) for own in range(len(calls)) if calls[own] > least]
        busy.sort()
        return [own for _, own in busy]

    def _find_successors(self, passing: list[list[bool]]) -> None:
        """Find the edges of the graph of calls, given which loops have no pause point."""
        self._passing = passing
        self._calls_imports = []
        self._successors = [self._outside_loops(own) for own in range(len(self._codes))]
        self._successors += self._calls_through
        self._calls_imports += self._imports_through

    def _no_costs(self, *, has_bulk: bool) -> CallCosts:
        """Return costs of which none of the module's own functions are known."""
        functions = [_IMPORT_COST] * self._imported + [0] * len(self._codes)
        return CallCosts(functions, dict.fromkeys(self._shape_of_type, _IMPORT_COST), has_bulk=has_bulk)

    def _types_by_node(self) -> dict[int, list[int]]:
        """Return for each node that stands for calls through tables and references the types that these name."""
        types: dict[int, list[int]] = {len(self._codes) + shape: [] for shape in range(len(self._shapes))}
        for type_index, shape in self._shape_of_type.items():
            types[len(self._codes) + shape].append(type_index)
        return types

    def _node(self, callee: int) -> int:
        """Return the node that stands for a callee, which is negative for an import."""
        return callee - self._imported if callee >= 0 else len(self._codes) + self._shape(-1 - callee)

    def _outside_loops(self, own: int) -> list[int]:
        """Return the nodes of what a function calls outside of loops, without repetitions, in their order.

        What is called in a loop without a pause point is called by the code around.
        """
        code = self._codes[own]
        passing = self._passing[own]
        nodes: dict[int, bool] = {}
        calls_import = False
        for place in range(len(code.callees)):
            loop = code.call_loops[place]
            while loop != NO_LOOP and passing[loop]:
                loop = code.parents[loop]
            if loop != NO_LOOP:
                continue
            node = self._node(code.callees[place])
            if node >= 0:
                nodes[node] = True
            else:
                calls_import = True
        self._calls_imports.append(calls_import)
        return list(nodes)

    def _read_shapes(self) -> list[list[int]]:
        """Find the shapes of calls through tables and references; return the own functions that each may reach."""
        for code in self._codes:
            for callee in code.callees:
                if callee < 0:
                    self._shape(-1 - callee)
        reached: list[list[int]] = [[] for _ in self._shapes]
        module = self._module
        referenced = may_be_referenced(module)
        for own in range(len(self._codes)):
            function = FunctionIndex(self._imported + own)
            if referenced[function]:
                shape = self._shapes.get(self._shape_key(module.function_types[function]))
                if shape is not None:
                    reached[shape].append(own)
        self._imports_through = [False] * len(self._shapes)
        for imported in range(self._imported):
            shape = self._shapes.get(self._shape_key(module.function_types[imported]))
            if referenced[imported] and shape is not None:
                self._imports_through[shape] = True
        return reached

    def _shape_key(self, type_index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        definition = self._module.types[type_index]
        return _without_kinds(definition.params), _without_kinds(definition.results)

    def _shape(self, type_index: int) -> int:
        if type_index not in self._shape_of_type:
            key = self._shape_key(type_index)
            self._shape_of_type[type_index] = self._shapes.setdefault(key, len(self._shapes))
        return self._shape_of_type[type_index]


def _without_kinds(types: tuple[int, ...]) -> tuple[int, ...]:
    """Return types with all references taken for one: a function may be called by a type above its own."""
    return tuple([I32 - 0x100 if is_reference(one) else one for one in types])
