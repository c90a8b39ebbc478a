"""Modules whose instances take long to make: a thread makes them, and nothing else is different.

The tests keep that thread from working with a lock that it takes, which `fork` waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.host.description import Instantiation
from caesura.host.fork_locks import inside
from caesura.host.instantiation import instantiation_of
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble

LIMITS: Final = wasmtime.Limits(128, None)
MUCH: Final = 4_000_000
BLOB: Final = "abcd" * (MUCH // 4)

WAIT: Final = '(import "env" "wait" (func $wait (param i32) (result i32)))'
FETCH: Final = (
    '(func (export "f") (param i32) (result i32) (i32.add (i32.load8_u (local.get 0)) (call $wait (i32.const 1))))'
)
IMPORTED: Final = f'{WAIT} (import "env" "memory" (memory 128)) (data (i32.const 16) "{BLOB}") {FETCH}'
SLOW: Final = {
    "imported memory": f'{IMPORTED} (export "memory" (memory 0))',
    "imported place": (
        f'{WAIT} (import "env" "place" (global $place i32)) (memory (export "memory") 128)'
        f'(data (global.get $place) "{BLOB}") {FETCH}'
    ),
    "scattered": (
        f'{WAIT} (memory (export "memory") 2048) (data (i32.const 16) "{BLOB}")(data (i32.const 134000000) "x") {FETCH}'
    ),
    "one that is imported": (
        f'{WAIT} (import "env" "memory" (memory 128)) (memory (export "memory") 128)'
        f'(data (memory 1) (i32.const 16) "{BLOB}") (data (memory 0) (i32.const 0) "x")'
        '(func (export "f") (param i32) (result i32)'
        "(i32.add (i32.load8_u 1 (local.get 0)) (call $wait (i32.const 1))))"
    ),
}


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


def imports(**others: Any) -> dict[str, dict[str, Any]]:
    return {"env": {"wait": wait, "memory": wasmtime.MemoryType(LIMITS), "place": 16, **others}}


def given(text: str) -> bytes:
    return assemble(f"(module {text})")


async def compiled(text: str, **others: Any) -> caesura.Program:
    return await caesura.compile(given(text), imports(**others), cache=False)


@contextlib.contextmanager
def kept_from_working() -> Iterator[None]:
    """Keep the thread that makes instances from making any."""
    with inside.instantiating:
        yield


async def turns() -> None:
    """Let everybody else run who can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", SLOW)
def test_others_run_while_data_are_copied_and_then_the_data_are_there(name: str) -> None:
    async def main() -> None:
        program = await compiled(SLOW[name])
        with kept_from_working():
            loading = asyncio.create_task(program.load())
            await turns()
            assert not loading.done()
        async with await loading as guest, await program.load() as other:
            assert guest.memory.read(14, 6) == b"\0\0abcd"
            assert guest.memory.read(16 + MUCH - 4, 6) == b"abcd\0\0"
            guest.memory.write(16, b"A")
            assert await guest.call("f", 16) == ord("A") + 2
            assert await other.call("f", 16) == ord("a") + 2

    run(main())


QUICK: Final = {
    "much data, mapped": f'{WAIT} (memory (export "memory") 128) (data (i32.const 16) "{BLOB}") {FETCH}',
    "little data, copied": f'{WAIT} (import "env" "memory" (memory 1)) (data (i32.const 16) "abcd") {FETCH}',
}


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.skipif(os.name == "nt", reason="Windows does not map data")
def test_what_is_quick_needs_no_thread_and_never_waits(name: str) -> None:
    async def main() -> None:
        if name == "much data, mapped" and not hasattr(os, "memfd_create"):
            pytest.skip("only Linux maps what is not in the cache")
        program = await compiled(QUICK[name])
        with kept_from_working(), pytest.raises(StopIteration) as end:
            program.load().send(None)
        async with end.value.value as guest:
            assert await guest.call("f", 16) == ord("a") + 2

    run(main())


