"""Where modules come from: bytes, or files, which are told apart without being read again.

A program in memory is found by its content, and a file's content is the same as long as the file system says so: its
place, size and times. A file that changed in the last moments is read each time, since the next change might not show
in its times.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

from caesura.errors import UsageError

Source = str | os.PathLike[str] | bytes

# Bytes that are hashed in no time.
_SMALL: Final = 1 << 18

# Seconds after which a change shows in a file's times.
_SETTLED: Final = 2.0

# The digests of files that were read, by what the file system says of them.
_digests: Final[dict[tuple[int, ...], bytes]] = {}
_MOST_DIGESTS: Final = 1000


def known_digest(source: Source) -> bytes | None:
    """Return the digest of a source if that takes no time."""
    if isinstance(source, bytes | bytearray | memoryview):
        return hashlib.sha256(source).digest() if len(source) <= _SMALL else None
    try:
        stamp = _stamp(os.stat(source))
    except (OSError, ValueError):
        return None  # reading it will tell
    return _digests.get(stamp)


def read_source(source: Source) -> tuple[bytes, bytes]:
    """Return a source's bytes and their digest. Raises UsageError for a file that cannot be read."""
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
    if len(data) == found.st_size and time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED:
        if len(_digests) >= _MOST_DIGESTS:
            _digests.clear()
        _digests[_stamp(found)] = digest
    return data, digest


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
