"""How the transformation's CPU time grows with its input.

Over the real programs a line is fitted through the logarithms of size and time, by least squares: its slope is the
exponent, 1 where growth is linear. Time is that of the process without its start. Programs of less than 100 KB are left
out, since there the start is nearly all.

Extreme modules (those of tests/instrument/test_extremes.py, in which one construct is repeated thousands of times) have
a growth of their own: the time for a module over that for one of a quarter of its size, as an exponent. The tests count
executed lines for the same modules; here even what a line does inside the interpreter or the C library shows.
"""

from __future__ import annotations

import gc
import math
import time
from typing import Any, Final

import caesura
from benchmarks.facts import say, show
from tests.instrument.test_extremes import SHAPES

LEAST_CODE: Final = 100_000
_RUNS: Final = 5


def fits(programs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each form of caesura and for the native Binaryen, exponent and CPU seconds per MB of code."""
    started: dict[str, Any] = next((program["costs"] for program in programs if program["code"] == 0), {})
    found: dict[str, Any] = {}
    for name in ("compiled", "interpreted", "native"):
        start = started[name]["cpu"] if name in started else 0.0
        points = [
            (program["code"], program["costs"][name]["cpu"] - start)
            for program in programs
            if name in program["costs"] and program["code"] >= LEAST_CODE
        ]
        if len(points) >= 2:
            found[name] = {"start": start, **_fit(points)}
    return found


def _fit(points: list[tuple[int, float]]) -> dict[str, Any]:
    """Return the least-squares line through the logarithms, and the time per MB of all points together."""
    sizes = [math.log(size) for size, _ in points]
    times = [math.log(seconds) for _, seconds in points]
    mean_size, mean_time = math.fsum(sizes) / len(sizes), math.fsum(times) / len(times)
    covariance = math.fsum((x - mean_size) * (y - mean_time) for x, y in zip(sizes, times, strict=True))
    exponent = covariance / math.fsum((x - mean_size) ** 2 for x in sizes)
    rates = [seconds / size * 1e6 for size, seconds in points]
    return {
        "exponent": round(exponent, 3),
        "factor": math.exp(mean_time - exponent * mean_size),
        "seconds_per_megabyte": round(
            math.fsum(seconds for _, seconds in points) / sum(size for size, _ in points) * 1e6, 4
        ),
        "least_seconds_per_megabyte": round(min(rates), 4),
        "most_seconds_per_megabyte": round(max(rates), 4),
        "points": len(points),
    }


def measure_shapes() -> list[dict[str, Any]]:
    """Return, for each extreme module, its time and the exponent of its growth, in the form that runs this."""
    found: list[dict[str, Any]] = []
    for name, (build, size) in SHAPES.items():
        show(f"growth: {name}")
        small, large = build(size // 4), build(size)
        least, most = math.inf, math.inf
        for _ in range(_RUNS):
            least, most = min(least, _seconds(small)), min(most, _seconds(large))
        exponent = math.log(most / least) / math.log(4)
        found.append({"name": name, "bytes": len(large), "cpu": round(most, 4), "exponent": round(exponent, 2)})
    steepest = max(found, key=lambda shape: shape["exponent"])
    say(f"growth of {len(found)} extreme modules: steepest {steepest['name']}, exponent {steepest['exponent']}")
    return found


def _seconds(binary: bytes) -> float:
    gc.collect()
    started = time.process_time()
    caesura.instrument(binary)
    return time.process_time() - started
