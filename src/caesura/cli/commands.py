"""Running somebody's command while its processes note which functions of guests are on the stack, or are missing."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from caesura.errors import UsageError
from caesura.recording.environment import recording_environment
from caesura.recording.recorded import Recording, read_recording
from caesura.recording.refusals import StackFrame, read_refusals

_RECORDING: Final = "recording"
_OUTPUT: Final = "output"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended, after how many seconds, and what was missing.

    `end` says how in words; `missing` are entries of lists as hosts tell them, `stacks` those of traps, and `output` is
    what the command has printed.
    """

    passed: bool
    late: bool
    end: str
    seconds: float
    missing: tuple[str, ...]
    stacks: tuple[tuple[StackFrame, ...], ...]
    output: str


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
        recording, output = os.path.join(folder, _RECORDING), os.path.join(folder, _OUTPUT)
        begin = time.monotonic()
        with open(output, "wb") as file:
            code = _run(command, recording_environment(recording), file.fileno(), timeout)
        duration = time.monotonic() - begin
        with open(output, encoding="utf-8", errors="replace") as file_of_text:
            text = file_of_text.read()
        told = _told(recording)
    refusals = read_refusals(text.splitlines())
    return Outcome(
        passed=code == 0,
        late=code is None,
        end=_words(code),
        seconds=duration,
        missing=tuple(dict.fromkeys([*told, *refusals.entries])),
        stacks=refusals.stacks,
        output=text,
    )


def _run(command: Sequence[str], environment: dict[str, str], output: int, timeout: float | None) -> int | None:
    """Return a command's exit code, negative for a signal, or None if it did not end in time."""
    process = start_command(
        command,
        environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(OSError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
