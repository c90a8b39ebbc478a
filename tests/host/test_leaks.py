"""100,000 suspensions leave nothing behind, in whatever way they end."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

PROLOGUE = f"""
import asyncio, gc, sys, tracemalloc
sys.path.insert(0, {str(REPOSITORY)!r})
import caesura
from tests.host.support import load_calls, load_waiter

async def wait(value):
    await asyncio.sleep(0)
    if value < 0:
        raise ValueError(value)
    return value

async def turn(guest, count):
    for seed in range(count):
        await once(guest, seed)

async def measure(loading, count):
    guest = await loading
    await turn(guest, count // 10)  # what is kept once, however often
    size = len(guest.memory)
    gc.collect()
    tracemalloc.start()
    await turn(guest, count)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    assert len(guest.memory) == size, "the guest's memory has grown"
    assert guest.suspended == 0
    print(grown)
"""

# What may be left: the caches of Python's own modules, and tracemalloc's of this program. CPython keeps up to 255 freed
# contexts and iterators of futures for the next ones: by chance up to 25,000 bytes, in programs of 20,000 calls. If the
# smallest object leaked in each of 2,000 calls, more than the limit would be left.
LIMIT = 32_000

# How often, the guest, and what is done once, or in one turn.
PROGRAMS: Final = {
    "in one call": (
        100_000,
        "load_waiter(wait)",
        """
async def turn(guest, count):
    await guest.call("loop", count)
""",
    ),
    "in many calls": (
        2_000,
        "load_calls(wait=wait)",
        """
async def once(guest, seed):
    await asyncio.gather(*[guest.call("descend", 5, seed) for _ in range(10)])
""",
    ),
    "with exceptions": (
        2_000,
        "load_calls(wait=wait)",
        """
async def once(guest, seed):
    try:
        await guest.call("descend", 5, -1)
    except ValueError:
        pass
""",
    ),
    "with traps": (
        2_000,
        "load_calls(wait=wait)",
        """
async def once(guest, seed):
    try:
        await guest.call("wait_then_divide", 0)
    except caesura.GuestTrap:
        pass
""",
    ),
    "abandoned": (
        2_000,
        "load_calls(wait=wait)",
        """
async def once(guest, seed):
    call = guest.call("descend", 5, seed)
    call.send(None)
    call.close()
""",
    ),
    "cancelled": (
        2_000,
        "load_calls(wait=wait)",
        """
async def once(guest, seed):
    call = asyncio.ensure_future(guest.call("descend", 5, seed))
    await asyncio.sleep(0)
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        pass
""",
    ),
}


@pytest.mark.parametrize("how", PROGRAMS)
def test_suspensions_leave_nothing(how: str) -> None:
    count, guest, program = PROGRAMS[how]
    code = f"{PROLOGUE}{program}\nasyncio.run(measure({guest}, {count}))\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < LIMIT
