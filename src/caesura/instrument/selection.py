"""Which functions get two bodies (see `two_bodies`).

What a second body saves are the merges of locals at landing points; it costs about as much code as lies behind them.
How often a function runs cannot be seen, so two kinds are chosen by facts. *Interpreters*: a switch in a loop with call
sites, and many merges. There V8, in Node 20, often takes to a simpler way of allocating registers, which makes the
whole function several times slower. *Busy functions*, with few bytes at stake: small ones that many functions
call, larger ones that very many call and that have call sites in loops, small loops that call through a table (what is
left of an interpreter whose instructions are functions), and switches in loops with fewer merges. Where options ask
for balance, interpreters come in the order of their merges, call sites times locals, and busy functions in that of
their kind and cost, each as long as a set share of the module's code lasts; where they ask for speed all are chosen,
and every function with many merges, or with call sites in loops unless it is large.

Measured with the running times of SQLite, QuickJS and PHP and rejected: the merges or the bytes alone, with and without
loop depths and the numbers of callers, also along the call graph. What they chose for the same bytes saved less than a
third as much. Going by the number of call sites alone took SQLite's parser before its interpreter.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, decode_body
from caesura.analysis.calls import CallGraph
from caesura.analysis.interpreters import MANY_TARGETS, LoopFacts, loop_facts
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.lists import PatternList, read_list
from caesura.instrument.options import Options
from caesura.wasm.module import Module

# Where options ask for balance: how much of a module's code, in parts per thousand, the interpreters chosen may hold,
# the product of call sites and locals that makes an interpreter, and how much the busy functions chosen may cost, in
# bytes at least.
_INTERPRETERS_SHARE: Final = 80
_INTERPRETERS_MERGES: Final = 1_000
_BUSY_SHARE: Final = 10
_BUSY_BYTES: Final = 300

# The product of call sites and locals from which on any function gets two bodies where options ask for speed.
_MANY_MERGES: Final = 4_000

# Busy functions: at most so many bytes with at least so many callers, without and with call sites in loops (with these
# any number of callers will do where options ask for speed); and at most so many bytes where a loop calls through a
# table.
_SMALL: Final = 150
_MANY_CALLERS: Final = 20
_MODERATE: Final = 2_000
_VERY_MANY_CALLERS: Final = 40
_SMALL_DISPATCH: Final = 200

# Kinds of busy functions, those to be chosen first being least.
_CALLED_OFTEN: Final = 0
_DISPATCHING: Final = 1
_SWITCHING: Final = 2
_NOT_BUSY: Final = 3


def select_two_bodies(
    module: Module, graph: CallGraph, suspension: Suspension, framed: list[bool], options: Options, names: list[str]
) -> set[int]:
    """Return which functions get two bodies, by function index; `framed` tells which functions have frames at all."""
    first = module.imported_functions
    mode = options.two_bodies
    if mode == "never" or (mode == "auto" and options.optimize == "size"):
        return set()
    candidates = [first + own for own in range(len(graph.callees)) if framed[first + own]]
    if mode == "all":
        return set(candidates)
    if mode != "auto":
        patterns = PatternList(read_list(mode))
        return {function for function in candidates if patterns.match(names[function])}
    return _Selection(module, graph, suspension, options).choose(candidates)


class _Selection:
    def __init__(self, module: Module, graph: CallGraph, suspension: Suspension, options: Options) -> None:
        self._module = module
        self._graph = graph
        self._suspension = suspension
        self._options = options
        self._callers = [0] * len(module.function_types)
        for callees in graph.callees:
            for callee in callees:
                self._callers[callee] += 1
        # (minus merges, function) and (kind, cost, function): in their order, what is to be chosen first comes first.
        self._interpreters: list[tuple[int, int]] = []
        self._busy: list[tuple[int, int, int]] = []
        self._for_speed: list[int] = []

    def choose(self, candidates: list[int]) -> set[int]:
        for function in candidates:
            self._look_at(function)
        if self._options.optimize == "speed":
            chosen = {function for _, function in self._interpreters}
            chosen.update([function for _, _, function in self._busy])
            chosen.update(self._for_speed)
            return chosen
        starts, ends = self._module.body_starts, self._module.body_ends
        code = sum(ends[own] - starts[own] for own in range(len(starts)))
        self._interpreters.sort()
        self._busy.sort()
        interpreters = [(self._size(function), function) for _, function in self._interpreters]
        chosen = _within(interpreters, code * _INTERPRETERS_SHARE // 1_000)
        busy = [(cost, function) for _, cost, function in self._busy]
        chosen.update(_within(busy, max(code * _BUSY_SHARE // 1_000, _BUSY_BYTES)))
        return chosen

    def _size(self, function: int) -> int:
        own = function - self._module.imported_functions
        return self._module.body_ends[own] - self._module.body_starts[own]

    def _look_at(self, function: int) -> None:
        """Put a function in the lists that it belongs to."""
        own = function - self._module.imported_functions
        size = self._size(function)
        callers = self._callers[function]
        has_switch = self._graph.largest_tables[own] >= MANY_TARGETS
        calls_through_tables = self._graph.indirect[own] or own in self._graph.table_callees
        may_dispatch = calls_through_tables and size <= _SMALL_DISPATCH
        has_callers = callers >= _MANY_CALLERS and size <= _MODERATE
        if not (has_switch or may_dispatch or has_callers or self._options.optimize == "speed"):
            return
        body = self._decode(function)
        if body is None or not body.sites:
            return
        facts = loop_facts(self._module.data, body)
        merges = len(body.sites) * body.local_count
        if facts.sites_around_switch and merges >= _INTERPRETERS_MERGES:
            self._interpreters.append((-merges, function))
            return
        kind = self._kind(size, callers, facts)
        if kind != _NOT_BUSY:
            self._busy.append((kind, _estimated_cost(size, body), function))
        if merges >= _MANY_MERGES or (facts.sites_in_loops and size <= _MODERATE):
            self._for_speed.append(function)

    def _kind(self, size: int, callers: int, facts: LoopFacts) -> int:
        """Return which kind of busy function this is."""
        if callers >= _MANY_CALLERS and size <= _SMALL:
            return _CALLED_OFTEN
        if callers >= _VERY_MANY_CALLERS and size <= _MODERATE and facts.sites_in_loops:
            return _CALLED_OFTEN
        if facts.calls_through_table_in_loops and size <= _SMALL_DISPATCH:
            return _DISPATCHING
        return _SWITCHING if facts.sites_around_switch else _NOT_BUSY

    def _decode(self, function: int) -> Body | None:
        """Return a function's decoded body, or None for one that is refused, with its place, when it is rewritten."""
        try:
            ignores_catches = self._options.ignore_unwind_from_catch
            return decode_body(self._module, function, self._suspension, ignores_catches, False)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            return None


def _estimated_cost(size: int, body: Body) -> int:
    """Return about how many bytes two bodies take more than one; fitted to SQLite's, QuickJS's and PHP's functions."""
    return 40 + 25 * len(body.sites) + 3 * size // 10 + 4 * body.local_count


def _within(costs: list[tuple[int, int]], budget: int) -> set[int]:
    """Return the functions, given as (cost, function), that fit into a budget, first come first served."""
    chosen: set[int] = set()
    for cost, function in costs:
        if cost <= budget:
            budget -= cost
            chosen.add(function)
    return chosen
