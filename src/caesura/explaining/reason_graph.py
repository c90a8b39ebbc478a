"""The graph of reasons: from what suspensions can start in to everything that they spread to.

It says what `analysis.suspension` does, as edges instead of a search, so that one can ask what would be if something
were not there. Each function has four nodes, since lists come in between:

    reached   it would be on the stack at a suspension, if no list kept it out
    suspends  it may be on the stack; its callers are reached
    listed    the add-list or the only-list names it
    stands    it is instrumented

A function on the remove-list is reached and does not suspend, and calls through tables that reach it do all the same,
as they do in Binaryen. One on the add-list stands where a suspension would come to it, or where it has calls that are
call sites by such lists. With an only-list a function stands because an entry names it and for no other reason. Causes
are nodes behind the root: imports, calls through what others can change (by table and type), entries of lists, the
guest's own runtime. Calls through closed tables are nodes in the middle: of the functions that they can reach one must
suspend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.analysis.calls import ANY_INDEX, NO_TABLE
from caesura.analysis.closed_tables import find_table_callees, known_functions
from caesura.analysis.demangling import DemangledNames
from caesura.analysis.entries import may_be_referenced
from caesura.analysis.suspension import LISTED
from caesura.explaining.list_matches import Entry, Matching
from caesura.instrument.facts import Facts
from caesura.instrument.given import Given
from caesura.options import Options
from caesura.wasm.definitions import FUNCTION_TYPE
from caesura.wasm.indices import FunctionIndex, TypeIndex
from caesura.wasm.type_matching import same_types, with_supertypes
from caesura.wasm.types import type_name

ROOT: Final = 0

IMPORT: Final = "import"
INDIRECT: Final = "indirect"
CLOSED_TABLE: Final = "closed table"
ENTRY: Final = "entry"
RUNTIME: Final = "runtime"

_STATES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A node that is no function. `name` is what to call it.

    `change` says what would have to change so that it is none, as the end of "N functions would be free ...".
    `targets` are functions that calls through a table or a reference can reach, as far as the module shows; `makers`
    those that make these calls, or what an entry names. `table` is None for a reference.
    """

    kind: str
    name: str
    change: str
    table: int | None = None
    type: str | None = None
    targets: tuple[int, ...] = ()
    makers: tuple[int, ...] = ()


