"""A small WASI host made of functions for a `PlainGuest`, so that the guest can be suspended in each of them.

Wasmtime's own WASI cannot be used for that: its functions are not ours to call twice. Only what the guests of the tests
need is here: standard input, output and error, arguments, a fixed clock, reproducible random numbers. There are no
files.
"""

from __future__ import annotations

import random
import struct
from typing import Final

from tests.support.plain_abi import HostFunction, PlainGuest

MODULE: Final = "wasi_snapshot_preview1"

SUCCESS: Final = 0
BAD_DESCRIPTOR: Final = 8
NO_ENTRY: Final = 44
NOT_SEEKABLE: Final = 70
CHARACTER_DEVICE: Final = 2


class Exit(Exception):
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the guest exited with {code}")
        self.code = code


class Wasi:
    """The state of one guest's WASI host. `attach` it to the guest before the guest runs.

    `given` is what its standard input has; of that it gets `portion` bytes at once at most.
    """

    def __init__(self, arguments: tuple[str, ...] = ("guest",), given: bytes = b"", portion: int = 4096) -> None:
        self._given = given
        self._portion = portion
        self.output = bytearray()
        self.errors = bytearray()
        self._arguments = [argument.encode() + b"\0" for argument in arguments]
        self._random = random.Random(1)
        self._now = 1_000_000_000
        self._guest: PlainGuest | None = None

    def attach(self, guest: PlainGuest) -> None:
        """Say whose memory the functions read and write."""
        self._guest = guest

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Return the host functions under their import names."""
        given: dict[str, HostFunction] = {
            "args_get": self._args_get,
            "args_sizes_get": self._args_sizes_get,
            "clock_time_get": self._clock_time_get,
            "environ_get": lambda pointers, buffer: SUCCESS,
            "environ_sizes_get": self._environ_sizes_get,
            "fd_close": lambda descriptor: SUCCESS,
            "fd_fdstat_get": self._fd_fdstat_get,
            "fd_fdstat_set_flags": lambda descriptor, flags: SUCCESS,
            "fd_prestat_get": lambda descriptor, result: BAD_DESCRIPTOR,
            "fd_prestat_dir_name": lambda descriptor, path, size: BAD_DESCRIPTOR,
            "fd_read": self._fd_read,
            "fd_seek": lambda descriptor, offset, whence, result: NOT_SEEKABLE,
            "fd_write": self._fd_write,
            "path_filestat_get": lambda folder, flags, path, size, result: NO_ENTRY,
            "path_open": lambda folder, lookup, path, size, flags, rights, inherited, more, result: NO_ENTRY,
            "proc_exit": self._proc_exit,
            "random_get": self._random_get,
        }
        return {(MODULE, name): function for name, function in given.items()}

    @property
    def guest(self) -> PlainGuest:
        """The guest that was attached."""
        assert self._guest is not None, "no guest is attached"
        return self._guest

    def _put(self, address: int, layout: str, *values: int) -> int:
        self.guest.write(address, struct.pack(layout, *values))
        return SUCCESS

    def _args_sizes_get(self, count: int, size: int) -> int:
        self._put(count, "<I", len(self._arguments))
        return self._put(size, "<I", sum(map(len, self._arguments)))

    def _args_get(self, pointers: int, buffer: int) -> int:
        for argument in self._arguments:
            self._put(pointers, "<I", buffer)
            self.guest.write(buffer, argument)
            pointers += 4
            buffer += len(argument)
        return SUCCESS

    def _environ_sizes_get(self, count: int, size: int) -> int:
        self._put(count, "<I", 0)
        return self._put(size, "<I", 0)

    def _clock_time_get(self, clock: int, precision: int, result: int) -> int:
        self._now += 1000
        return self._put(result, "<Q", self._now)

    def _fd_fdstat_get(self, descriptor: int, result: int) -> int:
        return self._put(result, "<BxHxxxxQQ", CHARACTER_DEVICE, 0, 0, 0)

    def _fd_read(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor != 0:
            return BAD_DESCRIPTOR
        read = 0
        for address, size in struct.iter_unpack("<II", self.guest.read(vectors, 8 * count)):
            content = self._given[: min(size, self._portion - read)]
            self._given = self._given[len(content) :]
            self.guest.write(address, content)
            read += len(content)
        return self._put(result, "<I", read)

    def _fd_write(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor not in (1, 2):
            return BAD_DESCRIPTOR
        target = self.output if descriptor == 1 else self.errors
        written = 0
        for address, size in struct.iter_unpack("<II", self.guest.read(vectors, 8 * count)):
            target += self.guest.read(address, size)
            written += size
        return self._put(result, "<I", written)

    def _random_get(self, buffer: int, size: int) -> int:
        self.guest.write(buffer, self._random.randbytes(size))
        return SUCCESS

    def _proc_exit(self, code: int) -> None:
        raise Exit(code)
