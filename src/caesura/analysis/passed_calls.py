"""Which loops need no pause point since each of their iterations calls a function that always passes one.

Functions are looked at in the order of calls, callees first, so that it is known of what they call (see
`passed_loops`); on cycles of calls what is not known yet does not pass. What has a pause point at its entry passes one
always.

Giving more functions one at their entry, those that many loops call, was tried and left out: what many loops call is
called from everywhere.
"""

from __future__ import annotations

from caesura.analysis.cycles import callees_first
from caesura.analysis.looped_calls import LoopedCalls
from caesura.analysis.passed_loops import find_passed
from caesura.wasm.module import Module


class PassedCalls:
    """Looks at the functions of a module; `codes` are those of its own functions."""

    def __init__(self, module: Module, codes: list[LoopedCalls]) -> None:
        self._data = module.data
        self._imported = module.imported_functions
        self._codes = codes
        successors: list[list[int]] = []
        for code in codes:
            called = [callee - self._imported for callee in code.callees if callee >= self._imported]
            successors.append(list(dict.fromkeys(called)))
        self._order = callees_first(successors, [False] * len(codes))

    def passing_loops(self, has_entry: list[bool]) -> list[list[bool]]:
        """Tell of each own function's loops which pass a pause point in each of their iterations.

        `has_entry` tells which own functions have one at their entry, and may have further elements.
        """
        passing = [False] * self._imported + has_entry[: len(self._codes)]
        loops: list[list[bool]] = [[]] * len(self._codes)
        for own in self._order:
            found = find_passed(self._data, self._codes[own], passing)
            passing[self._imported + own] = passing[self._imported + own] or found.whole
            loops[own] = found.loops
        return loops
