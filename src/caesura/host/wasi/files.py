"""A guest's files, asked for and opened by the host, through Wasmtime's own functions: its sandbox is the only one.

These functions take what they need from the guest's memory and write there. So each call borrows the first bytes of
it, while no code of the guest runs, and puts them back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from caesura.errors import SnapshotError
from caesura.host.errors import GuestTrap
from caesura.host.wasi.buffers import WasiMemory

SUCCESS: Final = 0

# Kinds of files.
CHARACTER_DEVICE: Final = 2
FOLDER: Final = 3
REGULAR_FILE: Final = 4
SAVABLE: Final = (CHARACTER_DEVICE, FOLDER, REGULAR_FILE)

OPEN_DIRECTORY: Final = 2
_FROM_START: Final = 0

# The rights that say how a file is open.
READ_AND_WRITE: Final = 1 << 1 | 1 << 6
_PRECISION: Final = 1

_RESULT_SIZE: Final = 64
_STATUS: Final = struct.Struct("<BxHxxxxQQ")  # kind, flags, rights, rights of what is opened below
_FILE: Final = struct.Struct("<QQBxxxxxxxQ")  # device, number, kind, links


class Refused(Exception):
    """Wasmtime's function has returned an error number."""

    def __init__(self, number: int) -> None:
        super().__init__(_REASONS.get(number, f"WASI's error {number}"))
        self.number = number


class FileStatus(NamedTuple):
    """What a file is: device and number, kind, and how many names it has."""

    identity: tuple[int, int]
    kind: int
    links: int


class WasiFiles:
    """What a guest's WASI does with files; `call` calls one of Wasmtime's functions. All methods raise Refused."""

    def __init__(self, call: Callable[..., int], memory: WasiMemory) -> None:
        self._call = call
        self._memory = memory

    def flags(self, descriptor: int) -> tuple[int, int, int]:
        """Return the kind of a descriptor, its flags (APPEND and so on), and its rights."""
        result = self._ask(lambda place: self._call("fd_fdstat_get", descriptor, place))
        kind, flags, rights, _ = _STATUS.unpack_from(result)
        return kind, flags, rights

    def status(self, descriptor: int) -> FileStatus:
        """Return what the file of a descriptor is."""
        return _file_status(self._ask(lambda place: self._call("fd_filestat_get", descriptor, place)))

    def status_at(self, folder: int, lookup: int, path: str) -> FileStatus:
        """Return what the file at a path below an open folder is."""
        content = _encoded(path)

        def call(place: int) -> int:
            return self._call("path_filestat_get", folder, lookup, place + _RESULT_SIZE, len(content), place)

        return _file_status(self._ask(call, content))

    def offset(self, descriptor: int) -> int:
        """Return where a descriptor stands, in bytes."""
        return _number(self._ask(lambda place: self._call("fd_tell", descriptor, place)), 8)

    def seek(self, descriptor: int, offset: int) -> None:
        """Let a descriptor stand somewhere."""
        self._ask(lambda place: self._call("fd_seek", descriptor, offset, _FROM_START, place))

    def open(
        self, folder: int, path: str, *, lookup: int, open_flags: int, rights: int, inheriting: int, flags: int
    ) -> int:
        """Open what there is at a path below an open folder; return its descriptor. Nothing is made or cut off."""
        content = _encoded(path)

        def call(place: int) -> int:
            behind = place + _RESULT_SIZE
            given = (open_flags & OPEN_DIRECTORY, rights, inheriting, flags)
            return self._call("path_open", folder, lookup, behind, len(content), *given, place)

        return _number(self._ask(call, content), 4)

    def clock(self, number: int) -> int:
        """Return the time of one of WASI's clocks, in nanoseconds."""
        return _number(self._ask(lambda place: self._call("clock_time_get", number, _PRECISION, place)), 8)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        _check(self._call("fd_close", descriptor))

    def renumber(self, descriptor: int, replaced: int) -> None:
        """Give a descriptor another number, whose own is closed."""
        _check(self._call("fd_renumber", descriptor, replaced))

    def _ask(self, call: Callable[[int], int], content: bytes = b"") -> bytes:
        """Call a function that gets the address of 64 bytes for its result, with content behind; return these bytes."""
        size = _RESULT_SIZE + len(content)
        if size > self._memory.size:
            raise SnapshotError(f"the guest's memory has no {size} bytes, which WASI's functions need there")
        before = self._memory.read(0, size)
        try:
            self._memory.write(_RESULT_SIZE, content)
            _check(_called(call))
            return self._memory.read(0, _RESULT_SIZE)
        finally:
            self._memory.write(0, before)


def _called(call: Callable[[int], int]) -> int:
    """Return a function's error number; that of wrong arguments where it traps over these, as it does over flags."""
    try:
        return call(0)
    except GuestTrap as trap:
        if trap.kind == "interrupted":
            raise
        return _INVALID


def _file_status(result: bytes) -> FileStatus:
    device, number, kind, links = _FILE.unpack_from(result)
    return FileStatus((device, number), kind, links)


def _number(result: bytes, size: int) -> int:
    return int.from_bytes(result[:size], "little")


def _check(error: int) -> None:
    if error != SUCCESS:
        raise Refused(error)


def _encoded(path: str) -> bytes:
    try:
        return path.encode()
    except UnicodeEncodeError:
        raise Refused(_NOT_UNICODE) from None


_NOT_UNICODE: Final = 25
_INVALID: Final = 28
_REASONS: Final = {
    2: "permission denied",
    8: "its folder is not open",
    _NOT_UNICODE: "its path is not Unicode",
    _INVALID: "it cannot be opened in that way",
    31: "it is a folder",
    32: "there are too many symbolic links",
    33: "too many files are open",
    37: "its path is too long",
    41: "too many files are open",
    44: "there is no such file",
    54: "a part of its path is no folder",
    63: "permission denied",
    69: "it can only be read",
    76: "its path leads out of the folder",
}
