"""What the cache holds has a limit: what has not been used for longest goes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import caesura
from caesura.cli import main
from caesura.host import cache_limit, compiled_modules
from tests.support.engine import assemble

pytestmark = pytest.mark.one_form


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CAESURA_CACHE_LIMIT", raising=False)
    return tmp_path / "cache"


def module(number: int) -> bytes:
    return assemble(f'(module (func (export "f") (result i32) i32.const {number}))')


def load(number: int) -> None:
    """Load a program as a new process does."""

    async def call() -> None:
        async with await caesura.load(module(number)) as guest:
            assert await guest.call("f") == number

    compiled_modules._compiled.clear()
    asyncio.run(call())


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def age(folder: Path) -> None:
    """Let everything in the folder have been used an hour earlier."""
    for entry in folder.iterdir():
        used = entry.stat().st_mtime - 3600
        os.utime(entry, (used, used))


def written(folder: Path, number: int) -> str:
    """Load a program that is not in the cache; return the name of its entry."""
    before = entries(folder) if folder.exists() else set()
    if before:
        age(folder)
    load(number)
    (name,) = entries(folder) - before
    return name


def test_the_least_recently_used_entry_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, third = (written(folder, number) for number in (1, 2, 3))
    age(folder)
    load(1)  # used again
    monkeypatch.setenv("CAESURA_CACHE_LIMIT", str(3 * (folder / first).stat().st_size + 100))
    fourth = written(folder, 4)
    assert entries(folder) == {first, third, fourth}
    load(2)
    load(1)


def test_an_entry_that_is_too_large_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_LIMIT", "1K")
    with pytest.warns(match=r"an entry of [0-9,]+ bytes is more than all may have .CAESURA_CACHE_LIMIT."):
        load(1)
    assert not folder.exists()


def test_no_bytes_are_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_LIMIT", "0")
    load(1)
    assert not folder.exists()


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "1X", "9" * 30])
def test_what_is_no_size_is_refused(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_LIMIT", text)
    with pytest.raises(caesura.UsageError, match=r"CAESURA_CACHE_LIMIT is .*: expected a number of bytes"):
        load(1)


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("10", 10), ("2k", 2048), ("3M", 3 << 20), (" 1G", 1 << 30)])
def test_sizes(text: str, size: int) -> None:
    assert cache_limit.parse_size(text, "it") == size


def test_abandoned_files_go_and_others_stay(folder: Path) -> None:
    first = written(folder, 1)
    for name in ("new.tmp", "old.tmp", "notes.txt"):
        (folder / name).write_bytes(bytes(1000))
    os.utime(folder / "old.tmp", (0, 0))
    assert cache_limit.trim(folder, 10**9) == (0, 0)
    assert entries(folder) == {first, "new.tmp", "notes.txt"}
    count, size = cache_limit.trim(folder, 0)
    assert count == 1 and size > 1000
    assert entries(folder) == {"new.tmp", "notes.txt"}


def test_the_command_shows_and_trims(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"folder: {folder}\nholds:  0 entries, 0 bytes\nlimit:  2,147,483,648 bytes\n"
    names = [written(folder, number) for number in (1, 2, 3)]
    sizes = [(folder / name).stat().st_size for name in names]
    assert main(["cache", "show"]) == 0
    assert f"holds:  3 entries, {sum(sizes):,} bytes\n" in capsys.readouterr().out
    age(folder)
    load(1)
    assert main(["cache", "trim", "--limit", str(sizes[0] + sizes[2])]) == 0
    assert f"removed 1 entry, {sizes[1]:,} bytes, from {folder}; 2 entries" in capsys.readouterr().out
    assert entries(folder) == {names[0], names[2]}
    assert main(["cache", "trim", "--limit", "few"]) == 2
    assert main(["cache", "show", "--limit", "1G"]) == 2


def test_the_option_of_a_run(folder: Path, tmp_path: Path) -> None:
    """For what is compiled in other processes too."""
    limit = "1G"
    for number in (1, 2):
        functions = "(func nop nop nop)" * (number * 20_000)
        file = tmp_path / f"{number}.wasm"
        file.write_bytes(assemble(f'(module (func (export "_start")) {functions})'))
        done = subprocess.run(
            [sys.executable, "-m", "caesura", "run", "--cache-limit", limit, str(file)],
            check=False,
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        (kept,) = entries(folder)  # the second is about twice as large as the first, and has no room beside it
        limit = str((folder / kept).stat().st_size * 5 // 2)
    done = subprocess.run(
        [sys.executable, "-m", "caesura", "run", "--cache-limit", "lots", str(file)], check=False, capture_output=True
    )
    assert done.returncode == 2
    assert b"--cache-limit is 'lots'" in done.stderr
    assert len(entries(folder)) == 1


# Gives its privileges up when everything is imported: the interpreter may lie where nobody else can read.
CLEAR_AS_SOMEBODY_ELSE = """
import os, sys
from caesura.cli import main
main(["cache", "--limit", "1"])  # is refused, in the words of an error
main(["cache"])
if os.geteuid() == 0:
    os.setuid(54321)
sys.exit(main(["cache", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("arguments", [["clear"], ["trim", "--limit", "0"]])
def test_entries_that_cannot_be_removed_are_said(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # the way there, which tests' own folders are not for others
        folder = Path(name) / "cache"
        folder.mkdir()
        for entry in ("a", "b"):
            (folder / f"{entry}{cache_limit.SUFFIX}").write_bytes(bytes(1000))
        folder.chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", CLEAR_AS_SOMEBODY_ELSE, *arguments],
                env={**os.environ, "CAESURA_CACHE_DIR": str(folder)},
                capture_output=True,
                text=True,
            )
        finally:
            folder.chmod(0o755)
        assert entries(folder) == {f"a{cache_limit.SUFFIX}", f"b{cache_limit.SUFFIX}"}
    assert done.returncode == 1
    assert "\nremoved 0 entries, 0 bytes, from " in done.stdout
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"caesura: error: cannot remove {folder}{os.sep}")
    assert said.endswith(f"{cache_limit.SUFFIX} (nor 1 other): Permission denied")
