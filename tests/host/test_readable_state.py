"""What the host knows of a guest's state, whether its module was instrumented here, elsewhere, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

import pytest

import caesura
from caesura.abi import START_FUNCTION, STATE_PREFIX, STATE_SECTION
from caesura.host.description import Description
from caesura.snapshots.section import StateSection
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, encode_custom, write_sections
from caesura.wasm.types import F32, FUNCREF, I32
from tests.host.support import run
from tests.support.engine import assemble

# A memory and a stack pointer that are not exported, state of most kinds, and a start function that calls the host.
GUEST: Final = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "note" (func $note (param i32)))
  (memory {memory} 2)
  (table $t 2 funcref)
  (global $__stack_pointer (mut i32) (i32.const 65536))
  (global $begun (mut i32) (i32.const 0))
  (global $ratio (mut f32) (f32.const 1))
  (data $d "abc")
  (elem declare func $begin)
  (func $begin
    (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
    (call $note (global.get $begun)))
  (start $begin)
  (func (export "begun") (result i32) (global.get $begun))
  (func (export "change") (table.set $t (i32.const 1) (ref.func $begin)) (data.drop $d))
  (func (export "ask") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1))))"""

WAYS: Final = ("load", "none", "plain", "thunks", "saved", "saved thunks")


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def binary(way: str) -> bytes:
    """Return the guest as it is given to the host."""
    exports = '(export "memory")' if way in ("plain", "saved") else ""
    given = assemble(GUEST.format(memory=exports))
    if way in ("load", "none"):
        return given
    thunks = way.endswith("thunks")
    options = caesura.Options(
        imports=("env.ask",), snapshots=way.startswith("saved"), thunks=thunks, in_secondary_memory=thunks
    )
    return caesura.instrument(given, options).module


async def load(way: str, noted: list[int], **more: Any) -> caesura.Guest:
    ask = (lambda value: 2 * value) if way == "none" else answer
    if way in ("plain", "saved"):
        more["stack_space"] = (4096, 65536)
    return await caesura.load(binary(way), {"env": {"ask": ask, "note": noted.append}}, **{"cache": False, **more})


def described(guest: caesura.Guest) -> Description:
    return guest._instance.description


def state_of(guest: caesura.Guest) -> StateSection:
    state = described(guest).state()
    assert state is not None, described(guest).why_unsaved
    return state


@pytest.mark.parametrize("way", WAYS)
def test_what_the_state_is_is_known_of_every_module(way: str) -> None:
    async def main() -> None:
        noted: list[int] = []
        guest = await load(way, noted)
        assert noted == [1] and guest.call_nowait("begun") == 1
        assert await guest.call("ask", 20) == 41
        state = state_of(guest)
        assert [memory.index for memory in state.memories] == [0]
        assert [item.type for item in state.globals][:3] == [I32, I32, F32]
        # Of what others instrumented it cannot be told which globals are the guest's.
        assert len(state.globals) == {"plain": 6, "thunks": 6}.get(way, 3)
        assert [(table.index, table.type) for table in state.tables] == [(0, FUNCREF)]
        assert (state.data, state.elements, state.starts, state.unsaved) == ((0,), (), True, ())
        assert state.imports == (() if way == "none" else ("env.ask",))
        given = assemble(GUEST.format(memory='(export "memory")' if way in ("plain", "saved") else ""))
        assert state.original == hashlib.sha256(given if way != "plain" and way != "thunks" else binary(way)).digest()
        # Nobody sees any of it.
        assert sorted(guest.exports) == ["ask", "begun", "change"]
        with pytest.raises(caesura.UsageError, match="exports no function"):
            guest.call_nowait(f"{STATE_PREFIX}get:2")
        assert len(guest.memory) == 2 * 65536

    run(main())


def test_the_same_guest_is_the_same_module_each_time() -> None:
    async def main() -> None:
        first, second = [state_of(await load("load", [])) for _ in range(2)]
        assert first == second
        other = state_of(await load("thunks", []))
        assert first.instrumented != other.instrumented

    run(main())


def test_what_the_cache_keeps_knows_it() -> None:
    async def main() -> None:
        description = described(await load("load", []))
        kept = Description.from_json(description.to_json())
        assert kept.state() == description.state()
        assert kept.held_start == description.held_start == START_FUNCTION

    run(main())


