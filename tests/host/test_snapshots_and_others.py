"""Saving, restoring and forking while others cancel, close, fork and go on: nobody is disturbed, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

import caesura
from benchmarks.stall_guests import much_data
from caesura.host.guest import Guest
from caesura.host.saving import memories
from caesura.snapshots import format as snapshot_format
from caesura.snapshots.state import State
from tests.host.support import run
from tests.host.test_snapshots import KEEPER, NUMBERS, Asker, saved_keeper

# In bytes: data of a module that take longer to be written than an event loop is to stand still.
MUCH = 6_000_000

needs_memory_files = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")

WITH_MEMORY = b'(module (memory (export "memory") 700))'


def test_a_guest_that_is_closed_leaves_its_snapshot() -> None:
    async def main() -> None:
        asker = Asker()
        guest, first, task = await saved_keeper(asker)
        guest.memory.write(123456, b"new")
        second = guest.snapshot(base=first)
        guest.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = caesura.Snapshot.load(bytes(second), base=caesura.Snapshot.load(bytes(first)))
        for snapshot in (second, again):
            for restored in (
                await caesura.restore(snapshot, asker.imports, module=KEEPER.encode()),
                *await snapshot.fork(2, asker.imports, module=KEEPER.encode()),
            ):
                assert restored.memory.read(123456, 3) == b"new"
                assert await restored.pending[0].resume(1) == 66

    run(main())


def test_a_fork_that_is_cancelled_leaves_no_guest() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        begun: list[int] = []

        def imports(number: int) -> dict[str, Any]:
            begun.append(number)
            return asker.imports

        others = {id(item) for item in gc.get_objects() if isinstance(item, Guest)}
        forking = asyncio.create_task(snapshot.fork(100_000, imports))
        while not begun:
            await asyncio.sleep(0)
        forking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forking
        assert len(begun) < 100_000
        made = [item for item in gc.get_objects() if isinstance(item, Guest) and id(item) not in others]
        assert all(item._instance.closed for item in made)
        [child] = await snapshot.fork(1, asker.imports)
        assert await child.pending[0].resume(1) == 66
        task.cancel()

    run(main())


@pytest.mark.parametrize("size", [4096, 40 << 20])
def test_what_few_bytes_unpack_to_does_not_stop_the_event_loop(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred bytes may hold hundreds of megabytes: then another thread reads them."""
    threads: list[int] = []
    decode = snapshot_format.decode

    def note(*arguments: Any, **options: Any) -> State:
        threads.append(threading.get_ident())
        return decode(*arguments, **options)

    monkeypatch.setattr(snapshot_format, "decode", note)

    async def main() -> None:
        guest = await caesura.load(WITH_MEMORY, {})
        guest.memory.write(4096, b"x" * size)
        data = bytes(guest.snapshot())
        assert len(data) < 64 << 10
        restored = await caesura.restore(data, {}, module=WITH_MEMORY)
        assert restored.memory.read(4096 + size - 1, 2) == b"x\0"
        assert (threads == [threading.get_ident()]) == (size < 1 << 20)

    run(main())


@pytest.mark.parametrize("again", [False, True])
def test_a_fork_in_its_middle_that_is_cancelled_leaves_no_guest(again: bool) -> None:
    """Also where it is cancelled once more while it closes those that it has made, of which others get turns."""

    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        others = {id(item) for item in gc.get_objects() if isinstance(item, Guest)}
        forking = asyncio.create_task(snapshot.fork(100_000, asker.imports))

        def made() -> list[Guest]:
            return [item for item in gc.get_objects() if isinstance(item, Guest) and id(item) not in others]

        while len(made()) < 300 and not forking.done():
            await asyncio.sleep(0)
        forking.cancel()
        if again:
            await asyncio.sleep(0)
            forking.cancel()
        turns = 0
        while not forking.done():
            await asyncio.sleep(0)
            turns += 1
        assert forking.cancelled() and (again or turns > 1)
        assert all(item._instance.closed for item in made())
        task.cancel()

    run(main())


async def unchanged(size: int) -> tuple[caesura.Snapshot, dict[str, Any]]:
    """Return the state of a guest that has changed little of what its module puts into its memory, and imports."""
    imports = {"env": {"wait": caesura.EXTERNAL}}
    guest = await caesura.load(much_data(size), imports)
    guest.start("f", 1)
    guest.memory.write(5000, b"changed")
    return guest.snapshot(), imports


