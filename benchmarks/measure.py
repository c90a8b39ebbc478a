"""What a command costs: CPU time and peak memory of its process, and of all that it starts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class CommandFailed(Exception):
    """A command that does not take its input."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user and system) and peak memory in bytes."""

    seconds: float
    memory: int


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end; raise CommandFailed with the first line it says if it fails.

    The memory of a process counts from its birth as a copy of this one, so this one has to stay small.
    """
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read().decode(errors="replace").strip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandFailed(errors.partition("\n")[0] or f"ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several runs."""
    return Cost(
        statistics.median(cost.seconds for cost in costs), int(statistics.median(cost.memory for cost in costs))
    )
