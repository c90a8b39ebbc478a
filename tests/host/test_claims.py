"""Modules that say that they are instrumented: what they claim is checked, and so is every number that they give."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from typing import Final

import pytest

import caesura
from caesura.abi import Status
from tests.host.support import WAITER, instrumented, run
from tests.support.guests import CONTRACT

ASK: Final = '(import "env" "ask" (func $ask (param i32) (result i32)))'
F: Final = '(func (export "f") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))'
MEMORY: Final = '(memory (export "memory") 10)'
OWN_MEMORY: Final = '(memory (export "memory") 1) (memory (export "asyncify_memory") 1 10)'
SET_POINTER: Final = f'(func (export "asyncify_set_data_pointer") (param i32)) {CONTRACT}'
MALLOC: Final = '(func (export "malloc") (param i32) (result i32) (i32.const 1024))'


def claims(start_unwind: str = "", stop_unwind: str = "", start_rewind: str = "", stop_rewind: str = "") -> str:
    """Return the functions of the ABI, with something that they do."""
    return f"""(func (export "asyncify_start_unwind") (param i32) {start_unwind})
        (func (export "asyncify_stop_unwind") {stop_unwind})
        (func (export "asyncify_start_rewind") (param i32) {start_rewind})
        (func (export "asyncify_stop_rewind") {stop_rewind})"""


async def ask(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def load(*parts: str, **more: object) -> caesura.Guest:
    text = f"(module {ASK} {' '.join(parts)})".encode()
    return await caesura.load(text, {"env": {"ask": ask}}, cache=False, **more)  # type: ignore[arg-type]


def refused(error: type[Exception], match: str, *parts: str) -> None:
    """Load a module and call its `f`; one of the two raises the error."""

    async def main() -> None:
        guest = await load(*parts)
        await guest.call("f", 1)

    with pytest.raises(error, match=match):
        run(main())


def test_malloc_that_points_outside() -> None:
    malloc = '(func (export "malloc") (param i32) (result i32) (i32.const 0x7fff0000))'
    refused(caesura.GuestTrap, "malloc returned .* outside of the memory", MEMORY, claims(), F, malloc)


def test_malloc_whose_end_points_outside() -> None:
    malloc = '(func (export "malloc") (param i32) (result i32) (i32.const 655000))'
    refused(caesura.GuestTrap, "malloc returned .* outside of the memory", MEMORY, claims(), F, malloc)


def test_malloc_that_traps() -> None:
    malloc = '(func (export "malloc") (param i32) (result i32) unreachable)'
    refused(caesura.GuestTrap, "unreachable", MEMORY, claims(), F, malloc)


@pytest.mark.parametrize("current", ["0x40000000", "0xffffffff", "0", "0x9fff0"])
@pytest.mark.parametrize("where", ["start_unwind", "stop_unwind"])
def test_current_that_points_outside(current: str, where: str) -> None:
    # The block of the area from malloc lies at 1024.
    lie = claims(**{where: f"(i32.store (i32.const 1024) (i32.const {current}))"})
    refused(caesura.GuestTrap, "asyncify stack corrupted", MEMORY, lie, F, MALLOC)


def test_current_that_changes_while_the_call_is_suspended() -> None:
    async def main() -> None:
        # `g`, which does not suspend, changes `current` between a suspension and the next, which copies the frames out.
        honest = "(i32.store (i32.const 1024) (i32.add (i32.const 4) (i32.load (i32.const 1024))))"
        change = '(func (export "g") (i32.store (i32.const 1024) (i32.const 0x7fffffff)))'
        guest = await load(MEMORY, claims(honest), F, MALLOC, change)
        first = asyncio.create_task(guest.call("f", 1))
        await asyncio.sleep(0)
        guest.call_nowait("g")
        second = asyncio.create_task(guest.call("f", 2))
        await asyncio.gather(first, second, return_exceptions=True)

    run(main())


def test_an_entry_thunk_of_another_type() -> None:
    thunk = """(type $t (func)) (elem declare func $h) (func $h)
        (func (export "asyncify_entry:f") (param i32) (result (ref $t)) (ref.func $h))"""
    refused(caesura.UnsupportedModule, "asyncify_entry:f has another type", OWN_MEMORY, claims(), SET_POINTER, F, thunk)


@pytest.mark.parametrize("pages", [0, 1])
def test_an_asyncify_memory_without_room(pages: int) -> None:
    memory = f'(memory (export "memory") 1) (memory (export "asyncify_memory") {pages})'
    entry = F.replace('"f"', '"asyncify_entry:f"')
    if pages:
        refused(caesura.UsageError, "not all functions", memory, claims(), SET_POINTER, F, entry)
    else:
        refused(caesura.UnsupportedModule, "control block", memory, claims(), SET_POINTER, F, entry)


def test_addresses_of_another_width() -> None:
    wide = claims().replace("(param i32)", "(param i64)")
    refused(caesura.UnsupportedModule, "does not take an i32", MEMORY, wide, F, MALLOC)
    setter = SET_POINTER.replace("i32", "i64")
    refused(caesura.UnsupportedModule, "does not take an i32", OWN_MEMORY, claims(), setter, F)
    refused(caesura.UnsupportedModule, "does not take an i64", '(memory (export "memory") i64 10)', claims(), F, MALLOC)


@pytest.mark.parametrize("kind", ["i32", "(mut i64)", "(mut f32)", "(mut externref)"])
def test_a_stack_pointer_that_is_none(kind: str) -> None:
    value = "ref.null extern" if "ref" in kind else f"{kind.strip('()').split()[-1]}.const 0"
    pointer = f'(global (export "asyncify_stack_pointer") {kind} ({value}))'
    refused(caesura.UnsupportedModule, "no mutable integer", OWN_MEMORY, claims(), SET_POINTER, F, pointer)


@pytest.mark.parametrize("where", ["start_unwind", "stop_unwind", "start_rewind", "stop_rewind"])
@pytest.mark.parametrize("lie", ["unreachable", "(drop (call $ask (i32.const 1)))"])
def test_a_state_change_that_fails(where: str, lie: str) -> None:
    write = "(i32.store (i32.const 1024) (i32.add (i32.const 4) (i32.load (i32.const 1024))))"
    parts = {"start_unwind": write} | {where: lie}
    refused(caesura.GuestTrap, f"asyncify_{where} failed|stack overflow", MEMORY, claims(**parts), F, MALLOC)


def test_a_data_pointer_that_cannot_be_set() -> None:
    setter = SET_POINTER.replace("(param i32)", "(param i32) unreachable")
    refused(caesura.GuestTrap, "asyncify_set_data_pointer failed", OWN_MEMORY, claims(), setter, F)


@pytest.mark.parametrize("status", range(max(Status) + 2))  # and one that has no meaning
@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_status_that_the_guest_writes(status: int, where: str) -> None:
    """Whatever it writes, before or behind the import's call: an error, or the result of a call that ended."""
    write = f"(i32.store (i32.const 1040) (i32.const {status}))"
    call = "(local.set 0 (call $ask (local.get 0)))"
    body = f"{write} {call}" if where == "before" else f"{call} {write}"
    parts = [
        f'(func (export "{name}f") (param i32) (result i32) {body} (local.get 0))' for name in ("", "asyncify_entry:")
    ]

    async def main() -> None:
        guest = await load(MEMORY, claims(), SET_POINTER, MALLOC, *parts)
        for argument in (1, 2):
            with pytest.raises(caesura.UsageError, match="not all functions on its stack"):
                await guest.call("f", argument)
            assert guest.suspended == 0

    run(main())


