"""What a run is asked to do and what can be observed of it, the same for every engine."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from tests.oracle.cases import Case
from tests.oracle.world import (
    BEHAVIOUR_COUNT,
    BEHAVIOURS,
    FUEL_USED,
    GROUND_USED,
    HEADER_SIZE,
    LOG,
    LOG_POSITION,
    PAUSES,
    PORTIONS,
    SEED,
    STACK_SIZE,
    STACKS,
    SUSPENDING_MASK,
    SUSPENSION_COUNT,
    SUSPENSIONS,
    UNWINDS,
)

NO_PORTIONS: Final = (1 << 31) - 1
"""Portions of fuel of any size, which no guest of the oracle uses up."""


class Schedule(NamedTuple):
    """When a guest is suspended: by its imports, and at its pause points, where it has any.

    With each pause it gets another portion of fuel, a number of which no bits are set but these.
    """

    suspensions: bytes
    portions: int = NO_PORTIONS


NEVER: Final = Schedule(b"\0")
"""A run without suspensions."""

GUARD: Final = STACKS + 2 * STACK_SIZE
"""Memory from here on belongs to nobody."""


class Outcome(NamedTuple):
    """What can be observed of a run."""

    trap: str
    log: bytes
    memory: bytes
    stray: bool
    """Whether anything was written to memory that belongs neither to the guest nor to the asyncify stacks."""
    pages: int
    fault: int
    unwinds: int
    pauses: int
    fuel_used: int


def initial_ledger(case: Case, schedule: Schedule) -> bytes:
    """The ledger's bytes before a run, up to the log."""
    suspensions = schedule.suspensions
    ledger = bytearray(LOG)
    for offset, value in (
        (LOG_POSITION, LOG),
        (BEHAVIOUR_COUNT, len(case.behaviours)),
        (SUSPENSION_COUNT, len(suspensions)),
        (SUSPENDING_MASK, case.suspending_mask),
        (SEED, case.seed),
        (PORTIONS, schedule.portions),
    ):
        struct.pack_into("<I", ledger, offset, value)
    ledger[BEHAVIOURS : BEHAVIOURS + len(case.behaviours)] = case.behaviours
    ledger[SUSPENSIONS : SUSPENSIONS + len(suspensions)] = suspensions
    return bytes(ledger)


def outcome(trap: str, ledger: bytes, memory: bytes) -> Outcome:
    """Read a run's ledger and memory."""
    assert len(ledger) > HEADER_SIZE
    fault, log_end, unwinds = (struct.unpack_from("<I", ledger, at)[0] for at in (0, LOG_POSITION, UNWINDS))
    pauses, fuel_used = struct.unpack_from("<Iq", ledger, PAUSES)
    assert FUEL_USED == PAUSES + 4
    stray = any(memory[GROUND_USED:STACKS]) or any(memory[GUARD:])
    return Outcome(
        trap,
        bytes(ledger[LOG:log_end]),
        bytes(memory[:GROUND_USED]),
        stray,
        len(memory) >> 16,
        fault,
        unwinds,
        pauses,
        fuel_used,
    )
