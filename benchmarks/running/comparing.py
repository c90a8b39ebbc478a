"""From rounds to figures: ratios within each round, their median and their spread over the rounds.

The variants of a program take turns in each round, so what the machine does meanwhile hits all of them, and the ratio
to the original's time in the same round is steadier than the times. A figure is the median of these ratios, with the
least and the greatest. The mean over a program's parts is geometric, taken in each round.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Final

from benchmarks.running.engines import RunnerFailed

DIGITS: Final = 4

# What a runner gives: for each variant and each part of the program, the milliseconds and what came out.
Round = dict[str, dict[str, dict[str, Any]]]
# Median, least, greatest.
Spread = list[float]


def spread(values: Iterable[float]) -> Spread:
    """Return median, least and greatest of some values."""
    found = list(values)
    return [rounded(value) for value in (statistics.median(found), min(found), max(found))]


def rounded(value: float) -> float:
    """Return a value with as many digits as are worth keeping."""
    return float(f"{value:.{DIGITS}g}")


def overheads(rounds: Sequence[Round], base: str) -> dict[str, Any]:
    """Return the times of the base, and the others' as multiples of it: for each part, and their geometric mean."""
    check_outcomes(rounds)
    parts = list(rounds[0][base])
    others = [variant for variant in rounds[0] if variant != base]

    def ratio(taken: Round, variant: str, part: str) -> float:
        return float(taken[variant][part]["milliseconds"] / taken[base][part]["milliseconds"])

    return {
        "milliseconds": {part: spread(taken[base][part]["milliseconds"] for taken in rounds) for part in parts},
        "overhead": {
            variant: {part: spread(ratio(taken, variant, part) for taken in rounds) for part in parts}
            for variant in others
        },
        "mean": {
            variant: spread(geometric_mean([ratio(taken, variant, part) for part in parts]) for taken in rounds)
            for variant in others
        },
    }


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def check_outcomes(rounds: Sequence[Round]) -> None:
    """Raise RunnerFailed if any part has not had the same outcome in all variants and rounds."""
    expected: dict[str, tuple[str, str]] = {}
    for taken in rounds:
        for variant, parts in taken.items():
            for part, measured in parts.items():
                first, outcome = expected.setdefault(part, (variant, measured["outcome"]))
                if measured["outcome"] != outcome:
                    raise RunnerFailed(
                        f"'{part}' gives different results:\n  {first}: {outcome}\n  {variant}: {measured['outcome']}"
                    )
