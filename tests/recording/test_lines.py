"""The lines of recordings: whole, whoever writes at the same time, and refused loudly where nobody can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caesura.errors import UsageError
from caesura.recording.lines import append_line

_WRITER = """
import sys
from caesura.recording.lines import append_line

for number in range(200):
    append_line(sys.argv[1], functions={f"f{number}" * 40: {"count": 1, "import": None, "stack": ["f" * 3000]}})
"""


def test_a_line_holds_what_was_seen(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    append_line(str(recording), functions={"f": {"count": 2, "import": "env.wait", "stack": ["env.wait", "f"]}})
    append_line(str(recording), missing=["na\nme", "#3@0011223344556677"])
    first, second = map(json.loads, recording.read_text().splitlines())
    assert first == {
        "caesura_record": 1,
        "functions": {"f": {"count": 2, "import": "env.wait", "stack": ["env.wait", "f"]}},
    }
    assert second == {"caesura_record": 1, "missing": ["na\nme", "#3@0011223344556677"]}


def test_lines_of_processes_that_write_at_once_are_whole(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(recording)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = recording.read_text().splitlines()
    assert len(lines) == 600
    assert all(json.loads(line)["caesura_record"] == 1 for line in lines)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot append to the recording '.*none.recording'"):
        append_line(str(tmp_path / "none" / "recording"), missing=["f"])


_GOING_ELSEWHERE = """
import os, sys
from caesura.recording.lines import append_line, recording_path

os.chdir(sys.argv[1])
append_line(recording_path() or "", missing=["f"])
"""


def test_a_relative_name_is_from_where_the_process_began(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "CAESURA_RECORD": "recording"}
    command = [sys.executable, "-c", _GOING_ELSEWHERE, "elsewhere"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "recording").exists() and not (tmp_path / "elsewhere" / "recording").exists()