class ReasonGraph:
    """`successors` are the nodes that each node makes suspend; `causes` are the last nodes, from `first_cause` on.

    `calls_of` has for each function the causes that are calls of its own. `entries` are those of all lists.
    """

    def __init__(self, given: Given, facts: Facts, options: Options) -> None:
        self.module = given.module
        self.functions = len(given.module.function_types)
        self.first_cause = 1 + _STATES * self.functions
        self.successors: list[list[int]] = [[] for _ in range(self.first_cause)]
        self.causes: list[Cause] = []
        self.calls_of: dict[int, list[int]] = {}
        self.entries: list[Entry] = []
        self._given = given
        self._facts = facts
        self._options = options
        self._suspension = facts.roles.suspension
        self._reached_by: dict[int, list[int]] = {}
        self._add_calls()
        self._add_imports()
        if not options.ignore_indirect:
            self._add_closed_tables()
        self._add_open_calls()
        self._add_runtime()
        self._add_entries()

    def reached(self, function: int) -> int:
        """Return the node that says of a function that a suspension would come to it."""
        return 1 + _STATES * function

    def suspends(self, function: int) -> int:
        """Return the node that says of a function that it may suspend."""
        return 2 + _STATES * function

    def listed(self, function: int) -> int:
        """Return the node that says of a function that a list names it."""
        return 3 + _STATES * function

    def stands(self, function: int) -> int:
        """Return the node that says of a function that it is instrumented."""
        return 4 + _STATES * function

    def function_of(self, node: int) -> int | None:
        """Return the function that a node is one of, if any."""
        return (node - 1) // _STATES if ROOT < node < self.first_cause else None

    def cause_of(self, node: int) -> Cause:
        """Return what a node stands for that is no function."""
        return self.causes[node - self.first_cause]

    def _is_spread_to(self, function: int) -> bool:
        return not self._suspension.bottommost[function]

    def _keeps_to_itself(self, function: int) -> bool:
        """Tell whether only the add-list says that a function suspends, which is not so for its callers then."""
        lists = self._facts.lists
        is_listed = self._suspension.reason[function] == LISTED and lists.add[function]
        return is_listed and not lists.propagate_add

    def _add_calls(self) -> None:
        lists = self._facts.lists
        first = self.module.imported_functions
        for function in range(self.functions):
            if lists.remove[function] or not self._is_spread_to(function):
                continue
            if self._keeps_to_itself(function):
                self.successors[self.reached(function)].append(self.stands(function))
                continue
            self.successors[self.reached(function)].append(self.suspends(function))
            if lists.add[function]:
                # The list says that it suspends, not that it has call sites.
                if not self._suspension.topmost[function]:
                    self.successors[self.reached(function)].append(self.stands(function))
            elif function >= first and not lists.has_only and not self._suspension.topmost[function]:
                self.successors[self.suspends(function)].append(self.stands(function))
        for own, callees in enumerate(self._facts.graph.callees):
            caller = first + own
            if self._is_spread_to(caller):
                for callee in callees:
                    self.successors[self.suspends(callee)].append(self.reached(caller))

    def _add_cause(self, cause: Cause, *, is_root: bool) -> int:
        self.causes.append(cause)
        node = len(self.successors)
        self.successors.append([])
        if is_root:
            self.successors[ROOT].append(node)
        return node

    def _add_imports(self) -> None:
        listed = len(self._options.imports) > 0
        for item in self.module.function_imports():
            if not self._facts.lists.imports[item.index]:
                continue
            name = f"{item.module}.{item.name}"
            change = f"with {name} off the import list" if listed else f"with an import list without {name}"
            node = self._add_cause(Cause(kind=IMPORT, name=name, change=change), is_root=True)
            self.successors[node].append(self.reached(item.index))

    def _add_makers(self, node: int, makers: list[int]) -> None:
        for maker in makers:
            self.calls_of.setdefault(maker, []).append(node)
            if self._is_spread_to(maker):
                self.successors[node].append(self.reached(maker))

    def _add_closed_tables(self) -> None:
        """Add calls through tables that only the module changes, by what they reach."""
        graph = self._facts.graph
        callees = find_table_callees(self.module, graph)
        runtime = {function for _, function in self._given.renumbered.runtime_functions}
        makers: dict[int, list[int]] = {}
        for own in sorted(graph.table_callees):
            for call in sorted(graph.table_callees[own]):
                makers.setdefault(call, []).append(self.module.imported_functions + own)
        calls = list(graph.table_calls)
        groups: dict[tuple[int, int], list[int]] = {}
        for call in makers:
            number = callees.number_of[call]
            # All calls through a table that can hold anything share a number; here they go by type.
            groups.setdefault((number, calls[call][1] if callees.is_open[number] else -1), []).append(call)
        for (number, _), group in groups.items():
            targets = callees.functions[number]
            table, type_index, index = calls[group[0]]
            where = f" at index {index}" if index != ANY_INDEX and len(group) == 1 else ""
            is_open = callees.is_open[number] or not runtime.isdisjoint(targets)
            node = self._add_indirect(
                table,
                type_index,
                targets,
                sorted({maker for call in group for maker in makers[call]}),
                where=where,
                is_closed=not is_open,
            )
            for function in targets:
                self._reached_by.setdefault(function, []).append(node)
                self.successors[self.reached(function)].append(node)

    def _add_indirect(
        self,
        table: int,
        type_index: int,
        targets: list[FunctionIndex],
        makers: list[int],
        *,
        where: str = "",
        is_closed: bool = False,
    ) -> int:
        text = self._type_text(type_index)
        through = "references" if table == NO_TABLE else f"table {table}{where}"
        name = f"calls through {through} of type {text}"
        cause = Cause(
            kind=CLOSED_TABLE if is_closed else INDIRECT,
            name=name,
            change=f"if {name} never suspended",
            table=None if table == NO_TABLE else table,
            type=text,
            targets=tuple(targets),
            makers=tuple(makers),
        )
        node = self._add_cause(cause, is_root=not is_closed)
        self._add_makers(node, makers)
        return node

    def _add_open_calls(self) -> None:
        open_calls = self._facts.graph.open_calls
        if self._options.ignore_indirect or not open_calls:
            return
        same = same_types(self.module)
        makers: dict[tuple[int, int], list[int]] = {}
        for own in sorted(open_calls):
            keys = {(table, same[type_index]) for table, type_index in open_calls[own] if type_index < len(same)}
            for key in sorted(keys):
                makers.setdefault(key, []).append(self.module.imported_functions + own)
        known = known_functions(self.module, self._facts.graph)
        referenced = self._referenced(same) if any(table == NO_TABLE for table, _ in makers) else {}
        for (table, type_index), functions in makers.items():
            targets = referenced if table == NO_TABLE else known[table] if table < len(known) else {}
            self._add_indirect(table, type_index, targets.get(type_index, []), functions)

    def _referenced(self, same: list[int]) -> dict[int, list[FunctionIndex]]:
        """Return the functions that references can be made of, by type."""
        found: dict[int, list[FunctionIndex]] = {}
        for function, is_referenced in enumerate(may_be_referenced(self.module)):
            if is_referenced:
                for one in with_supertypes(self.module, same, self.module.function_types[function]):
                    found.setdefault(one, []).append(FunctionIndex(function))
        return found

    def _add_runtime(self) -> None:
        for function, is_topmost in enumerate(self._suspension.topmost):
            if is_topmost:
                pauses = function == self._given.pause
                name = "pause points" if pauses else f"the guest's own runtime in {self._given.names.names[function]}"
                change = "without --preempt" if pauses else "if the guest's own runtime did not unwind there"
                cause = Cause(kind=RUNTIME, name=name, change=change, makers=(function,))
                self.successors[self._add_cause(cause, is_root=True)].append(self.reached(function))

    def _add_entries(self) -> None:
        options = self._options
        first = self.module.imported_functions
        own_names = self._given.names.names[first : self.functions - self._given.added_functions()]
        imports = [f"{item.module}.{item.name}" for item in self.module.function_imports()]
        plain = options.plain_lists
        of_imports = Matching(imports, 0, None if plain else DemangledNames(imports), {})
        bodies = self._given.body_entries().functions
        own = Matching(own_names, first, None if plain else DemangledNames(own_names), bodies)
        self.entries += of_imports.entries("imports", options.imports)
        self.entries += own.entries("remove_list", options.remove_list)
        added = own.entries("add_list", options.add_list)
        only = own.entries("only_list", options.only_list)
        self.entries += added + only
        for entry in added + only:
            flag = "the only-list" if entry in only else "the add-list"
            cause = Cause(
                kind=ENTRY,
                name=f"{entry.text} on {flag}",
                change=f"with {entry.text} off {flag}",
                makers=tuple(entry.functions),
            )
            node = self._add_cause(cause, is_root=True)
            self.successors[node] += [self.listed(function) for function in entry.functions]
        for function in {function for entry in added + only for function in entry.functions}:
            self._add_listed(function, spreads=options.propagate_addlist)

    def _add_listed(self, function: int, *, spreads: bool) -> None:
        lists = self._facts.lists
        spread_to = self.successors[self.listed(function)]
        is_kept = lists.only[function] or self._has_sites_by_lists(function)
        if is_kept and not self._suspension.topmost[function]:
            spread_to.append(self.stands(function))
        if lists.add[function] and spreads and self._is_spread_to(function):
            spread_to.append(self.suspends(function))
            spread_to += self._reached_by.get(function, [])
        elif lists.add[function]:
            spread_to += self._reached_by.get(function, [])

    def _has_sites_by_lists(self, function: int) -> bool:
        """Tell whether a function on the add-list has call sites since the list says so: calls through a table or a
        reference, whatever they reach, and calls of others on the list, if these do not make it suspend anyway.
        """
        graph, lists = self._facts.graph, self._facts.lists
        own = self.module.own_of(FunctionIndex(function))
        if own in graph.open_calls or own in graph.table_callees or graph.indirect[own]:
            return True
        return not lists.propagate_add and any(lists.add[callee] for callee in graph.callees[own])

    def can_be_removed(self, function: int) -> bool:
        """Tell whether a function can be on the remove-list: not if the add-list names it, or there is an only-list."""
        return not (self._facts.lists.has_only or self._facts.lists.add[function])

    def _type_text(self, type_index: int) -> str:
        if not 0 <= type_index < len(self.module.types):
            return f"number {type_index}"
        definition = self.module.types[TypeIndex(type_index)]
        if definition.kind != FUNCTION_TYPE:
            return f"number {type_index}"
        params = ", ".join(map(type_name, definition.params))
        return f"({params}) -> ({', '.join(map(type_name, definition.results))})"
