"""Entries that are added to a list file leave everything else in it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from caesura.analysis.list_text import Sections, read_list
from caesura.recording.list_file import add_entries

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
