"""Measures C programs in Wasmtime, never suspended, as runners/guests.mjs does it in Node; the same in and out.

Each program is measured in several placements, of which the best counts (see `placements`).

python -m benchmarks.running.wasmtime_guests '{"scale": 1, "leastMilliseconds": 100, "files": {...}}'
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import wasmtime

from benchmarks.running.comparing import Round, check_outcomes
from benchmarks.running.engines import RunnerFailed
from benchmarks.running.placements import PLACEMENTS, placed
from benchmarks.running.repeating import Run, measure


def main() -> None:
    """Measure what the argument asks for and print the results."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    engine = wasmtime.Engine()
    copies = {
        variant: {name: placed(Path(file).read_bytes()) for name, file in files.items()}
        for variant, files in request["files"].items()
    }
    results: list[Round] = []
    for place in range(PLACEMENTS):
        variants = {
            variant: {name: _load(engine, modules[place], request["scale"]) for name, modules in programs.items()}
            for variant, programs in copies.items()
        }
        results.append(measure(variants, request["leastMilliseconds"]))
    print(json.dumps(_best(results)))


def _best(results: list[Round]) -> Round:
    """Return the least time of each variant and program; exits where placements of one have different outcomes."""
    for variant in results[0]:
        try:
            check_outcomes([{variant: taken[variant]} for taken in results])
        except RunnerFailed as error:
            raise SystemExit(f"placements of {variant}: {error}") from error
    return {
        variant: {
            name: min((taken[variant][name] for taken in results), key=lambda measured: float(measured["milliseconds"]))
            for name in programs
        }
        for variant, programs in results[0].items()
    }


def _load(engine: wasmtime.Engine, binary: bytes, scale: float) -> Run:
    """Return a function that runs a program once and says what came out."""
    store = wasmtime.Store(engine)
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    imported = wasmtime.Func(store, wasmtime.FuncType([], []), pause)
    module = wasmtime.Module(engine, binary)
    exports: Any = wasmtime.Instance(store, module, [imported]).exports(store)
    exports["_initialize"](store)
    size = math.ceil(exports["usual_size"](store) * scale)

    def run() -> str:
        nonlocal pauses
        pauses = 0
        result = exports["run"](store, size)
        return f"{result} after {pauses}"

    return run


if __name__ == "__main__":
    main()
