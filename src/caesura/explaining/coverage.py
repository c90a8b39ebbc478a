"""What recordings say of a list: which of its functions were on a stack, which never, and which others were.

Where there is no only-list, the functions that are instrumented stand for it. What was recorded comes as entries of
lists, with how often, and matches as entries do; so it may be of an older build, or of several modules, and what
matches nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from caesura.analysis.body_entries import find_bodies
from caesura.analysis.demangling import DemangledNames
from caesura.explaining.explanation import Explanation
from caesura.explaining.list_matches import Matching
from caesura.options import Options
from caesura.wasm.module import Module

_ONLY_LIST: Final = "only_list"


@dataclass(frozen=True)
class Coverage:
    """By own function: `listed` whether it is on the list, `recorded` how often it was on a stack, as far as that is
    known (0: a list lacked it there), or None. `unmatched` are the entries that match no function, and `by_list` tells
    whether there is an only-list.
    """

    listed: list[bool]
    recorded: list[int | None]
    unmatched: list[str]
    by_list: bool


def find_coverage(explanation: Explanation, data: bytes, options: Options, recorded: Mapping[str, int]) -> Coverage:
    """Return what entries, with how often each was recorded, say of a list; `data` is the module as it was given."""
    module = Module(data)
    count = len(explanation.reports)
    first = module.imported_functions
    names = explanation.names[explanation.first : explanation.first + count]
    bodies = {} if options.plain_lists else find_bodies(module, list(recorded)).functions
    matching = Matching(names, first, None if options.plain_lists else DemangledNames(names), bodies)
    times: list[int | None] = [None] * count
    unmatched: list[str] = []
    for entry in matching.entries("recorded", list(recorded)):
        if not entry.functions:
            unmatched.append(entry.text)
        for function in entry.functions:
            own = function - first
            times[own] = max(times[own] or 0, recorded[entry.text])
    by_list = len(options.only_list) > 0
    listed = [report.instrumented and not by_list for report in explanation.reports]
    for entry in explanation.graph.entries:
        if entry.list_name == _ONLY_LIST:
            for function in entry.functions:
                if explanation.is_given(function):
                    listed[function - explanation.first] = True
    return Coverage(listed, times, unmatched, by_list)
