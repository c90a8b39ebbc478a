"""Which functions get two bodies (see `two_bodies`).

What a second body saves are the merges of all locals at all landing points: the gain is their product. It costs about
as much code as the function has. So where options ask for speed, the functions with many merges get one, and all that
look like interpreters; where they ask for balance, only interpreters, those that gain most first, as long as the
functions chosen hold no more than a set share of the module's code. Going by the number of call sites alone was
rejected: SQLite's parser came before its interpreter; in the order of functions, small ones took the place of both.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, decode_body
from caesura.analysis.calls import CallGraph
from caesura.analysis.interpreters import MANY_TARGETS, is_interpreter
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.lists import PatternList, read_list
from caesura.instrument.options import Options
from caesura.wasm.module import Module

# How much of a module's code the functions with two bodies may hold where options ask for balance, in percent, and the
# least product of call sites and locals that is worth the bytes there.
_SHARE: Final = 8
_WORTH_BYTES: Final = 1_000

# The product of call sites and locals from which on any function gets two bodies where options ask for speed. Smaller
# functions than this many bytes do not come near.
_MANY_MERGES: Final = 4_000
_LARGE: Final = 1_000


def select_two_bodies(
    module: Module, graph: CallGraph, suspension: Suspension, options: Options, names: list[str]
) -> set[int]:
    """Return which functions get two bodies, by function index."""
    first = module.imported_functions
    mode = options.two_bodies
    if mode == "never" or (mode == "auto" and options.optimize == "size"):
        return set()
    instrumented = [first + own for own in range(len(graph.callees)) if suspension.instrumented[first + own]]
    if mode == "all":
        return set(instrumented)
    if mode != "auto":
        patterns = PatternList(read_list(mode))
        return {function for function in instrumented if patterns.match(names[function])}
    if options.optimize == "speed":
        return _with_many_merges(module, graph, instrumented, suspension, options)
    return _most_merges_first(module, graph, instrumented, suspension, options)


def _with_many_merges(
    module: Module, graph: CallGraph, instrumented: list[int], suspension: Suspension, options: Options
) -> set[int]:
    chosen: set[int] = set()
    for function in instrumented:
        own = function - module.imported_functions
        is_switch = graph.largest_tables[own] >= MANY_TARGETS
        if not is_switch and module.body_ends[own] - module.body_starts[own] < _LARGE:
            continue
        body = _decode(module, function, suspension, options)
        if body is not None and (_merges(body) >= _MANY_MERGES or (is_switch and is_interpreter(module.data, body))):
            chosen.add(function)
    return chosen


def _most_merges_first(
    module: Module, graph: CallGraph, instrumented: list[int], suspension: Suspension, options: Options
) -> set[int]:
    ranks: list[tuple[int, int]] = []
    for function in instrumented:
        if graph.largest_tables[function - module.imported_functions] < MANY_TARGETS:
            continue
        body = _decode(module, function, suspension, options)
        if body is not None and _merges(body) >= _WORTH_BYTES and is_interpreter(module.data, body):
            ranks.append((-_merges(body), function))
    ranks.sort()
    left = sum(module.body_ends[own] - module.body_starts[own] for own in range(len(module.body_starts)))
    left = left * _SHARE // 100
    chosen: set[int] = set()
    for _, function in ranks:
        own = function - module.imported_functions
        size = module.body_ends[own] - module.body_starts[own]
        if size <= left:
            left -= size
            chosen.add(function)
    return chosen


def _merges(body: Body) -> int:
    return len(body.sites) * body.local_count


def _decode(module: Module, function: int, suspension: Suspension, options: Options) -> Body | None:
    """Return a function's decoded body, or None for one that will be refused, with its place, when it is rewritten."""
    try:
        return decode_body(module, function, suspension, options.ignore_unwind_from_catch, False)
    except (MalformedModule, UnsupportedModule, IndexError, KeyError):
        return None