def test_a_failed_resumption_is_not_lost() -> None:
    """A guest that is told to call the import again, to have an exception raised there, and does not."""
    # `current` moves, the status is left as the host wrote it; in a rewind (2, 3) it is cleared, and nothing called.
    body = """(if (i32.ge_u (i32.load (i32.const 1040)) (i32.const 2))
          (then (i32.store (i32.const 1040) (i32.const 0)) (return (i32.const 5))))
        (local.set 0 (call $ask (local.get 0)))
        (i32.store (i32.const 1024) (i32.add (i32.const 4) (i32.load (i32.const 1024)))) (local.get 0)"""
    parts = [f'(func (export "{name}f") (param i32) (result i32) {body})' for name in ("", "asyncify_entry:")]

    async def fail(value: int) -> int:
        await asyncio.sleep(0)
        raise KeyError(value)

    async def main() -> None:
        text = f"(module {ASK} {MEMORY} {claims()} {SET_POINTER} {MALLOC} {' '.join(parts)})".encode()
        guest = await caesura.load(text, {"env": {"ask": fail}}, cache=False)
        with pytest.raises(caesura.UsageError, match="not all functions on its stack"):
            await guest.call("f", 1)

    run(main())


def test_modules_that_are_instrumented_can_be_refused() -> None:
    async def main() -> None:
        for abi in ("thunks", "plain", "plain in its own memory"):
            with pytest.raises(caesura.UnsupportedModule, match="accept_instrumented=False"):
                await caesura.load(
                    instrumented(WAITER, abi), {"env": {"wait": ask}}, cache=False, accept_instrumented=False
                )
        guest = await caesura.load(WAITER, {"env": {"wait": ask}}, cache=False, accept_instrumented=False)
        assert await guest.call("outer", 1) == 101

    run(main())


def test_a_guest_may_use_the_names_itself() -> None:
    """Exports of a module that is not instrumented are its own, whatever they are called."""

    async def main() -> None:
        text = b"""(module (memory (export "asyncify_memory") 1) (data (i32.const 8) "own")
            (global $__stack_pointer (mut i32) (i32.const 1024))
            (global (export "asyncify_stack_pointer") i32 (i32.const 3))
            (func (export "asyncify_guest_memory") (result i32) (i32.const 4)))"""
        guest = await caesura.load(text, {}, cache=False)
        assert guest.memory.read(8, 3) == b"own"

    run(main())


