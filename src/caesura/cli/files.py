"""Reading modules and writing results, so that nothing is ever half-written.

A file is written under another name in the same folder and takes its place in one step, with the mode of the file it
replaces; until then an existing one stays untouched. What is not a regular file (a device, a pipe) is written
directly, and standard output without Python's buffer, whose own flush at exit would report a full disk a second time.
Paths that stand for open files (/dev/stdout, and what the shell makes of `>(...)`) are written through these.
Paths are plain strings: importing pathlib would be a tenth of the time and memory that the command starts with.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from caesura.cli import streams
from caesura.errors import CaesuraError, UsageError
from caesura.host.text import assemble, is_text

STANDARD_STREAM: Final = "-"


class InFile(CaesuraError):
    """An error with the name of the file that it is about."""

    def __init__(self, path: str, error: CaesuraError) -> None:
        super().__init__(f"{_name_of(path)}: {error}")


@contextmanager
def about(path: str, kind: type[CaesuraError] = CaesuraError) -> Iterator[None]:
    """Name the file in errors, of a kind, about what is in it."""
    try:
        yield
    except kind as error:
        raise InFile(path, error) from error


def read_module(path: str) -> bytes:
    """Return the binary module in a file, which may hold it as text; `-` is standard input."""
    data = read_file(path)
    if not is_text(data):
        return data
    with about(path):
        return assemble(data)


def read_file(path: str, most: int | None = None) -> bytes:
    """Return what is in a file; `-` is standard input. Raises UsageError for one that has more than `most` bytes."""
    data = _read_file(path, -1 if most is None else most + 1)
    if most is not None and len(data) > most:
        raise UsageError(f"{_quoted(path)} has more than {most:,} bytes, which are the most that are read")
    return data


def _read_file(path: str, most: int) -> bytes:
    if not path:
        raise UsageError("cannot read a file: its name is empty")
    try:
        descriptor = _descriptor_of(path, streams.STANDARD_INPUT)
        if descriptor is not None:
            with suppress(AttributeError, ValueError):  # what Python has read already, if anything
                if descriptor == streams.STANDARD_INPUT:
                    return sys.stdin.buffer.read(most)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(most)
        with open(path, "rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {_quoted(path)}: {_reason(error)}") from error


def read_state(path: str) -> bytes:
    """Return what is in a saved state's file, or in what fsspec knows by a text with "://"; `-` is standard input."""
    if "://" not in path:
        return read_file(path)
    from caesura.snapshots.saving import load

    return load(path)


def write_output(path: str, pieces: Iterable[bytes]) -> None:
    """Write pieces to a file, entirely or not at all; `-` is standard output.

    Raises ReaderGone where what reads the output has gone, UsageError where it cannot be written.
    """
    check_output_name(path)
    descriptor = _descriptor_of(path, streams.STANDARD_OUTPUT)
    if descriptor is None:
        _write_file(path, pieces)
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    _write_directly(descriptor, pieces, "standard output" if path == STANDARD_STREAM else f"'{path}'")


def _write_file(path: str, pieces: Iterable[bytes]) -> None:
    """Replace a file, or write to a device or a pipe directly."""
    try:
        target = os.path.realpath(path)
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"cannot write '{path}': it is a folder")
        if mode is None or stat.S_ISREG(mode):
            _replace(target, mode, pieces)
            return
        descriptor = os.open(path, os.O_WRONLY)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write '{path}': {_reason(error)}") from error
    try:
        _write_directly(descriptor, pieces, f"'{path}'")
    finally:
        os.close(descriptor)


def check_output_name(path: str) -> None:
    """Raise UsageError for an empty name, which would stand for the current folder."""
    if not path:
        raise UsageError("cannot write a file: its name is empty ('-' is standard output)")


def is_text_name(path: str) -> bool:
    """Tell whether a file's name says that it holds a module as text."""
    return path.lower().endswith((".wat", ".wast"))


def is_ordinary(path: str) -> bool:
    """Tell whether a path is that of a file, or of none yet, and stands for nothing else."""
    if path == STANDARD_STREAM or streams.descriptor_of(path) is not None:
        return False
    return os.path.isfile(path) or not os.path.exists(path)


def is_standard_output(path: str) -> bool:
    """Tell whether a path stands for standard output."""
    return path == STANDARD_STREAM or streams.descriptor_of(path) == streams.STANDARD_OUTPUT


def goes_to_terminal(path: str) -> bool:
    """Tell whether what is written to a path can be seen at once; raises UsageError for a stream that is closed."""
    descriptor = _descriptor_of(path, streams.STANDARD_OUTPUT)
    return descriptor is not None and os.isatty(descriptor)


def _descriptor_of(path: str, standard: int) -> int | None:
    """Return the descriptor that a path stands for, if any; raises UsageError for a standard stream that is closed."""
    descriptor = standard if path == STANDARD_STREAM else streams.descriptor_of(path)
    if descriptor is not None:
        streams.check_open(descriptor)
    return descriptor


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
            streams.write(descriptor, piece)
    except streams.ReaderGone:
        raise
    except OSError as error:
        raise UsageError(f"cannot write to {what}: {_reason(error)}") from error


def _name_of(path: str) -> str:
    return "standard input" if path == STANDARD_STREAM else path


def _quoted(path: str) -> str:
    return "standard input" if path == STANDARD_STREAM else f"'{path}'"


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
