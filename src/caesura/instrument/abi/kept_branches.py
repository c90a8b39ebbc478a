"""Where conditional branches of functions are in their new bodies, so that hints about them can follow.

A `br_if` or `if` of the original is one again in the body that takes the original's place, or a `br_if` around what was
the arm of an `if`: then what was likely is unlikely. Branches that are added have no hints, nor have those of resume
bodies, which run once for each resumption.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.indices import FunctionIndex
from caesura.wasm.moved import Moved


class KeptBranch:
    """Where a branch is in the new body, from its start; `is_opposite`: it is taken where the old one was not."""

    def __init__(self, place: int, *, is_opposite: bool) -> None:
        self.place: Final = place
        self.is_opposite: Final = is_opposite


class KeptBranches:
    """The branches of each function, by their offsets in its old body.

    There are none of functions in `moved`, whose code was in other places when it was planned, and none at all unless
    they `are_wanted`.
    """

    def __init__(self, moved: set[FunctionIndex], *, are_wanted: bool) -> None:
        self._moved = moved
        self._are_wanted = are_wanted
        self.by_function: dict[FunctionIndex, dict[int, KeptBranch]] = {}

    def are_kept(self, function: FunctionIndex) -> bool:
        """Tell whether the branches of a function are to be noted."""
        return self._are_wanted and function not in self._moved

    def move(self, function: FunctionIndex, moved: Moved) -> None:
        """Say where the branches of a function are after its new body has changed again."""
        for offset, branch in self.by_function.get(function, {}).items():
            self.by_function[function][offset] = KeptBranch(moved.place(branch.place), is_opposite=branch.is_opposite)
