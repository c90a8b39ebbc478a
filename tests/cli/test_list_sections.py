"""List files with comments, and with sections for several builds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import caesura
from caesura.analysis.list_text import Sections, entry_line, read_list
from caesura.analysis.lists import PatternList
from tests.cli.running import MODULE, caesura_command

FILE = """\
# What every build has.
outer
#no_comment
#

[php-8.*.wasm]
# Here only.
  inner
[php-8.3, old]
\tclock
"""


def read(text: str, folder: Path, *chosen: str, file_name: str = "") -> tuple[str, ...]:
    (folder / "list").write_text(text)
    return read_list(f"@{folder / 'list'}", Sections(chosen, file_name))


class Counted(str):
    """A text that counts how often it is compared with another."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("chosen", [(), tuple(f"other{number}" for number in range(2_000))])
def test_many_sections_are_not_compared_with_each_other(chosen: tuple[str, ...]) -> None:
    sections = Sections([Counted(name) for name in chosen], "app.wasm")
    names = [f"build{number}.wasm" for number in range(2_000)]
    Counted.comparisons = 0
    assert not any(sections.holds(Counted(name)) for name in names)
    assert Counted.comparisons < 3 * len(names)
    assert list(sections.found) == names


def test_commas_before_brackets_are_each_looked_at_once(tmp_path: Path) -> None:
    """A comma that is an operator's name stands behind it, with blanks between them or none."""
    line = "a" + ",(b)" * 100_000 + ",operator,(A), operator  ,(B)"
    entries = read(line, tmp_path)
    assert entries == ("a", *["(b)"] * 100_000, "operator,(A)", "operator  ,(B)")


def test_few_of_many_sections_are_named_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join([f"[s{number}]\nf{number}\n" for number in range(1_000)]))
    code, _, err = instrument(tmp_path, "--only-list", f"@{tmp_path / 'list'}", "--list-section", "none")
    assert code == 2
    assert "no list has a section [none]; the sections in them: [s0], [s1], " in err
    assert err.rstrip().endswith("[s19] and 980 more")


@pytest.mark.parametrize(
    ("chosen", "file_name", "entries"),
    [
        ((), "", ("outer", "#no_comment")),
        ((), "php-7.wasm", ("outer", "#no_comment")),
        ((), "php-8.4.wasm", ("outer", "#no_comment", "inner")),
        (("php-8.3, old",), "php-8.4.wasm", ("outer", "#no_comment", "clock")),
        (("php-8.3, old", "php-8.*.wasm"), "", ("outer", "#no_comment", "inner", "clock")),
    ],
)
def test_sections(chosen: tuple[str, ...], file_name: str, entries: tuple[str, ...], tmp_path: Path) -> None:
    assert read(FILE, tmp_path, *chosen, file_name=file_name) == entries
    assert read(FILE.replace("\n", "\r\n"), tmp_path, *chosen, file_name=file_name) == entries


@pytest.mark.parametrize(
    "name",
    [
        "#push",
        "~lib/array/Array<i32>#[]",
        "[method]file.read",
        "-[Foo bar]",
        "[a]b[c]",
        "#1@0123456789abcdef",
        "[]",
        "[[x]]",
    ],
)
def test_names_that_are_neither(name: str, tmp_path: Path) -> None:
    assert read(f"{name}\n", tmp_path) == (name,)
    assert read(f"a\n{name}\nb\n", tmp_path) == ("a", name, "b")


@pytest.mark.parametrize("text", ["# only a comment", "#", "[x]", "[x]\nf(a, b)"])
def test_files_without_entries(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == ()


def test_on_the_command_line_they_are_names() -> None:
    assert read_list("# a,[b]") == ("# a", "[b]")


def instrument(folder: Path, *arguments: str, file: str = "app.wasm") -> tuple[int, bytes, str]:
    (folder / file).write_bytes(MODULE)
    done = caesura_command("instrument", folder / file, "--quiet", *arguments)
    return done.code, done.out, done.err


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("clock\n[app*]\nouter\ninner\n[other]\ninner\n")
    lists = f"@{tmp_path / 'list'}"

    def made(*entries: str) -> bytes:
        return caesura.instrument(MODULE, caesura.Options(only_list=entries)).module

    assert instrument(tmp_path, "--only-list", lists) == (0, made("clock", "outer", "inner"), "")
    assert instrument(tmp_path, "--only-list", lists, "--list-section", "other") == (0, made("clock", "inner"), "")
    code, _, err = instrument(tmp_path, "--only-list", lists, "--list-section", "typo")
    assert code == 2
    assert "no list has a section [typo]; the sections in them: [app*], [other]" in err
    assert instrument(tmp_path, "--only-list", lists, file="x.wasm") == (0, made("clock"), "")
    code, _, err = instrument(tmp_path, "--only-list", lists, "--strict", file="x.wasm")
    assert code == 2 and "has sections, but none for this module" in err
    done = caesura_command("instrument", "-", "--only-list", lists, stdin=MODULE)
    assert done.code == 0 and f"warning: the list file '{lists[1:]}' has sections, but none for" in done.err


def test_second_bodies(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("[a]\nouter\n[app.wasm]\ninner\n")
    code, out, _ = instrument(tmp_path, "--two-bodies", f"@{tmp_path / 'list'}")
    assert code == 0
    assert b"asyncify_resume:inner" in out and b"asyncify_resume:outer" not in out


# Blanks of all kinds, and what ends a line for `str.splitlines`.
MARKS: Final = [chr(one) for one in range(0x3001) if chr(one).isspace() or len(f"a{chr(one)}b".splitlines()) > 1]


@pytest.mark.parametrize(
    "name",
    [
        "run",
        "# x",
        "#",
        "#\t",
        "[a]",
        "[a] ",
        " a",
        "a\tb\n",
        "a\nb",
        "",
        "f(int, char)",
        "a,b",
        "a\ud800",
        "f(int*)",
        "[a]b",
        *[f"a{mark}b" for mark in MARKS],
        *[f"{mark}a" for mark in MARKS],
        *[f"[a]{mark}" for mark in MARKS],
        *[f"#{mark}a" for mark in MARKS],
    ],
)
def test_lines_that_are_written(name: str, tmp_path: Path) -> None:
    text = f"# What a file begins with.\n{entry_line(name)}\n"
    assert len(text.splitlines()) == 2, "whoever reads it"
    (entry,) = read(text, tmp_path)
    assert PatternList([entry], [name]).match(name)
    assert not PatternList([entry], ["x"]).match("x") or not name
