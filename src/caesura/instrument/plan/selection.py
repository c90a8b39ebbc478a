"""Which functions get two bodies (see `frames.two_bodies`).

What a second body saves are the merges of locals at landing points; it costs about as much code as lies behind them
(see `analysis.resumed`). How often a function runs cannot be seen, so two kinds are chosen by facts. *Interpreters*: a
switch in a loop with call sites, and many merges. There V8, in Node 20, often takes to a simpler way of allocating
registers, which makes the whole function several times slower. *Busy functions*, with fewer bytes at stake: small ones
that many functions call, larger ones that very many call and that have call sites in loops; small loops that call
through a table (what is left of an interpreter whose instructions are functions); switches in loops with fewer merges.
Where options ask for balance, interpreters come in the order of their merges, call sites times locals, and others as
long as there are bytes left of a share of those that instrumenting takes anyway: in small modules busy functions, in
the order of their kind and rank, in others those that run most for their size, as `analysis.guessed_runs` has it. Where
they ask for speed interpreters and busy functions are chosen, and every function with many merges, or with call sites
in loops unless it is large.

With an only-list the share is of what instrumenting would take without it. Of what it takes with a list it is little,
while an interpreter costs as much as ever: SQLite by a recorded list took 2.4 times as long in Node 20. And what is on
a list is what a program does while it waits or is about to: for PHP by a recorded list, the loop that interprets, and
what calls back from its library. Where a list names a small part of a program, all of them get two bodies, the cheapest
first, as long as instrumenting takes little of the code, whatever options ask for but small size: that takes PHP's
scripts 0.015 of their time less, and the code 0.8% more. For SQLite and QuickJS, whose lists name much of their code,
nothing is left of that.

A profile takes the place of all these kinds: then it is the functions that would lose most of the program's time, as
long as there are bytes left of the same share. Their time alone was tried: where statements are mostly parsed, SQLite's
parser then took the room of its interpreter, which loses many times as much for the time that it takes.

Small loops that others can enter stay as they are, if no such list names them: their instructions call them again, by a
reference or through the host, and a resumed function with two bodies lies on the native stack twice. PHP's `execute_ex`
lost a sixth of the depth of recursion by that, and gained a twentieth of the time of scripts that loop and call
nothing, and on the average of scripts none.

For the same reason what is called by reference, or calls so and is not small, has one body in large modules without a
large interpreter: with two for PHP's calls from its library, recursion through these could not wait as deep.

Measured with the running times of SQLite, QuickJS and PHP and rejected: the merges or the bytes alone, with and without
loop depths and the numbers of callers. What they chose for the same bytes saved less than a third as much. So did what
interpreters call themselves, by merges for their bytes, and what many functions call. Going by the number of call sites
alone took SQLite's parser before its interpreter. Shares of the code, instead of the bytes that it takes to instrument
it, allowed PHP more than SQLite, whose functions call more.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from caesura.analysis.body import Body
from caesura.analysis.body_entries import BodyEntries
from caesura.analysis.calls import CallGraph
from caesura.analysis.decoder import Decoder
from caesura.analysis.guessed_runs import by_guessed_runs
from caesura.analysis.interpreters import MANY_TARGETS, LoopFacts, handoff_loops, loop_facts
from caesura.analysis.lists import two_bodies_list
from caesura.analysis.resumed import resumed_bytes
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.plan.roles import Roles
from caesura.options import NO_PREEMPT, Options
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# Where options ask for balance: how much all second bodies may cost, in thousandths of what a module takes without any,
# and in modules with at most so many candidates, which have next to no bytes for groups (see `plan.grouping`); how much
# less in modules with pause points, which take more without second bodies, while these hardly grow.
_SHARE: Final = 225
_SHARE_IN_SMALL_MODULES: Final = 207
_SMALL_MODULE: Final = 100
_LESS_WITH_PAUSES: Final = 40
# How much of that interpreters may take, in percent (SQLite without its own takes four times as long in Node 20); and
# the product of call sites and locals that makes an interpreter.
_INTERPRETERS_SHARE: Final = 95
_INTERPRETERS_MERGES: Final = 1_000
# How much of a module's code it may take to instrument what an only-list names, in thousandths, with second bodies for
# functions that have no other reason for one.
_LISTED_SHARE: Final = 12
# What share of the time a function takes that gets two bodies by a profile.
_HOT: Final = 0.003
# What a function loses at least without a second body, at how many merges it takes twice its time, and the most.
_LEAST_LOST: Final = 0.04
_MERGES_THAT_DOUBLE: Final = 22_600
_MOST_LOST: Final = 30.0

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
# What part of a module's code an interpreter holds, in percent, if the module is about it.
_MAIN_SHARE: Final = 3
# How many bytes the code of a function has at most for each byte that its second body costs, and how many bytes of code
# are looked at for each byte that those of functions that run often may cost.
_CODE_FOR_A_BYTE: Final = 4
_LOOKED_AT: Final = 8


def select_two_bodies(
    module: Module,
    graph: CallGraph,
    roles: Roles,
    unlisted: Suspension | None,
    options: Options,
    names: list[str],
    bodies: BodyEntries,
    times: dict[FunctionIndex, float],
    decoder: Decoder,
) -> set[FunctionIndex]:
    """Return which functions get two bodies, by function index; what `roles` say of that is not looked at.

    `unlisted` is what could suspend if lists left out no functions, where they do. `times` has what share of its time
    the module spends in functions, where a profile is given.
    """
    first = module.imported_functions
    mode = options.two_bodies
    if mode == "never" or (mode == "auto" and options.optimize == "size"):
        return set()
    functions = [module.function_of(own) for own in module.own_functions()]
    framed = roles.framed()
    candidates = [function for function in functions if framed[function]]
    if mode == "all":
        return set(candidates)
    if mode != "auto":
        patterns = two_bodies_list(options, names, first, bodies)
        return {function for function in candidates if patterns.match(names[function], function)}
    selection = _Selection(module, graph, roles, options.optimize, decoder)
    selection.share = _SHARE if len(candidates) > _SMALL_MODULE else _SHARE_IN_SMALL_MODULES
    if options.preempt != NO_PREEMPT:
        selection.share -= _LESS_WITH_PAUSES
    if unlisted is not None and options.only_list:
        without_list = [function for function in functions if unlisted.instrumented[function]]
        selection.is_listed = True
        selection.unlisted_cost = selection.cost_of_single_bodies(without_list, unlisted)
    if options.profile:
        return selection.choose_hot(candidates, times)
    return selection.choose(candidates)


class _Interpreter(NamedTuple):
    """An interpreter; in their order, what is to be chosen first comes first."""

    minus_merges: int
    cost: int
    function: FunctionIndex


class _Busy(NamedTuple):
    """A busy function; in their order, what is to be chosen first comes first."""

    kind: int
    rank: int
    cost: int
    function: FunctionIndex


class _Hot(NamedTuple):
    """A function that takes much of the time; in their order, what is to be chosen first comes first."""

    minus_lost: float
    cost: int
    function: FunctionIndex


class _Selection:
    def __init__(self, module: Module, graph: CallGraph, roles: Roles, optimize: str, decoder: Decoder) -> None:
        self._module = module
        self._graph = graph
        self._roles = roles
        self._suspension = roles.suspension
        self._frameless = roles.frameless()
        self._optimize = optimize
        self._decoder = decoder
        self.share = _SHARE
        # Whether the module has an only-list, and what it would take to instrument it without.
        self.is_listed = False
        self.unlisted_cost = 0
        starts, ends = module.body_starts, module.body_ends
        self._code = sum(ends[own] - starts[own] for own in range(len(starts)))
        self._callers = [0] * len(module.function_types)
        for callees in graph.callees:
            for callee in callees:
                self._callers[callee] += 1
        self._interpreters: list[_Interpreter] = []
        self._busy: list[_Busy] = []
        self._for_speed: list[FunctionIndex] = []

    def choose(self, candidates: list[FunctionIndex]) -> set[FunctionIndex]:
        by_runs = self._optimize == "balanced" and len(candidates) > _SMALL_MODULE
        for function in candidates:
            self._look_at(function, only_interpreters=by_runs)
        if self._optimize == "speed":
            chosen = {interpreter.function for interpreter in self._interpreters}
            chosen.update([busy.function for busy in self._busy])
            chosen.update(self._for_speed)
        else:
            chosen, left = self._choose_interpreters(self._budget(candidates))
            if by_runs:
                self._add_often_run(candidates, chosen, left)
            else:
                self._add_busy(chosen, left)
        if self.is_listed:
            self._add_listed(candidates, chosen)
        return chosen

    def _choose_interpreters(self, budget: int) -> tuple[set[FunctionIndex], int]:
        """Return interpreters, as many as fit into their share of a budget, and the rest of it."""
        share = budget * _INTERPRETERS_SHARE // 100
        self._interpreters.sort()
        chosen, left = _within([(interpreter.cost, interpreter.function) for interpreter in self._interpreters], share)
        return chosen, budget - share + left

    def _add_busy(self, chosen: set[FunctionIndex], budget: int) -> None:
        """Add busy functions to the chosen ones, as many as fit."""
        self._busy.sort()
        others = [(busy.cost, busy.function) for busy in self._busy if busy.function not in chosen]
        chosen.update(_within(others, budget)[0])

    def _add_listed(self, candidates: list[FunctionIndex], chosen: set[FunctionIndex]) -> None:
        """Add what else an only-list names, as long as instrumenting takes little of the code."""
        room = self._code * _LISTED_SHARE // 1_000 - self.cost_of_single_bodies(candidates, self._suspension)
        if room <= 0:
            return
        others: list[tuple[int, FunctionIndex]] = []
        for function in candidates:
            body = self._decode(function)
            if body is None or not body.sites:
                continue
            cost = _estimated_cost(self._module.data, body)
            if function in chosen:
                room -= cost
            else:
                others.append((cost, function))
        others.sort()
        chosen.update(_within(others, room)[0])

    def choose_hot(self, candidates: list[FunctionIndex], times: dict[FunctionIndex, float]) -> set[FunctionIndex]:
        """Return the functions that lose most of the time with a single body, as many as fit."""
        hot: list[_Hot] = []
        for function in candidates:
            share = times.get(function, 0.0)
            body = self._decode(function) if share >= _HOT else None
            if body is not None and body.sites:
                lost = share * _lost_with_one_body(len(body.sites) * body.local_count)
                hot.append(_Hot(-lost, _estimated_cost(self._module.data, body), function))
        hot.sort()
        if self._optimize == "speed":
            return {one.function for one in hot}
        budget = self._budget(candidates)
        return _within([(one.cost, one.function) for one in hot], budget)[0]

    def _budget(self, candidates: list[FunctionIndex]) -> int:
        cost = self.cost_of_single_bodies(candidates, self._suspension)
        return max(cost, self.unlisted_cost) * self.share // 1_000

    def cost_of_single_bodies(self, candidates: list[FunctionIndex], suspension: Suspension) -> int:
        """Return about how many bytes instrumenting takes without second bodies.

        Fitted to what it takes for SQLite, QuickJS and PHP: to 5%.
        """
        edges = 0
        size = 0
        for function in candidates:
            size += self._size(function)
            for callee in self._graph.callees[self._module.own_of(function)]:
                if suspension.may_suspend(callee):
                    edges += 1
        return 27 * edges + 11 * size // 100

    def _add_often_run(self, candidates: list[FunctionIndex], chosen: set[FunctionIndex], budget: int) -> None:
        """Add functions to the chosen ones, which are interpreters: those that run most for their size."""
        left = budget
        looked_at = 0
        has_main = any(100 * self._size(function) >= _MAIN_SHARE * self._code for function in chosen)
        for function in by_guessed_runs(self._module, self._graph, candidates, self._frameless, chosen):
            size = self._size(function)
            if function in chosen or size > _CODE_FOR_A_BYTE * left:
                continue
            if not has_main and self._may_recur(function):
                continue
            looked_at += size
            if looked_at > _LOOKED_AT * budget:
                return
            body = self._decode(function)
            if body is None or not body.sites or body.local_count == 0:
                continue
            cost = _estimated_cost(self._module.data, body)
            if cost <= left:
                left -= cost
                chosen.add(function)

    def _may_recur(self, function: FunctionIndex) -> bool:
        """Tell whether a function is called by reference, or calls so and is not small, as what recurs in programs is
        that others interpret.
        """
        own = self._module.own_of(function)
        calls_through_tables = self._graph.indirect[own] or own in self._graph.table_callees
        is_small = self._size(function) <= _SMALL_DISPATCH
        return self._roles.entered[function] or (calls_through_tables and not is_small)

    def _size(self, function: FunctionIndex) -> int:
        own = self._module.own_of(function)
        return self._module.body_ends[own] - self._module.body_starts[own]

    def _look_at(self, function: FunctionIndex, *, only_interpreters: bool) -> None:
        """Put a function in the lists that it belongs to."""
        own = self._module.own_of(function)
        size = self._size(function)
        callers = self._callers[function]
        has_switch = self._graph.largest_tables[own] >= MANY_TARGETS
        calls_through_tables = self._graph.indirect[own] or own in self._graph.table_callees
        may_dispatch = calls_through_tables and size <= _SMALL_DISPATCH and not self._roles.entered[function]
        has_callers = callers >= _MANY_CALLERS and size <= _MODERATE
        if not has_switch and (only_interpreters or not (may_dispatch or has_callers or self._optimize == "speed")):
            return
        body = self._decode(function)
        if body is None or not body.sites:
            return
        facts = loop_facts(self._module.data, body)
        merges = len(body.sites) * body.local_count
        if facts.sites_around_switch and merges >= _INTERPRETERS_MERGES:
            self._interpreters.append(_Interpreter(-merges, _estimated_cost(self._module.data, body), function))
            return
        kind = self._kind(size, callers, facts, may_dispatch=may_dispatch)
        if kind != _NOT_BUSY:
            cost = _estimated_cost(self._module.data, body)
            rank = -merges if kind == _SWITCHING else cost
            self._busy.append(_Busy(kind, rank, cost, function))
        if merges >= _MANY_MERGES or (facts.sites_in_loops and size <= _MODERATE):
            self._for_speed.append(function)

    def _kind(self, size: int, callers: int, facts: LoopFacts, *, may_dispatch: bool) -> int:
        """Return which kind of busy function this is."""
        if callers >= _MANY_CALLERS and size <= _SMALL:
            return _CALLED_OFTEN
        if callers >= _VERY_MANY_CALLERS and size <= _MODERATE and facts.sites_in_loops:
            return _CALLED_OFTEN
        if may_dispatch and facts.calls_through_table_in_loops:
            return _DISPATCHING
        if facts.sites_around_switch:
            return _SWITCHING
        return _NOT_BUSY

    def _decode(self, function: FunctionIndex) -> Body | None:
        """Return a function's decoded body, or None for one that is refused, with its place, when it is rewritten."""
        try:
            return self._decoder.look_at(function)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            return None


