"""Draws an experiment's decisions, and shrinks those of a failing one.

An experiment is three strings of decisions: the program, what imports do, and the suspensions. Deleting stretches and
zeroing bytes shrinks them well, because zero is the simplest decision everywhere and missing bytes are zeros.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from tests.oracle.cases import make_case
from tests.oracle.generator import Features
from tests.oracle.property import Instrument, RunAll, check

Parts = tuple[bytes, bytes, bytes]


def draw_parts(source: Random) -> Parts:
    """Draw an experiment: programs of different lengths, few without behaviours or suspensions."""
    program = source.randbytes(source.choice((60, 300, 700, 1200, 1800, 2500)))
    return program, source.randbytes(source.randrange(60)), source.randbytes(source.randrange(60))


def failure(parts: Parts, features: Features, instrument: Instrument, run_all: RunAll) -> str:
    """What is wrong with an experiment, without what differs from one to the next; empty if nothing is."""
    try:
        check(make_case(*parts, features), instrument, run_all)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        text = re.sub(r"\b(0x[0-9a-f]+|[0-9a-f]{6,}|[if]32|[if]64|v128)\b|\d+", "#", text)
        return re.sub(r"suspensions #|\w+ unwinds|::\w+", "", text)[:400]
    return ""


def minimise(parts: Parts, fails: Callable[[Parts], bool], attempts: int = 4000) -> Parts:
    """Return smaller parts that still fail, trying at most so many times."""
    left = [attempts]

    def still_fails(candidate: Parts) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(candidate)

    size = -1
    while size != _weight(parts) and left[0] > 0:
        size = _weight(parts)
        for which in (2, 1, 0):
            parts = _shrink_part(parts, which, still_fails)
    return parts


def _weight(parts: Parts) -> int:
    return sum(len(p) * 256 + sum(p) for p in parts)


def _replaced(parts: Parts, which: int, data: bytes) -> Parts:
    changed = list(parts)
    changed[which] = data
    return changed[0], changed[1], changed[2]


def _shrink_part(parts: Parts, which: int, fails: Callable[[Parts], bool]) -> Parts:
    step = max(1, len(parts[which]) // 2)
    while step:
        at = 0
        while at < len(parts[which]):
            data = parts[which]
            shorter = _replaced(parts, which, data[:at] + data[at + step :])
            zeroed = _replaced(parts, which, data[:at] + bytes(len(data[at : at + step])) + data[at + step :])
            if fails(shorter):
                parts = shorter
                continue
            if any(data[at : at + step]) and fails(zeroed):
                parts = zeroed
            at += step
        step //= 2
    for at in range(len(parts[which])):
        for smaller in (1, 2, 3):
            data = parts[which]
            if smaller < data[at]:
                candidate = _replaced(parts, which, data[:at] + bytes((smaller,)) + data[at + 1 :])
                if fails(candidate):
                    parts = candidate
                    break
    return parts
