"""Which functions get two bodies (see `two_bodies`).

Those that look like interpreters, or those that the user names. A second body costs about as much code as the function
has, so where options ask for balance, those that gain most come first, as long as the functions chosen hold no more
than a set share of the module's code. What a second body saves are the merges of all locals at all landing points: gain
is their product. By the number of call sites alone, SQLite's parser came before its interpreter; in the order of
functions, small ones in front took the place of both.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import decode_body
from caesura.analysis.calls import CallGraph
from caesura.analysis.interpreters import MANY_TARGETS, handoff_loops
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.lists import PatternList, read_list
from caesura.instrument.options import Options
from caesura.wasm.module import Module

# How much of a module's code the functions with two bodies may hold where options ask for balance, in percent.
_SHARE: Final = 8

# Below this product of call sites and locals a second body is not worth its bytes there.
_LEAST_MERGES: Final = 1000


class Selection:
    """The functions that get two bodies, by function index, as far as their loops allow it.

    `forced` tells that they need not look like interpreters.
    """

    def __init__(self, functions: set[int], forced: bool) -> None:
        self.functions = functions
        self.forced = forced


def select_two_bodies(
    module: Module, graph: CallGraph, suspension: Suspension, options: Options, names: list[str]
) -> Selection:
    """Return which functions get two bodies."""
    instrumented = [
        own for own in range(len(graph.callees)) if suspension.instrumented[module.imported_functions + own]
    ]
    mode = options.two_bodies
    if mode == "never" or (mode == "auto" and options.optimize == "size"):
        return Selection(set(), False)
    if mode == "all":
        return Selection({module.imported_functions + own for own in instrumented}, True)
    if mode != "auto":
        patterns = PatternList(read_list(mode))
        functions = [module.imported_functions + own for own in instrumented]
        return Selection({function for function in functions if patterns.match(names[function])}, True)
    interpreters = [own for own in instrumented if graph.largest_tables[own] >= MANY_TARGETS]
    if options.optimize == "speed":
        return Selection({module.imported_functions + own for own in interpreters}, False)
    return Selection(_most_merges_first(module, interpreters, suspension, options), False)


def _most_merges_first(module: Module, interpreters: list[int], suspension: Suspension, options: Options) -> set[int]:
    ranks: list[tuple[int, int]] = []
    for own in interpreters:
        function = module.imported_functions + own
        try:
            body = decode_body(module, function, suspension, options.ignore_unwind_from_catch, False)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            continue  # refused, with its place, when it is rewritten
        if len(body.sites) * body.local_count >= _LEAST_MERGES and handoff_loops(module.data, body, False):
            ranks.append((-len(body.sites) * body.local_count, own))
    ranks.sort()
    left = sum(module.body_ends[own] - module.body_starts[own] for own in range(len(module.body_starts)))
    left = left * _SHARE // 100
    chosen: set[int] = set()
    for _, own in ranks:
        size = module.body_ends[own] - module.body_starts[own]
        if size <= left:
            left -= size
            chosen.add(module.imported_functions + own)
    return chosen
