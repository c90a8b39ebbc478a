"""What docs/security.md says of hostile guests, where no other test shows it."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.wasm.leb128 import encode_name, encode_unsigned
from tests.fuzz.lies import claims_of_plain_abi
from tests.host.support import WAITER, run, settle
from tests.support.engine import assemble
from tests.support.guests import CONTRACT


def test_addresses_of_another_guest() -> None:
    """What a guest hands to a host function is an address of its own memory, and has its end."""
    seen: list[bytes] = []

    def show(guest: caesura.Guest, address: int, size: int) -> None:
        seen.append(guest.memory.read(address & 0xFFFF_FFFF, size & 0xFFFF_FFFF))

    async def main() -> None:
        text = """(module (import "env" "show" (func $show (param i32 i32))) (memory (export "memory") 1)
            (data (i32.const 0) "{}") (func (export "f") (param i32 i32) (call $show (local.get 0) (local.get 1)))
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"""
        texts = [text.format(name).encode() for name in ("mine", "yours")]
        mine, _ = [await caesura.load(item, {"env": {"show": show}}, cache=False) for item in texts]
        mine.call_nowait("f", 0, 65536)
        assert seen[0] == b"mine" + bytes(65532)
        for address, size in ((0, 65537), (65536, 1), (-1, 2), (-65536, 65536), (0, -1)):
            with pytest.raises(caesura.UsageError, match="it has 65536 bytes"):
                mine.call_nowait("f", address, size)
        for address in (65533, -1, -(1 << 31)):
            with pytest.raises(caesura.GuestTrap, match="memory out of bounds"):
                mine.call_nowait("load", address)

    run(main())


WORLD = """(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "../secret/etc/passwd")
    (func (export "environ") (result i32) (drop (call $environ (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)))
    (func (export "args") (result i32) (drop (call $args (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)))
    (func (export "prestat") (param i32) (result i32) (call $prestat (local.get 0) (i32.const 0)))
    (func (export "open") (param i32 i32 i32) (result i32)
        (call $open (local.get 0) (i32.const 0) (local.get 1) (local.get 2) (i32.const 0) (i64.const 2) (i64.const 2)
            (i32.const 0) (i32.const 0))))"""


def test_the_world_is_what_wasi_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "value")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "link").symlink_to(tmp_path / "secret")
    bad_descriptor, not_permitted = 8, 63

    async def main() -> None:
        guest = await caesura.load(WORLD.encode(), wasi=caesura.Wasi(), cache=False)
        assert guest.call_nowait("environ") == 0 and guest.call_nowait("args") == 1
        assert {guest.call_nowait("prestat", descriptor) for descriptor in range(3, 10)} == {bad_descriptor}
        guest = await caesura.load(
            WORLD.encode(), wasi=caesura.Wasi(directories={"/": str(tmp_path / "shown")}), cache=False
        )
        assert guest.call_nowait("prestat", 3) == 0 and guest.call_nowait("prestat", 4) == bad_descriptor
        assert guest.call_nowait("open", 3, 100, 9) == not_permitted  # ../secret
        assert guest.call_nowait("open", 3, 109, 11) != 0  # /etc/passwd
        guest.memory.write(100, b"link")
        assert guest.call_nowait("open", 3, 100, 4) != 0

    run(main())


# Writes what it reads.
ECHO = r"""
import asyncio, caesura

GUEST = br'''(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\64\00\00\00\10")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))'''

async def main():
    guest = await caesura.load(GUEST, wasi=caesura.Wasi(STREAMS), cache=False)
    print(await guest.run())

asyncio.run(main())
"""


def test_standard_streams_that_wasi_does_not_name_are_the_processs_own() -> None:
    for streams, said in (
        ("", b"secret0\n"),
        ("stdin=b'', stdout=bytearray().extend", b"0\n"),
        ("stdin=b'given'", b"given0\n"),
    ):
        command = [sys.executable, "-c", ECHO.replace("STREAMS", streams)]
        done = subprocess.run(command, input=b"secret", capture_output=True, timeout=300, check=True)
        assert done.stdout == said


@pytest.mark.parametrize("preempt", ["none", "flag", "fuel"])
def test_wasi_that_there_is_not(preempt: Any) -> None:
    """What a module wants of WASI is refused as all that is wrong with a module."""

    async def main() -> None:
        for wanted in (
            '"nope" (func)',
            '"random_get" (func (param i64 i32) (result i32))',
            '"random_get" (func (param i32 i32))',
            '"sched_yield" (func (param i32))',
            '"sched_yield" (func)',
            '"path_rename" (func (param i64 i32 i32 i32 i32 i32) (result i32))',
            '"poll_oneoff" (func (param f32 i32 i32 i32) (result i32))',
            '"fd_close" (func (param i32) (result i64))',
        ):
            text = f'(module (import "wasi_snapshot_preview1" {wanted}) (memory (export "memory") 1))'
            with pytest.raises(caesura.UsageError, match=re.escape(wanted.split('"')[1])):
                await caesura.load(text.encode(), wasi=caesura.Wasi(stdin=b""), preempt=preempt, cache=False)

    run(main())


@pytest.mark.parametrize(
    ("name", "said"), [("two\nlines \x1b[31m", r"two\nlines \x1b[31m"), ("long" * 1_000_000, "long" * 250 + "...")]
)
def test_names_of_a_modules_functions_flood_no_log_and_forge_no_lines(name: str, said: str) -> None:
    names = encode_unsigned(1) + encode_unsigned(0) + encode_name(name)
    content = encode_name("name") + b"\1" + encode_unsigned(len(names)) + names
    recursion = "(if (local.get 0) (then (call 0 (i32.sub (local.get 0) (i32.const 1))))) (unreachable)"
    bare = assemble(f'(module (func (export "run") (param i32) {recursion}))')
    module = bare + b"\0" + encode_unsigned(len(content)) + content

    async def main() -> None:
        guest = await caesura.load(module, time_slice=0.005, cache=False)
        with pytest.raises(caesura.GuestTrap) as trap:
            await guest.call("run", 30)
        assert str(trap.value) == f"the guest trapped in {said}: unreachable"
        assert trap.value.__notes__[0].splitlines()[1:] == [f"  {said}"] * 20 + ["  ..."]

    run(main())


def test_without_a_limit_a_memory_grows_to_four_gibibytes() -> None:
    async def main() -> None:
        text = b"""(module (memory (export "memory") 1)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""
        guest = await caesura.load(text, {}, cache=False)
        assert guest.call_nowait("grow", 65535) == 1 and len(guest.memory) == 1 << 32
        assert guest.call_nowait("grow", 1) == -1
        limited = await caesura.load(text, {}, cache=False, memory_limit=1 << 20)
        assert limited.call_nowait("grow", 16) == -1 and limited.call_nowait("grow", 15) == 1

    run(main())


def test_objects_of_the_guests_own_count_as_a_memory() -> None:
    async def main() -> None:
        text = b"""(module (type $bytes (array i8)) (type $list (struct (field (ref null $list)) (field (ref $bytes))))
            (global $kept (mut (ref null $list)) (ref.null $list))
            (func (export "f") (loop
                (global.set $kept (struct.new $list (global.get $kept) (array.new_default $bytes (i32.const 65536))))
                (br 0))))"""
        guest = await caesura.load(text, {}, cache=False, memory_limit=1 << 20)
        with pytest.raises(caesura.GuestTrap, match="GC heap out of memory"):
            guest.call_nowait("f")

    run(main())


def test_suspended_calls_take_no_more_than_the_limit() -> None:
    async def main() -> None:
        gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait(value: int) -> int:
            return await gate

        guest = await caesura.load(WAITER, {"env": {"wait": wait}}, cache=False, memory_limit=1 << 16)
        with pytest.raises(caesura.GuestTrap, match="asyncify stack overflow"):
            await guest.call("deep", 9_000)
        calls = [asyncio.create_task(guest.call("deep", 4_000)) for _ in range(10)]
        await settle()
        assert guest.suspended == 10
        held = sum(len(call.frames) for call in guest._instance.suspended)
        assert 9 * 30_000 < held <= 10 << 16  # those of one lie in the guest
        gate.set_result(0)
        assert set(await asyncio.gather(*calls)) == {4_000 * 4_001 // 2}

    run(main())


FOR_EVER = "(loop (br 0))"
ENDLESS = {
    "start": f"(module (func $f {FOR_EVER}) (start $f))",
    "initialize": f'(module (func (export "_initialize") {FOR_EVER}))',
    "malloc": f"""(module (import "env" "ask" (func $ask)) (memory (export "memory") 1) {claims_of_plain_abi()}
        (func (export "malloc") (param i32) (result i32) {FOR_EVER} (unreachable)))""",
    "state change": f"""(module (import "env" "ask" (func $ask)) (memory (export "memory") 1)
        (memory (export "asyncify_memory") 1) {claims_of_plain_abi()}
        (func (export "asyncify_set_data_pointer") (param i32) {FOR_EVER}) {CONTRACT})""",
}


@pytest.mark.parametrize("place", ENDLESS)
def test_a_guest_that_never_begins(place: str) -> None:
    async def ask() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        for delay in (0.0, 0.1):
            interruptions = caesura.Interruptions()
            timer = threading.Timer(delay, interruptions.interrupt)
            timer.start()
            if not delay:
                timer.join()
            with pytest.raises(caesura.GuestTrap, match=r"interrupted|asyncify_set_data_pointer failed"):
                await caesura.load(
                    ENDLESS[place].encode(), {"env": {"ask": ask}}, cache=False, interruptible=interruptions
                )
        with pytest.raises(caesura.UsageError, match="serves one guest"):
            await caesura.load(b"(module)", cache=False, interruptible=interruptions)

    run(main())


def test_a_call_that_waits_for_ever() -> None:
    async def never(value: int) -> int:
        await asyncio.get_running_loop().create_future()
        return value

    async def main() -> None:
        text = b"""(module (import "env" "never" (func $never (param i32) (result i32)))
            (func (export "f") (result i32) (call $never (i32.const 1))))"""
        guest = await caesura.load(text, {"env": {"never": never}}, cache=False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await guest.call("f")
        assert guest.suspended == 0

    run(main())


def test_more_bytes_than_a_c_int_counts() -> None:
    """What `memory.read` copies is as much as was asked for, also where 31 or 32 bits do not hold the size."""
    size = (1 << 31) + 10
    memory = Path("/proc/meminfo")
    if memory.exists():
        free = int(next(line for line in memory.read_text().splitlines() if "MemAvailable" in line).split()[1]) << 10
        if free < 3 * size // 2:
            pytest.skip(f"there are only {free >> 20} MiB of memory to copy {size >> 20} MiB")

    async def main() -> None:
        guest = await caesura.load(b'(module (memory (export "memory") 65536))', {}, cache=False)
        guest.memory.write(size - 3, b"end")
        content: Any = guest.memory.read(0, size)
        assert len(content) == size and content.endswith(b"end")
        del content
        with pytest.raises(caesura.UsageError, match="it has 4294967296 bytes"):
            guest.memory.read(0, (1 << 32) + 10)

    run(main())
    gc.collect()
