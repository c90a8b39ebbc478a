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

import platformdirs
import pytest

import caesura
from caesura.host import cache, cache_limit, compiled_modules, sources
from caesura.host.compiling import CompiledCode, compile_guest_module
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
from caesura.host import compiled_modules
sys.path.insert(0, {repository!r})
from tests.host.support import WAITER
async def wait(value):
    await asyncio.sleep(0)
    return value
async def main():
    for turn in range(20):
        compiled_modules._compiled.clear()
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


def load_and_call(*, use_cache: bool = True) -> None:
    async def main() -> None:
        compiled_modules._compiled.clear()  # what the process knows is not what is tested here
        guest = await caesura.load(WAITER, {"env": {"wait": wait}}, cache=use_cache)
        assert await guest.call("outer", 1) == 101

    asyncio.run(main())


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def replace(entry: Path, content: bytes) -> None:
    """Put another file in an entry's place. One that is written over where it lies would change under who runs it."""
    unfinished = entry.with_name(f"{os.urandom(8).hex()}.tmp")
    unfinished.write_bytes(content)
    unfinished.replace(entry)


def read(entry: Path) -> tuple[bytes, bytes] | None:
    """Return the description and the code of an entry, or None if it is taken for damaged."""
    with cache.opened(entry.parent, entry.stem) as found:
        if found is None:
            return None
        return found.description, entry.read_bytes().partition(found.description)[0]


def write(entry: Path, description: bytes, code: bytes) -> None:
    assert cache.write(entry.parent, entry.stem, CompiledCode(description, code)) == ""


def test_an_entry_is_written_and_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_and_call()
    assert len(entries(folder)) == 1

    def compile_again(*_: object, **options: object) -> None:
        raise AssertionError("compiled although there is an entry")

    monkeypatch.setattr("caesura.host.compile_queue.compile_guest_module", compile_again)
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
        b"caesura cache 5\n",
        good[:-1],
        good + b"x",
        good[:1000],
        good[1000:],
        b"x" * len(good),
        bytes(len(good)),
        good[:100] + b"?" + good[101:],
    ]
    for content in damaged:
        replace(entry, content)
        load_and_call()
        assert read(entry) is not None


