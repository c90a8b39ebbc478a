"""Compiled guests on disk, so that a program starts without instrumenting and compiling its guests again.

One file an entry: a line that says what it is, the SHA-256 of the rest, the module's description and
Wasmtime's compiled code. The file's name is a digest of everything that went in: the module, the options, the
versions of caesura, Python and Wasmtime. An entry is written to a file of its own and then renamed, so that
concurrent writers never see half of one; whatever cannot be read, is damaged or comes from elsewhere is
treated as absent and written anew. Failures to write (a full or read-only disk) are ignored, since a cache
that stops programs is worse than none. The folder is readable by its owner only: compiled code is run as it
is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

import platformdirs

import caesura

_MAGIC: Final = b"caesura cache 1\n"
_SUFFIX: Final = ".guest"
_DIGEST_SIZE: Final = 32
_LENGTH_SIZE: Final = 8


def folder() -> Path:
    """Return where entries lie: `CAESURA_CACHE_DIR` from the environment, or the user's cache folder."""
    given = os.environ.get("CAESURA_CACHE_DIR")
    return Path(given) if given else Path(platformdirs.user_cache_dir("caesura"))


def key_of(*parts: bytes | str) -> str:
    """Return the name of the entry for a module and everything else that matters."""
    digest = hashlib.sha256()
    versions = (caesura.__version__, metadata.version("wasmtime"), sys.version, platform.machine())
    for part in (*versions, *parts):
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(_LENGTH_SIZE, "little") + raw)
    return digest.hexdigest()


def read(key: str) -> tuple[bytes, bytes] | None:
    """Return the description and the compiled code of an entry, or None."""
    try:
        content = (folder() / f"{key}{_SUFFIX}").read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_SIZE
    body = memoryview(content)[start:]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
        return None
    if len(body) < _LENGTH_SIZE:
        return None
    middle = _LENGTH_SIZE + int.from_bytes(body[:_LENGTH_SIZE], "little")
    return bytes(body[_LENGTH_SIZE:middle]), bytes(body[middle:])


def write(key: str, description: bytes, code: bytes) -> None:
    """Write an entry, replacing what is there."""
    body = len(description).to_bytes(_LENGTH_SIZE, "little") + description + code
    place = folder()
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, suffix=".tmp")
        unfinished = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            unfinished.replace(place / f"{key}{_SUFFIX}")
        except OSError:
            unfinished.unlink(missing_ok=True)


def clear() -> tuple[int, int]:
    """Remove all entries; return how many there were and their bytes. Other files in the folder stay."""
    count = 0
    size = 0
    for pattern in (f"*{_SUFFIX}", "*.tmp"):
        for file in folder().glob(pattern):
            with contextlib.suppress(OSError):
                size += file.stat().st_size
                file.unlink()
                count += 1
    return count, size