@pytest.mark.parametrize(
    ("text", "is_quick"),
    [
        ("(memory 1) (table 10000000 funcref)", True),
        ("(table 10000000 funcref (ref.null func))", True),
        ("(func $f) (table 10000000 funcref (ref.func $f))", False),
        (f"(func $f) (table 50000 funcref) (elem (i32.const 0) func {'$f ' * 50_000})", True),
        (f'(import "env" "t" (table 50000 funcref)) (func $f) (elem (i32.const 0) func {"$f " * 50_000})', False),
        (f"(func $f) (table 50000 funcref) (elem (i32.const 0) funcref {'(ref.func $f)' * 50_000})", False),
        (f"(func $f) (elem declare func {'$f ' * 50_000})", True),
        (f'(memory 64) (data "{BLOB}")', True),  # a passive one: nobody copies it before the guest says so
        ("(type $a (array (mut i8))) (global (ref $a) (array.new_default $a (i32.const 1000)))", True),
        ("(type $a (array (mut i8))) (global (ref $a) (array.new_default $a (i32.const 100000000)))", False),
        ("(type $a (array (mut i8))) (global (ref $a) (array.new $a (i32.const 1) (i32.const 100000000)))", False),
        (
            '(import "env" "place" (global i32)) (type $a (array (mut i8)))'
            "(global (ref $a) (array.new_default $a (global.get 0)))",
            False,
        ),
        (f"(type $s (struct)) {'(global (ref $s) (struct.new $s))' * 100}", True),
        (f"(type $s (struct)) {'(global (ref $s) (struct.new $s))' * 5_000}", False),
    ],
)
def test_what_takes_long_is_told_from_the_module(text: str, is_quick: bool) -> None:
    assert instantiation_of(Module(given(text))).is_quick(mapped=True) is is_quick


def test_code_that_is_not_mapped_has_its_data_copied() -> None:
    found = instantiation_of(Module(given(QUICK["much data, mapped"])))
    assert found == Instantiation(0, MUCH)
    assert not found.is_quick(mapped=False)


def test_a_small_module_with_a_large_array_is_made_in_a_thread() -> None:
    text = """(type $a (array (mut i8))) (global $a (ref $a) (array.new $a (i32.const 7) (i32.const 1000000)))
      (func (export "get") (result i32) (array.get_u $a (global.get $a) (i32.const 999999)))"""

    async def main() -> None:
        with kept_from_working():
            loading = asyncio.create_task(caesura.load(given(text), cache=False))
            await asyncio.sleep(0.2)
            assert not loading.done()
        async with await loading as guest:
            assert await guest.call("get") == 7

    run(main())


def test_who_is_cancelled_waits_for_the_thread_and_then_nothing_is_left() -> None:
    async def main() -> None:
        program = await compiled(SLOW["imported memory"])

        async def of_guest(value: int) -> int:
            return value

        alive = weakref.ref(of_guest)
        with kept_from_working():
            loading = asyncio.create_task(program.load(imports(wait=of_guest)))
            del of_guest
            await turns()
            for _ in range(3):
                loading.cancel()
                await turns()
                assert not loading.done()
        with contextlib.suppress(asyncio.CancelledError):  # not `raises`, which would keep the exception
            await loading
        assert loading.cancelled()
        del loading
        await turns()
        assert alive() is None  # and the garbage collector was not needed
        async with await program.load() as guest:
            assert await guest.call("f", 16) == ord("a") + 2

    run(main())


def test_a_time_limit_holds_when_the_thread_is_done() -> None:
    async def main() -> None:
        program = await compiled(SLOW["imported memory"])
        inside.instantiating.acquire()
        asyncio.get_running_loop().call_later(0.05, inside.instantiating.release)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await program.load()

    run(main())