def test_a_signal_while_the_guest_computes() -> None:
    """Ctrl-C is handled when the guest calls the host next, and raised there: nothing is lost, nothing crashes."""
    script = """if True:
        import asyncio, os, signal, threading
        import caesura

        computes = threading.Event()

        def kill():
            computes.wait()
            os.kill(os.getpid(), signal.SIGINT)

        def get(value):
            computes.set()
            return value

        # It computes and calls until what it is given is not 0.
        guest = asyncio.run(caesura.load(b'''(module (import "env" "get" (func $get (param i32) (result i32)))
            (func (export "f") (param i32) (result i32)
                (local $count i32)
                (loop $again
                    (local.set $count (i32.const 100_000_000))
                    (loop
                        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                        (br_if 0 (local.get $count)))
                    (br_if $again (i32.eqz (call $get (local.get 0)))))
                (local.get 0)))''', {"env": {"get": get}}, cache=False))
        threading.Thread(target=kill).start()
        try:
            guest.call_nowait("f", 0)
        except KeyboardInterrupt as error:
            print("interrupted", guest.call_nowait("f", 7))
    """
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 7\n", "")


# A table with the function that is to be called, and a call of whatever the table has.
CALLING: Final = """(type $t (func (result i32))) (table $t 1 funcref)
    (func $run (param funcref) (result i32)
        (table.set $t (i32.const 0) (local.get 0)) (call_indirect $t (type $t) (i32.const 0)))"""


# What a forged reference would point to: with any other address, Wasmtime finds out when it fails to read there.
FORGED: Final = ctypes.create_string_buffer(256)


def test_a_number_is_no_reference() -> None:
    """What an import returns when it suspends is where its arguments were, and a guest may look at it."""

    async def main() -> None:
        text = f"""(module (import "env" "choose" (func $choose (param i64) (result funcref))) {CALLING} {MEMORY}
            {claims()} {MALLOC}
            (func (export "f") (result i32) (call $run (call $choose (i64.const {ctypes.addressof(FORGED)})))))"""
        guest = await caesura.load(text.encode(), {"env": {"choose": ask}}, cache=False)
        with pytest.raises(caesura.GuestTrap, match="indirect call to null"):
            await guest.call("f")

    run(main())


def test_a_result_is_no_argument() -> None:
    """A call that is resumed gets its arguments where its results were."""

    async def main() -> None:
        advance = "(i32.store (i32.const 1024) (i32.add (i32.const 4) (i32.load (i32.const 1024))))"
        text = f"""(module {ASK} {CALLING} {MEMORY} {claims(advance)} {MALLOC} (global $times (mut i32) (i32.const 0))
            (func (export "f") (param funcref) (result i64)
                (global.set $times (i32.add (global.get $times) (i32.const 1)))
                (drop (call $ask (i32.const 1)))
                (if (i32.eq (global.get $times) (i32.const 2)) (then (drop (call $run (local.get 0)))))
                (i64.const {ctypes.addressof(FORGED)})))"""
        guest = await caesura.load(text.encode(), {"env": {"ask": ask}}, cache=False)
        with pytest.raises(caesura.GuestTrap, match="indirect call to null"):
            await guest.call("f", None)

    run(main())


def test_an_object_outlives_the_time_until_a_generator_begins() -> None:
    """A reference is made again when the call begins: the guest may have thrown the first away."""

    async def main() -> None:
        text = b"""(module (import "env" "next" (func $next)) (import "env" "see" (func $see (param externref)))
            (table $t 1 externref)
            (func (export "keep") (param externref) (table.set $t (i32.const 0) (local.get 0)))
            (func (export "f") (param externref) (call $see (local.get 0)) (call $next)))"""
        seen: list[object] = []
        functions = {"next": caesura.yielding(lambda: None), "see": seen.append}
        guest = await caesura.load(text, {"env": functions}, cache=False)
        generators = [guest.generate("f", [place]) for place in range(5)]
        for place in range(20_000):
            guest.call_nowait("keep", (place,))
        for generator in generators:
            next(generator)
        assert seen == [[place] for place in range(5)]

    run(main())


def test_a_narrow_stack_pointer_in_a_wide_memory() -> None:
    """A memory with 64-bit addresses moves when it grows, whatever the stack pointer is like."""

    async def main() -> None:
        text = f"""(module {ASK} (memory (export "memory") i64 2)
            (global (export "__stack_pointer") (mut i32) (i32.const 4096))
            {F}
            (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
            (func (export "malloc") (param i32) (result i32) (i32.const 65536))
            (func (export "free") (param i32)))"""
        guest = await caesura.load(text.encode(), {"env": {"ask": ask}}, cache=False, shadow_stack_size=4096)
        calls = [asyncio.create_task(guest.call("f", value)) for value in range(3)]
        await asyncio.sleep(0)
        assert guest.call_nowait("grow", 65536) == 2  # beyond the address space that is reserved
        assert await asyncio.gather(*calls) == [1, 2, 3]
        assert await asyncio.gather(*[guest.call("f", value) for value in range(3)]) == [1, 2, 3]

    run(main())
