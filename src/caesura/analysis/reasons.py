"""Why a function is instrumented, or why not, in words.

Where a list keeps a function out, the list is named; where one keeps out what the function calls, that is named too,
since a guest that cannot resume is looked into by going from such a function to its callees. That looks at the calls of
this one function only: telling what would suspend without any lists would take the whole search a second time.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import CallGraph
from caesura.analysis.suspension import (
    INDIRECT_CALL,
    LISTED,
    NOT_SUSPENDING,
    RUNTIME,
    SUSPENDING_IMPORT,
    Lists,
    Suspension,
)
from caesura.errors import among_words
from caesura.wasm.indices import FunctionIndex

# Functions in a reason; what lies between them and where the suspension starts is left out.
_LONGEST_PATH: Final = 12

# Callees that a reason names.
_MOST_CALLEES: Final = 3


class Reasons:
    """What the reasons in a module are taken from; `has_imports` tells whether an import list is given."""

    def __init__(
        self, graph: CallGraph, suspension: Suspension, lists: Lists, names: list[str], *, has_imports: bool
    ) -> None:
        self._graph = graph
        self._suspension = suspension
        self._lists = lists
        self._names = names
        self._first = len(names) - len(graph.callees)
        self._imports = "not on the import list" if has_imports else "ruled out by ignore-imports"

    def of(self, function: FunctionIndex, sites: int) -> str:
        """Return the reason for one of the module's own functions; call paths are written `a -> b -> c`.

        Where a step is a call through a table, the table is named: `a -> b (in table 0) -> c`.
        """
        suspension = self._suspension
        if suspension.bottommost[function]:
            return "part of the guest's own runtime: it stops unwinding or starts rewinding"
        if suspension.topmost[function]:
            return "part of the guest's own runtime: it starts unwinding or stops rewinding"
        if not suspension.may_suspend(function):
            return self._why_not(function)
        if not sites:
            if suspension.reason[function] == LISTED:
                return f"{self._list()} names it, but it has no call that may suspend"
            return "it may suspend, but has no call that can"
        return self._path(function)

    def _path(self, function: FunctionIndex) -> str:
        suspension = self._suspension
        path = suspension.path(function, _LONGEST_PATH)
        root = suspension.root[function]
        if root == function:
            return self._cause(root, "it", "it")
        steps: list[str] = []
        for place in range(1, len(path)):
            table = suspension.through_table.get(path[place - 1])
            steps.append(among_words(self._names[path[place]]) + (f" (in table {table})" if table is not None else ""))
        if path[-1] != root:
            steps += ["...", among_words(self._names[root])]
        return f"{' -> '.join(steps)}, {self._cause(root, 'which', '')}"

    def _cause(self, function: FunctionIndex, subject: str, named: str) -> str:
        """Return why a suspension starts in a function, as a clause; `named` is empty where `which` is the object."""
        reason = self._suspension.reason[function]
        if reason == SUSPENDING_IMPORT:
            return "an import that may suspend"
        if reason == INDIRECT_CALL:
            return f"{subject} calls through a table or a reference"
        if reason == LISTED:
            return f"{self._list()} names {named}" if named else f"which {self._list()} names"
        if reason == RUNTIME:
            return f"{subject} starts unwinding"
        assert reason != NOT_SUSPENDING
        return f"{subject} calls itself"

    def _list(self) -> str:
        return "the only-list" if self._lists.has_only else "the add-list"

    def _why_not(self, function: FunctionIndex) -> str:
        lists = self._lists
        if lists.remove[function]:
            return "it is on the remove-list"
        if lists.has_only:
            return "it is not on the only-list"
        own = function - self._first
        out: list[str] = []
        for callee in self._graph.callees[own]:
            if lists.remove[callee]:
                out.append(f"{among_words(self._names[callee])} is on the remove-list")
            elif callee < self._first and not lists.imports[callee]:
                out.append(f"{among_words(self._names[callee])} is {self._imports}")
        if len(out) > _MOST_CALLEES:
            more = len(out) - _MOST_CALLEES
            out = [*out[:_MOST_CALLEES], f"and {more:,} more like this"]
        if lists.ignore_indirect and (self._graph.indirect[own] or own in self._graph.table_callees):
            out.append("its calls through tables and references are ruled out by ignore-indirect")
        return "it calls nothing that may suspend" + (f": {', '.join(out)}" if out else "")
