"""Guests that nobody closes and calls that nobody finishes go without a word: processes with every warning an error."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

PROLOGUE = f"""
import asyncio, gc, sys, weakref
sys.path.insert(0, {str(REPOSITORY)!r})
import caesura
from tests.host.support import WAITER, Gates, load_calls, load_waiter, settle

async def forever(value):
    await asyncio.get_running_loop().create_future()
"""

PROGRAMS = {
    "a guest that is not closed": """
async def main():
    guest = await load_waiter(forever)
    print(guest.call_nowait("calls"))
asyncio.run(main())
""",
    "a guest that lives until the interpreter ends": """
async def main():
    global guest
    guest = await load_waiter(forever)
    print(guest.call_nowait("calls"))
asyncio.run(main())
""",
    "tasks in flight when the loop ends": """
async def main():
    global guest, calls
    guest = await load_calls(wait=forever)
    calls = [asyncio.create_task(guest.call("descend", 20, seed)) for seed in range(5)]
    await settle()
    print(guest.suspended - 5)
asyncio.run(main())
assert guest.suspended == 0
""",
    "coroutines dropped while suspended": """
async def main():
    guest = await load_calls(wait=forever)
    for seed in range(50):
        call = guest.call("descend", 20, seed)
        call.send(None)
    del call
    gc.collect()
    print(guest.suspended)
asyncio.run(main())
gc.collect()
""",
    "generators dropped, new and begun": """
async def main():
    return await load_waiter(caesura.yielding(lambda value: value))
guest = asyncio.run(main())
generators = [guest.generate("loop", 3) for _ in range(10)]
for generator in generators[:5]:
    next(generator)
del generator, generators
gc.collect()
print(guest.suspended)
""",
    "a cycle of guest, call and host function": """
class Host:
    async def wait(self, value):
        await asyncio.get_running_loop().create_future()
async def main():
    host = Host()
    host.guest = await load_waiter(host.wait)
    host.call = host.guest.call("outer", 1)
    host.call.send(None)
    return weakref.ref(host.guest)
reference = asyncio.run(main())
gc.collect()
print(0 if reference() is None else 1)
""",
    "a guest in a loop that is closed": """
loop = asyncio.new_event_loop()
guest = loop.run_until_complete(load_waiter(forever))
call = guest.call("outer", 1)
loop.run_until_complete(asyncio.wait([loop.create_task(call)], timeout=0.01))
tasks = asyncio.all_tasks(loop)
for task in tasks:
    task.cancel()
loop.run_until_complete(asyncio.wait(tasks))
loop.close()
print(guest.suspended)
guest.close()
""",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_nothing_is_said(what: str) -> None:
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", PROLOGUE + PROGRAMS[what]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing ")]  # asyncio: a slow step
    assert (done.returncode, done.stdout, said) == (0, "0\n", [])
