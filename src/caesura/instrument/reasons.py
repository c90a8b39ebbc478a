"""Why a function is instrumented, or why not, in words."""

from __future__ import annotations

from typing import Final

from caesura.analysis.suspension import INDIRECT_CALL, LISTED, NOT_SUSPENDING, RUNTIME, SUSPENDING_IMPORT, Suspension

# Functions in a reason; what lies between them and where the suspension starts is left out.
_LONGEST_PATH: Final = 12


def reason_of(function: int, sites: int, suspension: Suspension, names: list[str]) -> str:
    """Return the reason for one of the module's own functions; call paths are written `a -> b -> c`.

    Where a step is a call through a table, the table is named: `a -> b (in table 0) -> c`.
    """
    if suspension.bottommost[function]:
        return "part of the guest's own runtime: it stops unwinding or starts rewinding"
    if suspension.topmost[function]:
        return "part of the guest's own runtime: it starts unwinding or stops rewinding"
    if not suspension.may_suspend(function):
        return "it calls nothing that may suspend, or is kept out by a list"
    if not sites:
        return "it may suspend, but has no call that can"
    path = suspension.path(function, _LONGEST_PATH)
    root = suspension.root[function]
    steps: list[str] = []
    for place in range(1, len(path)):
        table = suspension.through_table.get(path[place - 1], -1)
        steps.append(names[path[place]] + (f" (in table {table})" if table >= 0 else ""))
    if path[-1] != root:
        steps += ["...", names[root]]
    calls = " -> ".join(steps)
    cause = _cause(root, suspension)
    return f"{calls}, {cause}" if calls else cause


def _cause(function: int, suspension: Suspension) -> str:
    reason = suspension.reason[function]
    if reason == SUSPENDING_IMPORT:
        return "an import that may suspend"
    if reason == INDIRECT_CALL:
        return "which calls through a table or a reference"
    if reason == LISTED:
        return "which a list names"
    if reason == RUNTIME:
        return "which starts unwinding"
    assert reason != NOT_SUSPENDING
    return "which calls itself"
