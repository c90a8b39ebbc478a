"""WASI calls with absurd arguments: bounded memory, bounded steps, and whatever points nowhere is the guest's trap."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc

import pytest

import caesura
from tests.host.support import run

pytestmark = pytest.mark.one_form

MIB = 1 << 20

CALLER = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") PAGES)
  (func (export "write") (param i32 i32 i32 i32) (result i32)
    (call $write (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "read") (param i32 i32 i32 i32) (result i32)
    (call $read (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "poll") (param i32 i32 i32 i32) (result i32)
    (call $poll (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1))))
"""


async def load(pages: int, wasi: caesura.Wasi) -> caesura.Guest:
    return await caesura.load(CALLER.replace("PAGES", str(pages)).encode(), wasi=wasi, cache=False)


def test_the_same_buffer_many_times_is_written_in_bounded_parts() -> None:
    """2,000 times the same 16 MiB are 32 GB; a call writes 16 MiB of them and says so."""

    async def main() -> None:
        written: list[bytes] = []
        guest = await load(257, caesura.Wasi(stdin=b"", stdout=written.append))
        guest.memory.write(0, b"\x07" * 16 * MIB)
        guest.memory.write(0, struct.pack("<II", 0, 16 * MIB) * 2000)
        tracemalloc.start()
        try:
            assert guest.call_nowait("write", 1, 0, 2000, 16 * MIB) == 0
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [len(content) for content in written] == [16 * MIB] and written[0] == guest.memory.read(0, 16 * MIB)
        assert guest.memory.read_struct("<I", 16 * MIB) == (16 * MIB,)
        assert peak < 64 * MIB

    run(main())


def test_small_buffers_are_gathered_in_order_and_empty_ones_left_out() -> None:
    async def main() -> None:
        written: list[bytes] = []
        guest = await load(1, caesura.Wasi(stdin=b"abcdefgh", stdout=written.append))
        guest.memory.write(1000, b"0123456789")
        buffers = [(1000, 2), (5, 0), (1005, 1), (1003, 4)]
        guest.memory.write(0, b"".join(struct.pack("<II", *buffer) for buffer in buffers))
        assert guest.call_nowait("write", 1, 0, 4, 100) == 0
        assert written == [b"0153456"] and guest.memory.read_struct("<I", 100) == (7,)
        assert guest.call_nowait("write", 1, 8, 1, 100) == 0  # nothing is nothing to hand on
        assert len(written) == 1 and guest.memory.read_struct("<I", 100) == (0,)
        assert await guest.call("read", 0, 0, 4, 100) == 0
        assert guest.memory.read(1000, 10) == b"ab2defg789" and guest.memory.read_struct("<I", 100) == (7,)
        assert await guest.call("read", 0, 0, 4, 100) == 0
        assert guest.memory.read(1000, 2) == b"hb" and guest.memory.read_struct("<I", 100) == (1,)

    run(main())


def test_more_buffers_than_one_call_serves_are_left_for_the_next() -> None:
    async def main() -> None:
        written = bytearray()
        guest = await load(2, caesura.Wasi(stdin=b"", stdout=written.extend))
        guest.memory.write(70_000, b"x")
        guest.memory.write(0, struct.pack("<II", 70_000, 1) * 5000)
        assert guest.call_nowait("write", 1, 0, 5000, 80_000) == 0
        assert written == b"x" * 1024 and guest.memory.read_struct("<I", 80_000) == (1024,)

    run(main())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("write", (1, 65_530, 1, 16)),  # the list of buffers
        ("write", (1, 0, 1, 65_533)),  # the place for the result
        ("write", (1, 0, -1, 16)),  # 2**32 - 1 buffers
        ("write", (1, -8, 1, 16)),
        ("write", (1, 8, 1, 16)),  # a buffer that begins beyond the end
        ("write", (1, 24, 1, 16)),  # a buffer that ends beyond it
        ("read", (0, 65_530, 1, 16)),
        ("read", (0, 0, 1, -1)),
        ("read", (0, 8, 1, 16)),
        ("poll", (65_530, 0, 1, 16)),
        ("poll", (0, 65_530, 1, 16)),
        ("poll", (0, 0, 1, 65_533)),
        ("poll", (0, 0, -1, 16)),
        ("poll", (0, 0, 1 << 30, 16)),
    ],
)
def test_what_points_nowhere_is_a_trap_before_anything_is_done(name: str, arguments: tuple[int, ...]) -> None:
    async def main() -> None:
        written: list[bytes] = []
        guest = await load(1, caesura.Wasi(stdin=b"unread", stdout=written.append))
        guest.memory.write(0, struct.pack("<IIIIIIII", 32, 4, 0xFFFF_FFF0, 4, 0, 0, 65_000, 1000))
        before = guest.memory.read(0, 65536)
        with pytest.raises(caesura.GuestTrap) as caught:
            await guest.call(name, *arguments)
        assert caught.value.kind == "memory out of bounds"
        assert caught.value.backtrace == (name,)
        assert written == [] and guest.memory.read(0, 65536) == before
        assert await guest.call("read", 0, 0, 1, 16) == 0  # the guest can go on
        assert guest.memory.read(32, 4) == b"unre"

    run(main())


def test_random_numbers_are_bounded() -> None:
    async def main() -> None:
        guest = await load(513, caesura.Wasi(stdin=b""))
        assert guest.call_nowait("random", 1000, 16 * MIB) == 0
        assert len(set(guest.memory.read(1000, 1000))) > 150 and guest.memory.read(0, 1000) == bytes(1000)
        behind = 1000 + 16 * MIB
        assert any(guest.memory.read(behind - 16, 16)) and guest.memory.read(behind, 16) == bytes(16)
        assert guest.call_nowait("random", 0, 0) == 0
        assert guest.call_nowait("random", 0, 16 * MIB + 1) == 28  # invalid
        assert guest.memory.read(0, 1000) == bytes(1000)
        for address, size in ((0, -1), (-1, 2), (513 << 16, 1)):
            with pytest.raises(caesura.GuestTrap) as caught:
                guest.call_nowait("random", address, size)
            assert caught.value.kind == "memory out of bounds"

    run(main())


def test_many_subscriptions_are_answered_in_steps() -> None:
    async def main() -> None:
        count = 100_000
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        guest = await load(130, caesura.Wasi(stdin=b""))
        for place in range(count):  # every other one in three hundred years
            timeout = 0 if place % 2 else 10**19
            guest.memory.write_struct("<QBxxxxxxxIxxxxQQHxxxxxx", 48 * place, place, 0, 1, timeout, 0, 0)
        ticking = asyncio.create_task(tick())
        events, result = 48 * count, 48 * count + 32 * count
        assert await guest.call("poll", 0, events, count, result) == 0
        ticking.cancel()
        assert guest.memory.read_struct("<I", result) == (count // 2,)
        answered = [guest.memory.read_struct("<QHB", events + 32 * place) for place in range(count // 2)]
        assert answered == [(place, 0, 0) for place in range(1, count, 2)]
        assert turns > 50

    run(main())


def test_a_guest_without_memory_is_told_so() -> None:
    source = b"""(module (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (func (export "read") (result i32) (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))))"""

    async def main() -> None:
        guest = await caesura.load(source, wasi=caesura.Wasi(stdin=b""), cache=False)
        with pytest.raises(caesura.UsageError, match="the guest has no memory"):
            await guest.call("read")

    run(main())
