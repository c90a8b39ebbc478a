"""Running the JavaScript drivers of the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.paths import DRIVERS, REPOSITORY


def run_driver(name: str, *arguments: str | Path, flags: tuple[str, ...] = (), seconds: float = 120) -> Any:
    """Run a driver of tests/real/node under Node and return the JSON value that it prints."""
    node = shutil.which("node")
    if node is None:
        raise FileNotFoundError("the tests need Node (20 or later) on the path")
    command = [node, *flags, str(DRIVERS / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise AssertionError(f"{name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)