def test_a_loop_may_end_while_the_thread_works() -> None:
    async def begin() -> None:
        program = await compiled(SLOW["imported memory"])
        abandoned.append(program.load())
        loop.call_soon(loop.stop)
        inside.instantiating.acquire()
        await abandoned[0]

    abandoned: list[Any] = []
    loop = asyncio.new_event_loop()
    beginning = loop.create_task(begin())
    with contextlib.suppress(RuntimeError):
        loop.run_forever()
    assert not beginning.done()
    beginning.get_coro().close()
    del beginning
    abandoned.clear()
    inside.instantiating.release()
    loop.close()

    async def main() -> None:
        async with await (await compiled(SLOW["imported memory"])).load() as guest:
            assert await guest.call("f", 16) == ord("a") + 2

    run(main())


@pytest.mark.parametrize("size", [4, MUCH])
def test_data_that_do_not_fit_are_the_same_trap_in_a_thread(size: int) -> None:
    text = f'{WAIT} (import "env" "memory" (memory 1)) (data (i32.const 65535) "{"a" * size}") {FETCH}'

    async def main() -> None:
        program = await compiled(text, memory=wasmtime.MemoryType(wasmtime.Limits(1, None)))
        with pytest.raises(caesura.GuestTrap) as raised:
            await program.load()
        assert raised.value.kind == "memory out of bounds"

    run(main())


@pytest.mark.parametrize("size", [4, MUCH])
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"memory_limit": 65536, "memories": 2}, "memory minimum size of 128 pages exceeds memory limits"),
        ({"memories": 0}, "it has more memories of its own than it may have, 0"),
    ],
)
def test_what_it_may_not_have_is_the_same_error_in_a_thread(size: int, limits: dict[str, int], said: str) -> None:
    text = (
        f'{WAIT} (import "env" "place" (global $place i32)) (memory (export "memory") 128)'
        f'(data (global.get $place) "{"a" * size}") {FETCH}'
    )

    async def main() -> None:
        program = await compiled(text)
        with pytest.raises(caesura.UsageError, match=f"the module cannot be instantiated: {said}"):
            await program.load(**limits)  # type: ignore[arg-type]

    run(main())


def test_what_an_import_was_given_is_looked_at_before_and_here() -> None:
    async def main() -> None:
        program = await compiled(SLOW["imported memory"])
        with kept_from_working(), pytest.raises(caesura.UsageError, match=r"env\.memory is a memory and was given 5"):
            await program.load(imports(memory=5))

    run(main())


STARTED: Final = f"""(import "env" "begin" (func $begin (param i32))) {IMPORTED} (export "memory" (memory 0))
  (func $start (call $begin (i32.load8_u (i32.const 17))) (i32.store8 (i32.const 16) (i32.const 65)))
  (start $start)"""


@pytest.mark.parametrize("how", ["thunks", "plain", "none"])
def test_the_start_function_runs_in_the_guests_own_thread_when_the_data_are_there(how: str) -> None:
    seen: list[tuple[int, int]] = []

    def begin(guest: caesura.Guest, value: int) -> None:
        seen.append((value, threading.get_ident()))
        with pytest.raises(caesura.UsageError, match="its start function is running"):
            guest.call_nowait("f", 16)

    async def main() -> None:
        module = given(STARTED)
        items = imports(begin=begin)
        options: dict[str, Any] = {}
        if how == "plain":
            module = caesura.instrument(module, caesura.Options(imports=["env.wait"])).module
            options["stack_space"] = 65536
        if how == "none":
            items["env"]["wait"] = lambda value: value + 1
        async with await caesura.load(module, items, cache=False, **options) as guest:
            assert seen == [(ord("b"), threading.get_ident())]
            assert guest.memory.read(16, 4) == b"Abcd"
            assert await guest.call("f", 16) == ord("A") + 2
            assert guest.exports == ("f",) if how != "plain" else "f" in guest.exports
            assert not any("start" in name for name in guest.exports)

    run(main())


def test_an_import_as_the_start_function() -> None:
    async def main() -> None:
        calls: list[str] = []
        text = f'(import "env" "begin" (func $begin)) {IMPORTED} (start $begin)'
        async with await caesura.load(given(text), imports(begin=lambda: calls.append("begin")), cache=False) as guest:
            assert calls == ["begin"]
            assert await guest.call("f", 16) == ord("a") + 2

    run(main())


