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
import caesura, os, sys
os.chdir(sys.argv[1])
from caesura.recording.lines import append_line
from caesura.recording.place import recording_path

append_line(recording_path() or "", missing=["f"])
if len(sys.argv) == 2:
    import subprocess
    subprocess.run([sys.executable, "-c", sys.orig_argv[2], "..", "child"], check=True)
"""


def test_a_relative_name_is_from_where_the_package_was_imported(tmp_path: Path) -> None:
    """Whatever loads a guest, and where, and which processes are started there."""
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "CAESURA_RECORD": "recording"}
    command = [sys.executable, "-c", _GOING_ELSEWHERE, "elsewhere"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert len((tmp_path / "recording").read_text().splitlines()) == 2
    assert not (tmp_path / "elsewhere" / "recording").exists()


def test_a_program_that_records_nothing_has_its_environment(tmp_path: Path) -> None:
    code = "import caesura, os; assert 'CAESURA_RECORD' not in os.environ"
    environment = {key: value for key, value in os.environ.items() if key != "CAESURA_RECORD"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
