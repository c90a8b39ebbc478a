"""Entries that are added to a list file leave everything else in it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from caesura.analysis.list_text import Sections, read_list
from caesura.recording.list_file import ListFile, add_entries

SECTIONS: Final = """\
# For every build.
main

[php-8.3.wasm]
# One.
zend_call
execute_ex

# Behind an empty line.

[php-8.4.wasm]
other
"""


@pytest.mark.parametrize(
    ("file_name", "before", "added"),
    [
        ("", "main\n", "main\na\nz\n"),
        ("php-8.3.wasm", "# Behind an empty line.\n", "# Behind an empty line.\na\nz\n"),
        ("php-8.4.wasm", "other\n", "other\na\nz\n"),
    ],
)
def test_sections(file_name: str, before: str, added: str) -> None:
    assert add_entries(SECTIONS, ["z", "a", "z"], Sections((), file_name)) == SECTIONS.replace(before, added)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("one,f(int, char),two", ("one", "f(int, char)", "two")),
        ("one\ntwo\n\n", ("one", "two")),
        ("one", ("one",)),
        ("f(int, char)\n", ("f(int, char)",)),
        ("operator<(A, B)", ("operator<(A, B)",)),
    ],
)
def test_lists_without_sections(text: str, entries: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    assert read_list(f"@{path}") == entries
    path.write_text(add_entries(text, ["x, y", "# z"], Sections()))
    assert read_list(f"@{path}") == (*entries, "#* z", "x, y")
    path.write_text(add_entries(path.read_text(), ["more"], Sections()))
    assert read_list(f"@{path}") == (*entries, "#* z", "x, y", "more")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_encoding_stay(encoding: str, mark: str, end: str, tmp_path: Path) -> None:
    if encoding == "utf-8-sig" and mark:
        return
    path = tmp_path / "list"
    before = (mark + SECTIONS.replace("\n", end)).encode(encoding)
    path.write_bytes(before)
    file = ListFile(str(path))
    assert file.data() == before
    file.add(["z", "\u00e9\U0001f600"], Sections((), "php-8.3.wasm"))
    text = SECTIONS.replace("empty line.\n", "empty line.\nz\n\u00e9\U0001f600\n")
    assert file.data() == (mark + text.replace("\n", end)).encode(encoding)
    assert file.lines() == text.splitlines()


def test_lines_with_other_ends_than_most_keep_theirs() -> None:
    assert add_entries("a\r\nb\nc\r\nd", ["e"], Sections()) == "a\r\nb\nc\r\nd\r\ne\r\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one, f(int, char),two", "one, f(int, char),two,a,g(int, int)\n"),
        ("one,two\r\n", "one,two,a,g(int, int)\r\n"),
        ("one", "one\na\ng(int, int)\n"),
        ("f(int, char)", "f(int, char)\na\ng(int, int)\n"),
        ("# one, two", "# one, two\na\ng(int, int)\n"),
        ("[one, two]", "[one, two]\na\ng(int, int)\n"),
        ("operator<(A, B), two", "operator<(A, B), two\na\ng(int, int)\n"),
    ],
)
def test_a_line_with_commas_stays_one_where_it_can(text: str, expected: str) -> None:
    assert add_entries(text, ["g(int, int)", "a"], Sections((), "one, two")) == expected


@pytest.mark.parametrize("entry", ["x, y", "f)", "f<", "operator,"])
def test_an_entry_that_cannot_stand_between_commas_makes_lines_of_them(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(add_entries("one,two", [entry], Sections()))
    assert read_list(f"@{path}") == ("one", "two", entry)
