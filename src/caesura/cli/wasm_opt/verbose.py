"""What `--pass-arg=asyncify-verbose` prints, in the words of Binaryen, which build systems read (Emscripten's advice).

The decisions are ours, and fewer functions can suspend than in Binaryen (a call through a table that only the module
itself fills counts where one of its functions may). How they are told is Binaryen's: functions by their names in the
name section, then the steps of its analysis in their order: imports, what calls through tables ("initial scan"), the
remove-list, what spreads to callers, the only-list, the add-list. Where the name section has none for them, imports are
`fimport$N`, as there; other functions keep the names that lists and warnings know them by. The analysis runs a second
time for that, since the transformation's report says why a function suspends in sentences, which cannot be taken apart
again: names hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from caesura.analysis.calls import CallGraph, read_calls
from caesura.analysis.lists import resolve_lists
from caesura.analysis.suspension import INDIRECT_CALL, LISTED, RUNTIME, Lists, Suspension, find_suspending
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.abi.renumbered import renumber
from caesura.options import Options
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module


def decisions(module: Module, options: Options) -> Iterator[str]:
    """Return the lines, without their `[asyncify]`, for a module that the transformation accepts."""
    renumbered = renumber(module, options)
    module = renumbered.module
    graph = read_calls(module)
    names = FunctionNames(module).names
    imports = [f"{item.module}.{item.name}" for item in module.function_imports()]
    lists = resolve_lists(options, imports, names, [])
    # The only-list replaces what the analysis finds, and the remove-list takes from it; both steps are told.
    without_only = replace(options, only_list=())
    first_lists = resolve_lists(without_only, imports, names, [])
    all_imports = resolve_lists(replace(without_only, remove_list=()), imports, names, []).imports
    suspension = find_suspending(module, graph, first_lists, renumbered.runtime_functions)
    for index, import_name in enumerate(imports):
        if names[index] == import_name:
            names[index] = f"fimport${index}"
    yield from (
        f"{name} is an import that can change the state" for name, may in zip(names, all_imports, strict=True) if may
    )
    removed = set(_removed(lists, all_imports, graph))
    through_tables = set(_suspending_through_tables(suspension, first_lists, graph))
    for index in range(len(imports), len(names)):
        if suspension.reason[index] in (INDIRECT_CALL, RUNTIME) or index in removed or index in through_tables:
            yield f"{names[index]} can change the state due to initial scan"
    yield from (f"{names[index]} is in the remove-list, ignore" for index in sorted(removed))
    yield from sorted(_spread(suspension, first_lists, graph, names))
    for index in range(len(imports), len(names)):
        if lists.has_only:
            yield f"{names[index]}'s state is set based on the only-list to {int(lists.only[index])}"
    for index in range(len(imports), len(names)):
        if suspension.reason[index] == LISTED:
            yield f"{names[index]} is in the add-list, add"


def _removed(lists: Lists, all_imports: list[bool], graph: CallGraph) -> Iterator[int]:
    """Return the functions that could suspend by themselves, but for the remove-list."""
    first = len(lists.remove) - len(graph.callees)
    for index, removed in enumerate(lists.remove):
        if not removed:
            continue
        own = index - first
        indirect = own >= 0 and not lists.ignore_indirect and (graph.indirect[own] or own in graph.table_callees)
        if all_imports[index] or indirect:
            yield index


def _suspending_through_tables(suspension: Suspension, lists: Lists, graph: CallGraph) -> Iterator[int]:
    """Return the functions that may suspend and call, through a closed table, what may: scanned first in Binaryen."""
    if lists.ignore_indirect:
        return
    first = len(lists.remove) - len(graph.callees)
    suspending = {number for key, number in graph.table_calls.items() if key not in suspension.quiet_table_calls}
    for own, calls in graph.table_callees.items():
        if suspension.may_suspend(FunctionIndex(first + own)) and not suspending.isdisjoint(calls):
            yield first + own


def _spread(suspension: Suspension, lists: Lists, graph: CallGraph, names: list[str]) -> Iterator[str]:
    """Return a line for each call by name that makes a function suspend, also where another one did so before."""
    first = len(lists.remove) - len(graph.callees)
    for own, callees in enumerate(graph.callees):
        caller = first + own
        if lists.remove[caller] or suspension.bottommost[caller]:
            continue
        for callee in callees:
            is_added = suspension.reason[callee] == LISTED and not lists.propagate_add
            if suspension.may_suspend(callee) and not is_added:
                yield f"{names[caller]} can change the state due to {names[callee]}"
