"""How commands end: with an exit code, and one line on standard error for whatever went wrong.

The line is `PROGRAM: error: ...`. The code is 1 for bad input and for what cannot be read or written, 2 for wrong
usage, 130 when interrupted, and, without a line, 141 when nobody reads the output any more. An exception that nobody
meant to raise is reported as a bug in caesura. `--debug`, or CAESURA_DEBUG=1 in the environment, shows tracebacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from caesura.cli.messages import say_error, say_stopped
from caesura.cli.streams import ReaderGone, end_quietly
from caesura.errors import CaesuraError, InternalError, UsageError

BAD_INPUT: Final = 1
WRONG_USAGE: Final = 2
# What `caesura diff` answers where more was added than is allowed.
GREW: Final = 3
# What other tools answer: coreutils' `timeout` when the time is over, shells when a program is interrupted or aborts.
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130
ABORTED: Final = 134


class WrongUsage(UsageError):
    """The command line itself is wrong."""


def exit_code(program: str, command: Callable[[], int], shows_traceback: Callable[[], bool] = bool) -> int:
    """Run a command; return its exit code, or that of the error which it has been ended by and which has been told."""
    try:
        return end_quietly(lambda: _exit_code(program, command, shows_traceback))
    except CaesuraError as error:  # what it printed cannot be written
        say_error(str(error), program)
        return BAD_INPUT


def _exit_code(program: str, command: Callable[[], int], shows_traceback: Callable[[], bool]) -> int:
    try:
        return command()
    except ReaderGone:
        raise
    except KeyboardInterrupt:
        say_stopped("interrupted", program)
        return INTERRUPTED
    except Exception as error:
        if shows_traceback() or os.environ.get("CAESURA_DEBUG", "") not in ("", "0"):
            import traceback

            traceback.print_exc()
        say_error(_message(error), program)
        return WRONG_USAGE if isinstance(error, WrongUsage) else BAD_INPUT


def _message(error: Exception) -> str:
    if isinstance(error, CaesuraError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return str(InternalError(f"unexpected {type(error).__name__}: {error}"))
