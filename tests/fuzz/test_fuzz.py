"""A short run of the fuzzer; `--fuzz-runs=10000` or `python -m tests.fuzz` for a long one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fuzz.targets import TARGETS
from tests.support.paths import REPOSITORY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each case has a process of its own, which needs fork")
@pytest.mark.parametrize("target", TARGETS)
def test_hostile_guests(target: str, pytestconfig: pytest.Config) -> None:
    # In a process of its own: this one may have threads, which do not survive a fork.
    numbers = [f"--{name}={pytestconfig.getoption(f'--fuzz-{name}')}" for name in ("runs", "seed")]
    command = [sys.executable, "-m", "tests.fuzz", target, *numbers]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
