"""What instrumented code costs engines: compiling it, machine code, native stack, and the time until it runs fast.

Compiling is measured in processor time of all threads, of the whole module at once, separately for V8's two compilers;
V8 tells only of its second compiler how large the code is. How much native stack the code takes shows in how deep a
script may recurse in QuickJS, whose interpreter is a single function: in the first compiler's code, in the second's,
and when every frame on the stack has been resumed once (runners/recursion.mjs). Warming up is the time of the first
run of each of a program's parts in a new process, in which V8 compiles what is called, in its fast compiler's code.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks.running.builds import BINARYEN, DEFAULT, ORIGINAL, VARIANTS
from benchmarks.running.comparing import check_outcomes, spread
from benchmarks.running.engines import Engine, nodes, wasmtime
from benchmarks.running.inputs import PHP, QUICKJS, SQLITE
from benchmarks.running.run_time import QUICK_SCALE
from benchmarks.running.session import Session

EAGER: Final = "--no-wasm-lazy-compilation"
COMPILED: Final = tuple(variant for variant in VARIANTS if variant.name != "size" and variant.name != "Binaryen -O3")
WARMED: Final = (ORIGINAL, DEFAULT, BINARYEN)
TITLES: Final = {SQLITE.name: "SQLite", QUICKJS.name: "QuickJS", PHP.name: "PHP"}

# How often a script recurses before V8 has surely compiled everything anew.
WARMING_RUNS: Final = 4000
QUICK_WARMING_RUNS: Final = 10


def measure_compiling(session: Session) -> dict[str, Any]:
    """Measure the time to compile SQLite and QuickJS, and the size of the machine code."""
    compilers: list[tuple[str, Engine, tuple[str, ...], bool]] = []
    for node in nodes():
        compilers.append((f"{node.name}, first compiler", node, ("--liftoff-only", EAGER), False))
        compilers.append((f"{node.name}, second", node, ("--no-liftoff", EAGER, "--allow-natives-syntax"), True))
    compilers.append((wasmtime().name, wasmtime(), (), True))
    results = []
    for source in (SQLITE, QUICKJS):
        files = session.files(source, COMPILED)
        for name, engine, flags, gives_code in compilers:
            taken: dict[str, list[dict[str, float]]] = {variant: [] for variant in files}
            for turn in range(session.rounds):
                session.say(f"compiling {source.name} in {name}: round {turn + 1} of {session.rounds}")
                for variant, file in files.items():
                    request = {"file": file, "serialises": gives_code}
                    taken[variant].append(engine.run("compiling", request, *flags))
            costs = {variant: spread(one["milliseconds"] for one in runs) for variant, runs in taken.items()}
            code = {variant: runs[0]["machineCode"] for variant, runs in taken.items() if gives_code}
            results.append(
                {"program": TITLES[source.name], "engine": name, "milliseconds": costs, "machine_code": code}
            )
    return {"compiling": results}


def measure_recursion(session: Session) -> dict[str, Any]:
    """Find how deep a script may recurse in QuickJS; the same in every run, so there are no rounds."""
    results = []
    for engine in nodes():
        for state, flags, runs in (
            ("before tier-up", ("--liftoff-only",), 0),
            ("after tier-up", (), QUICK_WARMING_RUNS if session.is_quick else WARMING_RUNS),
        ):
            depths = {}
            for variant, file in session.files(QUICKJS).items():
                session.say(f"recursion in {engine.name} {state}: {variant}")
                request = {"file": file, "suspends": variant != ORIGINAL.name, "warmingRuns": runs}
                depths[variant] = engine.run("recursion", request, *flags)
            results.append({"engine": engine.name, "state": state, "depth": depths})
    return {"recursion": results}


def measure_warming(session: Session) -> dict[str, Any]:
    """Measure the first run of each part of SQLite, QuickJS and PHP."""
    results = []
    for engine in nodes():
        for source in (SQLITE, QUICKJS, PHP):
            files = session.files(source, WARMED)
            rounds: list[dict[str, Any]] = []
            for turn in range(session.rounds):
                session.say(f"warming up {source.name} in {engine.name}: round {turn + 1} of {session.rounds}")
                merged: dict[str, Any] = {}
                for variant, file in files.items():
                    scale = QUICK_SCALE if session.is_quick else 1
                    merged |= engine.run(
                        source.name, {"scale": scale, "leastMilliseconds": 0, "files": {variant: file}}
                    )
                rounds.append(merged)
            check_outcomes(rounds)
            totals = {
                variant: spread(sum(part["milliseconds"] for part in one[variant].values()) for one in rounds)
                for variant in files
            }
            results.append({"program": TITLES[source.name], "engine": engine.name, "milliseconds": totals})
    return {"warming": results}
