"""Snapshots that somebody made up: what contradicts the module or itself is refused, by name, before anything runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.abi import STATE_LIST_FUNCTIONS, STATE_SECTION
from caesura.instrument.state_exports.section import digest_without_custom
from caesura.snapshots.format import encode
from caesura.snapshots.state import KeptState, StacksState, State
from caesura.wasm.module import Module
from tests.fuzz.savable_guests import KINDS
from tests.host.support import instrumented, run
from tests.support.engine import assemble

STACKS, TABLES, AREA = "stacks load", "tables load", "stacks plain"


def with_call(**changes: Any) -> Callable[[State], State]:
    """Return what changes something of the second call, which has a stack of its own."""
    return lambda state: replace(state, calls=(state.calls[0], replace(state.calls[1], **changes), *state.calls[2:]))


def with_stacks(**changes: Callable[[StacksState], Any]) -> Callable[[State], State]:
    """Return what changes something of the stacks."""
    return lambda state: replace(
        state, stacks=replace(state.stacks, **{name: change(state.stacks) for name, change in changes.items()})
    )


def with_kept(**changes: Any) -> Callable[[State], State]:
    """Return what gives the second call arguments on the first one's stack."""
    kept = {"low": 4096, "high": 4104, "stack": 0, "neighbour": 0, "noted": None} | changes
    return with_call(kept=KeptState(**kept))


def on_first_stack(state: State) -> State:
    """Put the third call on the stack of the second."""
    first, second, third, *rest = state.calls
    return replace(state, calls=(first, second, replace(third, stack=second.stack), *rest))


FORGED: dict[str, tuple[str, Callable[[State], State], str]] = {
    "area outside": (AREA, lambda state: replace(state, area=(1024, 1 << 40)), "asyncify stack .* no place"),
    "area for frames outside": (
        AREA,
        lambda state: replace(
            state,
            area=(state.memories[0].size - 4096, 1 << 40),
            calls=(replace(state.calls[0], frames=bytes(16 << 20)), *state.calls[1:]),
        ),
        "asyncify stack .* no place",
    ),
    "area behind": (AREA, lambda state: replace(state, area=(1 << 40, 1 << 41)), "asyncify stack .* no place"),
    "area that is no multiple": (AREA, lambda state: replace(state, area=(1025, 65536)), "asyncify stack .* no place"),
    "area without room": (AREA, lambda state: replace(state, area=(1024, 1025)), "asyncify stack .* no place"),
    "no area": (AREA, lambda state: replace(state, area=None), "does not say where the asyncify stack"),
    "frames without room": (AREA, with_call(frames=bytes(1 << 20)), "no room for"),
    "no frames": (STACKS, with_call(frames=b""), "0 bytes of frames"),
    "one stack for two": (STACKS, on_first_stack, "two calls on one stack"),
    "a used stack is spare": (STACKS, with_stacks(spare=lambda stacks: stacks.stacks[:1]), "two calls on one stack"),
    "a used stack is held": (STACKS, with_stacks(held=lambda stacks: stacks.stacks[:1]), "two calls on one stack"),
    "a stack is spare twice": (
        STACKS,
        with_stacks(stacks=lambda stacks: (*stacks.stacks, 4096), spare=lambda stacks: (4096, 4096)),
        "two calls on one stack",
    ),
    "a stack is there twice": (STACKS, with_stacks(stacks=lambda stacks: stacks.stacks * 2), "there twice"),
    "an unknown stack is spare": (STACKS, with_stacks(spare=lambda stacks: (8192,)), "or one on none"),
    "a stack outside": (STACKS, with_stacks(stacks=lambda stacks: (*stacks.stacks, 1 << 31)), "it has .* bytes"),
    "stacks outside": (STACKS, with_stacks(size=lambda stacks: 1 << 31), "it has .* bytes"),
    "a size that is no address": (STACKS, with_stacks(size=lambda stacks: 1 << 63), "more than 32 bits"),
    "surplus that is no address": (STACKS, with_stacks(surplus=lambda stacks: (1 << 63,)), "more than 32 bits"),
    "a home that is no address": (STACKS, with_stacks(home=lambda stacks: 1 << 40), "more than 32 bits"),
    "a pointer that is no address": (STACKS, with_call(stack_pointer=1 << 40), "more than 32 bits"),
    "main on a stack": (STACKS, with_stacks(main=lambda stacks: 1), "has another"),
    "a call on no stack": (STACKS, with_stacks(main=lambda stacks: None), "a call on no stack"),
    "arguments outside": (STACKS, with_kept(high=1 << 40), "it has .* bytes"),
    "arguments on no stack": (STACKS, with_kept(stack=12345), "on a stack that is none"),
    "arguments of another size": (STACKS, with_kept(noted=bytes(100_000)), "not as many"),
    "stacks that nobody has": (
        TABLES,
        with_stacks(stacks=lambda stacks: (4096,), size=lambda stacks: 1024),
        "has none",
    ),
    "a call on a stack that nobody has": (TABLES, with_call(stack=4096), "has none"),
    "arguments that nobody has": (TABLES, with_kept(), "has none"),
    "another export": (STACKS, with_call(export="none"), "an export that the module does not have"),
    "an export that does not suspend": (STACKS, with_call(export="add"), "cannot be suspended"),
    "another host function": (STACKS, with_call(function="env.none"), "is no host function here"),
    "other arguments": (STACKS, with_call(arguments=()), "with other arguments"),
    "a table that has shrunk": (
        TABLES,
        lambda state: replace(state, tables=(replace(state.tables[0], elements=b""), *state.tables[1:])),
        "has 0 elements",
    ),
    "a function of which there are no references": (
        TABLES,
        lambda state: replace(state, tables=(replace(state.tables[0], elements=b"\0\0\0\0" * 9), *state.tables[1:])),
        "refers to function 0",
    ),
    "a global less": (TABLES, lambda state: replace(state, globals=state.globals[1:]), "other globals"),
    "a memory of another size": (
        TABLES,
        lambda state: replace(state, memories=(replace(state.memories[0], size=0, runs=(), initial=()),)),
        "begins with 131,072",
    ),
    "a memory too large": (
        TABLES,
        lambda state: replace(state, memories=(replace(state.memories[0], size=201 << 16),)),
        "may not have as many",
    ),
    "a segment that is not dropped": (TABLES, lambda state: replace(state, dropped_data=(77,)), "never drops"),
    "options that there are not": (
        TABLES,
        lambda state: replace(state, module=replace(state.module, options={"none": 1})),
        "options that there are not",
    ),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("how", ["restore", "fork"])
def test_what_contradicts_the_module_is_refused(name: str, how: str) -> None:
    kind, forge, words = FORGED[name]

    async def main() -> None:
        savable = KINDS[kind]
        snapshot = await savable.saved()
        forged = caesura.Snapshot.load(encode(forge(snapshot.state)))
        given: Any = {"module": savable.module, "load_object": bytes}
        if how == "restore":
            made: Any = caesura.restore(forged, savable.imports, **given)
        else:
            made = forged.fork(2, savable.imports, **given)
        with pytest.raises(caesura.SnapshotError, match=words):
            await made
        restored = await caesura.restore(snapshot, savable.imports, **given)
        for call in restored.pending:
            await call

    run(main())


def test_a_device_is_no_module(tmp_path: Path) -> None:
    async def main() -> None:
        savable = KINDS[TABLES]
        state = (await savable.saved()).state
        os.mkfifo(tmp_path / "pipe")
        for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path), "\0", "nowhere"):
            forged = encode(replace(state, module=replace(state.module, path=path)))
            with pytest.raises(caesura.UsageError, match=r"give it .module="):
                await caesura.restore(forged, savable.imports, load_object=bytes)

    run(main())


