"""What there is to say of one function: `caesura explain MODULE FUNCTION`, as data.

Keys and their meaning are described in docs/explain.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from caesura.analysis.demangling import DemangledNames
from caesura.errors import UsageError, among_words
from caesura.explaining.dominators import NOTHING
from caesura.explaining.explanation import Explanation, Freed
from caesura.explaining.reason_graph import CLOSED_TABLE, INDIRECT, ROOT, Cause, ReasonGraph
from caesura.report import FunctionReport

# The kind of a step, or of a change, that is about a function; others have the kinds of causes.
FUNCTION: Final = "function"

Json = dict[str, Any]

# How many functions are named where several match.
_SHOWN: Final = 5


def find_function(explanation: Explanation, wanted: str) -> int:
    """Return the function that is called by a name, or has an index in the file; raises UsageError for none or several.

    A name comes before an index, so that a function that is called by a number can be found, and both before what a
    mangled name stands for.
    """
    named = [report for report in explanation.reports if report.name == wanted]
    named = named or [report for report in explanation.reports if str(report.index) == wanted]
    named = named or _demangled(explanation, wanted)
    if len(named) == 1:
        return named[0].index - _shift(explanation)
    if named:
        indices = [str(report.index) for report in named[:_SHOWN]]
        more = ", ..." if len(named) > _SHOWN else ""
        raise UsageError(f"{len(named):,} functions are called {wanted!r}: give an index ({', '.join(indices)}{more})")
    raise UsageError(f"no function of the module is called {wanted!r}{_hint(explanation, wanted)}")


def _demangled(explanation: Explanation, wanted: str) -> list[FunctionReport]:
    """Return the functions that lists can call so, since it is what their names stand for."""
    pairs = DemangledNames([report.name for report in explanation.reports]).pairs()
    names = {name for form, name in pairs if form == wanted}
    return [report for report in explanation.reports if report.name in names]


def describe_function(explanation: Explanation, function: int) -> Json:
    """Return what `function_facts` has of one of the module's own functions, and what is around it."""
    graph = explanation.graph
    is_instrumented = explanation.report(function).instrumented
    path = path_to(explanation, function)
    return {
        **function_facts(explanation, function),
        "path": path,
        "path_to_import": _path_to_import(explanation, function, path),
        "indirect_calls": [_indirect_call(explanation, node) for node in graph.calls_of.get(function, [])],
        "callers": _callers(explanation, function),
        "changes": _changes(explanation, function) if is_instrumented else [],
        "causes": [graph.cause_of(node).name for node in _causes_of(explanation, function)],
    }


def function_facts(explanation: Explanation, function: int) -> Json:
    """Return what became of a function, and what that costs."""
    report = explanation.report(function)
    own = function - explanation.first
    return {
        "index": report.index,
        "name": report.name,
        "instrumented": report.instrumented,
        "reason": report.reason,
        "bytes_before": explanation.before[own],
        "bytes_after": explanation.after[own],
        "sites": report.sites,
        "saved": report.saved,
        "merges": report.merges,
        "other_bodies": report.other_bodies,
        "frameless": report.frameless,
        "frees": freed_facts(explanation.freed_by_removing(function)),
    }


def freed_facts(freed: Freed) -> Json:
    """Return what would be spared, as data."""
    return {"functions": freed.functions, "bytes": freed.bytes}


def function_name(explanation: Explanation, function: int) -> str:
    """Return the name of a function, be it a given one or one that was added."""
    return explanation.report(function).name if explanation.is_given(function) else explanation.names[function]


def path_to(explanation: Explanation, function: int) -> list[Json]:
    """Return the steps of the shortest path from a function to what makes it suspend; none where nothing does.

    The last step names a cause, those before it functions and calls through closed tables. Calls have what they can
    reach besides.
    """
    return list(_steps(explanation, function, explanation.nearest, has_targets=True))


def _path_to_import(explanation: Explanation, function: int, path: list[Json]) -> list[Json]:
    """Return a path to an import where the shortest one ends at calls that can reach anything."""
    if not path or path[-1]["kind"] != INDIRECT:
        return []
    return list(_steps(explanation, function, explanation.nearest_import(), has_targets=True))


def next_steps(explanation: Explanation, function: int) -> list[Json]:
    """Return the beginning of that path, up to the next function or to the cause.

    A whole path for each function would be quadratic where functions call each other in a long chain.
    """
    steps: list[Json] = []
    for step in _steps(explanation, function, explanation.nearest):
        steps.append(step)
        if step["kind"] == FUNCTION:
            break
    return steps


