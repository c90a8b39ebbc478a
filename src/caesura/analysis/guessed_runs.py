"""How often functions run, guessed from nothing but who calls whom.

Where a module has an interpreter, that is what it is about. So this runs most, and each function hands on how often it
runs to those that it calls, in equal parts and a little less, since not every run calls anything; what many such
functions come to call is what runs often. A function also counts for each of its callers: what is called from many
places was written to be called often.

With counts of all calls that SQLite, QuickJS and PHP make in the benchmarks, functions chosen by this guess for their
bytes make up two times as many of the calls as those chosen by size, callers and what the interpreter calls itself.
Left out, since they chose much the same functions: from how many places and in which loops a function is called, for
which bodies have to be decoded; and a start at what calls the interpreter, which served QuickJS's generators only.
"""

from __future__ import annotations

import math
from typing import Final

from caesura.analysis.calls import CallGraph
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# How often an interpreter runs, how often any function does besides, and what part of that its callees do.
_INTERPRETER: Final = 100.0
_ANY: Final = 0.05
_HANDED_ON: Final = 0.8
# How many calls deep that is followed.
_STEPS: Final = 8
# Added to the bytes of a function where these stand for what it costs.
_LEAST_COST: Final = 60


def by_guessed_runs(
    module: Module,
    graph: CallGraph,
    functions: list[FunctionIndex],
    frameless: dict[FunctionIndex, FunctionIndex],
    interpreters: set[FunctionIndex],
) -> list[FunctionIndex]:
    """Return functions in the order of how much they run for their size, those that run most for it coming first.

    What `functions` call through `frameless` ones, given with the one that each of these calls, they call themselves.
    """
    runs = _guess(module, graph, functions, frameless, interpreters)
    callers = [1] * len(runs)
    for callees in graph.callees:
        for callee in callees:
            callers[callee] += 1
    ranked: list[tuple[float, FunctionIndex]] = []
    for function in functions:
        own = module.own_of(function)
        size = _LEAST_COST + module.body_ends[own] - module.body_starts[own]
        ranked.append((-runs[function] * callers[function] / math.sqrt(size), function))
    ranked.sort()
    return [function for _, function in ranked]


def _guess(
    module: Module,
    graph: CallGraph,
    functions: list[FunctionIndex],
    frameless: dict[FunctionIndex, FunctionIndex],
    interpreters: set[FunctionIndex],
) -> list[float]:
    """Return how often each function runs, by function index; 0 for those that are not among the given ones."""
    first = [0.0] * len(module.function_types)
    for function in functions:
        first[function] = _INTERPRETER if function in interpreters else _ANY
    called = [_called(graph.callees[module.own_of(function)], first, frameless) for function in functions]
    runs = first
    for _ in range(_STEPS):
        following = first.copy()
        for place in range(len(functions)):
            callees = called[place]
            if callees:
                part = _HANDED_ON * runs[functions[place]] / len(callees)
                for callee in callees:
                    following[callee] += part
        runs = following
    return runs


def _called(
    callees: list[FunctionIndex], first: list[float], frameless: dict[FunctionIndex, FunctionIndex]
) -> list[FunctionIndex]:
    """Return those of a function's callees that run at all, or what frameless ones of them call."""
    found: list[FunctionIndex] = []
    for callee in callees:
        called = callee
        while called in frameless:
            called = frameless[called]
        if first[called] > 0.0:
            found.append(called)
    return found
