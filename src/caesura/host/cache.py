"""Compiled guests on disk, so that a program starts without instrumenting and compiling its guests again.

One file an entry: Wasmtime's compiled code, the module's description, and a trailer that says how long they are. The
code comes first, so that Wasmtime can map the file: nothing is read that does not run, and processes share it.
(Wasmtime takes no notice of what follows its own part.) The file's name is a digest of everything that went in: the
module, the options, the versions of caesura, Python and Wasmtime.

Compiled code is run as it is, and hashing it would cost what mapping saves. So it is trusted for where it lies: see
`trusted_folder`. An entry is written to a file of its own and then renamed, so that concurrent writers never see half
of one. The trailer has the lengths and a digest of the description and the code, so that a file that was cut off or
mixed up is treated as absent and written anew; of code that is too large to be hashed each time it has only the two
ends, and the file is on the disk before it is renamed, where a power failure leaves all of it or nothing.

Failures to write (a full or read-only disk) only cost time, since a cache that stops programs is worse than none; they
are warned of.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from functools import cache as once
from pathlib import Path
from typing import Final, NamedTuple

import wasmtime

import caesura
from caesura.errors import UsageError
from caesura.host import cache_limit, warning
from caesura.host.cache_limit import FILE_SUFFIX, SUFFIX, UNFINISHED
from caesura.host.compiling import CompiledCode
from caesura.host.trusted_folder import Untrusted, is_own_file, open_folder

_DIGEST_SIZE: Final = 32
_LENGTH_SIZE: Final = 8

# At the end of an entry: sizes of code and description, a digest, and what this is.
_TRAILER: Final = struct.Struct("<QQ32s16s")
_MAGIC: Final = b"caesura cache 5\n"

# Code that is hashed whole, in less than a millisecond, and how much of each end is if it is larger.
_HASHED: Final = 1 << 20
_END: Final = 4096

_NO_HOME: Final = Path("/.cache/caesura")

# Where to open a file that is open already, so that it is certain to be the one that was looked at.
_DESCRIPTORS: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


class CacheWarning(UserWarning):
    """The cache cannot be used, and programs start more slowly."""


def folder() -> Path:
    """Return where entries lie: `CAESURA_CACHE_DIR` from the environment, or the user's cache folder."""
    given = os.environ.get("CAESURA_CACHE_DIR")
    if given:
        return Path(os.path.abspath(given))
    place = _users_folder()
    # Nobody knows the home of the user: it is where containers put it, and most likely cannot be written.
    return place if place.is_absolute() else _NO_HOME


def _users_folder() -> Path:
    """Return the user's cache folder, which is not absolute if nobody knows it.

    On Linux the XDG specification's two rules stand here: importing platformdirs takes a tenth of what it takes until a
    saved guest runs on in a new process.
    """
    if sys.platform != "linux":
        import platformdirs

        try:
            return Path(platformdirs.user_cache_dir("caesura"))
        except RuntimeError:
            return Path()
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache"), "caesura")


@once
def _versions() -> tuple[str, ...]:
    return (
        caesura.__version__,
        wasmtime_version(),
        sys.version,
        os.uname().machine if hasattr(os, "uname") else sys.platform,
    )


def wasmtime_version() -> str:
    """Return the version of wasmtime-py, as the name of a folder next to it says: `importlib.metadata` takes 10 ms."""
    place = os.path.dirname(os.path.dirname(wasmtime.__file__))
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith("wasmtime-") and name.endswith(".dist-info"):
                return name.removeprefix("wasmtime-").removesuffix(".dist-info")
    from importlib import metadata

    return metadata.version("wasmtime")


def key_of(*parts: bytes | str) -> str:
    """Return the name of the entry for a module and everything else that matters."""
    digest = hashlib.sha256()
    for part in (*_versions(), *parts):
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(_LENGTH_SIZE, "little") + raw)
    return digest.hexdigest()


class Entry(NamedTuple):
    """An entry that is open: its description, where its code can be mapped, and the descriptor behind that."""

    description: bytes
    path: str
    descriptor: int


@contextlib.contextmanager
def opened(place: Path, key: str) -> Iterator[Entry | None]:
    """Open an entry; None if there is none, it is damaged, or somebody else could have written it."""
    entry: Entry | None = None
    descriptor = _open(place, f"{key}{SUFFIX}")
    try:
        if descriptor is not None:
            entry = _read(place, key, descriptor)
        if entry is not None:
            cache_limit.note_use(entry.descriptor, entry.path)
        yield entry
    finally:
        if descriptor is not None:
            os.close(descriptor)