def test_a_start_function_fails_as_ever() -> None:
    text = b"""(module (import "env" "note" (func $note)) (memory 1) (global (mut f64) (f64.const 1))
      (func $begin (call $note) (unreachable)) (start $begin))"""

    async def main() -> None:
        with pytest.raises(caesura.GuestTrap) as trap:
            await caesura.load(text, {"env": {"note": lambda: None}}, cache=False)
        assert trap.value.kind == "unreachable"
        with pytest.raises(ZeroDivisionError):
            await caesura.load(text, {"env": {"note": lambda: 1 // 0}}, cache=False)

    run(main())


def test_a_module_with_such_exports_of_its_own_runs_and_cannot_be_saved() -> None:
    text = b"""(module (import "env" "ask" (func $ask (param i32) (result i32))) (memory (export "memory") 1)
      (export "asyncify_state:memory:0" (memory 0))
      (func (export "f") (result i32) (call $ask (i32.const 4))))"""

    async def main() -> None:
        for ask in (answer, lambda value: 2 * value):
            guest = await caesura.load(text, {"env": {"ask": ask}}, cache=False)
            assert await guest.call("f") == 8
            assert described(guest).state() is None
            assert "asyncify_state:memory:0" in described(guest).why_unsaved

    run(main())


def test_a_module_with_as_many_tables_as_engines_take_cannot_be_saved() -> None:
    text = f"""(module (memory (export "memory") 1) {"(table 1 funcref)" * 100} (func $f (export "f"))
      (func (table.set 7 (i32.const 0) (ref.func $f))))"""

    async def main() -> None:
        guest = await caesura.load(text.encode(), {}, cache=False)
        assert described(guest).state() is None
        assert "tables" in described(guest).why_unsaved

    run(main())


def test_limits_are_the_guests_own() -> None:
    text = b"""(module (memory (export "memory") 1) (table 4 funcref) (func $f (export "f"))
      (elem $e externref (ref.null extern))
      (func (export "g") (table.set (i32.const 0) (ref.func $f)) (elem.drop $e)))"""

    async def main() -> None:
        limits: dict[str, Any] = {"memory_limit": 1 << 20, "table_limit": 8}
        guest = await caesura.load(text, {}, cache=False, **limits)
        assert described(guest).added_tables == 2
        guest.call_nowait("g")
        more = text.replace(b"(table 4 funcref)", b"(table 4 funcref) (table 1 funcref)")
        with pytest.raises(caesura.UsageError, match="more tables of its own"):
            await caesura.load(more, {}, cache=False, **limits)

    run(main())


@pytest.mark.parametrize("lie", ["memory", "type", "accessor", "probe", "start", "list", "digest"])
def test_lies_about_the_state_are_refused(lie: str) -> None:
    module = Module(binary("saved thunks"))
    section = module.custom_section(STATE_SECTION)
    assert section is not None
    payload = module.data[section.payload : section.end]
    changed = {
        "memory": (b'"page_size":65536', b'"page_size":65537'),
        "type": (b'"index":0,"type":"i32"', b'"index":0,"type":"i64"'),
        "accessor": (b'"index":1,"type":"i32"', b'"index":1,"type":"f32"'),
        "probe": (b'"data":[0]', b'"data":[1]'),
        "start": (b'"starts":true', b'"starts":null'),
        "list": (payload, payload + bytes(1000) + b"\x01"),
        "digest": (payload[33:65], bytes(32)),
    }[lie]
    assert changed[0] in payload
    edits = SectionEdits()
    edits.custom[STATE_SECTION] = payload.replace(*changed)
    forged = write_sections(module.data, module.sections, edits)

    async def main() -> None:
        imports = {"env": {"ask": answer, "note": lambda value: None}}
        if lie == "digest":
            guest = await caesura.load(forged, imports, cache=False)
            assert await guest.call("ask", 20) == 41
            assert described(guest).state() is None
            assert "changed after" in described(guest).why_unsaved
        else:
            with pytest.raises(caesura.UnsupportedModule, match=r"asyncify\.state"):
                await caesura.load(forged, imports, cache=False)

    run(main())


def test_a_section_without_what_it_tells_of_is_dropped() -> None:
    """A module that nobody instrumented has no such section, whatever it says."""
    forged = assemble("(module (memory 1))") + encode_custom(STATE_SECTION, b"\x01 nothing")

    async def main() -> None:
        guest = await caesura.load(forged, {}, cache=False)
        assert [memory.index for memory in state_of(guest).memories] == [0]
        assert START_FUNCTION not in described(guest).functions

    run(main())
