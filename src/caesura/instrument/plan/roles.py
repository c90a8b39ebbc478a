"""What each function is to the transformation: what the analysis of the whole module says."""

from __future__ import annotations

from dataclasses import dataclass

from caesura.analysis.suspension import Suspension


@dataclass(frozen=True)
class Roles:
    """By function index: `suspension` tells which may suspend, `entered` which can be entered from outside.

    Two kinds need no frame, each with the function that it calls: `wrappers` stay as they are (see
    `analysis.wrappers`), `tails` come to their only call again (see `analysis.tail_sites`). `two_bodies` are those that
    get two bodies where that serves.
    """

    suspension: Suspension
    wrappers: dict[int, int]
    tails: dict[int, int]
    entered: list[bool]
    two_bodies: set[int]
