"""Who calls what, for the page: the callers of each function, and what calls through tables and references can reach.

The page shows these of whichever function is chosen, so it needs all of them: in PHP a hundred thousand pairs of caller
and callee. They are columns like all else there: lists of places, each told by how far it is behind the one before, a
few characters for each pair. Who is called by name is not in it, since that are the same pairs once more; nor is how
many functions can have one below them on the stack, which the command tells of one function.
"""

from __future__ import annotations

from typing import Any

from caesura.explaining.dominators import NOTHING
from caesura.explaining.explanation import Explanation
from caesura.explaining.one_function import direct_callers, function_name
from caesura.explaining.reason_graph import CLOSED_TABLE, INDIRECT


def call_columns(explanation: Explanation) -> dict[str, Any]:
    """Return the columns.

    `callers` has for each function those that call it by name; `targets` for each cause what its calls can reach, and
    `makers` who makes them, which is empty for causes that are no calls. All are places of functions, where
    places behind the last one are of `others`, names of imports and of functions that were added; each is told by how
    far it is behind the one before. `unlike` has the places of functions that are instrumented and may not suspend, or
    the other way round.
    """
    places = _Places(explanation)
    first, count = explanation.first, len(explanation.reports)
    calls = [cause if cause.kind in (INDIRECT, CLOSED_TABLE) else None for _, cause in explanation.causes()]
    return {
        "callers": [
            places.differences(direct_callers(explanation.graph, function)) for function in range(first, first + count)
        ],
        "targets": [places.differences(cause.targets) if cause is not None else [] for cause in calls],
        "makers": [places.differences(cause.makers) if cause is not None else [] for cause in calls],
        "others": places.others,
        "unlike": [
            own for own, report in enumerate(explanation.reports) if report.instrumented != _suspends(explanation, own)
        ],
    }


def _suspends(explanation: Explanation, own: int) -> bool:
    node = explanation.graph.suspends(explanation.first + own)
    return explanation.nearest[node] != NOTHING


class _Places:
    """The places of functions; those that are not the module's own get one, and a name, when they are asked for."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        self._of_others: dict[int, int] = {}
        self.others: list[str] = []

    def differences(self, functions: list[int] | tuple[int, ...]) -> list[int]:
        """Return the places of functions, ascending, each by how far it is behind the one before."""
        places = sorted({self._place(function) for function in functions})
        return [place - before for before, place in zip([0, *places], places, strict=False)]

    def _place(self, function: int) -> int:
        explanation = self._explanation
        if explanation.is_given(function):
            return function - explanation.first
        if function not in self._of_others:
            self._of_others[function] = len(explanation.reports) + len(self.others)
            self.others.append(function_name(explanation, function))
        return self._of_others[function]
