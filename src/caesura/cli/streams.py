"""The standard streams of a command: closed ones, and readers that have gone.

Three things are taken care of here, for all commands. A standard stream may be closed (`>&-`): then the next file that
is opened gets its number, and what a program prints would end in that file. So closed ones are opened on the null
device before anything else, and remembered: a result that was to go there is refused, what is merely said is dropped.
The reader of our output may go before the end (`| head`): as for other tools that is no error of anybody, so the
command ends without a word, with the exit code that shells give to programs that SIGPIPE ends. And Python keeps text in
buffers: they are flushed here, where a failure can still be told, and not by the interpreter when it exits.

Letting SIGPIPE end the process was rejected but for guests (`host.command`): nobody could clean up.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from caesura.errors import UsageError

# What shells say of a program that ends by SIGPIPE.
READER_GONE: Final = 128 + 13

STANDARD_INPUT: Final = 0
STANDARD_OUTPUT: Final = 1
STANDARD_ERROR: Final = 2

_NAMES: Final = {STANDARD_INPUT: "standard input", STANDARD_OUTPUT: "standard output", STANDARD_ERROR: "standard error"}
_DESCRIPTOR_PATHS: Final = {"/dev/stdin": STANDARD_INPUT, "/dev/stdout": STANDARD_OUTPUT, "/dev/stderr": STANDARD_ERROR}

# Those that were closed when the command started.
_closed: Final[set[int]] = set()


class ReaderGone(BrokenPipeError):
    """Nobody reads any more what was to be written."""


def end_quietly(command: Callable[[], int]) -> int:
    """Run a command; return its exit code, or READER_GONE where nobody reads its output any more.

    Raises what the command raises, and UsageError for output that cannot be written for another reason.
    """
    _open_closed_streams()
    try:
        try:
            return command()
        finally:
            _flush()
    except ReaderGone:
        return READER_GONE


def write(descriptor: int, data: bytes) -> None:
    """Write everything to a descriptor, waiting where others have made it one that does not block.

    Raises ReaderGone, and OSError for other reasons.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError as error:
            raise ReaderGone(*error.args) from error


def say_result(text: str, end: str = "\n") -> None:
    """Print a text on standard output; raises ReaderGone, and UsageError where it cannot be written.

    What the encoding has no character for, such as in names of modules where it is ASCII, is escaped.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with _telling():
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end)


def check_open(descriptor: int) -> None:
    """Raise UsageError for a standard stream that was closed when the command started."""
    if descriptor in _closed:
        raise UsageError(f"cannot use {_NAMES[descriptor]}: it is closed")


def descriptor_of(path: str) -> int | None:
    """Return the file descriptor that a path like /dev/stdout or /dev/fd/63 stands for, if any.

    Opening such a path again is not the same: it fails for sockets, and in a file it starts at the beginning.
    """
    if path in _DESCRIPTOR_PATHS:
        return _DESCRIPTOR_PATHS[path]
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]{1,9})", path)
    return int(found[1]) if found else None


def _open_closed_streams() -> None:
    for descriptor in (STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
            _closed.add(descriptor)
    # Python has None for what was closed; print(file=None) would print to standard output.
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - as long as the process


def _flush() -> None:
    with _telling():
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()


@contextmanager
def _telling() -> Iterator[None]:
    """Turn failures of writing standard output into errors; what cannot be written must not be tried again at exit."""
    try:
        yield
    except BrokenPipeError as error:
        forget(sys.stdout, STANDARD_OUTPUT)
        raise ReaderGone(*error.args) from error
    except OSError as error:
        forget(sys.stdout, STANDARD_OUTPUT)
        raise UsageError(f"cannot write to standard output: {error.strerror}") from error


def forget(stream: object, descriptor: int) -> None:
    """Let the rest of a stream's buffer, which could not be written, go nowhere."""
    if stream not in (sys.__stdout__, sys.__stderr__):
        return  # replaced by whoever calls us from Python, as tests do
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
