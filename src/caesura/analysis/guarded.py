"""Where control leaves what lists leave out, so that a suspension behind it would cross what is not instrumented.

Compared are two answers to who may suspend: with the lists, and as if there were none. A function that only the second
names is *left out*: it can be on the stack at a suspension, and knows nothing of it. From it control goes on by calls
of what may suspend with the lists, by name, or through a table or a reference; what else it calls is left out too, and
looks after its own calls, or cannot suspend. Instrumented functions can have such calls as well: through tables, where
`ignore_indirect` says that they are no call sites, and of imports that a pattern of the remove-list takes out.

Some functions that are left out pass a suspension on as they are (`wrappers.passing_functions`), such as the `main` of
C programs that only calls another one. They count as instrumented.

Calls through a closed table (see `closed_tables`) that reach nothing but functions which are left out, or cannot
suspend, need no looking after: in C programs that is most of them.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import IMPORTED_START_UNWIND
from caesura.analysis.calls import ANY_INDEX, NO_TABLE, CallGraph
from caesura.analysis.closed_tables import find_table_callees
from caesura.analysis.suspension import ALL_INDIRECT_SITES, NO_INDIRECT_SITES, Suspension
from caesura.analysis.wrappers import passing_functions
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# What a function is: instrumented; left out; one where suspension ends, which begins the stack of what it calls anew;
# any other, which cannot be on the stack at a suspension.
OTHER: Final = 0
INSTRUMENTED: Final = 1
LEFT_OUT: Final = 2
ENDING: Final = 3

# A call through a table: the table (or NO_TABLE), the type, and the index, as in `CallGraph.table_calls`.
TableCall = tuple[int, int, int]


class Guarded:
    """The functions and calls of a module that is guarded.

    `kinds` has the kind of each function; `suspends[f]` tells whether calling f by name may lead to a suspension that
    the lists know of, or begins one, and `taken_out[f]` whether f is an import that may suspend and that lists take
    out. `passing` are the functions that are left out and pass a suspension on, `tail_calling` those that make tail
    calls.
    """

    def __init__(
        self, module: Module, graph: CallGraph, suspension: Suspension, unlisted: Suspension, starts: set[FunctionIndex]
    ) -> None:
        count = len(module.function_types)
        self._suspension = suspension
        self._private = graph.private_tables
        self.kinds: list[int] = [OTHER] * count
        self.suspends: list[bool] = [False] * count
        self.taken_out: list[bool] = [False] * count
        self.tail_calling: Final = {module.function_of(own) for own in graph.tail_calling}
        for number in range(count):
            function = FunctionIndex(number)
            is_listed = suspension.may_suspend(function)
            is_left_out = unlisted.may_suspend(function) and not is_listed
            self.suspends[function] = is_listed or function in starts
            if function < module.imported_functions:
                self.taken_out[function] = is_left_out
                self.suspends[function] = is_listed or is_left_out
            elif suspension.bottommost[function]:
                self.kinds[function] = ENDING
            elif suspension.instrumented[function]:
                self.kinds[function] = INSTRUMENTED
            elif is_left_out:
                self.kinds[function] = LEFT_OUT
        left_out = [kind == LEFT_OUT for kind in self.kinds]
        self.passing: Final = passing_functions(module, graph, suspension.instrumented, left_out)
        for function in self.passing:
            self.kinds[function] = OTHER
            self.suspends[function] = True
        self._leaving: set[TableCall] = set()
        self._find_leaving(module, graph)

    def _find_leaving(self, module: Module, graph: CallGraph) -> None:
        """Find the calls through tables that only the module can change which may lead to a suspension."""
        callees = find_table_callees(module, graph)
        for key, call in graph.table_calls.items():
            number = callees.number_of[call]
            if callees.is_open[number] or self._suspends_any(callees.functions[number]):
                self._leaving.add(key)
                self._leaving.add((key[0], key[1], ANY_INDEX))

    def _suspends_any(self, functions: list[FunctionIndex]) -> bool:
        for function in functions:
            if self.suspends[function]:
                return True
        return False

    def leaves(self, call: TableCall) -> bool:
        """Tell whether a call through a table or a reference may lead to a suspension."""
        table = call[0]
        return table == NO_TABLE or not self._private[table] or call in self._leaving

    def is_left_out_in(self, function: FunctionIndex, call: TableCall) -> bool:
        """Tell whether a call that leaves is no call site in an instrumented function."""
        sites = self._suspension.indirect_sites[function]
        return sites == NO_INDIRECT_SITES or (
            sites != ALL_INDIRECT_SITES and call in self._suspension.quiet_table_calls
        )


def find_guarded(
    module: Module,
    graph: CallGraph,
    suspension: Suspension,
    unlisted: Suspension,
    runtime_functions: list[tuple[str, FunctionIndex]],
) -> Guarded:
    """Return what is to be guarded, given who may suspend with lists, and as if there were none.

    `runtime_functions` are those that stand for imports of module `asyncify`, by the import's name.
    """
    starts = {function for name, function in runtime_functions if name == IMPORTED_START_UNWIND}
    return Guarded(module, graph, suspension, unlisted, starts)
