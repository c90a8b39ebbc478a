"""Measures what a suspension and resumption costs in Wasmtime, as runners/suspending.mjs does it in Node.

python -m benchmarks.running.wasmtime_suspending '{"leastMilliseconds": 100, "times": {...}, "files": {...}}'

The host's side of the plain ABI is WebAssembly too (guests/driver.wat): a call from Python into Wasmtime takes longer
than a suspension at a depth of a hundred.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import wasmtime

from benchmarks.running.inputs import GUESTS
from benchmarks.running.repeating import Run, measure

FRAMES: Final = ("small", "large")
FUNCTIONS: Final = ("start_unwind", "stop_unwind", "start_rewind", "stop_rewind")
ENTRY: Final = len(FUNCTIONS)
HEADER: Final = 8

# Runs an export at a depth with a number of suspensions; returns what came out.
Drive = Callable[[str, int, int], str]


def main() -> None:
    """Measure what the argument asks for and print the results."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    engine = wasmtime.Engine()
    driver = wasmtime.Module(engine, (GUESTS / "driver.wat").read_text())
    variants = {name: _parts(engine, driver, file, request["times"]) for name, file in request["files"].items()}
    print(json.dumps({"measured": measure(variants, request["leastMilliseconds"])}))


def _parts(engine: wasmtime.Engine, driver: wasmtime.Module, file: str, times: dict[str, int]) -> dict[str, Run]:
    drive = _load(engine, driver, Path(file))

    def part(frames: str, depth: int, count: int) -> Run:
        return lambda: drive(frames, depth, count)

    return {f"{frames} {depth}": part(frames, int(depth), count) for frames in FRAMES for depth, count in times.items()}


def _load(engine: wasmtime.Engine, driver: wasmtime.Module, file: Path) -> Drive:
    store = wasmtime.Store(engine)
    driving: Any = wasmtime.Instance(store, driver, []).exports(store)
    guest: Any = wasmtime.Instance(store, wasmtime.Module.from_file(engine, str(file)), [driving["ask"]]).exports(store)
    guest["_initialize"](store)
    address = guest["stack_address"](store)
    pointers = (address + HEADER, address + guest["stack_size"](store))
    guest["memory"].write(store, b"".join(value.to_bytes(4, "little") for value in pointers), address)
    driving["data"].set_value(store, address)
    for index, name in enumerate(FUNCTIONS):
        driving["functions"].set(store, index, guest[f"asyncify_{name}"])

    def drive(frames: str, depth: int, times: int) -> str:
        driving["functions"].set(store, ENTRY, guest[frames])
        result = driving["run"](store, depth, times)
        return json.dumps({"result": result, "suspensions": driving["suspensions"].value(store)}, separators=(",", ":"))

    return drive


if __name__ == "__main__":
    main()
