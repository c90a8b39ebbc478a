"""What a run is asked to do and what can be observed of it, the same for every engine."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from tests.oracle.cases import Case
from tests.oracle.world import (
    BEHAVIOUR_COUNT,
    BEHAVIOURS,
    GROUND_USED,
    HEADER_SIZE,
    LOG,
    LOG_POSITION,
    SEED,
    STACK_SIZE,
    STACKS,
    SUSPENDING_MASK,
    SUSPENSION_COUNT,
    SUSPENSIONS,
    UNWINDS,
)

NEVER: Final = b"\0"
"""The suspensions of a run without any."""

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


def initial_ledger(case: Case, suspensions: bytes) -> bytes:
    """The ledger's bytes before a run, up to the log."""
    ledger = bytearray(LOG)
    for offset, value in (
        (LOG_POSITION, LOG),
        (BEHAVIOUR_COUNT, len(case.behaviours)),
        (SUSPENSION_COUNT, len(suspensions)),
        (SUSPENDING_MASK, case.suspending_mask),
        (SEED, case.seed),
    ):
        struct.pack_into("<I", ledger, offset, value)
    ledger[BEHAVIOURS : BEHAVIOURS + len(case.behaviours)] = case.behaviours
    ledger[SUSPENSIONS : SUSPENSIONS + len(suspensions)] = suspensions
    return bytes(ledger)


def outcome(trap: str, ledger: bytes, memory: bytes) -> Outcome:
    """Read a run's ledger and memory."""
    assert len(ledger) > HEADER_SIZE
    fault, log_end, unwinds = (struct.unpack_from("<I", ledger, at)[0] for at in (0, LOG_POSITION, UNWINDS))
    stray = any(memory[GROUND_USED:STACKS]) or any(memory[GUARD:])
    return Outcome(
        trap, bytes(ledger[LOG:log_end]), bytes(memory[:GROUND_USED]), stray, len(memory) >> 16, fault, unwinds
    )
