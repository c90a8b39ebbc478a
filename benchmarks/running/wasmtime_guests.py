"""Measures C programs in Wasmtime, never suspended, as runners/guests.mjs does it in Node; the same in and out.

python -m benchmarks.running.wasmtime_guests '{"scale": 1, "leastMilliseconds": 100, "files": {...}}'
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import wasmtime

from benchmarks.running.repeating import Run, measure


def main() -> None:
    """Measure what the argument asks for and print the results."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    engine = wasmtime.Engine()
    variants = {
        variant: {name: _load(engine, Path(file), request["scale"]) for name, file in files.items()}
        for variant, files in request["files"].items()
    }
    print(json.dumps(measure(variants, request["leastMilliseconds"])))


def _load(engine: wasmtime.Engine, file: Path, scale: float) -> Run:
    """Return a function that runs a program once and says what came out."""
    store = wasmtime.Store(engine)
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    imported = wasmtime.Func(store, wasmtime.FuncType([], []), pause)
    module = wasmtime.Module.from_file(engine, str(file))
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
