"""The examples run and print what they promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

EXPECTED = {
    "fetch_in_a_loop": "round 10 of 10\n385\nexit code 0\n",
    "generator": "123 132 213 231 312 321\n",
    "plugin_with_timeout": "Hello, Ada!\n(no answer for user 3)\nHello, Grace!\n",
    "many_guests": "in one thread, each suspended while it waited.\n",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs(name: str) -> None:
    arguments = ["--guests", "20"] if name == "many_guests" else []
    command = [sys.executable, "-m", f"examples.{name}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(EXPECTED[name])
    assert done.stderr == ""
