"""Which instructions of a function are not just copied into its new bodies, and what is to be done at each."""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.instrument.plan.plan import Producer, instruction_of
from caesura.instrument.plan.regions import Layout
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.control_kinds import IS_CONTROL
from caesura.wasm import opcodes as op
from caesura.wasm.indices import LocalIndex
from caesura.wasm.types import is_non_null

CONTROL: Final = 1
# A call that may suspend; and the instruction behind which that is checked, which can be the next one.
SITE: Final = 2
CHECKED: Final = 32
# Where a landing point or a group of them begins, or operands that crossed a call are put back on the stack.
LANDING: Final = 4
# Its value is read again elsewhere; and: its values go to temporaries.
MOVED: Final = 8
SPILLED: Final = 16
# Control does not go on behind it.
LEAVING: Final = 64
# A tail call; or it reads a local that can be null here and could not in the original; or a call in a
# handler of a foreign exception (see `abi.foreign_handlers`). These are few, and never the same instruction.
TAIL_CALL: Final = 128
NARROWED: Final = 128
FOREIGN: Final = 128


def mark_instructions(planned: PlannedFunction, layout: Layout, first_widened: int) -> bytes:
    """Return the marks of each instruction, and 0 behind the last one; bytes, which compiled code reads fastest.

    `layout` says where frames land in the body that is written; there, locals from `first_widened` on can be null.
    """
    plan = planned.plan
    sites = plan.sites
    marks = bytearray(IS_CONTROL.of(planned.body) + b"\0")
    for site in range(len(sites.calls)):
        call = sites.calls[site]
        marks[call] |= SITE
        if planned.frame.is_saved:
            marks[call + 1 if call in planned.checked_late else call] |= CHECKED
        marks[sites.landings[site]] |= LANDING
    for call in planned.body.tail_calls + planned.body.quiet_tail_calls:
        marks[call] |= TAIL_CALL
    for landing in layout.landings:
        marks[landing] |= LANDING
    for head in layout.heads:
        if head & 1 == 0:  # a group's
            marks[head >> 1] |= LANDING
    for producer in plan.crossing.moved:
        marks[producer] |= MOVED
    for given in plan.crossing.temporaries:
        index = instruction_of(Producer(given))
        if index not in plan.constructs.regions:  # parameters of regions are taken in at the region's head
            marks[index] |= SPILLED
    for call in planned.body.catch_sites:
        marks[call] |= FOREIGN
    for behind in plan.dead:
        marks[behind - 1] |= LEAVING
    if planned.body.has_non_null:
        _mark_narrowed(planned.body, marks, first_widened)
    return bytes(marks)


def _mark_narrowed(body: Body, marks: bytearray, first: int) -> None:
    """Mark the reads of locals, from `first` on, that cannot be null in the original."""
    codes = body.codes
    non_null = [local >= first and is_non_null(body.local_type(LocalIndex(local))) for local in range(body.local_count)]
    for index in range(len(codes)):
        if codes[index] == op.LOCAL_GET or codes[index] == op.LOCAL_TEE:
            if non_null[body.immediates[index]]:
                marks[index] |= NARROWED