def _steps(explanation: Explanation, function: int, nearest: list[int], *, has_targets: bool = False) -> Iterator[Json]:
    graph = explanation.graph
    nodes = (graph.suspends(function), graph.stands(function), graph.reached(function))
    node = next((one for one in nodes if nearest[one] != NOTHING), ROOT)
    last = function
    while (node := nearest[node]) > ROOT:
        other = graph.function_of(node)
        if other is None:
            cause = graph.cause_of(node)
            step: Json = {"kind": cause.kind, "name": cause.name}
            if has_targets and cause.kind in (INDIRECT, CLOSED_TABLE):
                step["targets"] = _targets(explanation, cause)
            yield step
        elif other != last and other >= explanation.first:
            index = explanation.report(other).index if explanation.is_given(other) else None
            yield {"kind": FUNCTION, "name": function_name(explanation, other), "index": index}
            last = other


def _targets(explanation: Explanation, cause: Cause) -> list[Json]:
    """Return the functions that calls can reach, as far as the module shows."""
    return [
        {
            "name": function_name(explanation, target),
            "may_suspend": explanation.nearest[explanation.graph.suspends(target)] != NOTHING,
        }
        for target in cause.targets
    ]


def _shift(explanation: Explanation) -> int:
    """Return how much higher indices are in the file than in the module that is instrumented."""
    return explanation.reports[0].index - explanation.first if explanation.reports else 0


def _hint(explanation: Explanation, wanted: str) -> str:
    """Return which functions may be meant."""
    from difflib import get_close_matches

    names = [report.name for report in explanation.reports]
    close = [name for name in names if wanted and wanted in name][:_SHOWN]
    close = close or get_close_matches(wanted[:200], [name for name in names[:5000] if len(name) <= 200], 3)
    return f" (did you mean {' or '.join(repr(name) for name in close)}?)" if close else ""


def _indirect_call(explanation: Explanation, node: int) -> Json:
    graph = explanation.graph
    cause = graph.cause_of(node)
    return {
        "name": cause.name,
        "table": cause.table,
        "type": cause.type,
        "may_suspend": node in (graph.successors[ROOT]) or explanation.nearest[node] != NOTHING,
        "targets": _targets(explanation, cause),
        "makers": len(cause.makers),
        "frees": freed_facts(explanation.freed(node)),
    }


def direct_callers(graph: ReasonGraph, function: int) -> list[int]:
    """Return the functions that call one by name."""
    found: list[int] = []
    for successor in graph.successors[graph.suspends(function)]:
        other = graph.function_of(successor)
        if other is not None and successor == graph.reached(other):
            found.append(other)
    return found


def _callers(explanation: Explanation, function: int) -> Json:
    """Return what calls a function, and how many functions it can be on the stack below."""
    graph = explanation.graph
    direct = direct_callers(graph, function)
    through: list[str] = []
    for successor in graph.successors[graph.reached(function)]:
        if graph.function_of(successor) is None:
            through.append(graph.cause_of(successor).name)
    seen = {graph.suspends(function), graph.reached(function)}
    work = list(seen)
    for node in work:
        for successor in graph.successors[node]:
            if successor not in seen:
                seen.add(successor)
                work.append(successor)
    reached = {graph.function_of(node) for node in seen} - {None, function}
    return {
        "direct": [
            {
                "name": function_name(explanation, one),
                "instrumented": explanation.is_given(one) and explanation.report(one).instrumented,
            }
            for one in direct
        ],
        "through_tables": through,
        "all": len(reached),
    }


def _changes(explanation: Explanation, function: int) -> list[Json]:
    """Return the single changes that would free a function, those that free most first."""
    graph = explanation.graph
    found: list[Json] = []
    node = explanation.dominators[graph.stands(function)]
    while node > ROOT:
        other = graph.function_of(node)
        change = None
        if other is None:
            change = graph.cause_of(node).change
        elif other >= explanation.first and not graph.can_be_removed(other):
            pass  # that would be an error
        elif other >= explanation.first and node == graph.suspends(other):
            change = f"with {among_words(function_name(explanation, other))} on the remove-list"
        elif other >= explanation.first and not _is_dominated_by(explanation, function, graph.suspends(other)):
            change = f"if {among_words(function_name(explanation, other))} could not suspend"
        if change is not None:
            kind = FUNCTION if other is not None else graph.cause_of(node).kind
            found.append({"change": change, "kind": kind, "frees": freed_facts(explanation.freed(node))})
        node = explanation.dominators[node]
    return found[::-1]


def _is_dominated_by(explanation: Explanation, function: int, wanted: int) -> bool:
    node = explanation.graph.stands(function)
    while node > ROOT and node != wanted:
        node = explanation.dominators[node]
    return node == wanted


def _causes_of(explanation: Explanation, function: int) -> list[int]:
    """Return the causes from which a suspension can come to a function."""
    graph = explanation.graph
    predecessors: list[list[int]] = [[] for _ in graph.successors]
    for node in explanation.order:
        for successor in graph.successors[node]:
            predecessors[successor].append(node)
    work = [graph.stands(function), graph.suspends(function)]
    seen = set(work)
    for one in work:
        for other in predecessors[one]:
            if other not in seen:
                seen.add(other)
                work.append(other)
    return sorted(seen.intersection(graph.successors[ROOT]))
