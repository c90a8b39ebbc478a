"""SQLite over asynchronous files: the total time of a workload in which it is suspended thousands of times.

The original cannot do this, so the times are multiples of those of Binaryen's -O1, under the same glue.
"""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.running.builds import BINARYEN, ORIGINAL, VARIANTS
from benchmarks.running.comparing import overheads
from benchmarks.running.engines import nodes
from benchmarks.running.inputs import SQLITE
from benchmarks.running.session import Session

# Of the workload's steps; the first two make tables and insert rows.
ALL_STEPS: Final = 9
QUICK_STEPS: Final = 2


def measure_asynchronous_files(session: Session) -> dict[str, Any]:
    """Measure in both Nodes."""
    files = session.files(SQLITE, [variant for variant in VARIANTS if variant is not ORIGINAL])
    request = {
        "steps": QUICK_STEPS if session.is_quick else ALL_STEPS,
        "leastMilliseconds": session.least_milliseconds,
        "files": files,
    }
    results = []
    for engine in nodes():
        rounds = []
        for turn in range(session.rounds):
            session.say(f"asynchronous files in {engine.name}: round {turn + 1} of {session.rounds}")
            rounds.append(engine.run("asynchronous_files", request))
        base = BINARYEN.name if BINARYEN.name in files else next(iter(files))
        suspensions = json.loads(rounds[0][base]["shop"]["outcome"])["suspensions"]
        figures = overheads(rounds, base)
        results.append({"engine": engine.name, "base": base, "suspensions": suspensions, **figures})
    return {"asynchronous_files": results}
