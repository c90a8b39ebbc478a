"""Binaryen, which everything is compared with, in its two forms.

The npm package `binaryen` is the current version, compiled to WebAssembly: only its output counts. It takes from
seconds (QuickJS) to many minutes (PHP), so outputs are kept in `build/benchmarks/binaryen`, under names made of all
that they depend on: version, flags and the input's content. (Times of files were rejected as keys: npm sets them all
to the same day.) What making them cost is kept beside them.

A native `wasm-opt` is compared with in CPU time, wall clock and memory: the one that CAESURA_BENCH_WASM_OPT names, or
the first on the path, as Debian and Ubuntu have it in the package `binaryen`. It is older, and does not take all
programs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import BUILD, REPOSITORY, first_line
from benchmarks.measure import run
from benchmarks.programs import Program
from benchmarks.running.builds import FEATURES

NPM_WASM_OPT: Final = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"
OUTPUTS: Final = BUILD / "binaryen"
NO_ASYNCIFY: Final = "no Asyncify"


def arguments(program: Program, level: str, mode: str) -> list[str]:
    """Return the flags for a program, an optimization level such as `-O1`, and a mode; NO_ASYNCIFY is one more."""
    features = [f"--enable-{feature}" for feature in FEATURES]
    return (
        [level, *features]
        if mode == NO_ASYNCIFY
        else [level, "--asyncify", *features, *program.binaryen_arguments(mode)]
    )


@functools.cache
def npm_version() -> str:
    """Return what npm's Binaryen says of itself."""
    return first_line(["node", str(NPM_WASM_OPT), "--version"])


def output_path(program: Program, level: str, mode: str) -> Path:
    """Return where the output of npm's Binaryen is kept."""
    key = hashlib.sha256("\0".join([npm_version(), *arguments(program, level, mode)]).encode())
    key.update(program.path.read_bytes())
    return OUTPUTS / f"{program.file_name}.{key.hexdigest()[:16]}.wasm"


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
