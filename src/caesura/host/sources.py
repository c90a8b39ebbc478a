"""Where modules come from: bytes, or files, which are told apart without being read again.

A program in memory is found by its content, and a file's content is the same as long as the file system says so: its
place, size and times. A file that changed in the last moments is read each time, since the next change might not show
in its times.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from time import time as _now
from typing import Final

from caesura.argument_kinds import BYTES, check_kind
from caesura.errors import UsageError
from caesura.host import cache

Source = str | os.PathLike[str] | bytes | bytearray | memoryview

# Bytes that are hashed in no time.
_SMALL: Final = 1 << 18

# Seconds after which a change shows in a file's times.
_SETTLED: Final = 2.0

# The digests of files that were read, by what the file system says of them.
_digests: Final[dict[bytes, bytes]] = {}
_BITS: Final = 0xFFFF_FFFF_FFFF_FFFF
_MOST_DIGESTS: Final = 1000


def check_source(source: object) -> None:
    """Raise UsageError for what is neither a path nor bytes: a number, for one, would be a file that is open."""
    check_kind("source", source, str, os.PathLike, *BYTES)


def source_of_saved(given: Source | None, embedded: bytes | None, path: str) -> Source:
    """Return where the module of a saved state is: as it is given, or what the state brings along, or the file that it
    names. Raises UsageError where that says nothing, or names what is no file.
    """
    source = given if given is not None else embedded or path
    if not source:
        raise UsageError("the snapshot does not say where its module is: give it (module=, or --module of a command)")
    if source is path and not os.path.isfile(path):  # who wrote that may mean a device, which has no end
        raise UsageError(
            f"the snapshot's module was loaded from {path!r:.300}, where no file is: give it (module=, or --module of "
            "a command)"
        )
    return source


def known_digest(source: Source, place: Path | None = None) -> bytes | None:
    """Return the digest of a source if that takes no time; `place` is the cache folder, if that may be asked."""
    if isinstance(source, bytes | bytearray | memoryview):
        return hashlib.sha256(bytes(source)).digest() if len(source) <= _SMALL else None
    try:
        stamp = _stamp(os.stat(source))
    except (OSError, ValueError):
        return None  # reading it will tell
    found = _digests.get(stamp)
    if found is None and place is not None:
        found = cache.digest_of_file(place, _path_of(source), stamp)
        if found is not None:
            _digests[stamp] = found
    return found


def read_source(source: Source, place: Path | None = None) -> tuple[bytes, bytes]:
    """Return a source's bytes and their digest; that of a file is kept in the cache folder `place`, if there is one.

    Raises UsageError for a file that cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return data, hashlib.sha256(data).digest()
    try:
        with open(Path(source), "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read '{os.fspath(source)}': {reason}") from error
    digest = hashlib.sha256(data).digest()
    if len(data) == found.st_size and _now() - max(found.st_mtime, found.st_ctime) > _SETTLED:
        if len(_digests) >= _MOST_DIGESTS:
            _digests.clear()
        stamp = _stamp(found)
        _digests[stamp] = digest
        if place is not None and len(data) > _SMALL:
            cache.keep_digest(place, _path_of(source), stamp, digest)
    return data, digest


def _path_of(source: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.fspath(source))


def _stamp(found: os.stat_result) -> bytes:
    return struct.pack("<5Q", *(value & _BITS for value in _times_and_place(found)))


def _times_and_place(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
