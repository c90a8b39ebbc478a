"""Reading modules and writing results, so that nothing is ever half-written.

A file is written under another name in the same folder and takes its place in one step, with the mode of the file it
replaces; until then an existing one stays untouched. What is not a regular file (a device, a pipe) is written
directly, and standard output without Python's buffer, whose own flush at exit would report a full disk a second time.
Paths are plain strings: importing pathlib would be a tenth of the time and memory that the command starts with.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from caesura.errors import UsageError
from caesura.host.text import assemble, is_text

STANDARD_STREAM: Final = "-"


def read_module(path: str) -> bytes:
    """Return the binary module in a file, which may hold it as text; `-` is standard input."""
    data = _read(path)
    return assemble(data) if is_text(data) else data


def write_output(path: str, pieces: Iterable[bytes]) -> None:
    """Write pieces to a file, entirely or not at all; `-` is standard output."""
    if path == STANDARD_STREAM:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        _write_directly(1, pieces, "standard output")
        return
    try:
        target = os.path.realpath(path)
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"cannot write '{path}': it is a folder")
        if mode is None or stat.S_ISREG(mode):
            _replace(target, mode, pieces)
            return
        descriptor = os.open(target, os.O_WRONLY)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write '{path}': {_reason(error)}") from error
    try:
        _write_directly(descriptor, pieces, f"'{path}'")
    finally:
        os.close(descriptor)


def _read(path: str) -> bytes:
    try:
        if path == STANDARD_STREAM:
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        what = "standard input" if path == STANDARD_STREAM else f"'{path}'"
        raise UsageError(f"cannot read {what}: {_reason(error)}") from error


def _replace(target: str, mode: int | None, pieces: Iterable[bytes]) -> None:
    """Write a new file next to the target, then let it take the target's place."""
    new = os.path.join(os.path.dirname(target), f".caesura-{os.urandom(8).hex()}")
    try:
        with open(new, "xb") as file:
            file.writelines(pieces)
        if mode is not None:
            os.chmod(new, stat.S_IMODE(mode))
        os.replace(new, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise


def _write_directly(descriptor: int, pieces: Iterable[bytes], what: str) -> None:
    try:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        raise UsageError(f"cannot write to {what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
