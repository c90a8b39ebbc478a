"""The targets, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.fuzz import changed_states, hostile_malloc, lies, mutated_snapshots, wasi_calls
from tests.fuzz.running import Case


@dataclass(frozen=True)
class Target:
    """A kind of cases. At least `used` in a hundred must have run a guest: what is refused tests little."""

    case: Case
    used: int


TARGETS: Final = {
    "changed_states": Target(changed_states.case, 90),
    "lies": Target(lies.case, 20),
    "malloc": Target(hostile_malloc.case, 40),
    "snapshots": Target(mutated_snapshots.case, 70),
    "wasi": Target(wasi_calls.case, 70),
}
