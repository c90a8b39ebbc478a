"""The cache: it is used, survives damage and concurrent writers, and can be cleared or done without."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.host import cache, program
from tests.host.support import WAITER
from tests.support.paths import REPOSITORY

LOAD = """
import asyncio, sys, caesura
sys.path.insert(0, {repository!r})
from tests.host.support import WAITER
async def wait(value):
    await asyncio.sleep(0)
    return value
async def main():
    guest = await caesura.load(WAITER, {{"env": {{"wait": wait}}}})
    assert await guest.call("outer", 1) == 101
asyncio.run(main())
"""


BUSY = """
import asyncio, sys, caesura
from caesura.host import program
sys.path.insert(0, {repository!r})
from tests.host.support import WAITER
async def wait(value):
    await asyncio.sleep(0)
    return value
async def main():
    for turn in range(20):
        program._programs.clear()
        module = WAITER if turn % 2 else WAITER.replace(b"100", b"200")
        guest = await caesura.load(module, {{"env": {{"wait": wait}}}})
        assert await guest.call("outer", 1) == (101 if turn % 2 else 201)
asyncio.run(main())
"""


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load_and_call(use_cache: bool = True) -> None:
    async def main() -> None:
        program._programs.clear()  # what the process knows is not what is tested here
        guest = await caesura.load(WAITER, {"env": {"wait": wait}}, cache=use_cache)
        assert await guest.call("outer", 1) == 101

    asyncio.run(main())


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_an_entry_is_written_and_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_and_call()
    assert len(entries(folder)) == 1

    def compile_again(*_: object) -> None:
        raise AssertionError("compiled although there is an entry")

    monkeypatch.setattr(program, "_compile", compile_again)
    load_and_call()
    assert folder.stat().st_mode & 0o777 == 0o700 or sys.platform == "win32"


def test_without_a_cache_nothing_is_written(folder: Path) -> None:
    load_and_call(use_cache=False)
    assert entries(folder) == []


def test_damaged_entries_are_replaced(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    good = entry.read_bytes()
    damaged = [
        b"",
        b"caesura cache 1\n",
        good[:-1],
        good + b"x",
        good[:1000],
        b"x" * len(good),
        good[:100] + b"?" + good[101:],
    ]
    for content in damaged:
        entry.write_bytes(content)
        load_and_call()
        assert cache.read(entry.stem) is not None


def test_entries_of_another_origin_are_replaced(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    found = cache.read(entry.stem)
    assert found is not None
    description, code = found
    for foreign in [(b"{}", code), (b"[]", code), (description, b"no compiled code"), (b"\xff", code)]:
        cache.write(entry.stem, *foreign)
        load_and_call()
        assert cache.read(entry.stem) not in (None, foreign)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "file"))
    load_and_call()


def test_the_key_depends_on_everything() -> None:
    keys = {
        cache.key_of(b"module", "a"),
        cache.key_of(b"modulea", ""),
        cache.key_of(b"module", "b"),
        cache.key_of(b"m"),
    }
    assert len(keys) == 4


def test_concurrent_writers(folder: Path) -> None:
    command = [sys.executable, "-c", LOAD.format(repository=str(REPOSITORY))]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(6)]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert len(entries(folder)) == 1
    load_and_call()


def test_writers_readers_and_vandals(folder: Path) -> None:
    """Processes load two modules again and again while entries are damaged, cut off, replaced and cleared."""
    command = [sys.executable, "-c", BUSY.format(repository=str(REPOSITORY))]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    acts: Iterator[Callable[[Path], object]] = itertools.cycle(
        [
            lambda entry: entry.write_bytes(entry.read_bytes()[:-7]),
            lambda entry: entry.write_bytes(b"caesura cache 1\n" + bytes(100)),
            lambda entry: cache.clear(),
            lambda entry: entry.write_bytes(b""),
            lambda entry: os.replace(entry, entry.with_name("0" * 64 + ".guest")),
            lambda entry: cache.write(entry.stem, b"{}", b"foreign"),
        ]
    )
    while any(process.poll() is None for process in running):
        for entry in entries(folder):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                next(acts)(entry)
        time.sleep(0.001)
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    load_and_call()
    load_and_call()


def test_clearing_removes_entries_and_nothing_else(folder: Path) -> None:
    load_and_call()
    (folder / "notes.txt").write_text("mine")
    (folder / "unfinished.tmp").write_text("half")
    count, size = cache.clear()
    assert count == 2 and size > 1000
    assert [entry.name for entry in entries(folder)] == ["notes.txt"]
    assert cache.clear() == (0, 0)


def test_loading_does_not_stop_the_loop_and_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    compile_really = program._compile
    may_compile = threading.Event()

    def compile_when_told(*arguments: Any) -> Any:
        assert may_compile.wait(30)
        compiled.append(arguments)
        return compile_really(*arguments)

    monkeypatch.setattr(program, "_compile", compile_when_told)

    async def main() -> None:
        program._programs.clear()
        loads = [asyncio.create_task(caesura.load(WAITER, {"env": {"wait": wait}})) for _ in range(5)]
        await asyncio.sleep(0.01)  # the loop runs while all of them wait
        may_compile.set()
        guests = await asyncio.gather(*loads)
        assert await asyncio.gather(*[guest.call("outer", 1) for guest in guests]) == [101] * 5

    asyncio.run(main())
    assert len(compiled) == 1


def test_whoever_gives_up_does_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    may_compile = threading.Event()
    begun = threading.Event()
    compile_really = program._compile

    def compile_when_told(*arguments: Any) -> Any:
        begun.set()
        assert may_compile.wait(30)
        return compile_really(*arguments)

    monkeypatch.setattr(program, "_compile", compile_when_told)

    async def give_up() -> None:
        program._programs.clear()
        load = asyncio.create_task(caesura.load(WAITER, {"env": {"wait": wait}}, cache=False))
        await asyncio.to_thread(begun.wait, 30)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load

    asyncio.run(give_up())  # ends although the compiler is still busy
    may_compile.set()
    load_and_call(use_cache=False)


def test_what_fails_in_the_making_fails_for_everybody_who_waits() -> None:
    async def main() -> None:
        broken = b"\0asm\1\0\0\0\xff"
        loads = [caesura.load(broken, cache=False) for _ in range(3)]
        for error in await asyncio.gather(*loads, return_exceptions=True):
            assert isinstance(error, caesura.MalformedModule)

    asyncio.run(main())
