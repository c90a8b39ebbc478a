"""The files that a saved WASI program had open: opened again, or refused by name, and never beyond its folders."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from caesura.snapshots.state import Descriptor, WasiState
from tests.support.guests import c_text

pytestmark = pytest.mark.one_form

# What comes before and after `ask` differs from test to test.
_PROGRAM: Final = r"""
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

__attribute__((import_module("env"), import_name("ask"))) int ask(int);

static void say_rest(int file) {
    char text[64] = "";
    long size = read(file, text, sizeof text - 1);
    printf("%d: %ld '%s'\n", file, size, text);
    fflush(stdout);
}

int main(int count, char **arguments) {
    BODY
    return 0;
}
"""

_FLAGS: Final = ("-target", "wasm32-wasi", "-Os", "-s", "-Wno-unused-function")


def _program(body: str) -> bytes:
    return c_text(_PROGRAM.replace("BODY", body), *_FLAGS)


class World:
    """The folder that a program has as /data, and what it prints."""

    def __init__(self, folder: Path, **directories: Path) -> None:
        self.output = bytearray()
        self.folders = {"/data": folder} | {f"/{name}": path for name, path in directories.items()}

    def wasi(self, **given: Any) -> caesura.Wasi:
        """Return what one guest sees."""
        return caesura.Wasi(("program",), stdout=self.output.extend, **({"directories": self.folders} | given))


async def _snapshot(body: str, world: World) -> caesura.Snapshot:
    """Run a program until it asks, and save it."""
    guest = await caesura.load(_program(body), {"env": {"ask": caesura.EXTERNAL}}, wasi=world.wasi())
    step = await guest.call("_start")
    assert isinstance(step, caesura.PendingCall)
    snapshot = caesura.Snapshot.load(bytes(guest.snapshot()))
    guest.close()
    return snapshot


async def _restore(snapshot: caesura.Snapshot, body: str, wasi: caesura.Wasi, **given: Any) -> caesura.Guest:
    imports = {"env": {"ask": caesura.EXTERNAL}}
    return await caesura.restore(snapshot, imports, wasi=wasi, module=_program(body), **given)


async def _answer(guest: caesura.Guest, number: int = 0) -> None:
    """Let a program go on to its end."""
    [call] = guest.pending
    assert await call.resume(number) is None
    guest.close()


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


_READS: Final = 'int file = open("/data/a", O_RDONLY); char text[4]; read(file, text, 3); ask(0); say_rest(file);'


def test_a_file_stands_where_it_stood(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("onetwo")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        await _answer(await _restore(snapshot, _READS, world.wasi()))
        assert world.output == b"4: 3 'two'\n"

    _run(main)


_WRITES: Final = """
    int folder = open("/data", O_RDONLY | O_DIRECTORY);
    int files[] = {
        openat(folder, "a", O_RDWR | O_CREAT | O_TRUNC, 0644), open("/data/b", O_RDONLY | O_CREAT | O_TRUNC, 0644),
        open("/data/c", O_WRONLY | O_CREAT, 0644), open("/data/d", O_RDONLY | O_CREAT, 0644)
    };
    if (write(files[0], "one", 3) != 3) return 1;
    ask(0);
    for (int place = 0; place < 4; place++) {
        printf("%ld %d;", (long)write(files[place], "two", 3), fcntl(files[place], F_GETFL) & O_ACCMODE);
    }