def write(place: Path, key: str, made: CompiledCode) -> str:
    """Write an entry, replacing what is there; return why it could not be done, or "".

    What has not been used for longest goes where the cache then holds more than it may.
    """
    code, description = made.code, made.description
    trailer = _TRAILER.pack(len(code), len(description), _digest(description, code), _MAGIC)
    return _write_file(place, f"{key}{SUFFIX}", (code, description, trailer), must_be_on_disk=len(code) > _HASHED)


def digest_of_file(place: Path, file: str, stamp: bytes) -> bytes | None:
    """Return the digest of what a file held that had this stamp, if it was kept by `keep_digest`."""
    descriptor = _open(place, _name_of_digest(file))
    if descriptor is None:
        return None
    try:
        content = os.read(descriptor, len(stamp) + _DIGEST_SIZE + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    is_whole = len(content) == len(stamp) + _DIGEST_SIZE and content.startswith(stamp)
    return content[len(stamp) :] if is_whole else None


def keep_digest(place: Path, file: str, stamp: bytes, digest: bytes) -> None:
    """Keep the digest of a file, so that it need not be read as long as the file system gives it the same stamp."""
    # If it cannot be kept, it is made again.
    _write_file(place, _name_of_digest(file), (stamp, digest), must_be_on_disk=False)


def _name_of_digest(file: str) -> str:
    return f"{hashlib.sha256(os.fsencode(file)).hexdigest()}{FILE_SUFFIX}"


def _write_file(place: Path, name: str, pieces: tuple[bytes, ...], *, must_be_on_disk: bool) -> str:
    try:
        most = cache_limit.limit()
        size = sum(len(piece) for piece in pieces)
        if size > most:
            return f"an entry of {size:,} bytes is more than all may have ({cache_limit.VARIABLE})"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_folder(place):
            pass  # nothing is written where it would not be read
        unfinished = place / f"{os.urandom(8).hex()}{UNFINISHED}"
        descriptor = os.open(unfinished, _NEW, 0o600)
    except (Untrusted, OSError, UsageError) as error:
        return _reason(error)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            if must_be_on_disk:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(place / name)
        cache_limit.trim(place, most, keep=name)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        return _reason(error)
    return ""


def _open(place: Path, name: str) -> int | None:
    """Return the descriptor of an entry that only we can have written, or None."""
    try:
        with open_folder(place) as within:
            descriptor = os.open(place / name if within is None else name, _FLAGS, dir_fd=within)
    except Untrusted as error:
        warn(place, str(error))
        return None
    except (OSError, ValueError):
        return None
    if is_own_file(descriptor):
        return descriptor
    os.close(descriptor)
    warn(place, f"{name} belongs to somebody else, or others may write it")
    return None


_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _read(place: Path, key: str, descriptor: int) -> Entry | None:
    try:
        size = os.fstat(descriptor).st_size
        trailer = _read_at(descriptor, size - _TRAILER.size, _TRAILER.size)
        code_size, description_size, digest, magic = _TRAILER.unpack(trailer)
        if magic != _MAGIC or code_size + description_size + _TRAILER.size != size:
            return None
        description = _read_at(descriptor, code_size, description_size)
        if code_size <= _HASHED:
            looked_at = _read_at(descriptor, 0, code_size)
        else:
            looked_at = _read_at(descriptor, 0, _END) + _read_at(descriptor, code_size - _END, _END)
    except (OSError, struct.error, ValueError):
        return None
    if hashlib.sha256(looked_at + description).digest() != digest:
        return None
    path = f"{_DESCRIPTORS}/{descriptor}"
    return Entry(description, path if os.path.exists(path) else str(place / f"{key}{SUFFIX}"), descriptor)


def _read_at(descriptor: int, start: int, size: int) -> bytes:
    """Return bytes of a file. Raises ValueError if it is shorter."""
    if start < 0:
        raise ValueError("the file is too short")
    os.lseek(descriptor, start, os.SEEK_SET)
    pieces = []
    while size:
        piece = os.read(descriptor, size)
        if not piece:
            raise ValueError("the file is too short")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _digest(description: bytes, code: bytes) -> bytes:
    looked_at = code if len(code) <= _HASHED else code[:_END] + code[-_END:]
    return hashlib.sha256(looked_at + description).digest()


# What was warned of, so that it is said once.
_warned: Final[set[tuple[Path, str]]] = set()


def warn(place: Path, reason: str) -> None:
    """Warn, once, that the cache cannot be used."""
    if (place, reason) not in _warned:
        _warned.add((place, reason))
        message = (
            f"compiled programs are not kept in the cache folder {place}: {reason}; CAESURA_CACHE_DIR names another"
        )
        warning.warn(message, CacheWarning)


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
