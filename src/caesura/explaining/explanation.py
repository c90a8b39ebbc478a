"""A module instrumented, and all that `caesura explain` can say about that: who stands for what, and what it costs.

Sizes are those of function bodies as they are in the two files, so they come from the transformation itself, and are no
estimate. What was added for a function alone counts as part of it, a second body for instance; what many share, such as
the helpers that move frames, is nobody's. What a node of the graph of reasons *frees* is what it dominates: the
functions that would not be instrumented if it were not there, and the bytes that instrumenting added to them. Other
functions would lose call sites besides, which is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.errors import UnsupportedModule, UsageError
from caesura.explaining.dominators import NOTHING, immediate_dominators, nearest
from caesura.explaining.reason_graph import CLOSED_TABLE, IMPORT, INDIRECT, ROOT, Cause, ReasonGraph
from caesura.instrument.frames.pieces import AUTOMATIC
from caesura.instrument.pipeline import transform
from caesura.instrument.rewriting import Progress
from caesura.options import Options
from caesura.report import FunctionReport, Instrumented
from caesura.wasm.component import Component, is_component
from caesura.wasm.module import Module

IGNORE_INDIRECT: Final = "with --ignore-indirect"


@dataclass(frozen=True)
class Freed:
    """Functions that would not be instrumented, and the bytes that they would be smaller by."""

    functions: int
    bytes: int


class Explanation:
    """What is known of an instrumented module.

    Functions go by their index in the module that is instrumented, `first` being the first own one; `reports[own]` has
    what became of each that was given, with its index in the file. `before[own]` and `after[own]` are the sizes of
    its bodies. `dominators` and `nearest` are by node of the graph: the last node without which it would not be
    reached, and the one before it on a shortest path.
    """

    def __init__(self, instrumented: Instrumented, graph: ReasonGraph, names: list[str], data: bytes) -> None:
        self.instrumented = instrumented
        self.reports: tuple[FunctionReport, ...] = instrumented.functions
        self.graph = graph
        self.names = names
        self.first = graph.module.imported_functions
        count = len(self.reports)
        self.before = _body_sizes(data)[:count]
        after = _body_sizes(instrumented.module)
        self.after = [after[own] + report.other_bodies for own, report in enumerate(self.reports)]
        self.dominators, self.order = immediate_dominators(graph.successors, ROOT)
        self.nearest = nearest(graph.successors, [ROOT])
        self._functions, self._bytes = self._sum_up()

    def added(self, own: int) -> int:
        """Return by how many bytes a function's body grew."""
        return self.after[own] - self.before[own]

    def freed(self, node: int) -> Freed:
        """Return what would be spared if a node of the graph were not there."""
        return Freed(self._functions[node], self._bytes[node])

    def freed_by_removing(self, function: int) -> Freed:
        """Return what would be spared if a function were on the remove-list; nothing if it cannot be."""
        graph = self.graph
        return self.freed(graph.suspends(function)) if graph.can_be_removed(function) else Freed(0, 0)

    def is_given(self, function: int) -> bool:
        """Tell whether a function is one of the module's own, as it was given."""
        return self.first <= function < self.first + len(self.reports)

    def report(self, function: int) -> FunctionReport:
        """Return what became of one of the module's own functions."""
        return self.reports[function - self.first]

    def causes(self) -> list[tuple[int, Cause]]:
        """Return the causes, with the node of each, those that free most first."""
        nodes = [(self.graph.first_cause + place, cause) for place, cause in enumerate(self.graph.causes)]
        return sorted(nodes, key=lambda item: (-self._bytes[item[0]], -self._functions[item[0]], item[0]))

    def without_indirect(self) -> Freed:
        """Return what would be spared if no call through a table or a reference suspended."""
        graph = self.graph
        kinds = (INDIRECT, CLOSED_TABLE)
        indirect = {graph.first_cause + place for place, cause in enumerate(graph.causes) if cause.kind in kinds}
        successors = graph.successors
        seen = [False] * len(successors)
        seen[ROOT] = True
        work = [ROOT]
        for node in work:
            for successor in successors[node]:
                if not seen[successor] and successor not in indirect:
                    seen[successor] = True
                    work.append(successor)
        functions = 0
        size = 0
        for own, report in enumerate(self.reports):
            if report.instrumented and not seen[graph.stands(self.first + own)]:
                functions += 1
                size += self.added(own)
        return Freed(functions, size)

    def nearest_import(self) -> list[int]:
        """Return for each node the one before it on a shortest path from an import.

        Calls through what others can change are part of the paths: they reach what the module puts there.
        """
        graph = self.graph
        successors = [list(following) for following in graph.successors]
        imports: list[int] = []
        for place, cause in enumerate(graph.causes):
            if cause.kind == IMPORT:
                imports.append(graph.first_cause + place)
            elif cause.kind == INDIRECT:
                for target in cause.targets:
                    successors[graph.suspends(target)].append(graph.first_cause + place)
        return nearest(successors, imports)

    def _sum_up(self) -> tuple[list[int], list[int]]:
        """Return by node how many instrumented functions it dominates, itself included, and what these cost."""
        functions = [0] * len(self.graph.successors)
        sizes = [0] * len(self.graph.successors)
        for own, report in enumerate(self.reports):
            if report.instrumented:
                node = self.graph.stands(self.first + own)
                functions[node] = 1
                sizes[node] = self.added(own)
        for node in reversed(self.order):
            above = self.dominators[node]
            if above != NOTHING:
                functions[above] += functions[node]
                sizes[above] += sizes[node]
        return functions, sizes


def explain(data: bytes, options: Options, progress: Progress | None = None) -> Explanation:
    """Instrument a module and return what can be said about that.

    Raises what `caesura.instrument` raises, and UnsupportedModule for a component: see `core_module`.
    """
    if is_component(data):
        raise UnsupportedModule(
            "this is a component, whose core modules are explained one at a time: take one out first"
        )
    done = transform(data, options, progress, AUTOMATIC, None)
    graph = ReasonGraph(done.given, done.facts, options)
    return Explanation(done.instrumented, graph, done.given.names.names, data)


def core_module(data: bytes, number: int | None) -> bytes:
    """Return the core module of a component with a number, or a module that is none; raises UsageError."""
    if not is_component(data):
        if number is not None:
            raise UsageError("--core-module is for components, and this is a module")
        return data
    modules = Component(data).core_modules
    if number is None and len(modules) == 1:
        number = 0
    if number is None or not 0 <= number < len(modules):
        of = f"0 to {len(modules) - 1}" if modules else "but it has none"
        raise UsageError(f"this is a component: say which of its core modules with --core-module, {of}")
    first, end = modules[number]
    return data[first:end]


def _body_sizes(data: bytes) -> list[int]:
    module = Module(data)
    return [end - start for start, end in zip(module.body_starts, module.body_ends, strict=True)]
