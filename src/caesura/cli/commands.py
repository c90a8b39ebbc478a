"""Running somebody's command while its processes note which functions of guests are on the stack, or are missing.

Its output is read through a pipe while it runs, since it may print for ever. A process that it leaves behind would keep
the pipe open: so what counts is that the command itself has ended, and then no more is read than what is there.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from caesura.cli.observed_output import ObservedOutput
from caesura.errors import UsageError
from caesura.recording.environment import recording_environment
from caesura.recording.recorded import Recording, read_recording
from caesura.recording.refusals import StackFrame

_RECORDING: Final = "recording"

# For how many seconds nobody looks whether a command that prints nothing has ended.
_PATIENCE: Final = 0.02

# How many bytes are read at once, and how many such pieces after the command has ended: more than pipes hold.
_PIECE: Final = 1 << 16
_PIECES_LEFT: Final = 16


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended, after how many seconds, and what was missing.

    `end` says how in words; `missing` are entries of lists as hosts tell them, `stacks` those of traps, and
    `last_lines` the last that the command has printed.
    """

    passed: bool
    late: bool
    end: str
    seconds: float
    missing: tuple[str, ...]
    stacks: tuple[tuple[StackFrame, ...], ...]
    last_lines: tuple[str, ...]


def start_command(command: Sequence[str], environment: dict[str, str], **settings: Any) -> subprocess.Popen[bytes]:
    """Start a command; raises UsageError where that cannot be. `settings` are those of `subprocess.Popen`."""
    try:
        return subprocess.Popen(command, env=environment, **settings)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot run '{command[0]}': {reason}") from error


def run_observed(command: Sequence[str], timeout: float | None) -> Outcome:
    """Run a command to its end, without standard input; it is killed, with its children, when its time is over."""
    with tempfile.TemporaryDirectory(prefix="caesura-") as folder:
        recording = os.path.join(folder, _RECORDING)
        output = ObservedOutput()
        begin = time.monotonic()
        code = _run(command, recording_environment(recording), output, timeout)
        duration = time.monotonic() - begin
        told = _told(recording)
    refusals = output.end()
    return Outcome(
        passed=code == 0,
        late=code is None,
        end=_words(code),
        seconds=duration,
        missing=tuple(dict.fromkeys([*told, *refusals.entries])),
        stacks=refusals.stacks,
        last_lines=tuple(output.last_lines()),
    )


def _run(
    command: Sequence[str], environment: dict[str, str], output: ObservedOutput, timeout: float | None
) -> int | None:
    """Return a command's exit code, negative for a signal, or None if it did not end in time."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    process = start_command(
        command,
        environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdout is not None, "it is a pipe"
    pipe = process.stdout.fileno()
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        try:
            is_open = True
            while process.poll() is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                if not is_open:
                    time.sleep(min(_PATIENCE, left))
                elif selector.select(min(_PATIENCE, left)):
                    is_open = _read(pipe, output)
            return process.returncode
        finally:
            with suppress(OSError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for _ in range(_PIECES_LEFT):
                if not (selector.select(0) and _read(pipe, output)):
                    break


def _read(pipe: int, output: ObservedOutput) -> bool:
    """Read what comes next; return whether there may be more."""
    data = os.read(pipe, _PIECE)
    output.take(data)
    return len(data) > 0


def _words(code: int | None) -> str:
    if code is None:
        return "did not end"
    if code == 0:
        return "passed"
    if code > 0:
        return f"failed with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _told(path: str) -> tuple[str, ...]:
    """Return what hosts have noted of functions that were missing."""
    recording = Recording()
    with suppress(FileNotFoundError), open(path, "rb") as file:
        read_recording(file.read(), path, recording)
    return tuple(recording.missing)
