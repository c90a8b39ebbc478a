"""Recordings are read whatever the processes that wrote them came to."""

from __future__ import annotations

import json

import pytest

from caesura.errors import UsageError
from caesura.recording.recorded import Recording, is_recording, read_recording


def line(entry: str) -> bytes:
    functions = {entry: {"count": 1, "import": "env.a", "stack": ["env.a", entry]}}
    return json.dumps({"caesura_record": 1, "functions": functions}).encode() + b"\n"


def read(data: bytes) -> Recording:
    recording = Recording()
    read_recording(data, "file", recording)
    return recording


def test_a_piece_of_any_length_takes_no_other_line_along() -> None:
    whole = line("f")
    for size in range(1, len(whole) - 2):
        found = read(line("g") + whole[:size] + line("h") + whole[:size])
        assert sorted(found.functions) == ["g", "h"], size
        assert len(found.warnings) == 2, size
        assert found.warnings[0].startswith("line 2 of the recording 'file' is cut off")


def test_pieces_behind_pieces() -> None:
    whole = line("f")
    found = read(whole[:40] + whole[:9] + line("h"))
    assert sorted(found.functions) == ["h"]
    assert len(found.warnings) == 1


def test_what_follows_a_whole_line_without_its_end_is_read() -> None:
    """A disk that is full may take all but the line end."""
    found = read(line("f")[:-1] + line("h"))
    assert sorted(found.functions) == ["f", "h"]


def test_huge_counts_add_up() -> None:
    functions: dict[str, object] = {"f": {"count": 2**32 - 1, "import": None, "stack": []}}
    huge = json.dumps({"caesura_record": 1, "functions": functions}).encode() + b"\n"
    assert read(huge * 3).functions["f"].times == 3 * (2**32 - 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(line("f"), True), (b"\n" + line("f"), True), (b"name\n" + line("f"), True), (b"name\n", False), (b"", False)],
)
def test_recordings_are_told_from_lists(data: bytes, expected: bool) -> None:
    assert is_recording(data) is expected


def test_a_line_of_something_else_is_named() -> None:
    with pytest.raises(UsageError, match=r"line 3 of the recording 'file' is none"):
        read(line("f") + b"\n" + b"{}\n")
