"""How much the cache may hold, and what goes first.

Compiled code is several times as large as the module, and every version of a module, of caesura and of Wasmtime has
entries of its own, so a folder that only grows fills a disk in the end. After each entry that is written, those that
have not been used for longest go until the rest is within the limit. When an entry was used is its file's time of
change, which reading sets: the time of reading that file systems note themselves is switched off nearly everywhere. An
index with sizes and times in a file of its own was rejected: several processes would have to agree on it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Final

from caesura.errors import UsageError

VARIABLE: Final = "CAESURA_CACHE_LIMIT"
DEFAULT: Final = 2 << 30

SUFFIX: Final = ".guest"
FILE_SUFFIX: Final = ".file"  # the digest of a module's file, a few bytes
UNFINISHED: Final = ".tmp"

# Seconds after which a file that is not finished has no writer any more.
_ABANDONED: Final = 24 * 3600.0

# Seconds for which the digest of a file is kept.
_FORGOTTEN: Final = 90 * 24 * 3600.0

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def limit() -> int:
    """Return how many bytes the cache may hold: `CAESURA_CACHE_LIMIT` from the environment, or 2 GiB.

    Raises UsageError for what is no size.
    """
    given = os.environ.get(VARIABLE)
    return parse_size(given, VARIABLE, "; 0 keeps nothing") if given else DEFAULT


def parse_size(text: str, what: str, hint: str = "") -> int:
    """Return a number of bytes that is written with or without a unit; raises UsageError, with what it is for."""
    found = re.fullmatch(r"([0-9]{1,18})([KMGT]?)", text.strip().upper())
    if found is None:
        raise UsageError(f"{what} is {text!r}: expected a number of bytes, such as 500M or 2G{hint}")
    return int(found[1]) * _UNITS[found[2]]


def contents(place: Path) -> tuple[int, int]:
    """Return how many entries a folder has, and their bytes."""
    sizes = [found.st_size for _, found in _files(place, SUFFIX)]
    return len(sizes), sum(sizes)


def note_use(descriptor: int, path: str) -> None:
    """Note that an entry, which is open, was used now; where nothing may be written it is not noted."""
    with contextlib.suppress(OSError):
        os.utime(descriptor if os.utime in os.supports_fd else path)


def trim(place: Path, most: int, keep: str = "", failures: list[OSError] | None = None) -> tuple[int, int]:
    """Remove entries, the least recently used ones first, until a folder holds `most` bytes at most.

    The entry with the file name `keep` stays in any case. Returns how many went, and their bytes. Why entries cannot be
    removed is added to `failures`.
    """
    now = time.time()
    for path, found in _files(place, UNFINISHED):
        if now - found.st_mtime > _ABANDONED:
            _remove(path)
    for path, found in _files(place, FILE_SUFFIX):
        if now - found.st_mtime > _FORGOTTEN:
            _remove(path)
    files = sorted(_files(place, SUFFIX), key=lambda item: item[1].st_mtime_ns)
    total = sum(found.st_size for _, found in files)
    count, size = 0, 0
    for path, found in files:
        if total - size <= most:
            break
        if os.path.basename(path) != keep and _remove(path, failures):
            count += 1
            size += found.st_size
    return count, size


def clear(place: Path, failures: list[OSError] | None = None) -> tuple[int, int]:
    """Remove all entries; return how many went and their bytes. Other files in the folder stay.

    Why entries cannot be removed is added to `failures`.
    """
    for path, _ in _files(place, FILE_SUFFIX):
        _remove(path, failures)
    removed = [
        found.st_size
        for ending in (SUFFIX, UNFINISHED)
        for path, found in _files(place, ending)
        if _remove(path, failures)
    ]
    return len(removed), sum(removed)


def _files(place: Path, ending: str) -> list[tuple[str, os.stat_result]]:
    files: list[tuple[str, os.stat_result]] = []
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # removed meanwhile
                if entry.name.endswith(ending) and entry.is_file(follow_symlinks=False):
                    files.append((entry.path, entry.stat(follow_symlinks=False)))
    return files


def _remove(path: str, failures: list[OSError] | None = None) -> bool:
    try:
        os.unlink(path)
    except OSError as error:
        if failures is not None and not isinstance(error, FileNotFoundError):  # another process removed that one
            failures.append(error)
        return False
    return True