@pytest.mark.parametrize("data", ["abcd", BLOB])
def test_a_start_function_that_fails_is_the_same_error_and_leaves_no_guest(data: str) -> None:
    seen: list[caesura.Guest] = []

    def begin(guest: caesura.Guest, value: int) -> None:
        seen.append(guest)
        raise KeyError(value)

    async def main() -> None:
        for text, error in ((STARTED, KeyError), (STARTED.replace("(call $begin", "unreachable (call $begin"), None)):
            module = given(text.replace(BLOB, data))
            with pytest.raises(error or caesura.GuestTrap) as raised:
                await caesura.load(module, imports(begin=begin), cache=False)
            if error is None:
                assert isinstance(raised.value, caesura.GuestTrap)
                assert raised.value.kind == "unreachable"
                assert raised.value.backtrace == ("start",)
            else:
                assert "start" in "".join(raised.value.__notes__)
        with pytest.raises(caesura.UsageError, match="closed"):
            seen[0].call_nowait("f", 16)

    run(main())


@pytest.mark.parametrize("text", [SLOW["imported memory"], STARTED])
def test_a_guest_that_is_interrupted_meanwhile_does_not_begin(text: str) -> None:
    async def main() -> None:
        calls: list[int] = []
        program = await caesura.compile(given(text), imports(begin=calls.append), cache=False, interruptible=True)
        interruptions = caesura.Interruptions()
        with kept_from_working():
            loading = asyncio.create_task(program.load(interruptions=interruptions))
            await turns()
            interruptions.interrupt()
        with pytest.raises(caesura.GuestTrap, match="interrupted"):
            await loading
        assert not calls

    run(main())


@pytest.mark.parametrize("text", [SLOW["imported memory"], STARTED])
def test_another_guest_that_is_interrupted_meanwhile_harms_nothing(text: str) -> None:
    async def main() -> None:
        program = await caesura.compile(given(text), imports(begin=lambda value: None), cache=False, interruptible=True)
        async with await program.load() as other:
            with kept_from_working():
                loading = asyncio.create_task(program.load())
                await turns()
                other.interrupt()
            async with await loading as guest:
                assert await guest.call("f", 17) == ord("b") + 2

    run(main())


def test_many_at_once_and_in_several_threads() -> None:
    failures: list[BaseException] = []

    async def main() -> None:
        program = await compiled(SLOW["imported memory"])
        guests = await asyncio.gather(*(program.load() for _ in range(5)))
        for guest in guests:
            assert await guest.call("f", 16) == ord("a") + 2
            guest.close()

    def in_thread() -> None:
        try:
            run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=in_thread) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


FORK: Final = """
import asyncio, os
import caesura, wasmtime
from caesura.host import starting
text = '(import "env" "memory" (memory 600)) (data (i32.const 16) "%s") (func (export "f") (result i32) '
module = bytes(wasmtime.wat2wasm("(module " + text % ("abcd" * 8_000_000) + "(i32.load8_u (i32.const 17))))"))
limits = {"env": {"memory": wasmtime.MemoryType(wasmtime.Limits(600, None))}}
async def main():
    program = await caesura.compile(module, limits, cache=False)
    loads = [asyncio.create_task(program.load()) for _ in range(4)]
    while not starting._instantiating._threads:
        await asyncio.sleep(0)
    if os.fork() == 0:
        return program
    for load in loads:
        print("parent", (await load).call_nowait("f"), flush=True)
    os.wait()
async def again(program):
    print("child", (await program.load()).call_nowait("f"), flush=True)
loop = asyncio.new_event_loop()
inherited = loop.run_until_complete(main())
if inherited is not None:
    asyncio.run(again(inherited))
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_the_thread_works_harms_neither_parent_nor_child() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=100, check=False
    )
    assert sorted(done.stdout.splitlines()) == ["child 98", *["parent 98"] * 4], done.stderr
    assert done.returncode == 0
