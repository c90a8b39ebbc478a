"""Who may suspend, and why.

Suspension starts in imports on the import list and in whatever is called through a reference or an open table; it
spreads to callers. A call through a closed table (see `closed_tables`) suspends if a function that it can reach does,
so these calls are nodes of the same search. Every function remembers what it was added for (the callee that spread to
it, and the table where that was called through one), so that "why is this function instrumented?" has a path as its
answer. The guest's own runtime is set apart as Binaryen does it: a function that calls `asyncify.start_unwind` or
`stop_rewind` suspends but is not instrumented (top-most runtime), one that calls `stop_unwind` or `start_rewind` is
where suspension ends (bottom-most runtime).

The lists mean what they mean in Binaryen, where every call through a table suspends. So in functions on the add-list
or the only-list all of these are call sites; and functions on the add-list, which suspend because the user says so,
and those that only the remove-list keeps from suspending, make calls through tables that reach them suspend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.abi import (
    IMPORTED_START_REWIND,
    IMPORTED_START_UNWIND,
    IMPORTED_STOP_REWIND,
    IMPORTED_STOP_UNWIND,
)
from caesura.analysis.calls import CallGraph
from caesura.analysis.closed_tables import TableCallees, find_table_callees
from caesura.analysis.pause_points import NO_PAUSE
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module

NOT_SUSPENDING: Final = -1
SUSPENDING_IMPORT: Final = -2
INDIRECT_CALL: Final = -3
LISTED: Final = -4
RUNTIME: Final = -5

# Which calls through tables and references are call sites in a function.
NO_INDIRECT_SITES: Final = 0
SUSPENDING_INDIRECT_SITES: Final = 1
ALL_INDIRECT_SITES: Final = 2

_TOPMOST: Final = (IMPORTED_START_UNWIND, IMPORTED_STOP_REWIND)
_BOTTOMMOST: Final = (IMPORTED_STOP_UNWIND, IMPORTED_START_REWIND)


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The user's lists, resolved: one flag for each function of the module (imported ones first).

    `imports` marks imported functions that may suspend; `remove`, `add` and `only` are Binaryen's lists, `has_only`
    tells whether there is an only-list at all.
    """

    imports: list[bool]
    remove: list[bool]
    add: list[bool]
    only: list[bool]
    has_only: bool = False
    propagate_add: bool = False
    ignore_indirect: bool = False


class Suspension:
    """The answer, one entry for each function of the module.

    `reason[f]` is the callee that function f may suspend in, or one of the negative reasons above; it is
    NOT_SUSPENDING exactly for functions that cannot be on the stack at a suspension. `instrumented[f]` is false for
    imports and the guest's own runtime too. `indirect_sites[f]` tells which calls through tables and references are
    call sites in f; `quiet_table_calls` has those that cannot suspend, as in `CallGraph.table_calls`. `root[f]` is the
    function at the end of f's chain of reasons; `through_table[f]` the table through which f calls the callee that is
    its reason, where it does not call it by name. `pause` is the function that pause points call, or NO_PAUSE.
    """

    def __init__(self, functions: int) -> None:
        self.reason = [NOT_SUSPENDING] * functions
        self.instrumented = [False] * functions
        self.indirect_sites = [NO_INDIRECT_SITES] * functions
        self.pause = NO_PAUSE
        self.quiet_table_calls: set[tuple[int, int, int]] = set()
        self.through_table: dict[FunctionIndex, int] = {}
        self.root = [FunctionIndex(function) for function in range(functions)]
        self.topmost = [False] * functions
        self.bottommost = [False] * functions

    def may_suspend(self, function: FunctionIndex) -> bool:
        """Tell whether a function may be on the stack at a suspension."""
        return self.reason[function] != NOT_SUSPENDING

    def suspends_anything(self) -> bool:
        """Tell whether any function, an import included, may be on the stack at a suspension."""
        return any(reason != NOT_SUSPENDING for reason in self.reason)

    def path(self, function: FunctionIndex, longest: int) -> list[FunctionIndex]:
        """Return the chain of functions from this one towards where a suspension starts, `longest` at most.

        Reasons are shortest paths, so a chain never comes back to a function.
        """
        chain = [function]
        while len(chain) < longest and self.reason[chain[-1]] >= 0:
            chain.append(FunctionIndex(self.reason[chain[-1]]))
        return chain


def find_suspending(
    module: Module,
    graph: CallGraph,
    lists: Lists,
    runtime_functions: list[tuple[str, FunctionIndex]],
    pause: FunctionIndex = NO_PAUSE,
) -> Suspension:
    """Return which functions may suspend, and why.

    `runtime_functions` are the functions that stand for imports of module `asyncify`, by the import's name; several
    may stand for the same one. `pause` is the function that pause points call, which starts unwinding too.
    """
    functions = len(module.function_types)
    imported = module.imported_functions
    result = Suspension(functions)
    _mark_runtime(module, graph, runtime_functions, result)
    if pause != NO_PAUSE:
        result.topmost[pause] = True
        result.pause = pause
    for function in range(imported):
        if lists.imports[function]:
            result.reason[function] = SUSPENDING_IMPORT
    for function in range(imported, functions):
        if lists.remove[function] or result.bottommost[function]:
            continue
        if result.topmost[function]:
            result.reason[function] = RUNTIME
        elif graph.indirect[function - imported] and not lists.ignore_indirect:
            result.reason[function] = INDIRECT_CALL
        if lists.add[function] and lists.propagate_add:
            result.reason[function] = LISTED
    _Search(module, graph, lists, runtime_functions, result).run()
    for function in range(imported, functions):
        if lists.has_only and not result.topmost[function]:
            result.reason[function] = LISTED if lists.only[function] else NOT_SUSPENDING
            result.root[function] = FunctionIndex(function)
        may_suspend = result.may_suspend(FunctionIndex(function))
        result.instrumented[function] = may_suspend and not result.topmost[function]
        if lists.add[function] or lists.only[function]:
            result.indirect_sites[function] = ALL_INDIRECT_SITES
        elif not lists.ignore_indirect:
            result.indirect_sites[function] = SUSPENDING_INDIRECT_SITES
    return result


