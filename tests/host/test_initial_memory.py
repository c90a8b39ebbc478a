"""What is as the module's own data make it is left out of states, and is there again where they are used or read."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.snapshots.initial_memory import complete
from caesura.snapshots.state import CHUNK, MemoryState, State
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble, engine

PAGE = 65536


def module(size: int = 2, data: str = "") -> str:
    """Return the text of a module with data in the chunks 0 to 3 and at the end of its memory."""
    return f"""
    (module
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (memory (export "memory") {size} 4000)
      (global $base i32 (i32.const 4000))
      {
        data
        or f'''(data (i32.const 1) "{"first " * 2000}")
      (data (i32.const 12001) "overlap") (data (i32.const 12003) "ped")
      (data (i32.const {size * PAGE - 4}) "last")'''
    }
      (func (export "run") (param i32) (result i32)
        (i32.store (i32.const 60000) (i32.const 7))
        (i32.add (call $ask (local.get 0)) (i32.load8_u (i32.const 8193))))
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
    """


IMPORTS: dict[str, dict[str, Any]] = {"env": {"ask": caesura.EXTERNAL}}


async def guest_of(text: str, imports: dict[str, dict[str, Any]] | None = None) -> tuple[caesura.Guest, Any]:
    guest = await caesura.load(text.encode(), imports or IMPORTS)
    return guest, guest.start("run", 1)


def content(guest: caesura.Guest) -> bytes:
    return guest.memory.read(0, len(guest.memory))


def initial(snapshot: caesura.Snapshot) -> tuple[tuple[int, int], ...]:
    return snapshot.state.memories[0].initial


def held(snapshot: caesura.Snapshot, text: str) -> bytes:
    """Return what a snapshot holds of the memory, for those who read the module."""
    [memory] = complete(snapshot.state, Module(assemble(text))).memories
    assert not memory.initial
    found = bytearray(memory.size)
    for first, part in memory.runs:
        found[first * CHUNK : first * CHUNK + len(part)] = part
    return bytes(found)


# The larger is mapped when it is put back, and asked from the system when it is read.
@pytest.mark.parametrize("size", [2, 200])
def test_what_is_as_the_module_makes_it_is_left_out_and_is_there_again(size: int) -> None:
    text = module(size)
    last = size * PAGE // CHUNK - 1

    async def main() -> None:
        guest, _ = await guest_of(text)
        first = guest.snapshot()
        assert initial(first) == ((0, 3), (last, 1))
        assert [place for place, _ in first.state.memories[0].runs] == [60000 // CHUNK]
        guest.memory.write(100, b"changed")
        guest.memory.write(size * PAGE - 4, bytes(4))
        guest.memory.write(CHUNK, guest.memory.read(CHUNK, 10))
        guest.memory.write(4 << 16 if size > 2 else 100_000, b"x" * 9000)
        assert guest.call_nowait("grow", 1) == size
        second = guest.snapshot(base=first)
        assert initial(second) == ((1, 2),)
        assert second.state == guest.snapshot().state
        read = caesura.Snapshot.load(bytes(second), base=caesura.Snapshot.load(bytes(first)))
        assert read.state == second.state
        for snapshot, changed in ((first, False), (second, True), (read, True), (pickle.loads(bytes_of(read)), True)):
            restored = await caesura.restore(snapshot, IMPORTS, module=text.encode())
            forks = await snapshot.fork(3, IMPORTS, module=text.encode())
            for child in (restored, *forks):
                assert (content(child) == content(guest)) is changed
                assert child.snapshot().state == replace(snapshot.state, module=child.snapshot().state.module)
            forks[0].memory.write(2 * CHUNK, b"own")
            assert initial(forks[0].snapshot()) == (((1, 1),) if changed else ((0, 2), (last, 1)))
            assert content(forks[1])[2 * CHUNK :] == content(restored)[2 * CHUNK :]
            assert restored.pending[0].resume(5) == 119
            assert (held(snapshot, text) == content(guest)) is changed

    run(main())


def bytes_of(snapshot: caesura.Snapshot) -> bytes:
    return pickle.dumps(snapshot)


def test_chunks_become_as_they_were_and_others_again() -> None:
    """A change of a change, each read by itself."""
    text = module()

    async def main() -> None:
        guest, _ = await guest_of(text)
        was = guest.memory.read(0, CHUNK)
        last: caesura.Snapshot | None = None
        read: caesura.Snapshot | None = None
        for write in (was, b"\1" * CHUNK, was, bytes(CHUNK), was, b"\2", b"\2" + bytes(CHUNK - 1)):
            guest.memory.write(0, write)
            now = guest.snapshot(base=last)
            read = caesura.Snapshot.load(bytes(now), base=read)
            assert read.state == guest.snapshot().state
            assert (initial(read)[0] == (0, 3)) is (write == was)
            assert held(read, text) == content(guest)
            last = now

    run(main())


def test_a_module_that_comes_along_and_one_that_is_made() -> None:
    text = module()

    async def main() -> None:
        guest, _ = await guest_of(text)
        guest.memory.write(5000, bytes(1000))
        snapshot = guest.snapshot(embed=True)
        assert initial(snapshot) == ((0, 1), (2, 1), (31, 1))
        restored = await caesura.restore(bytes(snapshot), IMPORTS)
        assert content(restored) == content(guest)
        store = wasmtime.Store(engine())
        made = wasmtime.Module(store.engine, snapshot.to_wasm())
        ask = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()]), lambda _: 1)
        exports = wasmtime.Instance(store, made, [ask]).exports(store)
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        assert bytes(memory.read(store, 0, 2 * PAGE)) == content(guest)

    run(main())


def test_a_memory_that_is_imported_is_somebody_elses() -> None:
    """What it holds when the module is instantiated nobody else knows, and another instance would write into it."""
    text = """
    (module
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (import "env" "memory" (memory 2))
      (export "memory" (memory 0))
      (data (i32.const 4096) "data")
      (func (export "run") (param i32) (result i32) (call $ask (local.get 0))))
    """

    async def main() -> None:
        memory = wasmtime.MemoryType(wasmtime.Limits(2, None))
        guest, _ = await guest_of(text, {"env": {"ask": caesura.EXTERNAL, "memory": memory}})
        assert initial(guest.snapshot()) == ()
        assert [place for place, _ in guest.snapshot().state.memories[0].runs] == [1]

    run(main())


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ('(data (offset (i32.sub (i32.add (global.get $base) (i32.const 200)) (i32.const 4))) "calculated")', (1, 1)),
        ('(data (i32.const 60) "one") (data (i32.const 4090) "two chunks") (data (i32.const 70) "after")', (0, 2)),
        ('(data "passive") (data (i32.const 8192) "\\00") (data (i32.const 5) "five")', (0, 1)),
    ],
)
def test_segments_are_read_as_engines_do(data: str, wanted: tuple[int, int]) -> None:
    text = module(data=data)

    async def main() -> None:
        guest, _ = await guest_of(text)
        assert initial(guest.snapshot()) == (wanted,)
        assert held(guest.snapshot(), text) == content(guest)

    run(main())


def test_pages_of_one_byte_at_the_end_that_is_not_mapped() -> None:
    text = """
    (module (import "env" "ask" (func $ask (param i32) (result i32)))
      (memory (export "memory") 10000 (pagesize 1))
      (data (i32.const 4000) "over a border, and the one of a page") (data (i32.const 9000) "end")
      (func (export "run") (param i32) (result i32) (call $ask (local.get 0))))"""

    async def main() -> None:
        for end in (b"end", bytes(3), b"own"):
            guest, _ = await guest_of(text)
            guest.memory.write(9000, end)
            snapshot = guest.snapshot()
            restored = await caesura.restore(bytes(snapshot), IMPORTS, module=text.encode())
            for child in (restored, *await snapshot.fork(2, IMPORTS)):
                assert content(child) == content(guest)

    run(main())


def test_modules_that_do_not_tell() -> None:
    """Whoever reads a state may be given any bytes as its module."""

    def read(text: str, *parts: tuple[int, int], index: int = 0) -> State:
        memory = MemoryState(index=index, size=2 * PAGE, page_size=PAGE, runs=(), initial=parts)
        state = State(module=None, memories=(memory,), globals=())  # type: ignore[arg-type]
        return complete(state, Module(assemble(text)))

    one = '(module (memory 1) (data (i32.const 4096) "x"))'
    assert read(one, (0, 32)).memories[0].runs == ((1, b"x" + bytes(CHUNK - 1)),)
    assert read(one, (2, 30)).memories[0].runs == ()
    for text, words in (
        ("(module)", "makes no such memory"),
        ('(module (import "env" "memory" (memory 1)))', "makes no such memory"),
        ('(module (memory 1) (data (i32.const 65530) "beyond"))', ""),
        ('(module (memory 1) (data (i32.const 65531) "beyond"))', "reaches beyond its memory"),
        ('(module (memory 1) (data (i32.const -1) "beyond"))', "reaches beyond its memory"),
        ('(module (import "a" "b" (global i32)) (memory 1) (data (global.get 0) "x"))', "depends on what it imports"),
        ("(module (memory 1)" + '(data (i32.const 0) "x")' * 100_001 + ")", "100,001 data segments, more than engines"),
    ):
        if words:
            with pytest.raises(caesura.SnapshotError, match=words):
                read(text, (0, 1))
        else:
            read(text, (0, 1))


def test_a_state_that_says_more_than_the_module_makes() -> None:
    """What somebody made up reaches nothing but the guest's memory, which is zero there."""
    text = module()

    async def main() -> None:
        guest, _ = await guest_of(text)
        state = guest.snapshot().state
        forged = replace(state, memories=(replace(state.memories[0], runs=(), initial=((0, 32),)),))
        for often in (1, 2):
            for child in await caesura.Snapshot(forged).fork(often, IMPORTS, module=text.encode()):
                assert content(child) == content(guest)[:60000] + bytes(4) + content(guest)[60004:]

    run(main())