def expected(size: int) -> bytes:
    content = bytearray((bytes(range(256)) * (size // 256 + 1))[:size])
    content[5000:5007] = b"changed"
    return bytes(content)


@needs_memory_files
@pytest.mark.parametrize("size", [100_000, MUCH])
def test_much_data_of_a_module_is_put_into_the_file_by_another_thread(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    add = memories.MemoryImage.add_initial

    def note(image: memories.MemoryImage, base: int, of: int) -> None:
        threads.append(threading.get_ident())
        add(image, base, of)

    monkeypatch.setattr(memories.MemoryImage, "add_initial", note)

    async def main() -> None:
        snapshot, imports = await unchanged(size)
        forks = await asyncio.gather(*(snapshot.fork(2, imports) for _ in range(3)))
        assert (threading.get_ident() in threads) == (size < MUCH)
        children = [child for fork in forks for child in fork]
        children[0].memory.write(0, b"own")
        assert all(child.memory.read(0, size) == expected(size) for child in children[1:])
        assert [child.pending[0].resume(number) for number, child in enumerate(children)] == [*range(6)]

    run(main())


@needs_memory_files
def test_a_fork_that_is_cancelled_while_the_file_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread reads the guest's memory, which is there until it is done."""
    add = memories.MemoryImage.add_initial
    begun, may_go_on = threading.Event(), threading.Event()

    def wait(image: memories.MemoryImage, base: int, size: int) -> None:
        begun.set()
        assert may_go_on.wait(60)
        add(image, base, size)

    monkeypatch.setattr(memories.MemoryImage, "add_initial", wait)

    async def main() -> None:
        snapshot, imports = await unchanged(MUCH)
        forking = asyncio.create_task(snapshot.fork(2, imports))
        while not begun.is_set():
            await asyncio.sleep(0)
        for _ in range(10):
            forking.cancel()
            await asyncio.sleep(0)
        assert not forking.done()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await forking
        for child in await snapshot.fork(2, imports):
            assert child.memory.read(0, MUCH) == expected(MUCH)

    run(main())


@needs_memory_files
def test_a_file_in_memory_that_may_not_become_as_large_as_the_data() -> None:
    import resource

    async def main() -> None:
        snapshot, imports = await unchanged(MUCH)
        children = await snapshot.fork(1, imports)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        again = caesura.Snapshot(snapshot.state, module=much_data(MUCH))
        again._make_images()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            children += await again.fork(2, imports)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert len(children) == 3
        assert all(child.memory.read(0, MUCH) == expected(MUCH) for child in children)

    run(main())


@needs_memory_files
@pytest.mark.parametrize("limit", ["size", "descriptors"])
def test_forks_where_there_can_be_no_file_in_memory(limit: str) -> None:
    import resource

    kind, most = {"size": (resource.RLIMIT_FSIZE, 65536), "descriptors": (resource.RLIMIT_NOFILE, 0)}[limit]

    async def main() -> None:
        asker = Asker()
        guest, first, task = await saved_keeper(asker)
        guest.memory.write(200000, b"new")
        snapshot = guest.snapshot(base=first)
        before = resource.getrlimit(kind)
        resource.setrlimit(kind, (most, before[1]))
        try:
            children = await snapshot.fork(3, asker.imports)
        finally:
            resource.setrlimit(kind, before)
        children[0].memory.write(200000, b"own")
        assert children[1].memory.read(200000, 3) == b"new"
        assert [await child.pending[0].resume(1) for child in children] == [66] * 3
        task.cancel()

    run(main())


def test_snapshots_in_the_middle_of_a_fork() -> None:
    async def main() -> None:
        asker = Asker()
        guest, snapshot, task = await saved_keeper(asker)
        forking = asyncio.create_task(snapshot.fork(300, asker.imports))
        taken: list[bytes] = []
        while not forking.done():
            await asyncio.sleep(0)
            taken.append(bytes(guest.snapshot()))
        assert {*taken} == {bytes(snapshot)}
        children = forking.result()
        assert bytes(children[-1].snapshot()) == bytes(snapshot)
        assert await children[150].pending[0].resume(1) == 66
        task.cancel()

    run(main())


def test_a_restore_that_is_cancelled() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        data = bytes(snapshot)
        for turns in range(4):
            other = f"{KEEPER} (; {turns} ;)"
            restoring = asyncio.create_task(caesura.restore(data, asker.imports, module=other.encode(), cache=False))
            for _ in range(turns):
                await asyncio.sleep(0)
            restoring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await restoring
        restored = await caesura.restore(data, asker.imports, module=KEEPER.encode())
        assert await restored.pending[0].resume(1) == 66
        task.cancel()

    run(main())


def test_a_resumption_that_is_cancelled() -> None:
    """The call of a task that is cancelled is over; the others of the same guest are not."""

    async def main() -> None:
        asker = Asker()
        guest, _, task = await saved_keeper(asker)
        second = asyncio.create_task(guest.call("run", 2, 0.5))
        await asyncio.sleep(0)
        snapshot = guest.snapshot()
        never = Asker()
        restored = await caesura.restore(snapshot, never.imports)
        first, other = restored.pending
        waiting = asyncio.create_task(_awaited(first))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [call.arguments[0] for call in restored.pending] == [other.arguments[0]]
        assert [call.arguments for call in (await caesura.restore(restored.snapshot(), never.imports)).pending] == [
            other.arguments
        ]
        assert await other.resume(1) == 1 + 1 + 2 + 2
        with pytest.raises(caesura.UsageError, match="not yours to resume"):
            await first
        task.cancel()
        second.cancel()

    run(main())


async def _awaited(call: caesura.PendingCall) -> Any:
    return await call


def test_two_that_resume_one_call() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        restored = await caesura.restore(snapshot, Asker().imports)
        [call] = restored.pending
        waiting = asyncio.create_task(_awaited(call))
        await asyncio.sleep(0)
        with pytest.raises(caesura.UsageError, match="not yours to resume"):
            await call.resume(1)
        with pytest.raises(caesura.UsageError, match="not yours to resume"):
            call.drop()
        assert bytes(restored.snapshot()) == bytes(snapshot)  # it can be saved all the same
        restored.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        task.cancel()

    run(main())


def test_guests_that_were_restored_in_other_threads() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        results: list[Any] = []
        guests: list[caesura.Guest] = []

        async def elsewhere() -> None:
            own = Asker()
            own.answer.set_result(1)
            guest = await caesura.restore(snapshot, own.imports, module=KEEPER.encode())
            [child] = await snapshot.fork(1, own.imports, module=KEEPER.encode())
            guests.append(child)
            results.append((await guest.pending[0], guest.call_nowait("numbers")))

        threads = [threading.Thread(target=asyncio.run, args=(elsewhere(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert results == [(66, NUMBERS)] * 4
        for use in (lambda: guests[0].pending, guests[0].snapshot, guests[0].close):
            with pytest.raises(caesura.UsageError, match="thread"):
                use()
        task.cancel()

    run(main())


AFTER_FORK = """
import asyncio, os, sys
import caesura
from tests.host.test_snapshots import KEEPER, Asker, saved_keeper

async def main():
    asker = Asker()
    return await saved_keeper(asker)

async def go_on(snapshot):
    asker = Asker()
    guest = await caesura.restore(snapshot, asker.imports)
    [child] = await snapshot.fork(1, asker.imports)
    return await guest.pending[0].resume(1), await child.pending[0].resume(2)

loop = asyncio.new_event_loop()
guest, snapshot, task = loop.run_until_complete(main())
child = os.fork()
if not child:
    try:
        guest.snapshot()
    except caesura.UsageError as error:
        print(str(error).partition(":")[0])
    print(asyncio.run(go_on(snapshot)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(loop.run_until_complete(go_on(snapshot)))
task.cancel()
loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_snapshot_in_a_forked_process() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER_FORK], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    refused = "this guest belongs to the process that this one was forked from"
    assert done.stdout == f"{refused}\n(66, 67)\n(66, 67)\n"


def test_a_guest_that_was_restored_is_garbage_like_others() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        guest = await caesura.restore(snapshot, asker.imports)
        seen = weakref.ref(guest)
        del guest
        gc.collect()
        assert seen() is None
        task.cancel()

    run(main())