def test_entries_of_another_origin_are_replaced(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    found = read(entry)
    assert found is not None
    description, code = found
    for foreign in [(b"{}", code), (b"[]", code), (description, b"no compiled code"), (b"\xff", code), (b"", b"")]:
        write(entry, *foreign)
        load_and_call()
        assert read(entry) not in (None, foreign)


def test_code_that_is_not_hashed_whole(folder: Path) -> None:
    code = os.urandom(3 << 20)
    folder.mkdir(mode=0o700)
    entry = folder / "large.guest"
    write(entry, b"description", code)
    assert read(entry) == (b"description", code)
    content = entry.read_bytes()
    for damaged in (content[:-1], content[1:], content[: len(content) // 2], b"?" + content[1:], content[:-200]):
        replace(entry, damaged)
        assert read(entry) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(
        caesura.CacheWarning, match=r"not kept in the cache folder .*file: (File exists|Not a directory)"
    ):
        load_and_call()
    load_and_call()  # it is said once


def test_warnings_are_of_no_line_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(caesura.CacheWarning) as warned:
        load_and_call()
    assert [(item.filename, item.line) for item in warned] == [("caesura", None)]


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
            lambda entry: replace(entry, entry.read_bytes()[:-7]),
            lambda entry: replace(entry, bytes(100) + b"caesura cache 5\n"),
            lambda entry: cache_limit.clear(folder),
            lambda entry: replace(entry, b""),
            lambda entry: os.replace(entry, entry.with_name("0" * 64 + ".guest")),
            lambda entry: write(entry, b"{}", b"foreign"),
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
    count, size = cache_limit.clear(folder)
    assert count == 2 and size > 1000
    assert [entry.name for entry in entries(folder)] == ["notes.txt"]
    assert cache_limit.clear(folder) == (0, 0)


def test_loading_does_not_stop_the_loop_and_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    compile_really = compile_guest_module
    may_compile = threading.Event()

    def compile_when_told(*arguments: Any, **options: Any) -> Any:
        assert may_compile.wait(30)
        compiled.append(arguments)
        return compile_really(*arguments, **options)

    monkeypatch.setattr("caesura.host.compile_queue.compile_guest_module", compile_when_told)

    async def main() -> None:
        compiled_modules._compiled.clear()
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
    compile_really = compile_guest_module

    def compile_when_told(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert may_compile.wait(30)
        return compile_really(*arguments, **options)

    monkeypatch.setattr("caesura.host.compile_queue.compile_guest_module", compile_when_told)

    async def give_up() -> None:
        compiled_modules._compiled.clear()
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


needs_owners = pytest.mark.skipif(sys.platform == "win32", reason="rights are other things there")


@needs_owners
def test_a_folder_that_others_may_write_is_not_used(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    content = entry.read_bytes()
    folder.chmod(0o777)
    with pytest.warns(caesura.CacheWarning, match=r"writable for others.*chmod go-w"):
        load_and_call()
    assert entries(folder) == [entry] and entry.read_bytes() == content


@needs_owners
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_may_write_is_not_run(folder: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    load_and_call()
    (entry,) = entries(folder)
    entry.chmod(mode)
    with pytest.warns(caesura.CacheWarning, match="others may write it"):
        load_and_call()
    assert entry.stat().st_mode & 0o777 == 0o600  # it is made anew, as ours
    monkeypatch.setattr("caesura.host.compile_queue.compile_guest_module", None)
    load_and_call()


@needs_owners
def test_a_link_is_no_entry(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    entry.rename(folder / "elsewhere")
    entry.symlink_to(folder / "elsewhere")
    load_and_call()
    assert not entry.is_symlink()


@needs_owners
def test_a_folder_that_others_can_exchange_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = tmp_path / "open" / "inside"
    way.mkdir(parents=True)
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(way / "cache"))
    way.parent.chmod(0o777)
    with pytest.warns(caesura.CacheWarning, match=r"open on the way to it is writable for others"):
        load_and_call()
    assert entries(way / "cache") == []
    way.parent.chmod(0o1777)  # as /tmp: everybody may add files, but not touch those of others
    load_and_call()
    assert len(entries(way / "cache")) == 1


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_run(folder: Path) -> None:
    load_and_call()
    (entry,) = entries(folder)
    os.chown(entry, 54321, -1)
    with pytest.warns(caesura.CacheWarning, match="belongs to somebody else"):
        load_and_call()
    assert entry.stat().st_uid == os.geteuid()
    os.chown(folder, 54321, -1)
    with pytest.warns(caesura.CacheWarning, match="it belongs to somebody else"):
        load_and_call()


@pytest.mark.parametrize("home", ["", "~", None])
def test_without_a_home_the_cache_lies_nowhere_odd(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CAESURA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(tmp_path)
    assert cache.folder().is_absolute() and not cache.folder().is_relative_to(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs is asked")
@pytest.mark.parametrize("given", [None, "", "/somewhere/else", "relative"])
def test_the_cache_lies_where_platformdirs_says(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAESURA_CACHE_DIR", raising=False)
    if given is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    if given != "relative":
        assert str(cache.folder()) == platformdirs.user_cache_dir("caesura")
    assert cache.folder().is_absolute() and cache.folder().name == "caesura"


def test_a_file_that_is_known_is_not_read(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and times say that it is the same; one that changed in the last moments is read each time."""
    source = tmp_path / "guest.wat"
    text = WAITER + b";; " + b"x" * 300_000
    seen: list[str] = []
    real_open = open

    def note(path: object, *arguments: Any, **options: Any) -> Any:
        seen.append(str(path))
        return real_open(path, *arguments, **options)  # type: ignore[call-overload]

    def read_by(result: int, content: bytes, age: float) -> bool:
        """Load the file with this content, as a new process would, and tell whether it was read."""
        if not source.exists() or source.read_bytes() != content:
            source.write_bytes(content)
        seen.clear()
        sources._digests.clear()
        compiled_modules._compiled.clear()
        now = time.time() + age
        monkeypatch.setattr("caesura.host.sources._now", lambda: now)

        async def main() -> None:
            async with await caesura.load(source, {"env": {"wait": wait}}) as guest:
                assert await guest.call("outer", 1) == result

        asyncio.run(main())
        return str(source) in seen

    monkeypatch.setattr("builtins.open", note)
    assert read_by(101, text, age=0)
    assert read_by(101, text, age=0)  # it may have changed since
    assert read_by(101, text, age=10)
    assert not read_by(101, text, age=10)
    assert read_by(201, text.replace(b"100", b"200"), age=10)
    assert not read_by(201, text.replace(b"100", b"200"), age=10)
    (known,) = folder.glob("*.file")
    replace(known, known.read_bytes()[:-1])
    assert read_by(201, text.replace(b"100", b"200"), age=10)
