"""Runs programs of exceptions in three engines: the Node on the path, the Node that npm has, and Wasmtime.

The first runs the old form alone, the second both, the third the new one alone.
"""

from __future__ import annotations

import base64
import functools
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

import wasmtime

from tests.support.engine import engine
from tests.support.node import newer_node
from tests.support.paths import npm_file

# How a run ended, and the hash of what happened.
Run = tuple[str, str]

_SERVER: Final = Path(__file__).parent / "node_runs.mjs"


class Node:
    """A Node process that runs programs until it is closed."""

    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen([command, _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, binary: bytes, seeds: list[int]) -> list[Run]:
        """Run a program with each seed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"binary": base64.b64encode(binary).decode(), "seeds": seeds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, dict):
            raise AssertionError(f"Node refuses the module: {answer['error']}")
        return [(end, happened) for end, happened in answer]


def node() -> Node:
    """Start the Node on the path."""
    command = shutil.which("node")
    if command is None:
        raise FileNotFoundError("these tests need Node (20 or later) on the path")
    return Node(command)


def new_node() -> Node:
    """Start the Node that npm has, which knows both forms."""
    return Node(str(newer_node()))


def run_in_wasmtime(binary: bytes, seeds: list[int]) -> list[Run]:
    """Run a program with each seed under Wasmtime."""
    module = wasmtime.Module(engine(), binary)
    return [_run(module, seed) for seed in seeds]


def _run(module: wasmtime.Module, seed: int) -> Run:
    store = wasmtime.Store(engine())
    exports = wasmtime.Instance(store, module, []).exports(store)
    run, happened = exports["run"], exports["hash"]
    assert isinstance(run, wasmtime.Func) and isinstance(happened, wasmtime.Global)
    try:
        end = str(run(store, seed))
    except wasmtime.Trap as caught:
        end = "trap" if caught.trap_code else "exception"  # which has no code
    return end, str(happened.value(store))


@functools.cache
def wasm_opt() -> list[str]:
    """Return the command that is Binaryen's wasm-opt."""
    return ["node", str(npm_file("binaryen/bin/wasm-opt"))]
