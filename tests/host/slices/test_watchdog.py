"""The watchdog: threads, forks, the interpreter's end, and memories that move."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading

import pytest

import caesura
from tests.host.slices.guests import MUCH, SLICE, load, until_paused
from tests.host.support import run


def test_several_threads_with_loops_of_their_own() -> None:
    found: list[object] = []

    def work() -> None:
        async def main() -> None:
            guest = await load()
            found.append(await until_paused(guest, 5))

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 4


def test_one_after_the_other_in_loops_of_the_same_thread() -> None:
    guest = asyncio.run(load())
    for _ in range(3):
        assert asyncio.run(_counted(guest)) == MUCH


async def _counted(guest: caesura.Guest) -> int:
    return int(await guest.call("count", MUCH))


def test_after_a_while_without_anything_to_watch() -> None:
    async def main() -> None:
        guest = await load()
        for _ in range(3):
            assert await until_paused(guest) == 0
            await asyncio.sleep(0.2)  # the watchdog sleeps for good meanwhile

    run(main())


def _run(code: str) -> str:
    """Run code in a process of its own; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork() -> None:
    code = """
import asyncio, os, sys
from tests.host.slices.guests import load, until_paused
async def main():
    assert await until_paused(await load()) == 0
    return "sliced"
print(asyncio.run(main()), flush=True)
child = os.fork()
print(asyncio.run(main()), flush=True)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    assert _run(code).count("sliced") == 3


def test_the_end_of_the_interpreter() -> None:
    code = """
import asyncio, atexit, threading
from tests.host.slices.guests import load
guest = asyncio.run(load())
step = guest.start("spin")
class Last:
    def __del__(self):
        print(guest.call_nowait("quick", 4) if not step else "", flush=True)
last = Last()
atexit.register(lambda: print(step.drop(), guest.call_nowait("quick", 3), flush=True))
print("end", flush=True)
"""
    assert _run(code).splitlines()[:2] == ["end", "None 6"]


def test_memories_that_move_are_not_written_to() -> None:
    async def main() -> None:
        guest = await load(memory_reservation=1 << 20)
        assert await until_paused(guest, 10) == 10
        grown = await load(memory_reservation=1 << 20, native_stack_size=4 << 20)
        before = grown.usage.memory
        assert await until_paused(grown, 15_000) == 15_000
        assert grown.usage.memory > before  # it has grown where it is
        with pytest.raises(caesura.UsageError, match="the memory for the asyncify stack may grow beyond"):
            await load(memory_reservation=1 << 20, options=caesura.Options(secondary_memory_maximum=100))
        deep = await load(memory_reservation=1 << 20, native_stack_size=4 << 20, preempt="fuel", time_slice=None)
        with pytest.raises(caesura.BudgetExhausted) as pause:  # its memory may move: nobody else writes there
            await deep.call("depth", 20_000, 100, budget=caesura.Budget(fuel=100_000))
        assert await pause.value.call.resume() == 20_100

    run(main())


def test_where_address_space_is_limited() -> None:
    code = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from tests.host.slices.guests import load, until_paused
async def main():
    guest = await load(cache=False)
    print(await until_paused(guest, 1000), guest.usage.slices > 0)
asyncio.run(main())
"""
    assert resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY
    assert _run(code) == "1000 True\n"


def test_a_slice_in_a_slice_of_another_guest_does_not_end_it() -> None:
    """What was set for the outer guest holds again when the inner one has returned."""

    async def main() -> None:
        inner = await load()

        def again(value: int) -> int:
            return int(inner.call_nowait("quick", value))

        outer = await load(again=again, time_slice=SLICE)
        for _ in range(100):
            assert await outer.call("call_again", 5) == 11
        assert await until_paused(outer, 3) == 3

    run(main())
