"""Kill processes, at random moments, while they save one state after the other; check what each leaves.

Run as a program, since it forks: a process that has no other thread.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from caesura.snapshots.saving import load, save

_TIMES = 1 << 13


def _content(number: int) -> bytes:
    return number.to_bytes(8, "little") * _TIMES


def _save_for_ever(place: Path, writer: int) -> None:
    number = 0
    while True:
        number += 1
        save(place, _content(number))
        os.write(writer, number.to_bytes(8, "little"))


def _kill_one(place: Path, delay: float) -> str:
    """Return what is wrong with the file that a killed process leaves, or ""."""
    save(place, _content(0))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _save_for_ever(place, writer)
    os.close(writer)
    said = os.read(reader, 8)  # from now on it saves
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 1 << 16):
        said += more
    os.close(reader)
    last = int.from_bytes(said[-8:], "little")
    found = load(place)
    if found not in (_content(last), _content(last + 1)):
        return f"after saving {last}, the file has {len(found)} bytes: {found[:16]!r}"
    return ""


def main(folder: str, times: str) -> int:
    """Kill so many; return how many left something wrong."""
    source = random.Random(14)
    wrong = [why for _ in range(int(times)) if (why := _kill_one(Path(folder) / "state", source.random() * 0.01))]
    print(*wrong, sep="\n")
    return min(1, len(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
