"""What each function is to the transformation: what the analysis of the whole module says."""

from __future__ import annotations

from dataclasses import dataclass

from caesura.analysis.suspension import Suspension
from caesura.analysis.tail_calls import TailCalls
from caesura.wasm.indices import FunctionIndex


@dataclass(frozen=True, kw_only=True)
class Roles:
    """By function index: `suspension` tells which may suspend, `entered` which can be entered from outside.

    Two kinds need no frame, each with the function that it calls: `wrappers` stay as they are (see
    `analysis.wrappers`), `tails` come to their only call again (see `analysis.tail_sites`). `two_bodies` are those that
    get two bodies where that serves. `tail_calls` are those that may suspend; `identified` are the functions that can
    leave or be entered by these and have frames, ascending.
    """

    suspension: Suspension
    wrappers: dict[FunctionIndex, FunctionIndex]
    tails: dict[FunctionIndex, FunctionIndex]
    entered: list[bool]
    two_bodies: set[FunctionIndex]
    tail_calls: TailCalls
    identified: list[FunctionIndex]

    def frameless(self) -> dict[FunctionIndex, FunctionIndex]:
        """Return all functions that need no frame, and the function that each calls."""
        return {**self.wrappers, **self.tails}

    def framed(self) -> list[bool]:
        """Return for each function whether it is instrumented and has a frame."""
        frameless = self.frameless()
        instrumented = self.suspension.instrumented
        return [instrumented[function] and function not in frameless for function in range(len(instrumented))]
