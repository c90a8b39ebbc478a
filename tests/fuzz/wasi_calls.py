"""WASI with absurd arguments: every function, with addresses, sizes and descriptors that no program would pass."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import struct
import tempfile
from pathlib import Path
from typing import Any, Final

import caesura
from tests.fuzz.driving import ALLOWED
from tests.fuzz.lies import claims_of_plain_abi

# Parameters, by letters: i is an i32, I an i64. All return an error number but `proc_exit`.
_FUNCTIONS: Final = {
    "args_get": "ii",
    "args_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_close": "i",
    "fd_datasync": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
    "poll_oneoff": "iiii",
    "proc_exit": "i",
    "proc_raise": "i",
    "random_get": "ii",
    "sched_yield": "",
    "sock_accept": "iii",
    "sock_recv": "iiiiii",
    "sock_send": "iiiii",
    "sock_shutdown": "ii",
}
_KINDS: Final = {"i": "i32", "I": "i64"}
_PAGE: Final = 65536
_SMALL: Final = (0, 1, 2, 3, 4, 5, 8, 16, 64, 256, 1000, 1024, 5000, 20000, 60000)
_LARGE: Final = (_PAGE - 1, _PAGE, 2 * _PAGE, (1 << 31) - 1, -(1 << 31), -1, -4, -8, 1 << 30, 0x0CCCCCCC, 0x05555556)
_LARGER: Final = (1 << 32, 1 << 62, (1 << 63) - 1, -1, 1_000_000, 10_000_000)

_LARGEST_FILE: Final = 1 << 24
_PATIENCE: Final = 0.2


def module(source: random.Random) -> str:
    """Return a module that exports a function for each of WASI's."""
    lines: list[str] = []
    calls: list[str] = []
    for name, letters in _FUNCTIONS.items():
        params = f"(param {' '.join(_KINDS[letter] for letter in letters)})" if letters else ""
        result = "" if name == "proc_exit" else "(result i32)"
        lines.append(f'(import "wasi_snapshot_preview1" "{name}" (func ${name} {params} {result}))')
        arguments = " ".join(f"(local.get {place})" for place in range(len(letters)))
        calls.append(f'(func (export "{name}") {params} {result} (call ${name} {arguments}))')
    memory = source.choice(
        ('"memory") 1', '"memory") 1', '"memory") 4', '"other") 1', '"memory") 0', '"memory") i64 1')
    )
    lies = claims_of_plain_abi() if source.random() < 0.05 else ""
    return f"(module {' '.join(lines)} (memory (export {memory}) {' '.join(calls)} {lies})"


def case(seed: int) -> str:
    """Call some of the functions."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    source = random.Random(f"wasi {seed}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_bytes(b"content")
        return asyncio.run(_use(source, folder))


async def _use(source: random.Random, folder: str) -> str:
    chunks: list[bytes] = []

    async def write(content: bytes) -> None:
        await asyncio.sleep(0)
        chunks.append(content)

    wasi = caesura.Wasi(
        ("program", "argument"),
        environment={"NAME": "value"},
        directories={"/": folder},
        stdin=b"input" * source.choice((0, 1, 1000)),
        stdout=source.choice((chunks.append, write)),
        stderr=chunks.append,
    )
    text = module(source).encode()
    try:
        guest = await caesura.load(text, wasi=wasi, cache=False)
    except ALLOWED as error:
        return f"refused: {type(error).__name__}"
    succeeded = 0
    for _ in range(source.randint(1, 30)):
        name = source.choice(tuple(_FUNCTIONS))
        arguments = [_argument(letter, source) for letter in _FUNCTIONS[name]]
        _fill(guest, source)
        try:
            call = asyncio.create_task(guest.call(name, *arguments))
            await asyncio.wait([call], timeout=_PATIENCE)
            call.cancel()
            succeeded += await call == 0
        except (*ALLOWED, asyncio.CancelledError):
            pass
    for name, arguments in (("sched_yield", []), ("args_sizes_get", [0, 8])):
        with contextlib.suppress(*ALLOWED):
            await guest.call(name, *arguments)
    return "some succeeded" if succeeded else "none succeeded"


def _argument(letter: str, source: random.Random) -> int:
    if letter == "I":
        return source.choice((*_SMALL, *_LARGER))
    return source.choice(_SMALL if source.random() < 0.7 else (*_LARGE, source.getrandbits(32)))


def _fill(guest: caesura.Guest, source: random.Random) -> None:
    """Write what the functions may find: buffers, subscriptions, names."""
    for _ in range(source.randint(0, 4)):
        words: list[Any] = [_argument("i", source) & 0xFFFF_FFFF for _ in range(source.choice((2, 12, 2000)))]
        content = source.choice((struct.pack(f"<{len(words)}I", *words), b"file\0../../..\0/\0", b"\xff" * 100))
        with contextlib.suppress(caesura.UsageError):
            guest.memory.write(source.choice(_SMALL), content)
