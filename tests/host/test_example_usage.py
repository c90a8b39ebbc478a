"""Examples that are given too little say what they need, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "examples.quickjs"],
        [sys.executable, "-m", "examples.quickjs", "folder"],
        [sys.executable, "-m", "examples.quickjs_saved"],
        ["node", "examples/agent.mjs"],
        ["node", "examples/agent.mjs", "module.wasm", "state.caesura"],
        ["node", "examples/php_saved.mjs"],
        ["node", "examples/sqlite_demo/demo.mjs", "original.wasm"],
    ],
    ids=lambda command: " ".join(command[1:]),
)
def test_usage(command: list[str]) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
