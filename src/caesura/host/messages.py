"""Messages between a process and its workers: a pickled head, and bytes that are not copied.

A head is small; bytes are a module or compiled code. Each has its length before it. Pipes that are read from are
buffered: Python then reads into the bytes that it returns, while others may run. Collecting pieces and joining them was
rejected: that copies a hundred megabytes in one go.
"""

from __future__ import annotations

import pickle
import platform
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import caesura
from caesura.host import cache
from caesura.host.compiling import Provided, Recipe

# A worker's first answer: from now on the request is its own.
ACCEPTED: Final = "accepted"

_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class Request:
    """Compile the module that follows; keep the result as entry `key` of the cache folder `place`, if there is one.

    `memory` is how many bytes the process may take for that.
    """

    recipe: Recipe
    provided: Provided
    place: Path | None
    key: str
    memory: int


@dataclass(frozen=True)
class Answer:
    """What was made: a description; the code follows. Both are empty if they are in the cache.

    `not_kept` is why they are not there.
    """

    description: bytes
    not_kept: str


def versions() -> tuple[str, ...]:
    """Return what both sides must have in common."""
    return caesura.__version__, cache.wasmtime_version(), platform.python_version()


def send(pipe: IO[bytes], head: Any, data: bytes) -> None:
    """Send a message."""
    packed = pickle.dumps(head)
    for piece in (_LENGTH.pack(len(packed)), packed, _LENGTH.pack(len(data)), data):
        rest = memoryview(piece)
        while rest:
            rest = rest[pipe.write(rest) :]


def send_head(pipe: IO[bytes], head: Any) -> None:
    """Send a message that is only a head."""
    packed = pickle.dumps(head)
    rest = memoryview(_LENGTH.pack(len(packed)) + packed)
    while rest:
        rest = rest[pipe.write(rest) :]


def read_head(pipe: IO[bytes]) -> Any:
    """Return a head. Raises EOFError at the end."""
    return pickle.loads(read_bytes(pipe))


def read_bytes(pipe: IO[bytes]) -> bytes:
    """Return bytes. Raises EOFError where they end too early."""
    (size,) = _LENGTH.unpack(_read(pipe, _LENGTH.size))
    return _read(pipe, size)


def _read(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content
