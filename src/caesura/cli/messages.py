"""What the command says on standard error, one line at a time.

Names from modules end up in messages, so everything that a terminal would not print as it is gets escaped. A message
that nobody can read (standard error is closed, or its reader has gone) is dropped: it changes nothing about the result.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import Final

from caesura.cli.streams import STANDARD_ERROR, forget
from caesura.errors import printable

# Seconds that last words wait for a reader that is behind.
_PATIENCE: Final = 0.5


def say(message: str) -> None:
    """Print a line."""
    say_lines(one_line(message))


def say_lines(text: str) -> None:
    """Print a text of several lines that is safe as it is, such as JSON."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr, STANDARD_ERROR)


def say_warning(message: str) -> None:
    """Print a line that warns."""
    say(f"caesura: warning: {message}")


def say_error(message: str, program: str = "caesura") -> None:
    """Print a line that tells why a command ends."""
    say(f"{program}: error: {message}")


def say_stopped(message: str, program: str = "caesura") -> None:
    """Print a line that tells why a command is stopped, unless that blocks: perhaps nobody reads."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by an object that is no file
        say_error(message, program)
        return
    line = f"{one_line(f'{program}: error: {message}')}\n".encode(errors="backslashreplace")
    with suppress(OSError, ValueError):
        _, writable, _ = select.select([], [descriptor], [], _PATIENCE)
        if writable:
            os.write(descriptor, line[: select.PIPE_BUF])


def one_line(text: str) -> str:
    """Return a text in one line, with escapes for what is not printable."""
    return printable(" ".join(text.split()))