LISTING = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (table (export "t") 2 funcref)
  (elem (i32.const 0) $nothing)
  (func $nothing (export "nothing"))
  (func (export "go") (param i32) (result i32) (call $ask (local.get 0))))"""


def unlisting(module: bytes) -> bytes:
    """Return a module whose function that lists all functions does nothing, and that says nothing of that."""
    name = STATE_LIST_FUNCTIONS.encode()
    changed = bytearray(module)
    place = changed.index(name) + len(name) + 1  # behind the kind
    changed[place] = next(item.index for item in Module(module).exports if item.name == "nothing")
    section = Module(bytes(changed)).custom_section(STATE_SECTION)
    assert section is not None
    start = section.payload + 1 + 32  # behind the version and the original's digest
    changed[start : start + 32] = digest_without_custom(bytes(changed))
    return bytes(changed)


def test_a_module_that_does_not_list_its_functions() -> None:
    async def main() -> None:
        async def ask(value: int) -> int:
            await asyncio.sleep(0)
            return value

        options = caesura.Options(imports=("env.ask",), thunks=True, in_secondary_memory=True, snapshots=True)
        module = unlisting(caesura.instrument(assemble(LISTING), options).module)
        guest = await caesura.load(module, {"env": {"ask": ask}}, cache=False)
        task = asyncio.create_task(guest.call("go", 5))
        await asyncio.sleep(0)
        with pytest.raises(caesura.GuestTrap, match="did not list function"):
            guest.snapshot()
        assert await task == 5

    run(main())


def test_a_codec_that_closes_the_guest() -> None:
    async def main() -> None:
        savable = KINDS[TABLES]
        guest = await caesura.load(savable.module, savable.imports)
        guest.call_nowait("prepare", b"object")

        def save(value: Any) -> bytes:
            guest.close()
            return b""

        with pytest.raises(caesura.UsageError, match="closed"):
            guest.snapshot(save_object=save)

    run(main())


EXPORTED_IMPORT = b"""(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (export "ask" (func $ask)) (memory (export "memory") 1))"""


@pytest.mark.parametrize("abi", ["load", "plain in its own memory"])
def test_an_import_that_is_an_export_has_no_frames(abi: str) -> None:
    async def main() -> None:
        async def ask(value: int) -> int:
            await asyncio.sleep(0)
            return value + 1

        guest = await caesura.load(instrumented(EXPORTED_IMPORT, abi), {"env": {"ask": ask}})
        task = asyncio.create_task(guest.call("ask", 5))
        await asyncio.sleep(0)
        snapshot = guest.snapshot()
        assert await task == 6
        [call] = (await caesura.restore(snapshot, {"env": {"ask": ask}})).pending
        assert call.arguments == (5,)
        assert await call == 6

    run(main())


def test_frames_that_say_anything_reach_the_guest_only() -> None:
    """Whatever the words of frames are, places of references among them, a call ends, or is stopped."""

    async def main() -> None:
        savable = KINDS[TABLES]
        state = (await savable.saved()).state
        frames = state.calls[0].frames
        ends: set[str] = set()
        for place in range(0, len(frames), 4):
            for word in (0, 1, 2, 77, 0x7FFF_FFFF, 0xFFFF_FFFF):
                content = frames[:place] + word.to_bytes(4, "little") + frames[place + 4 :]
                forged = replace(state, calls=(replace(state.calls[0], frames=content), *state.calls[1:]))
                guest = await caesura.restore(
                    encode(forged), savable.imports, module=savable.module, load_object=bytes, interruptible=True
                )
                timer = threading.Timer(1, guest.interrupt)
                timer.start()
                try:
                    await guest.pending[0].resume(1)
                    ends.add("returned")
                except (caesura.GuestTrap, caesura.UsageError) as error:
                    ends.add(type(error).__name__)
                finally:
                    timer.cancel()
                assert guest.call_nowait("count") == 7
                assert await guest.pending[0].resume(1) == 8
        assert ends >= {"returned", "GuestTrap"}

    run(main())


RUNNING = b"""(module
  (import "env" "ask" (func $ask (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 2 funcref)
  (global $go (mut i32) (i32.const 0))
  (func (export "run") (result i32)
    (drop (call $ask))
    (loop $again (br_if $again (global.get $go)))
    (i32.const 5)))"""


def test_limits_are_for_restored_guests_too() -> None:
    async def main() -> None:
        imports = {"env": {"ask": caesura.EXTERNAL}}
        guest = await caesura.load(RUNNING, imports)
        guest.start("run")
        state = guest.snapshot().state
        [memory], [table] = state.memories, state.tables
        larger = replace(state, memories=(replace(memory, size=1 << 30),))
        with pytest.raises(caesura.SnapshotError, match="memory_limit"):
            await caesura.restore(encode(larger), imports, module=RUNNING, memory_limit=1 << 20)
        longer = replace(state, tables=(replace(table, elements=b"\xff\xff\xff\xff" * 1000),))
        with pytest.raises(caesura.SnapshotError, match="1000 elements"):
            await caesura.restore(encode(longer), imports, module=RUNNING, table_limit=100)
        for_ever = replace(state, globals=tuple(replace(item, bits=1) for item in state.globals))
        guest = await caesura.restore(encode(for_ever), imports, module=RUNNING, interruptible=True)
        timer = threading.Timer(0.1, guest.interrupt)
        timer.start()
        with pytest.raises(caesura.GuestTrap, match="interrupted"):
            guest.pending[0].resume(0)

    run(main())


def test_a_module_that_comes_along_is_refused_where_instrumented_ones_are() -> None:
    async def main() -> None:
        imports = {"env": {"ask": caesura.EXTERNAL}}
        guest = await caesura.load(RUNNING, imports)
        guest.start("run")
        saved = bytes(guest.snapshot(embed=True))
        with pytest.raises(caesura.CaesuraError, match="instrumented"):
            await caesura.restore(saved, imports, accept_instrumented=False)
        restored = await caesura.restore(saved, imports, accept_instrumented=False, module=RUNNING)
        assert restored.pending[0].resume(0) == 5

    run(main())


def test_what_load_object_gets_is_the_states() -> None:
    async def main() -> None:
        savable = KINDS[TABLES]
        state = (await savable.saved()).state
        forged = replace(state, objects=(b"anything",))
        guest = await caesura.restore(
            encode(forged), savable.imports, module=savable.module, load_object=lambda content: [content]
        )
        assert guest.call_nowait("object") == [b"anything"]

    run(main())
