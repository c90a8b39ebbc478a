"""Repeats runs in Wasmtime until a time is filled, the variants right after each other, as runners/timing.mjs does.

The time is the processor time of this thread. Wasmtime has compiled all code before the first call, so there is
nothing to wait for; each part runs once before it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.running.comparing import Round

Run = Callable[[], str]


def measure(variants: dict[str, dict[str, Run]], least_milliseconds: float) -> Round:
    """Return for each variant and part the milliseconds of one run, and what came out."""
    names = list(variants)
    results: Round = {name: {} for name in names}
    for turn, part in enumerate(variants[names[0]]):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            run = variants[name][part]
            run()
            results[name][part] = _repeat(run, least_milliseconds)
    return results


def _repeat(run: Run, least_milliseconds: float) -> dict[str, Any]:
    outcomes: list[str] = []
    passed = 0.0
    begun = time.thread_time()
    while passed < least_milliseconds:
        outcomes.append(run())
        passed = (time.thread_time() - begun) * 1000
    if len(set(outcomes)) != 1:
        raise SystemExit(f"the outcomes of one part differ: {sorted(set(outcomes))}")
    return {"milliseconds": passed / len(outcomes), "outcome": outcomes[0]}
