"""The C program of `examples/open_files.py`, which is killed while it reads and writes, and goes on elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples import open_files
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

WRITTEN = """\
1 (odd) line 1
2 (twice 1) line 2
3 (odd) line 3
4 (twice 2) line 4
5 (odd) line 5
6 (twice 3) line 6
7 (odd) line 7
8 (twice 4) line 8
136 bytes, the last from 136 on
"""


def test_a_program_goes_on_with_its_open_files() -> None:
    command = [sys.executable, "-m", "examples.open_files"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, _, rest = done.stdout.partition("\n")
    assert first == "the first process was asked for lines 1 2 3 4 5 and is killed; the second for 5 6 7 8"
    assert rest == WRITTEN


def test_what_was_written_after_the_snapshot_is_written_once(tmp_path: Path) -> None:
    """The process is killed at every line in turn, after it has gone on a little from where it was saved."""
    (tmp_path / "in.txt").write_text("".join(f"line {number}\n" for number in range(1, open_files.LINES + 1)))
    for last in range(1, open_files.LINES + 1):
        asked = open_files.run_process(tmp_path, last)
        assert asked[-1] == last and len(asked) <= 2
    assert open_files.run_process(tmp_path, None) == [open_files.LINES]
    assert (tmp_path / "out.txt").read_text() == WRITTEN
