"""Large memories, of which only what was touched is looked at: nothing of them is missed."""

from __future__ import annotations

import asyncio
import sys

import pytest

import caesura
from caesura.host.native import MemoryCell
from caesura.host.saving import memories
from caesura.host.saving.touched import find_touched, touched_parts
from caesura.snapshots.initial_memory import complete
from caesura.wasm.module import Module
from tests.support.engine import assemble

# 16 MiB, with data at both ends and in the middle, which Wasmtime maps.
LARGE = """
(module
  (import "env" "ask" (func $ask (result i32)))
  (memory (export "memory") 256 2000)
  (data (i32.const 0) "first")
  (data (i32.const 8000000) "middle")
  (data (i32.const 16777212) "last")
  (func (export "run") (result i32) (call $ask))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "read") (param i32) (result i32) (i32.load (local.get 0))))
"""
IMPORTS = {"env": {"ask": caesura.EXTERNAL}}
SIZE = 256 << 16


def contents(guest: caesura.Guest) -> bytes:
    return guest.memory.read(0, len(guest.memory))


def check(guest: caesura.Guest) -> caesura.Snapshot:
    """Compare what a snapshot of a guest holds with all of the guest's memory, without touching that before."""
    snapshot = guest.snapshot()
    [memory] = complete(snapshot.state, Module(assemble(LARGE))).memories
    found = bytearray(memory.size)
    for first, content in memory.runs:
        found[first * 4096 : first * 4096 + len(content)] = content
    assert bytes(found) == contents(guest)
    return snapshot


def test_nothing_of_a_large_memory_is_missed() -> None:
    async def main() -> None:
        guest = await caesura.load(LARGE.encode(), IMPORTS)
        guest.start("run")
        first = guest.snapshot()
        for number, address in enumerate((4095, 70_000, 5_000_000, SIZE - 100)):
            guest.memory.write(address, bytes([number + 1]) * 3)
        assert guest.call_nowait("read", 12_000_000) == 0
        changed = guest.snapshot(base=first)
        assert changed.state.memories == check(guest).state.memories
        assert guest.call_nowait("grow", 100) == 256
        guest.memory.write(SIZE + 1_000_000, b"grown")
        snapshot = check(guest)
        fork, other = await snapshot.fork(2, IMPORTS)
        fork.memory.write(9_000_000, b"forked")
        fork.memory.write(8_000_000, bytes(6))
        assert contents(fork)[9_000_000:9_000_006] == b"forked"
        again = check(fork)
        restored = await caesura.restore(again, IMPORTS)
        assert contents(restored) == contents(fork)
        assert contents(other) == contents(guest)
        check(other)
        check(restored)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages are there")
def test_what_was_never_touched_is_not_looked_at() -> None:
    async def main() -> None:
        guest = await caesura.load(LARGE.encode().replace(b'(data (i32.const 16777212) "last")', b""), IMPORTS)
        guest.memory.write(12_000_000, b"x")
        memory = guest._instance.guest_memory()
        cell = MemoryCell(guest._instance.store.context, memory)
        parts = touched_parts(cell.base(), cell.size())
        assert parts is not None
        looked_at = sum(end - start for start, end in parts)
        assert looked_at < 9 << 20
        assert any(start <= 12_000_000 < end for start, end in parts)
        assert touched_parts(cell.base(), 100_000) is None

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages are there")
def test_of_a_forked_guest_only_what_it_has_written_is_looked_at() -> None:
    async def main() -> None:
        guest = await caesura.load(LARGE.encode(), IMPORTS)
        guest.start("run")
        guest.memory.write(3_000_000, b"used " * 100_000)
        snapshot = guest.snapshot()
        first, second, third = await snapshot.fork(3, IMPORTS)
        instance = first._instance
        cell = MemoryCell(instance.store.context, instance.guest_memory())
        file = memories._mapped[instance][0].file
        for number, address in enumerate((3_200_000, 9_000_000, 16_000_000)):
            assert first.memory.read(address + 8192, 1) == second.memory.read(address + 8192, 1)
            first.memory.write(address, bytes([number + 1]))
            touched = find_touched(cell.base(), cell.size(), file)
            assert touched is not None
            assert sum(end - start for start, end in touched.unwritten) == SIZE - (number + 1) * 4096
            assert sum(end - start for start, end in touched.parts) < 600_000
        # Neither what the state has nor what it has not is looked at where nothing was written.
        assert second.snapshot(base=snapshot).state.memories == snapshot.state.memories
        assert first.snapshot(base=snapshot).state.memories == check(first).state.memories
        first.memory.write(3_300_000, bytes(100_000))
        first.memory.write(0, bytes(5))
        changed = first.snapshot(base=snapshot)
        assert changed.state.memories == check(first).state.memories
        again = first.snapshot(base=changed)
        assert again.state.memories == changed.state.memories
        first.call_nowait("grow", 40)
        first.memory.write(SIZE + 500_000, b"grown")
        assert first.snapshot(base=snapshot).state.memories == check(first).state.memories
        read = caesura.Snapshot.load(bytes(first.snapshot(base=snapshot)), base=snapshot)
        assert read.state == first.snapshot().state
        for child in await changed.fork(2, IMPORTS):
            assert child.snapshot(base=changed).state.memories == changed.state.memories
            assert child.snapshot(base=snapshot).state.memories == changed.state.memories
            assert contents(child) == contents(first)[: len(child.memory)]
        # The state is gone, and what is in the file is known all the same.
        del snapshot, changed, again, read
        assert check(third).state.memories == check(second).state.memories

    asyncio.run(main())
