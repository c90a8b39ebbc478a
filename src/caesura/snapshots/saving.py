"""Saved states on disk, or wherever fsspec leads: the old file or the new one, whole, whatever happens meanwhile.

A file is written under another name in the same folder, is on the disk before it takes its place in one step, and so
is the step before `save` returns. Then neither a full disk nor a signal nor a power failure leaves half of one; what
can be left, where files cannot be made without a name, is a file `.caesura-...` next to it, if the process is killed
while it writes. Others may not read what is
saved, since a state holds whatever secrets the guest has, unless the file that it replaces says otherwise. Behind a
symbolic link the file is replaced, and not the link. What is no regular file, such as a pipe, is written directly.

`s3://...` and the like go through fsspec, in one piece, which object stores take or do not take as a whole.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Any, Final

from caesura.errors import SnapshotError, UsageError
from caesura.snapshots.format import LIMIT

Place = str | os.PathLike[str]

_OWN: Final = 0o600
_BINARY: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _BINARY
_SCHEME: Final = "://"

# How many bytes are read at a time.
_PIECE: Final = 16 << 20


def save(place: Place, data: bytes) -> None:
    """Write a saved state to a file, or to what fsspec knows by a text with "://", entirely or not at all.

    When this returns, a file is on the disk. Raises UsageError if it cannot be written; what was there is untouched.
    """
    if _is_remote(place):
        _save_remote(str(place), data)
        return
    path = _path(place)
    try:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            mode = None
        if mode is None or stat.S_ISREG(mode):
            _replace(os.path.realpath(path), mode, data)
        elif stat.S_ISDIR(mode):
            raise UsageError(f"cannot write '{path}': it is a folder")
        else:
            with os.fdopen(os.open(path, os.O_WRONLY | _BINARY), "wb", buffering=0) as file:
                _write(file, data, must_be_on_disk=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write '{path}': {_reason(error)}") from error


def identity_of(place: Place) -> str:
    """Return a text that is the same for the same place, however it is called. Raises UsageError for an empty name."""
    if _is_remote(place):
        return str(place)
    return os.path.realpath(_path(place))


def check_place(place: Place) -> None:
    """Raise UsageError for a place where nothing can be saved, as far as that shows before anything is."""
    if _is_remote(place):
        system, path = _remote(str(place))
        if not getattr(system, "local_file", False):
            return
        path = os.path.abspath(path)
    else:
        path = _path(place)
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise UsageError(f"cannot write '{path}': it is a folder")
    if not os.path.isdir(folder):
        raise UsageError(f"cannot write '{path}': there is no folder '{folder}'")
    is_regular = os.path.isfile(path) or not os.path.exists(path)
    if is_regular and not os.access(folder, os.W_OK | os.X_OK):  # a new file takes its place
        raise UsageError(f"cannot write '{path}': no permission to write into '{folder}'")


def load(place: Place, *, limit: int = LIMIT) -> bytes:
    """Return the saved state in a file, or in what fsspec knows by a text with "://".

    Raises UsageError if it cannot be read, SnapshotError if there are more than `limit` bytes in it.
    """
    if _is_remote(place):
        data = _load_remote(str(place), limit)
    else:
        try:
            with open(_path(place), "rb") as file:
                data = _read(file, limit)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read '{os.fspath(place)}': {_reason(error)}") from error
    if len(data) > limit:
        raise SnapshotError(f"'{os.fspath(place)}' has more than the limit of {limit} bytes")
    return data


def _read(file: Any, limit: int) -> bytes:
    """Return what is in a file, or a little more than the limit of it: some files have no end."""
    pieces: list[bytes] = []
    size = 0
    while size <= limit:
        piece = file.read(_PIECE)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _replace(target: str, mode: int | None, data: bytes) -> None:
    """Write a new file next to the target, then let it take the target's place, each on the disk before the next."""
    folder = os.path.dirname(target)
    new = os.path.join(folder, f".caesura-{os.urandom(8).hex()}")
    descriptor, has_name = _open_new(folder, new)
    try:
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(descriptor, stat.S_IMODE(mode))
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            _write(file, data, must_be_on_disk=True)
            if not has_name:
                # Only with a descriptor does Python follow the link that stands there for the file.
                os.link(f"/proc/self/fd/{descriptor}", new, src_dir_fd=descriptor, follow_symlinks=True)
        os.replace(new, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
    _sync_folder(folder)


def _open_new(folder: str, name: str) -> tuple[int, bool]:
    """Open a new file in a folder; tell whether it has its name already. Linux can leave that for the end, and then
    nothing is left of a process that is killed while it writes.
    """
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with suppress(OSError):  # not all file systems can
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | _BINARY, _OWN), False
    return os.open(name, _NEW, _OWN), True


def _write(file: Any, data: bytes, *, must_be_on_disk: bool) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]
    if must_be_on_disk:
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Put a folder's entries on the disk, where folders can be opened for that and the file system has a way."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _BINARY)
    except PermissionError:  # it may be written, but not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _path(place: Place) -> str:
    path = os.fspath(place)
    if not isinstance(path, str):
        raise UsageError("the name of a saved state is bytes: give text, or a path")
    if not path:
        raise UsageError("a saved state cannot be read or written: its name is empty")
    return path


def _is_remote(place: Place) -> bool:
    return isinstance(place, str) and _SCHEME in place


def _save_remote(place: str, data: bytes) -> None:
    system, path = _remote(place)
    if getattr(system, "local_file", False):
        save(os.path.abspath(path), data)
        return
    try:
        system.pipe_file(path, data)
    except Exception as error:  # each file system has errors of its own
        raise UsageError(f"cannot write '{place}': {_reason(error)}") from error


def _load_remote(place: str, limit: int) -> bytes:
    system, path = _remote(place)
    try:
        with system.open(path, "rb") as file:
            return _read(file, limit)
    except Exception as error:
        raise UsageError(f"cannot read '{place}': {_reason(error)}") from error


def _remote(place: str) -> tuple[Any, str]:
    """Return fsspec's file system for a place, and the path in it. Raises UsageError."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError(f"'{place}' needs fsspec: install caesura[fleet], or give the path of a file") from error
    try:
        system, path = url_to_fs(place)
    except Exception as error:  # a protocol that is not known, or whose package or account is missing
        raise UsageError(f"fsspec cannot open '{place}': {_reason(error)}") from error
    return system, path


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