"""


def test_what_can_be_written_and_read_stays_so(tmp_path: Path) -> None:
    """Also where that is not what the program asked for: Wasmtime lets write what is emptied when it is opened."""

    async def main() -> None:
        world = World(tmp_path)
        guest = await caesura.load(_program(_WRITES), {"env": {"ask": caesura.EXTERNAL}}, wasi=world.wasi())
        step = await guest.call("_start")
        snapshot = guest.snapshot()
        assert await step.resume(0) is None
        never_saved = bytes(world.output)
        written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert written["a"] == b"onetwo"
        for file in tmp_path.iterdir():
            file.write_bytes(b"one" if file.name == "a" else b"")
        world.output.clear()
        await _answer(await _restore(snapshot, _WRITES, world.wasi()))
        assert world.output == never_saved
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == written

    _run(main)


def test_children_have_descriptors_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("onetwo")
        snapshot = await _snapshot(_READS, World(tmp_path))
        worlds = [World(tmp_path) for _ in range(5)]
        children = await snapshot.fork(
            5, {"env": {"ask": caesura.EXTERNAL}}, wasi=lambda number: worlds[number].wasi(), module=_program(_READS)
        )
        for child in children:
            await _answer(child)
        assert [world.output for world in worlds] == [b"4: 3 'two'\n"] * 5

    _run(main)


def test_a_file_that_has_vanished(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "a"
        file.write_text("onetwo")
        (tmp_path / "b").write_text("another")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        file.unlink()
        with pytest.raises(caesura.SnapshotError, match=r"'a' below '/data', .* descriptor 4: there is no such file"):
            await _restore(snapshot, _READS, world.wasi())
        asked: list[Descriptor] = []

        def instead(descriptor: Descriptor) -> str | None:
            asked.append(descriptor)
            return "b"

        await _answer(await _restore(snapshot, _READS, world.wasi(), on_missing=instead))
        assert world.output == b"4: 4 'ther'\n"
        [descriptor] = asked
        assert (descriptor.number, descriptor.path, descriptor.offset) == (4, "a", 3)
        await _answer(await _restore(snapshot, _READS, world.wasi(), on_missing=lambda descriptor: None))
        assert world.output.endswith(b"4: -1 ''\n")
        with pytest.raises(caesura.SnapshotError, match="'none' below '/data'"):
            await _restore(snapshot, _READS, world.wasi(), on_missing=lambda descriptor: "none")

    _run(main)


def test_a_file_that_is_another_one(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        (first / "a").write_text("onetwo")
        world = World(first)
        snapshot = await _snapshot(_READS, world)
        shutil.copytree(first, second)
        world.folders["/data"] = second
        with pytest.raises(caesura.SnapshotError, match=r"'a' below '/data', .*: it is another file now"):
            await _restore(snapshot, _READS, world.wasi())
        await _answer(await _restore(snapshot, _READS, world.wasi(), on_missing=lambda descriptor: descriptor.path))
        assert world.output == b"4: 3 'two'\n"

    _run(main)


def test_folders_must_be_those_that_the_guest_had(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("onetwo")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        with pytest.raises(caesura.SnapshotError, match="the guest had a folder '/data' when it was saved"):
            await _restore(snapshot, _READS, world.wasi(directories={"/other": tmp_path}))
        with pytest.raises(caesura.SnapshotError, match="the guest had no folder '/more'"):
            await _restore(snapshot, _READS, world.wasi(directories={"/more": tmp_path, "/data": tmp_path}))
        with pytest.raises(caesura.UsageError, match="had WASI when it was saved"):
            await caesura.restore(snapshot, {"env": {"ask": caesura.EXTERNAL}}, module=_program(_READS))

    _run(main)


def test_several_folders_in_another_order(tmp_path: Path) -> None:
    body = """
    int file = open("/other/a", O_RDONLY), mine = open("/data/a", O_RDONLY);
    ask(0);
    say_rest(file), say_rest(mine);
    say_rest(open("/other/a", O_RDONLY));
    """

    async def main() -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        for folder in (first, second):
            folder.mkdir()
            (folder / "a").write_text(folder.name)
        world = World(first, other=second)
        snapshot = await _snapshot(body, world)
        await _answer(await _restore(snapshot, body, world.wasi(directories={"/other": second, "/data": first})))
        assert world.output == b"5: 6 'second'\n6: 5 'first'\n7: 6 'second'\n"

    _run(main)


def test_streams_under_other_numbers(tmp_path: Path) -> None:
    """Standard output is a file, and what was standard output has another number; standard input is closed."""
    body = """
    int spare = open("/data/spare", O_CREAT | O_RDWR, 0600), file = open("/data/a", O_CREAT | O_RDWR, 0600);
    __wasi_fd_renumber(1, spare);
    int again = open("/data/a", O_RDWR | O_APPEND);
    close(0);
    printf("before\\n"), fflush(stdout);
    dprintf(spare, "output %d %d\\n", again, spare);
    ask(0);
    printf("after\\n"), fflush(stdout);
    dprintf(spare, "output %d\\n", open("/data/a", O_RDONLY));
    char text[4];
    dprintf(spare, "%ld\\n", (long)read(0, text, 4));
    """

    async def main() -> None:
        world = World(tmp_path)
        snapshot = await _snapshot(body, world)
        await _answer(await _restore(snapshot, body, world.wasi()))
        assert world.output == b"output 1 4\noutput 0\n4\n"
        assert (tmp_path / "a").read_text() == "before\nafter\n"

    _run(main)


def test_below_a_folder_that_is_closed(tmp_path: Path) -> None:
    body = """
    mkdir("/data/folder", 0700);
    close(open("/data/folder/a", O_CREAT | O_RDWR, 0600));
    int folder = open("/data/folder", O_RDONLY | O_DIRECTORY);
    int file = openat(folder, "./a", O_RDONLY);
    close(folder);
    close(3);
    ask(0);
    say_rest(file);
    printf("%d\\n", open("/data/folder/a", O_RDONLY));
    fflush(stdout);
    """

    async def main() -> None:
        world = World(tmp_path)
        snapshot = await _snapshot(body, world)
        (tmp_path / "folder" / "a").write_text("content")
        await _answer(await _restore(snapshot, body, world.wasi()))
        assert world.output == b"5: 7 'content'\n-1\n"

    _run(main)


def test_a_folder_that_is_read_goes_on_behind_the_entries_that_were_read(tmp_path: Path) -> None:
    body = """
    DIR *folder = opendir("/data");
    int seen[300] = {0}, number = 0;
    for (int place = 0; place < 150; place++) if (sscanf(readdir(folder)->d_name, "entry%d", &number)) seen[number]++;
    ask(0);
    struct dirent *entry;
    while ((entry = readdir(folder))) if (sscanf(entry->d_name, "entry%d", &number)) seen[number]++;
    int once = 0;
    for (number = 0; number < 300; number++) once += seen[number] == 1;
    printf("%d\\n", once), fflush(stdout);
    """

    async def main() -> None:
        for number in range(300):
            (tmp_path / f"entry{number}").touch()
        world = World(tmp_path)
        snapshot = await _snapshot(body, world)
        await _answer(await _restore(snapshot, body, world.wasi()))
        assert world.output == b"300\n"

    _run(main)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('unlink("/data/a");', "descriptor 4, which is 'a' below '/data', has been removed"),
        ('symlink("a", "/data/l"); open("/data/l", O_RDONLY); unlink("/data/l");', "'l' below '/data', has been rem"),
    ],
)
def test_files_without_a_name_are_refused(tmp_path: Path, body: str, message: str) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("content")
        with pytest.raises(caesura.SnapshotError, match=message):
            await _snapshot(f'int file = open("/data/a", O_RDONLY); {body} ask(0); say_rest(file);', World(tmp_path))

    _run(main)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_pipes_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(caesura.SnapshotError, match=r"descriptor 4, .* is a pipe, a socket or the like"):
            await _snapshot('open("/data/pipe", O_RDWR); ask(0);', World(tmp_path))
        (tmp_path / "a").write_text("onetwo")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        (tmp_path / "a").unlink()
        with pytest.raises(caesura.SnapshotError, match="it is a pipe"):  # and nobody waits for its other end
            await _restore(snapshot, _READS, world.wasi(), on_missing=lambda descriptor: "pipe")

    _run(main)


def _changed(snapshot: caesura.Snapshot, descriptor: Descriptor | None = None, **wasi: Any) -> caesura.Snapshot:
    """Return a forged snapshot: with another descriptor, or anything else that WASI has."""
    state = snapshot.state
    assert state.wasi is not None
    if descriptor is not None:
        kept = [item for item in state.wasi.descriptors if item.number != descriptor.number]
        wasi["descriptors"] = (*kept, descriptor)
    forged: WasiState = replace(state.wasi, **wasi)
    return caesura.Snapshot(replace(state, wasi=forged))


@pytest.mark.parametrize(
    ("descriptor", "message"),
    [
        ({"path": "../secret"}, "permission denied"),
        ({"path": "folder/../../secret"}, "permission denied"),
        ({"path": "link"}, "permission denied"),
        ({"path": "/etc/passwd"}, "permission denied"),
        ({"path": "a\0"}, "descriptor 4"),
        ({"path": "\ud800"}, "its path is not Unicode"),
        ({"path": ""}, "descriptor 4"),
        ({"below": 1}, "lies below no folder"),
        ({"below": -1}, "lies below no folder"),
        ({"number": 4_000_000_000}, "no guest has so many"),
        ({"kind": "preopen"}, "is there twice"),
        ({"kind": "stdout"}, "is there twice"),
        ({"kind": "folder"}, "descriptor 4"),
        ({"flags": 0xFFFF}, "descriptor 4"),
        ({"lookup": 0xFFFF}, "descriptor 4"),
    ],
)
def test_a_forged_state_reaches_nothing_else(tmp_path: Path, descriptor: dict[str, Any], message: str) -> None:
    async def main() -> None:
        folder = tmp_path / "work"
        (folder / "folder").mkdir(parents=True)
        (folder / "a").write_text("onetwo")
        (tmp_path / "secret").write_text("secret")
        (folder / "link").symlink_to("../secret")
        world = World(folder)
        snapshot = await _snapshot(_READS, world)
        record = next(item for item in snapshot.state.wasi.descriptors if item.number == 4)  # type: ignore[union-attr]
        forged = _changed(snapshot, replace(record, identity=(), **descriptor))
        with pytest.raises((caesura.SnapshotError, caesura.GuestTrap), match=message):
            await _restore(forged, _READS, world.wasi())

    _run(main)


def test_a_forged_state_makes_and_cuts_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("onetwo")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        record = next(item for item in snapshot.state.wasi.descriptors if item.number == 4)  # type: ignore[union-attr]
        with pytest.raises(caesura.SnapshotError, match="there is no such file"):
            await _restore(_changed(snapshot, replace(record, path="new")), _READS, world.wasi())
        written = replace(record, rights=(1 << 30) - 1, inheriting=(1 << 30) - 1)
        await _answer(await _restore(_changed(snapshot, written), _READS, world.wasi()))
        assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "onetwo"
        with pytest.raises(caesura.SnapshotError, match="no guest has so many"):
            await _restore(_changed(snapshot, highest=0xFFFF_FFFF), _READS, world.wasi())
        read_only = {"directories": {}, "read_only_directories": {"/data": tmp_path}}
        with pytest.raises(caesura.SnapshotError, match=r"permission denied|only be read"):
            await _restore(_changed(snapshot, written), _READS, world.wasi(**read_only))

    _run(main)


_PATHS: Final = ("a", "", ".", "..", "/", "folder", "folder/a", "a/..", "link", "./folder/../a", "none", "\ud800", "\0")
_NUMBERS: Final = (0, 1, 2, 3, 4, 5, 6, 9, 40)
_BITS: Final = (0, 1, 2, 4, 8, 16, 0xFFFF_FFFF, (1 << 30) - 1, (1 << 64) - 1)
_KINDS: Final = ("stdin", "stdout", "stderr", "preopen", "file", "folder")


def _drawn(draw: random.Random, number: int) -> Descriptor:
    return Descriptor(
        number=number,
        kind=draw.choice(_KINDS),
        path=draw.choice(_PATHS),
        below=draw.choice((-1, 0, 0, 0, 1)),
        lookup=draw.choice((0, 1, 1, 0xFFFF_FFFF)),
        flags=draw.choice((0, 0, 1, 4, 31, 0xFFFF_FFFF)),
        rights=draw.choice(_BITS),
        inheriting=draw.choice(_BITS),
        offset=draw.choice((0, 3, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)),
        identity=draw.choice(((), (), (), (1, 2))),
    )


def test_states_that_say_anything_are_refused_or_put_back_as_they_say(tmp_path: Path) -> None:
    """Whatever is put back is saved again as what it was, and the folder stays as it is."""

    async def main() -> None:
        (tmp_path / "folder").mkdir()
        for name in ("a", "folder/a"):
            (tmp_path / name).write_text("content")
        (tmp_path / "link").symlink_to("a")
        world = World(tmp_path)
        snapshot = await _snapshot(_READS, world)
        state = snapshot.state.wasi
        assert state is not None
        draw = random.Random(14)
        good = 0
        for _ in range(400):
            numbers = sorted(draw.sample(_NUMBERS, draw.randrange(1, 4)))
            kept = [item for item in state.descriptors if item.number not in numbers and draw.random() < 0.9]
            drawn = sorted([*kept, *(_drawn(draw, number) for number in numbers)], key=lambda item: item.number)
            forged = _changed(snapshot, descriptors=tuple(drawn), highest=draw.choice((0, 0, 12)))
            try:
                guest = await _restore(forged, _READS, world.wasi())
            except caesura.SnapshotError:
                continue
            good += 1
            again = guest.snapshot().state.wasi
            assert again is not None
            assert [(item.number, item.kind) for item in again.descriptors] == [(d.number, d.kind) for d in drawn]
            guest.close()
        assert 20 < good < 380
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "a", "folder", "link"]
        assert (tmp_path / "a").read_text() == "content"

    _run(main)