def _mark_runtime(
    module: Module, graph: CallGraph, runtime_functions: list[tuple[str, FunctionIndex]], result: Suspension
) -> None:
    topmost = [function for name, function in runtime_functions if name in _TOPMOST]
    bottommost = [function for name, function in runtime_functions if name in _BOTTOMMOST]
    if not topmost and not bottommost:
        return
    for own in range(len(graph.callees)):
        function = module.imported_functions + own
        for callee in graph.callees[own]:
            if callee in bottommost:
                result.bottommost[function] = True
            elif callee in topmost:
                result.topmost[function] = True


class _Search:
    """Spreads suspension from callees to callers, breadth first, so that reasons are shortest paths.

    The calls through tables are nodes of the search too, with the functions that they can reach as callees, and the
    functions that make them as callers. With ignored indirect calls there are none.
    """

    def __init__(
        self,
        module: Module,
        graph: CallGraph,
        lists: Lists,
        runtime_functions: list[tuple[str, FunctionIndex]],
        result: Suspension,
    ) -> None:
        self._graph = graph
        self._lists = lists
        self._result = result
        self._imported = module.imported_functions
        self._work: list[FunctionIndex] = []
        self._callers: list[list[FunctionIndex]] = [[] for _ in range(len(module.function_types))]
        for own in range(len(graph.callees)):
            caller = module.function_of(OwnFunction(own))
            for callee in graph.callees[own]:
                self._callers[callee].append(caller)
        self._is_kept_out = [False] * len(self._callers)  # suspends, but for the remove-list
        self._table_callees = TableCallees() if lists.ignore_indirect else find_table_callees(module, graph)
        count = len(self._table_callees.functions)
        self._is_quiet = [True] * count
        self._makers: list[list[FunctionIndex]] = [[] for _ in range(count)]
        self._reached_by: dict[FunctionIndex, list[int]] = {}
        self._open: list[int] = []
        self._note_callees({function for _, function in runtime_functions})

    def _note_callees(self, runtime: set[int]) -> None:
        callees = self._table_callees
        for number in range(len(callees.functions)):
            is_open = callees.is_open[number]
            for function in callees.functions[number]:
                is_open = is_open or function in runtime  # the start of an unwinding, itself in a table
                if function not in self._reached_by:
                    self._reached_by[function] = []
                self._reached_by[function].append(number)
            if is_open:
                self._open.append(number)
        if callees.number_of:
            for own, calls in self._graph.table_callees.items():
                for call in calls:
                    self._makers[callees.number_of[call]].append(FunctionIndex(self._imported + own))

    def run(self) -> None:
        """Find everything that suspension spreads to."""
        result = self._result
        lists = self._lists
        for number in self._open:
            self._spread_to_makers(number, INDIRECT_CALL)
        for function in range(self._imported, len(self._callers)):
            if lists.remove[function] and not result.bottommost[function]:
                calls_indirectly = self._graph.indirect[function - self._imported]
                self._is_kept_out[function] |= calls_indirectly or result.topmost[function]
        everything = [FunctionIndex(function) for function in range(len(self._callers))]
        self._work = [one for one in everything if result.may_suspend(one) or self._is_kept_out[one]]
        self._spread_all()
        for caller in everything[self._imported :]:
            if lists.add[caller] and not result.may_suspend(caller):
                result.reason[caller] = LISTED
                self._spread_through_tables(caller, caller)
        self._spread_all()
        numbers = self._table_callees.number_of
        if numbers:
            calls = self._graph.table_calls
            result.quiet_table_calls = {key for key in calls if self._is_quiet[numbers[calls[key]]]}

    def _spread_all(self) -> None:
        reason = self._result.reason
        next_index = 0
        while next_index < len(self._work):
            callee = self._work[next_index]
            next_index += 1
            if self._is_kept_out[callee]:
                self._spread_through_tables(callee, INDIRECT_CALL)
                continue
            for caller in self._callers[callee]:
                if reason[caller] == NOT_SUSPENDING:
                    self._spread(caller, callee)
            if callee in self._reached_by:
                self._spread_through_tables(callee, callee)
        self._work = []

    def _spread_through_tables(self, function: FunctionIndex, reason: int) -> None:
        for number in self._reached_by.get(function, []):
            if self._is_quiet[number]:
                self._spread_to_makers(number, reason)

    def _spread_to_makers(self, number: int, reason: int) -> None:
        """Spread to the functions that make calls through a table."""
        self._is_quiet[number] = False
        for caller in self._makers[number]:
            if self._spread(caller, reason) and reason >= 0:
                self._result.through_table[caller] = self._table_callees.tables[number]

    def _spread(self, caller: FunctionIndex, reason: int) -> bool:
        """Spread to a caller; return whether this is why it suspends now."""
        result = self._result
        if result.may_suspend(caller) or result.bottommost[caller] or self._is_kept_out[caller]:
            return False
        self._work.append(caller)
        if self._lists.remove[caller]:
            self._is_kept_out[caller] = True
            return False
        result.reason[caller] = reason
        if reason >= 0:
            result.root[caller] = result.root[reason]
        return True
