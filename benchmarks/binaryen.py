"""Binaryen, which everything is compared with, in its two forms.

The npm package `binaryen` is the current version, compiled to WebAssembly: only its output counts. Outputs are kept
where `running.builds` keeps them too; what making them cost is kept beside them.

A native `wasm-opt` is compared with in CPU time, wall clock and memory: the one that CAESURA_BENCH_WASM_OPT names, or
the first on the path, as Debian and Ubuntu have it in the package `binaryen`. It is older, and does not take all
programs.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import REPOSITORY
from benchmarks.measure import run
from benchmarks.programs import Program
from benchmarks.running.builds import FEATURES, kept_output

NPM_WASM_OPT: Final = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"
NO_ASYNCIFY: Final = "no Asyncify"


def arguments(program: Program, level: str, mode: str) -> list[str]:
    """Return the flags for a program, an optimization level such as `-O1`, and a mode; NO_ASYNCIFY is one more."""
    features = [f"--enable-{feature}" for feature in FEATURES]
    return (
        [level, *features]
        if mode == NO_ASYNCIFY
        else [level, "--asyncify", *features, *program.binaryen_arguments(mode)]
    )


def output_path(program: Program, level: str, mode: str) -> Path:
    """Return where the output of npm's Binaryen is kept."""
    return kept_output(program.file_name, program.path, arguments(program, level, mode))


def npm_output(program: Program, level: str, mode: str) -> Path:
    """Return what npm's Binaryen makes of a program; made once."""
    path = output_path(program, level, mode)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            command = ["node", str(NPM_WASM_OPT), *arguments(program, level, mode), str(program.path)]
            cost = run([*command, "-o", str(unfinished)])
            path.with_suffix(".json").write_text(json.dumps(asdict(cost)) + "\n")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def npm_cost(program: Program, level: str, mode: str) -> dict[str, Any] | None:
    """Return what making an output that is kept did cost, where that is known."""
    path = output_path(program, level, mode).with_suffix(".json")
    if not path.is_file():
        return None
    cost: dict[str, Any] = json.loads(path.read_text())
    return cost


def native() -> str:
    """Return the native `wasm-opt`, or nothing where there is none."""
    named = os.environ.get("CAESURA_BENCH_WASM_OPT", "")
    return (shutil.which(named) if named else _on_path()) or ""


def _on_path() -> str | None:
    """Return the first `wasm-opt` on the path that is not npm's, which is a script for Node."""
    for folder in os.get_exec_path():
        path = Path(folder) / "wasm-opt"
        if os.access(path, os.X_OK) and path.read_bytes()[:2] != b"#!":
            return str(path)
    return None
