"""The property: an instrumented program, suspended and resumed wherever it was, is the program it was before."""

from __future__ import annotations

from collections.abc import Callable

from tests.oracle.cases import Case
from tests.oracle.generator import Option
from tests.oracle.outcome import NEVER, Outcome, Schedule
from tests.oracle.world import FAULTS, IMPORTS

Instrument = Callable[[bytes, dict[str, Option]], bytes]
RunAll = Callable[[Case, bytes, list[Schedule]], tuple[Outcome, list[Outcome]]]

ALWAYS_ONCE = Schedule(b"\1")

AT_EVERY_POINT = 0
"""Portions of fuel with which a guest pauses at each of its pause points."""
AT_SOME_POINTS = (0x1F, 0x1FF)


class Divergence(AssertionError):
    """An instrumented program that does not behave like the original."""


def schedules(case: Case) -> list[Schedule]:
    """The suspensions to try: none, each import once, and the case's own; with pause points, pauses besides."""
    own = Schedule(case.suspensions)
    if "preempt" not in case.options:
        return [NEVER, ALWAYS_ONCE, own]
    more = [own._replace(portions=portions) for portions in (AT_EVERY_POINT, *AT_SOME_POINTS)]
    return [NEVER, NEVER._replace(portions=AT_EVERY_POINT), own, *more]


def check(case: Case, instrument: Instrument, run_all: RunAll) -> int:
    """Instrument and run a case; returns how often it was suspended, or raises."""
    tried = schedules(case)
    original, instrumented = run_all(case, instrument(case.module, case.options), tried)
    for schedule, result in zip(tried, instrumented, strict=True):
        judge(original, result, schedule)
        if original.trap == "" and result.fuel_used != instrumented[0].fuel_used:
            raise Divergence(f"{schedule}: {result.fuel_used} of fuel instead of {instrumented[0].fuel_used}")
    return sum(result.unwinds + result.pauses for result in instrumented)


def judge(original: Outcome, instrumented: Outcome, schedule: Schedule) -> None:
    """Raise `Divergence` where the two differ."""
    if original.fault:
        raise AssertionError(f"the original program's run is at fault: {FAULTS[original.fault]}")
    found = []
    if instrumented.fault:
        found.append(f"broken promise: {FAULTS[instrumented.fault]}")
    if original.trap != instrumented.trap:
        found.append(f"trap: {original.trap or 'none'} became {instrumented.trap or 'none'}")
    if original.log != instrumented.log:
        found.append(_first_difference("log", original.log, instrumented.log))
    if original.memory != instrumented.memory:
        found.append(_first_difference("memory", original.memory, instrumented.memory))
    if instrumented.stray:
        found.append("memory outside the guest's and the asyncify stack's was written")
    if original.pages != instrumented.pages:
        found.append(f"memory has {instrumented.pages} pages instead of {original.pages}")
    if found:
        raise Divergence(
            f"suspensions {schedule.suspensions.hex()}, portions {schedule.portions:#x}, "
            f"{instrumented.unwinds} unwinds, {instrumented.pauses} pauses: {'; '.join(found)}"
        )


def _first_difference(what: str, expected: bytes, actual: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), None)
    if at is None:
        return f"{what}: {len(actual)} bytes instead of {len(expected)}"
    start = at & ~15
    text = f"{what} at {at:#x}: {actual[start : start + 16].hex()} instead of {expected[start : start + 16].hex()}"
    return text


def describe_log(log: bytes) -> list[str]:
    """The log in words, for whoever looks into a failure."""
    lines = []
    at = 0
    while at + 8 <= len(log):
        kind = int.from_bytes(log[at : at + 4], "little")
        second = int.from_bytes(log[at + 4 : at + 8], "little")
        if kind < len(IMPORTS):
            size = 16 * len(IMPORTS[kind].params)
            title = f"{'nested ' if second else ''}{IMPORTS[kind].name}"
            at += 8
        elif kind == 100:
            size, title = 80, f"entry{second} returned"
            at += 16
        elif kind == 101:
            size, title = 16, f"exception of tag {second}"
            at += 8
        else:
            break
        values = [log[i : i + 16] for i in range(at, at + size, 16)]
        lines.append(f"{title} {' '.join(v[::-1].hex().lstrip('0') or '0' for v in values)}")
        at += size
    lines.append(f"globals {log[at:].hex()}")
    return lines