def _lost_with_one_body(merges: int) -> float:
    """Return about what part of its time a function takes more if it has no second body.

    Fitted to SQLite's interpreter, its parser and its small functions in Node 20. The interpreter, which is called for
    every statement, loses 6 times its time where statements run for long, and 30 times where they are mostly parsed.
    """
    if merges >= 4 * _MERGES_THAT_DOUBLE:
        return _MOST_LOST
    return min(_LEAST_LOST + math.pow(merges / _MERGES_THAT_DOUBLE, 4.5), _MOST_LOST)


def _estimated_cost(data: bytes, body: Body) -> int:
    """Return about how many bytes two bodies take more than one.

    Fitted to SQLite's and QuickJS's functions: to 6% for half of them, to 2% for all together. Where nothing is handed
    over it is less, to 5%.
    """
    loops = handoff_loops(data, body)
    resumed = resumed_bytes(data, body, loops)
    if not loops:
        return 28 + 9 * len(body.sites) + resumed + 4 * body.local_count
    return 48 + 19 * len(body.sites) // 2 + resumed + 6 * body.local_count


def _within(costs: list[tuple[int, FunctionIndex]], budget: int) -> tuple[set[FunctionIndex], int]:
    """Return the functions, given as (cost, function), that fit into a budget, first come first served, and the rest
    of it.
    """
    chosen: set[FunctionIndex] = set()
    for cost, function in costs:
        if cost <= budget and function not in chosen:
            budget -= cost
            chosen.add(function)
    return chosen, budget
