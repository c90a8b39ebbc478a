"""Time and chance in guests that were saved: clocks go on, sleepers sleep for the rest, random numbers are new."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from tests.support.engine import assemble
from tests.support.guests import c_guest

pytestmark = pytest.mark.one_form

# Each export asks WASI for something and returns it; `keep` has what a generator of random numbers would have.
_WORLD: Final = """
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $kept (mut i64) (i64.const 4))
  (func (export "time") (param i32) (result i64)
    (drop (call $time (local.get 0) (i64.const 1) (i32.const 0)))
    (i64.load (i32.const 0)))
  (func (export "random") (result i64)
    (drop (call $random (i32.const 0) (i32.const 8)))
    (i64.load (i32.const 0)))
  (func (export "keep") (param i64) (global.set $kept (local.get 0)))
  (func (export "kept") (result i64) (global.get $kept))
  (func (export "sleep") (param $flags i32) (param $until i64) (result i32)
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (local.get $until))
    (i32.store16 (i32.const 104) (local.get $flags))
    (i32.add (i32.const 100) (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 160)))))
"""

_MONOTONIC: Final = 1
_WALL: Final = 0
_SECOND: Final = 1_000_000_000


async def _load() -> caesura.Guest:
    return await caesura.load(assemble(_WORLD), wasi=caesura.Wasi())


async def _restore(snapshot: caesura.Snapshot, **given: Any) -> caesura.Guest:
    return await caesura.restore(bytes(snapshot), wasi=caesura.Wasi(), module=assemble(_WORLD), **given)


def test_the_monotonic_clock_goes_on() -> None:
    async def main() -> None:
        guest = await _load()
        await asyncio.sleep(0.05)
        before = guest.call_nowait("time", _MONOTONIC)
        snapshot = guest.snapshot()
        await asyncio.sleep(0.2)
        for _ in range(2):
            guest = await _restore(snapshot)
            after = guest.call_nowait("time", _MONOTONIC)
            assert before < after
            assert abs(guest.call_nowait("time", _WALL) - time.time_ns()) < 5 * _SECOND
            snapshot, before = guest.snapshot(), after

    asyncio.run(main())


def test_what_a_monotonic_clock_showed_does_not_depend_on_when_it_is_restored() -> None:
    """In a state that says that a year has passed, a year has passed."""

    async def main() -> None:
        year = 365 * 24 * 3600 * _SECOND
        state = (await _load()).snapshot().state
        assert state.wasi is not None
        guest = await _restore(caesura.Snapshot(replace(state, wasi=replace(state.wasi, monotonic=year))))
        assert year <= guest.call_nowait("time", _MONOTONIC) < year + 60 * _SECOND

    asyncio.run(main())


@pytest.mark.parametrize("flags", [0, 1])
def test_who_sleeps_sleeps_for_what_is_left(flags: int) -> None:
    """Of an hour's sleep, all but nothing has passed: relative to its beginning, or until a time."""

    async def main() -> None:
        guest = await _load()
        until = 3600 * _SECOND + (guest.call_nowait("time", _MONOTONIC) if flags else 0)
        task = asyncio.create_task(guest.call("sleep", flags, until))
        await asyncio.sleep(0.05)
        state = guest.snapshot().state
        task.cancel()
        assert state.wasi is not None
        [call] = state.calls
        assert 0 < call.waited < 60 * _SECOND
        for _ in range(2):  # and so it is in a guest that was saved twice
            guest = await _restore(caesura.Snapshot(state))
            again = guest.snapshot().state
            assert again.calls == state.calls
            task = asyncio.create_task(_finish(guest))
            await asyncio.sleep(0.05)
            assert not task.done()
            later = guest.snapshot().state
            assert later.calls[0].waited > state.calls[0].waited
            task.cancel()
            state = later
        assert state.wasi is not None
        nearly = 3600 * _SECOND - _SECOND // 100
        passed = replace(state.wasi, monotonic=state.wasi.monotonic + nearly)
        calls = (replace(state.calls[0], waited=nearly),)
        guest = await _restore(caesura.Snapshot(replace(state, wasi=passed, calls=calls)))
        assert await asyncio.wait_for(_finish(guest), 60) == 100

    asyncio.run(main())


async def _finish(guest: caesura.Guest) -> Any:
    return await guest.pending[0]


def test_random_numbers_are_new_in_each_child_and_what_a_guest_keeps_can_be_sown_anew() -> None:
    async def main() -> None:
        snapshot = (await _load()).snapshot()
        seeds = iter(range(10, 100))

        async def reseed(guest: caesura.Guest) -> None:
            await guest.call("keep", next(seeds))

        children = await snapshot.fork(4, wasi=lambda number: caesura.Wasi(), module=assemble(_WORLD))
        assert len({child.call_nowait("random") for child in children}) == 4
        assert [child.call_nowait("kept") for child in children] == [4] * 4
        children = await snapshot.fork(
            4, wasi=lambda number: caesura.Wasi(), module=assemble(_WORLD), on_restore=reseed
        )
        assert [child.call_nowait("kept") for child in children] == [10, 11, 12, 13]
        seen: list[int] = []
        guest = await _restore(snapshot, on_restore=lambda guest: seen.append(guest.call_nowait("kept")))
        assert seen == [4] and guest.call_nowait("kept") == 4

    asyncio.run(main())


def test_a_failing_hook_leaves_no_guest() -> None:
    async def main() -> None:
        snapshot = (await _load()).snapshot()
        seen: list[caesura.Guest] = []

        def fail(guest: caesura.Guest) -> None:
            seen.append(guest)
            raise ValueError("no seed")

        with pytest.raises(ValueError, match="no seed"):
            await _restore(snapshot, on_restore=fail)
        with pytest.raises(caesura.UsageError, match="closed"):
            seen[0].call_nowait("kept")

    asyncio.run(main())


def test_a_program_that_waits_for_input_is_asked_anew(tmp_path: Path) -> None:
    """What waits for a read of standard input reads from what the new guest has; so does one that writes."""

    async def main() -> None:
        written: list[bytes] = []

        async def forever() -> Any:
            await asyncio.sleep(3600)
            yield b""

        guest = await caesura.load(c_guest("host_program"), wasi=caesura.Wasi(("p", "c"), stdin=forever()))
        task = asyncio.create_task(guest.run())
        while not guest.suspended:
            await asyncio.sleep(0.001)
        snapshot = guest.snapshot()
        task.cancel()

        async def write(content: bytes) -> None:
            written.append(content)
            await asyncio.sleep(3600)

        wasi = caesura.Wasi(stdin=b"given\n", stdout=written.append)
        guest = await caesura.restore(bytes(snapshot), wasi=wasi, module=c_guest("host_program"))
        assert await guest.run() == 0
        assert written == [b"line given\n"]

        writer = caesura.Wasi(("p", "p0"), stdin=b"", stdout=write)
        guest = await caesura.load(c_guest("host_program"), wasi=writer)
        task = asyncio.create_task(guest.run())
        while len(written) < 2:
            await asyncio.sleep(0.001)
        snapshot = guest.snapshot()
        task.cancel()
        wasi = caesura.Wasi(stdin=b"", stdout=written.append)
        guest = await caesura.restore(bytes(snapshot), wasi=wasi, module=c_guest("host_program"))
        assert await guest.run() == 0
        assert written[1:] == [b"poll 1\n", b"poll 1\n"]  # at least once

    asyncio.run(main())
