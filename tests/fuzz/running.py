"""Running cases, each in a process of its own, and telling what became of it.

A case may do what it likes to its process: so each has one, forked from a parent that has imported everything and
started no thread. It is well if it ends by itself, in results or in an error of ours that tells whose fault it was.
That a signal ends it, that it hangs, that any other exception leaves a call or is ignored is a failure.
"""

from __future__ import annotations

import collections
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Case = Callable[[int], str]

# Seconds until a case counts as hanging, on a busy machine.
_PATIENCE: Final = 60.0
_MOST_REPORTED: Final = 65536


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `failure` is empty if all is well, `summary` says in a word how it went."""

    seed: int
    summary: str
    failure: str


def run_case(case: Case, seed: int) -> Outcome:
    """Run a case in a new process. It returns how it went, and raises what must not happen."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_and_leave(case, seed, writer)
    os.close(writer)
    said, in_time = _read(reader)
    os.close(reader)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not in_time:
        return Outcome(seed, "hangs", f"it did not end within {_PATIENCE:g} seconds; {said}")
    if os.WIFSIGNALED(status):
        return Outcome(seed, "crash", f"signal {signal.Signals(os.WTERMSIG(status)).name} ended the process; {said}")
    if os.WEXITSTATUS(status) != 0:
        return Outcome(seed, "error", said or f"exit code {os.WEXITSTATUS(status)}")
    return Outcome(seed, said, "")


def count(outcomes: list[Outcome]) -> dict[str, int]:
    """Return how many cases went each way, the most frequent first."""
    return dict(collections.Counter(outcome.summary for outcome in outcomes).most_common())


def _run_and_leave(case: Case, seed: int, writer: int) -> None:
    ignored: list[str] = []
    sys.unraisablehook = lambda error: ignored.append(f"ignored: {error.exc_value!r} in {error.object!r}")
    code = 0
    try:
        said = case(seed)
    except BaseException:
        said, code = traceback.format_exc(), 1
    if ignored:
        said, code = "\n".join(ignored), 1
    os.write(writer, said.encode(errors="replace")[-_MOST_REPORTED:])
    os._exit(code)  # whatever the parent had at hand is not the child's to flush


def _read(reader: int) -> tuple[str, bool]:
    """Return what a child says until it ends, and whether it did in time."""
    deadline = time.monotonic() + _PATIENCE
    content = bytearray()
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return content.decode(errors="replace"), False
        chunk = os.read(reader, _MOST_REPORTED)
        if not chunk:
            return content.decode(errors="replace"), True
        content += chunk
