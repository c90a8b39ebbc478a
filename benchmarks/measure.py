"""What a command costs: CPU time, wall clock and peak memory of its process, and of all that it starts.

The command is started by a small process of its own: the peak that the system keeps for a process counts from its
birth as a copy of the one that starts it, which must therefore be smaller than anything that is measured. `python -I
-S` takes 9 MB, less than any of the tools here.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_STARTER: Final = """
import json, os, sys, time
started = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(process, 0)
wall = time.monotonic() - started
memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, wall, memory]))
"""


class CommandFailed(Exception):
    """A command that does not take its input; the message is the first line that it said."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user and system), seconds by the wall clock, and peak memory in bytes."""

    cpu: float
    wall: float
    memory: int


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end; raise CommandFailed if it fails. What it prints is thrown away, but for errors."""
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, *command]
    done = subprocess.run(
        starter, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True, errors="replace"
    )
    code, cpu, wall, memory = json.loads(done.stdout)
    if code != 0:
        lines = done.stderr.strip().splitlines()
        raise CommandFailed(lines[0] if lines else f"ended with {code}")
    return Cost(cpu, wall, memory)


def summary(costs: Sequence[Cost]) -> dict[str, Any]:
    """Return the medians of several runs, with the least and the most CPU time, as JSON has them."""
    cpu = [cost.cpu for cost in costs]
    return {
        "cpu": round(statistics.median(cpu), 4),
        "cpu_least": round(min(cpu), 4),
        "cpu_most": round(max(cpu), 4),
        "wall": round(statistics.median(cost.wall for cost in costs), 4),
        "memory": int(statistics.median(cost.memory for cost in costs)),
        "rounds": len(costs),
    }
