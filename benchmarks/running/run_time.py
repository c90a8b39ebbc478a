"""Run time without any suspension: what instrumented programs take, as multiples of what the originals take.

Each round is a process that loads all variants of a program, warms them up, and runs part by part, the variants right
after each other. A process for each variant was rejected: on a machine with other work the ratios then vary by a
quarter, and a twentieth this way.
"""

from __future__ import annotations

from typing import Any

from benchmarks.running.builds import ORIGINAL, Input
from benchmarks.running.comparing import check_outcomes, overheads
from benchmarks.running.engines import Engine, current_node, nodes, usual_node, wasmtime
from benchmarks.running.inputs import C_PROGRAMS, PHP, QUICKJS, SQLITE, c_program
from benchmarks.running.session import Session

QUICK_SCALE = 0.02


def measure_sqlite(session: Session) -> dict[str, Any]:
    """Measure SQLite in memory."""
    return {"run_time": [_real("SQLite", SQLITE, engine, session) for engine in nodes()]}


def measure_quickjs(session: Session) -> dict[str, Any]:
    """Measure QuickJS."""
    return {"run_time": [_real("QuickJS", QUICKJS, engine, session) for engine in nodes()]}


def measure_php(session: Session) -> dict[str, Any]:
    """Measure PHP, instrumented for its import list."""
    return {"run_time": [_real("PHP", PHP, engine, session) for engine in nodes()]}


def measure_c_programs(session: Session) -> dict[str, Any]:
    """Measure the C programs, whose results must be the same in all engines."""
    inputs = [c_program(name) for name in C_PROGRAMS]
    files: dict[str, dict[str, str]] = {}
    for source in inputs:
        for variant, path in session.files(source).items():
            files.setdefault(variant, {})[source.name] = path
    results = []
    all_rounds = []
    for engine in (usual_node(), current_node(), wasmtime()):
        rounds = _rounds("C programs", "guests", files, engine, session)
        all_rounds += rounds
        results.append({"program": "C programs", "engine": engine.name, **overheads(rounds, ORIGINAL.name)})
    check_outcomes(all_rounds)
    return {"run_time": results}


def _real(name: str, source: Input, engine: Engine, session: Session) -> dict[str, Any]:
    rounds = _rounds(name, source.name, session.files(source), engine, session)
    return {"program": name, "engine": engine.name, **overheads(rounds, ORIGINAL.name)}


def _rounds(name: str, runner: str, files: dict[str, Any], engine: Engine, session: Session) -> list[Any]:
    """Run all rounds of a program in an engine."""
    request = {
        "scale": QUICK_SCALE if session.is_quick else 1,
        "leastMilliseconds": session.least_milliseconds,
        "files": files,
    }
    rounds = []
    for turn in range(session.rounds):
        session.say(f"{name} in {engine.name}: round {turn + 1} of {session.rounds}")
        rounds.append(engine.run(runner, request))
    return rounds
