"""What a guest may take, and what it gives back: limits, address space, closing, programs that are kept."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.host.engines import WHOLE_MEMORY, default_reservation
from caesura.host.settings import GuestSettings, ProgramSettings
from tests.host.support import ABIS, WAITER, Gates, instrumented, load_calls, load_waiter, run, settle

GROWER = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (table $t 3 funcref)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "grow_table") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
  (func (export "deep") (param i64) (result i64) (call $deep (local.get 0)))
  (func $deep (param i64) (result i64)
    (if (result i64) (i64.eqz (local.get 0))
      (then (i64.extend_i32_s (call $wait (i32.const 7))))
      (else (i64.add (local.get 0) (call $deep (i64.sub (local.get 0) (i64.const 1))))))))
"""


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


IMPORTS = {"env": {"wait": wait}}


def test_limits_of_memory_and_tables() -> None:
    async def main() -> None:
        guest = await caesura.load(GROWER, IMPORTS, memory_limit=3 << 16, table_limit=5)
        assert [guest.call_nowait("grow", 1) for _ in range(4)] == [1, 2, -1, -1]
        assert guest.call_nowait("grow_table", 3) == -1 and guest.call_nowait("grow_table", 2) == 3
        assert await guest.call("deep", 100) == 5057
        small = await caesura.load(GROWER, IMPORTS, memory_limit=1 << 16)
        with pytest.raises(caesura.GuestTrap, match="asyncify stack overflow"):
            await small.call("deep", 6000)  # the memory with the asyncify stack has the same limit
        other = await caesura.load(GROWER, IMPORTS)
        assert await other.call("deep", 6000) == 18_003_007
        assert other.call_nowait("grow", 100) == 1 and other.call_nowait("grow_table", 100) == 3

    run(main())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"memory_limit": 65535}, r"cannot be instantiated: .*memory.*\(memory_limit=65535\)"),
        ({"memory_limit": 0}, r"memory_limit=0"),
        ({"table_limit": 2}, r"table.*\(table_limit=2\)"),
        ({"instances": 0}, r"instance.*\(instances=0\)"),
        ({"memory_limit": -1}, "memory_limit is -1: expected a number that is not negative"),
        ({"table_limit": 1 << 63}, "table_limit is 9223372036854775808"),
        ({"memory_reservation": 1000}, "memory_reservation is 1000 bytes: expected 65536 to 4294967296"),
    ],
)
def test_a_guest_that_is_too_large_from_the_beginning(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        asyncio.run(caesura.load(GROWER, IMPORTS, **limits))


def test_an_imported_memory_that_is_too_large() -> None:
    kind = wasmtime.MemoryType(wasmtime.Limits(5, None))
    with pytest.raises(caesura.UsageError, match=r"cannot be instantiated: .*memory_limit=65536"):
        asyncio.run(caesura.load(b'(module (import "a" "m" (memory 1)))', {"a": {"m": kind}}, memory_limit=65536))


def test_a_limit_bounds_the_whole_guest() -> None:
    """A module may have a hundred memories and tables: those that nobody allowed are refused."""
    many = {kind: b"(module %s)" % (f"({kind})".encode() * 20) for kind in ("memory 1", "table 3 funcref")}
    memory, table = many.values()
    imported = (
        b'(module (import "a" "m" (memory 1)) (import "a" "n" (memory 1)) (import "a" "t" (table 1 funcref))' + b")"
    )
    items = {
        "a": {
            "m": wasmtime.MemoryType(wasmtime.Limits(1, None)),
            "n": wasmtime.MemoryType(wasmtime.Limits(1, None)),
            "t": wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)),
        }
    }
    limit = 1 << 20

    async def refused(message: str, text: bytes, imports: Any = None, **limits: Any) -> None:
        with pytest.raises(caesura.UsageError, match=message):
            await caesura.load(text, imports, **limits)

    async def main() -> None:
        await refused("more memories of its own than it may have, 1 .*memory_limit", memory, memory_limit=limit)
        await refused("more memories of its own than it may have, 19", memory, memory_limit=limit, memories=19)
        await refused("more tables of its own than it may have, 1 .*table_limit", table, table_limit=limit)
        await refused("more tables of its own than it may have, 19", table, tables=19)
        await refused("more memories of its own", imported, items, memory_limit=limit)
        await refused("more tables of its own than it may have, 0", imported, items, tables=0)
        await refused("memories is -1: expected", memory, memories=-1)
        await caesura.load(memory, memory_limit=limit, memories=20)
        await caesura.load(memory, table_limit=limit)
        await caesura.load(table, memory_limit=limit, table_limit=limit, tables=20)
        await caesura.load(imported, items, memory_limit=limit, memories=2, table_limit=limit)
        await caesura.load(memory)
        program = await caesura.compile(memory)
        with pytest.raises(caesura.UsageError, match="more memories of its own than it may have, 2"):
            await program.load(memory_limit=limit, memories=2)
        await program.load(memory_limit=limit, memories=20, tables=0)

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_the_memory_of_the_asyncify_stack_is_none_of_the_guests_own(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(wait, abi, memory_limit=1 << 20, table_limit=10)
        assert await guest.call("outer", 1) == 101
        with pytest.raises(caesura.UsageError, match="more memories of its own than it may have, 0"):
            await load_waiter(wait, abi, memories=0)

    run(main())


def test_a_wasi_program_is_one_instance() -> None:
    async def main() -> None:
        text = b"""(module (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
          (memory (export "memory") 1) (func (export "f") (result i32) (call $close (i32.const 9))))"""
        guest = await caesura.load(text, wasi=caesura.Wasi(stdin=b""), instances=1)
        assert guest.call_nowait("f") == 8  # EBADF

    run(main())


@pytest.mark.skipif(default_reservation() < WHOLE_MEMORY, reason="the address space of this process is limited")
def test_a_memory_that_grows_page_by_page_moves_once() -> None:
    """Each move copies all that there is."""

    async def main() -> None:
        text = b'(module (memory (export "memory") 1) (func (export "grow") (result i32) (memory.grow (i32.const 16))))'
        guest = await caesura.load(text, memory_reservation=1 << 20, memory_limit=512 << 20)
        places = {guest.memory._locate(0, 0)}
        while guest.call_nowait("grow") >= 0:
            places.add(guest.memory._locate(0, 0))
        assert len(guest.memory) > 511 << 20 and len(places) == 2

    run(main())


def test_a_limit_bounds_the_objects_of_the_garbage_collector() -> None:
    async def main() -> None:
        text = b"""(module (type $list (struct (field (ref null $list))))
          (global $last (mut (ref null $list)) (ref.null $list))
          (global $made (mut i32) (i32.const 0))
          (func (export "make") (loop (global.set $last (struct.new $list (global.get $last)))
            (global.set $made (i32.add (global.get $made) (i32.const 1))) (br 0)))
          (func (export "made") (result i32) (global.get $made))
          (func (export "forget") (global.set $last (ref.null $list)) (global.set $made (i32.const 0))))"""
        guest = await caesura.load(text, memory_limit=8 << 20)
        for _ in range(3):
            with pytest.raises(caesura.GuestTrap, match="GC heap out of memory"):
                guest.call_nowait("make")
            assert (1 << 17) < guest.call_nowait("made") <= (8 << 20) // 16
            guest.call_nowait("forget")

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_memory_that_moves(abi: str) -> None:
    """With little address space a memory lies elsewhere after it has grown, also while calls are suspended."""

    async def main() -> None:
        gates = Gates()

        guest = await load_calls(abi, wait=gates.wait, memory_reservation=1 << 16, shadow_stack_size=1 << 16)
        calls = [asyncio.create_task(guest.call("descend", 9, seed)) for seed in range(40)]
        await settle()
        size = len(guest.memory)
        taken = [guest.call_nowait("malloc", 1 << 20) for _ in range(40)]
        assert len(guest.memory) > size + (32 << 20) and 0 not in taken
        for seed in (*range(0, 40, 2), *range(39, 0, -2)):
            gates.open(seed, 0)
            assert await calls[seed] == sum(seed * 31 + d * 16 + d for d in range(10))

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
@pytest.mark.parametrize(("reservation", "output"), [("None", "42"), ("1 << 32", "address space")])
def test_little_address_space(reservation: str, output: str) -> None:
    code = f"""
import asyncio, resource, caesura
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
async def wait(value):
    await asyncio.sleep(0)
    return value
async def main():
    guest = await caesura.load({GROWER!r}, {{"env": {{"wait": wait}}}}, memory_reservation={reservation})
    print(await guest.call("deep", 0) + 35)
try:
    asyncio.run(main())
except caesura.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert output in done.stdout and done.returncode == 0, done.stderr
    if output != "42":
        assert "4,294,967,296 bytes" in done.stdout and "memory_reservation" in done.stdout


@pytest.mark.parametrize("abi", ABIS)
def test_closing_frees_everything_at_once(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        store = weakref.ref(guest._instance.store.wasmtime_store)
        call = asyncio.create_task(guest.call("outer", 1))
        await settle()
        guest.close()
        await asyncio.wait({call})
        assert call.cancelled()
        seen = weakref.ref(guest)
        del guest, call
        await asyncio.sleep(0)
        assert seen() is None and store() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_a_closed_guest_has_no_memory() -> None:
    async def main() -> None:
        guest = await load_waiter(wait)
        memory, view = guest.memory, guest.memory.view(0, 8)
        guest.close()
        with pytest.raises(ValueError, match="already closed"):
            guest._instance.store.wasmtime_store.ptr()
        for use in (lambda: memory.read(0, 1), lambda: len(memory), lambda: view[0], lambda: guest.memory):
            with pytest.raises(caesura.UsageError, match="guest is closed"):
                use()
        guest.close()
        assert guest.suspended == 0

    run(main())


def test_a_guest_that_its_own_host_function_closes() -> None:
    async def main() -> None:
        def close(value: int) -> int:
            guest.close()
            assert guest.exports  # what does not run it can be asked
            return value

        guest = await load_waiter(close)
        assert await guest.call("twice", 1) == 3
        with pytest.raises(ValueError, match="already closed"):
            guest._instance.store.wasmtime_store.ptr()
        with pytest.raises(caesura.UsageError, match="guest is closed"):
            await guest.call("outer", 1)

    run(main())


def test_a_guest_that_fails_to_initialize_itself_is_not_kept() -> None:
    stores: list[object] = []

    def note(guest: caesura.Guest) -> None:
        stores.append(weakref.ref(guest._instance.store.wasmtime_store))

    async def main() -> None:
        text = b"""(module (import "env" "note" (func $note)) (memory 1)
          (func (export "_initialize") (call $note) unreachable))"""
        with pytest.raises(caesura.GuestTrap):
            await caesura.load(text, {"env": {"note": note}})

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
    (reference,) = stores
    assert callable(reference) and reference() is None


def test_a_program_is_kept() -> None:
    async def main() -> None:
        program = await caesura.compile(WAITER, {"env": {"wait": wait}}, cache=False)
        assert "outer" in program.exports
        for _ in range(3):
            async with await program.load() as guest:
                assert await guest.call("outer", 1) == 101
        async with await program.load({"env": {"wait": lambda value: value + 1}}) as guest:
            assert await guest.call("outer", 1) == 102
        guests = [await program.load() for _ in range(3)]
        assert len({id(guest._instance.program) for guest in guests}) == 1
        plain = await caesura.compile(WAITER, {"env": {"wait": lambda value: value}})
        with pytest.raises(caesura.UsageError, match=r"env\.wait may suspend now"):
            await plain.load({"env": {"wait": wait}})
        with pytest.raises(caesura.UsageError, match=r"imports what it is not given: env\.wait"):
            await program.load({})
        with pytest.raises(caesura.UsageError, match="compiled without WASI"):
            await program.load(wasi=caesura.Wasi())

    run(main())


def test_a_program_with_wasi_is_kept() -> None:
    async def main() -> None:
        text = b"""(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (data (i32.const 100) "hello") (data (i32.const 8) "\\64\\00\\00\\00\\05")
          (func (export "_start")
            (drop (call $yield)) (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))))"""
        program = await caesura.compile(text, wasi=True)
        for _ in range(2):
            output: list[bytes] = []
            async with await program.load(wasi=caesura.Wasi(stdin=b"", stdout=output.append)) as guest:
                assert await guest.run() == 0
            assert output == [b"hello"]

    run(main())


def test_what_belongs_to_a_process_is_neither_copied_nor_pickled() -> None:
    async def main() -> None:
        guest = await load_waiter(wait)
        memory = (await caesura.load(GROWER, IMPORTS)).memory
        things = {
            "a caesura guest": guest,
            "the memory of a caesura guest": memory,
            "a window into the memory of a caesura guest": memory.view(0, 4),
            "a compiled caesura program": await caesura.compile(GROWER, IMPORTS),
            "a caesura.Wasi object": caesura.Wasi(),
            "a caesura.Interruptions object": caesura.Interruptions(),
        }
        for what, thing in things.items():
            for use in (copy.copy, copy.deepcopy, lambda thing: copy.deepcopy({"it": [thing]})):
                with pytest.raises(TypeError, match=f"^{what} cannot be copied: "):
                    use(thing)
            with pytest.raises(TypeError, match=f"^{what} cannot be pickled: "):
                pickle.dumps([thing])
        assert await guest.call("outer", 1) == 101

    run(main())


def test_a_reference_to_a_function_is_its_own_copy() -> None:
    async def main() -> None:
        guest = await load_waiter(wait)
        reference = guest.function("outer")
        assert copy.copy(reference) is reference
        assert copy.deepcopy([reference]) == [reference]
        with pytest.raises(TypeError, match=r"^a function of a caesura guest cannot be pickled: "):
            pickle.dumps(reference)

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_an_interruption_ends_what_had_begun_and_nothing_else(abi: str) -> None:
    async def main() -> None:
        gates, others = Gates(), Gates()
        guest = await load_waiter(gates.wait, abi, interruptible=True)
        other = await load_waiter(others.wait, abi, interruptible=True)
        guest.interrupt()  # nobody runs
        assert guest.call_nowait("calls") == 0
        begun = asyncio.create_task(guest.call("loop", 3))
        innocent = asyncio.create_task(other.call("loop", 1))
        not_begun = guest.call("outer", 1)
        await settle()
        guest.interrupt()
        guest.interrupt()
        assert guest.call_nowait("calls") == 1  # a call in between is not meant, and the suspended one still is
        gates.open(3, 5)
        with pytest.raises(caesura.GuestTrap) as caught:
            await begun
        assert caught.value.kind == "interrupted" and guest.suspended == 0
        later = asyncio.create_task(not_begun)
        await settle()
        gates.open(1, 5)
        assert await later == 105
        others.open(1, 5)
        assert await innocent == 5

    run(main())


def test_an_interruption_reaches_the_outer_call_behind_an_inner_one() -> None:
    async def main() -> None:
        inner: list[int] = []

        def host(guest: caesura.Guest, value: int) -> int:
            if not inner:
                guest.interrupt()
                inner.append(guest.call_nowait("calls"))  # begins afterwards
            return value

        guest = await load_waiter(host, interruptible=True)
        with pytest.raises(caesura.GuestTrap) as caught:
            guest.call_nowait("loop", 1000)
        assert caught.value.kind == "interrupted" and inner == [1]
        assert guest.call_nowait("calls") == 1
        assert guest.call_nowait("outer", 1) == 101

    run(main())


def test_interruptible_guests_share_their_code() -> None:
    async def main() -> None:
        first, second = [await load_waiter(wait, interruptible=True) for _ in range(2)]
        assert first._instance.program is second._instance.program
        ordinary = await load_waiter(wait)
        assert ordinary._instance.program is not first._instance.program

    run(main())


def test_another_library_for_tasks() -> None:
    """A coroutine that is driven by something else than asyncio, as trio does it."""
    load = caesura.load(WAITER, IMPORTS)
    with pytest.raises(caesura.UsageError, match=r"no asyncio event loop is running here: .*trio-asyncio"):
        load.send(None)
    with pytest.raises(caesura.UsageError, match="no asyncio event loop"):
        caesura.compile(WAITER, IMPORTS).send(None)


def test_instrumented_elsewhere_and_little_address_space() -> None:
    async def main() -> None:
        module = instrumented(WAITER, "plain in its own memory")
        guest = await caesura.load(module, IMPORTS, memory_reservation=1 << 16)
        assert await guest.call("deep", 1000) == 500_500

    run(main())


@pytest.mark.parametrize(
    ("function", "settings", "without"),
    [
        (caesura.load, (ProgramSettings, GuestSettings), ()),
        (caesura.compile, (ProgramSettings,), ()),
        (caesura.Program.load, (GuestSettings,), ()),
        # What the snapshot says: whether there are pause points, and where frames lie.
        (caesura.restore, (ProgramSettings, GuestSettings), ("preempt", "stack_space")),
        (caesura.Snapshot.fork, (ProgramSettings, GuestSettings), ("preempt", "stack_space")),
    ],
)
def test_every_setting_is_a_parameter(
    function: Callable[..., Any],
    settings: tuple[type[ProgramSettings] | type[GuestSettings], ...],
    without: tuple[str, ...],
) -> None:
    parameters = inspect.signature(function).parameters
    for kind in settings:
        for name, value in kind().__dict__.items():
            if name in without:
                assert name not in parameters
            else:  # `preempt` of `load` follows from another one
                assert parameters[name].default in (value, None)


def test_settings_of_the_wrong_kind_are_refused_wherever_they_are_given() -> None:
    async def main() -> None:
        source = b"(module)"
        snapshot = (await caesura.load(source)).snapshot()
        program = await caesura.compile(source)
        for given, message in (
            ({"memory_limit": "much"}, "memory_limit is 'much': expected an integer or None"),
            ({"recursion_limit": None}, "recursion_limit is None: expected an integer"),
            ({"interruptible": "yes"}, "interruptible is 'yes': expected True"),
            ({"native_stack_size": 1}, "native_stack_size is 1 bytes"),
        ):
            wrong: dict[str, Any] = given
            with pytest.raises(caesura.UsageError, match=message):
                await caesura.load(source, **wrong)
            with pytest.raises(caesura.UsageError, match=message):
                await caesura.restore(snapshot, **wrong)
            with pytest.raises(caesura.UsageError, match=message):
                await snapshot.fork(1, **wrong)
        with pytest.raises(caesura.UsageError, match="memory_limit is 'much'"):
            await program.load(memory_limit="much")  # type: ignore[arg-type]

    asyncio.run(main())


def test_guests_of_a_process_have_a_limit() -> None:
    async def main() -> None:
        program = await caesura.compile(GROWER, IMPORTS)
        first = await program.load()
        gc.collect()
        caesura.limit_guests(0)
        with pytest.raises(
            caesura.ResourceError, match=r"the process has \d+ guests, .* allows 0: close some first"
        ) as error:
            await program.load()
        there = int(str(error.value).split()[3])
        caesura.limit_guests(there + 1)
        second = await program.load()
        with pytest.raises(caesura.ResourceError):
            await program.load()
        first.close()
        third = await program.load()
        with pytest.raises(caesura.ResourceError):
            await program.load()
        del second, third
        gc.collect()
        for guest in [await program.load() for _ in range(2)]:
            guest.close()

    try:
        run(main())
    finally:
        caesura.limit_guests(None)
    with pytest.raises(caesura.UsageError, match="count is -1"):
        caesura.limit_guests(-1)
    with pytest.raises(caesura.UsageError, match="count is 'many'"):
        caesura.limit_guests("many")  # type: ignore[arg-type]
