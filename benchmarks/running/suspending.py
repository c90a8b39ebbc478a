"""What a suspension and resumption costs by the depth of the stack, and the bytes of asyncify stack that it takes.

One guest with two kinds of frames (guests/suspending.c), driven through the plain ABI in the same way for both tools.
The original cannot suspend, so Binaryen's output is what the others are compared with.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.running.builds import BINARYEN, DEFAULT, VARIANTS
from benchmarks.running.comparing import check_outcomes, spread
from benchmarks.running.engines import nodes, wasmtime
from benchmarks.running.inputs import c_program
from benchmarks.running.session import Session

# How many suspensions, for each depth, take some milliseconds.
TIMES: Final = {1: 50_000, 10: 20_000, 100: 4_000, 1000: 400}
QUICK_TIMES: Final = {1: 20, 10: 20, 100: 5, 1000: 2}
COMPARED: Final = (DEFAULT, BINARYEN, VARIANTS[-1])


def measure_suspending(session: Session) -> dict[str, Any]:
    """Measure in all engines."""
    times = QUICK_TIMES if session.is_quick else TIMES
    request = {
        "times": times,
        "leastMilliseconds": session.least_milliseconds,
        "files": session.files(c_program("suspending"), COMPARED),
    }
    results = []
    everything = []
    for engine in (*nodes(), wasmtime()):
        taken = []
        for turn in range(session.rounds):
            session.say(f"suspending in {engine.name}: round {turn + 1} of {session.rounds}")
            taken.append(engine.run("suspending", request))
        rounds = [one["measured"] for one in taken]
        everything += rounds
        results.append(
            {
                "engine": engine.name,
                "microseconds": {
                    variant: {
                        part: spread(
                            one[variant][part]["milliseconds"] * 1000 / times[int(part.split()[1])] for one in rounds
                        )
                        for part in parts
                    }
                    for variant, parts in rounds[0].items()
                },
                **({"bytes": taken[0]["bytes"]} if engine.is_node else {}),
            }
        )
    check_outcomes(everything)
    return {"suspending": results}
