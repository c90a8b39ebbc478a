"""States that do not fit their module are refused; whatever else strangers say becomes a module that engines check."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.abi import STATE_SECTION
from caesura.errors import ModuleError, SnapshotError, UsageError
from caesura.snapshots.format import decode, encode
from caesura.snapshots.state import CHUNK, KeptState, State
from caesura.snapshots.to_wasm import to_wasm
from caesura.wasm import types as t
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from tests.support.engine import engine
from tests.support.guests import c_guest

TEXT: Final = """
(module
  (import "env" "ask" (func $ask (param i32) (result i64)))
  (memory (export "memory") 1 3)
  (table $table 2 20 funcref)
  (table $objects 2 externref)
  (global $count (mut i32) (i32.const 5))
  (global $function (mut funcref) (ref.null func))
  (data $kept "kept")
  (data $gone "gone")
  (elem (table $table) (i32.const 0) func $one)
  (func $one)
  (func (export "run") (param f64) (result i64)
    (table.set $table (i32.const 1) (ref.func $one)) (table.set $objects (i32.const 0) (ref.null extern))
    (i32.store (i32.const 8) (i32.const 5)) (data.drop $gone) (global.set $function (ref.func $one))
    (call $ask (i32.load (i32.const 8)))))
"""


@cache
def saved() -> tuple[State, bytes]:
    """Return the state of a guest that waits, and its module."""
    guest = asyncio.run(caesura.load(TEXT.encode(), external=["env.ask"]))
    guest.start("run", 1.0)
    state = guest.snapshot(embed=True).state
    assert state.embedded is not None
    return state, state.embedded


@cache
def saved_plain() -> tuple[State, bytes]:
    """Return the same of one that was instrumented beforehand, for the plain ABI."""
    options = caesura.Options(in_secondary_memory=True)
    plain = caesura.instrument(_assembled(), options).module
    guest = asyncio.run(caesura.load(plain, external=["env.ask"]))
    guest.start("run", 1.0)
    state = guest.snapshot(embed=True).state
    assert state.embedded is not None
    return state, state.embedded


@cache
def saved_in_c() -> tuple[State, bytes]:
    """Return the same of a program in C, two of whose calls wait on C stacks."""
    guest = asyncio.run(
        caesura.load(
            c_guest("host_calls", "-mexec-model=reactor", "-Wl,--export=malloc", "-Wl,--export=free"),
            external=[f"env.{name}" for name in ("wait", "fill", "note", "again")],
        )
    )
    guest.start("descend", 3, 1)
    guest.start("descend", 5, 2)
    state = guest.snapshot(embed=True).state
    assert state.embedded is not None
    return state, state.embedded


def call(**changes: Any) -> Callable[[State], State]:
    return lambda state: replace(state, calls=(replace(state.calls[0], **changes),))


def memory(**changes: Any) -> Callable[[State], State]:
    return lambda state: replace(state, memories=(replace(state.memories[0], **changes),))


def table(place: int, **changes: Any) -> Callable[[State], State]:
    def change(state: State) -> State:
        tables = list(state.tables)
        tables[place] = replace(tables[place], **changes)
        return replace(state, tables=tuple(tables))

    return change


def variable(place: int, **changes: Any) -> Callable[[State], State]:
    def change(state: State) -> State:
        variables = list(state.globals)
        variables[place] = replace(variables[place], **changes)
        return replace(state, globals=tuple(variables))

    return change


KEPT: Final = KeptState(low=0, high=8, stack=0, neighbour=0, noted=None)

LIES: Final[list[tuple[Callable[[State], State], str]]] = [
    (lambda state: replace(state, module=replace(state.module, instrumented=bytes(32))), "is of another module"),
    (lambda state: replace(state, memories=()), "other memories than the module"),
    (lambda state: replace(state, memories=state.memories * 2), "other memories than the module"),
    (lambda state: replace(state, globals=state.globals[1:]), "other globals than the module"),
    (lambda state: replace(state, tables=state.tables[:1]), "other tables than the module"),
    (memory(size=4 << 16), "needs 4 pages, and may have 3"),
    (memory(size=1 << 62), "and may have 3"),
    (memory(size=0, runs=()), "has 0 bytes"),
    (memory(size=65537), "65,537 bytes"),
    (memory(page_size=1), "in pages of 1,"),
    (memory(runs=((16, b"x"),)), "content outside of its size"),
    (memory(runs=((15, bytes([1]) * 4097),)), "content outside of its size"),
    (memory(runs=((1, b"x"), (0, b"x"))), "content outside of its size"),
    (variable(0, type=t.I64), "is of another type than that of the module, i32"),
    (variable(0, bits=1 << 32), "more bits than its type"),
    (variable(1, bits=10**6), "refers to function 1000000, of which the module makes no references"),
    (variable(1, bits=0), "refers to function 0, of which the module makes no references"),
    (table(0, elements=b"\xff" * 4), "has 1 elements, and that of the module more"),
    (table(0, elements=b"\xff" * 7), "has 1 elements, and that of the module more"),
    (table(0, elements=b"\xff" * 84), "has 21 elements, and may have 20"),
    (table(0, elements=b"\x07\0\0\x01" * 2), "refers to function 16777223"),
    (table(0, type=t.EXTERNREF), "holds something else"),
    (table(1, elements=bytes(8)), "refers to an object of the host's"),
    (lambda state: replace(state, dropped_data=(0, 7)), "has dropped data segment 0, which the module never drops"),
    (lambda state: replace(state, dropped_elements=(3,)), "has dropped element segment 3"),
    (call(export="stop"), r"call 0 of the snapshot \(stop\) is of an export that cannot be suspended"),
    (call(function="env.tell"), r"waits in env\.tell, which is no import"),
    (call(arguments=()), r"waits in env\.ask, which is no import of this module with its arguments"),
    (call(frames=b""), "has 0 bytes of frames"),
    (call(frames=bytes(1025 << 16)), "needs 1,026 pages, and may have 1,024"),
    (call(kept=KEPT), "has arguments on the C stack of call 0, which is no other"),
    (call(kept=replace(KEPT, neighbour=1)), "has arguments on the C stack of call 1, which is no other"),
    (lambda state: replace(state, stacks=replace(state.stacks, main=5)), "has no call 5"),
]


@pytest.mark.parametrize(("change", "words"), LIES, ids=[words for _, words in LIES])
def test_a_state_that_does_not_fit_is_refused(change: Callable[[State], State], words: str) -> None:
    state, module = saved()
    wasmtime.Module(engine(), to_wasm(state, module))
    with pytest.raises(SnapshotError, match=words):
        to_wasm(change(state), module)


def test_c_stacks_outside_of_all_addresses_are_refused() -> None:
    state, module = saved_in_c()
    first, second = state.calls
    for stacks, calls in (
        (state.stacks, (replace(first, stack_pointer=1 << 33), second)),
        (replace(state.stacks, home=1 << 35), state.calls),
    ):
        forged = replace(state, stacks=stacks, calls=calls)
        with pytest.raises(SnapshotError, match="no address"):
            to_wasm(forged, module)


def test_arguments_on_others_stacks_that_cannot_be_kept_apart_are_refused() -> None:
    state, module = saved_in_c()
    first, second = state.calls
    third = replace(first, kept=replace(KEPT, low=4, high=12, neighbour=1))
    for calls, words in (
        ((first, replace(second, kept=replace(KEPT, noted=bytes(8)))), "which uses their place, and only a host"),
        ((first, replace(second, kept=replace(KEPT, high=1 << 40))), r"arguments from 0 to 1099511627776, which is no"),
        ((first, replace(second, kept=replace(KEPT, low=9))), r"arguments from 9 to 8, which is no place"),
        ((first, replace(second, kept=KEPT), third), "calls 1 and 2 of the snapshot have arguments in one place"),
    ):
        with pytest.raises(SnapshotError, match=words):
            to_wasm(replace(state, calls=calls), module)


def test_many_parts_of_a_memory_are_refused() -> None:
    state, module = saved()
    runs = tuple((2 * place, b"x" * CHUNK) for place in range(8))
    assert to_wasm(replace(state, memories=(replace(state.memories[0], runs=runs),)), module)
    wide = asyncio.run(caesura.load(b'(module (memory (export "memory") 20000 20000))'))
    whole = wide.snapshot(embed=True).state
    assert whole.embedded is not None
    runs = tuple((2 * place, b"x") for place in range(100_001))
    with pytest.raises(SnapshotError, match="100,001 parts with zeros between them"):
        to_wasm(replace(whole, memories=(replace(whole.memories[0], runs=runs),)), whole.embedded)


def test_modules_that_tell_nothing_or_lie_are_refused() -> None:
    state, data = saved()
    module = Module(data)
    section = module.custom_section(STATE_SECTION)
    assert section is not None
    payload = data[section.payload : section.end]
    for told, words in (
        (None, "does not tell what its state is"),
        (b"\x09" + payload[1:], "version 9"),
        (payload[:80], "cut off"),
        (payload.replace(b'"unsaved":[]', b'"unsaved":["x"]'), "cut off|cannot be saved|not as it should"),
    ):
        edits = SectionEdits()
        edits.custom[STATE_SECTION] = told
        with pytest.raises(SnapshotError, match=words):
            to_wasm(state, write_sections(data, module.sections, edits))
    with pytest.raises(caesura.MalformedModule):
        to_wasm(state, data[:-3])
    plain = caesura.instrument(_assembled(), caesura.Options(snapshots=True)).module
    found = Module(plain).custom_section(STATE_SECTION)
    assert found is not None
    instrumented = replace(state.module, instrumented=plain[found.payload + 33 : found.payload + 65])
    with pytest.raises(SnapshotError, match="does not say where the asyncify stack lies"):
        to_wasm(replace(state, module=instrumented), plain)


def _assembled() -> bytes:
    return bytes(wasmtime.wat2wasm(TEXT))


NUMBERS: Final = (
    0,
    1,
    2,
    7,
    15,
    16,
    4096,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63,
    2**64 - 1,
    2**128 - 1,
)


def changed(value: Any, source: random.Random) -> Any:
    """Return a part of a state with one number or text in it changed."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return source.choice(NUMBERS)
    if isinstance(value, bytes):
        place = source.randrange(len(value) + 1)
        return value[:place] + source.randbytes(source.randrange(5)) + value[place + source.randrange(5) :]
    if isinstance(value, str):
        return source.choice(["", "run", "ask", "env.ask", value + "x"])
    if isinstance(value, tuple) and value:
        place = source.randrange(len(value))
        choice = source.randrange(6) if is_dataclass(value[0]) or isinstance(value[0], tuple) else 2
        if choice == 0:
            return value[:place] + value[place + 1 :]
        if choice == 1:
            return value + value[place : place + 1]
        return value[:place] + (changed(value[place], source),) + value[place + 1 :]
    if is_dataclass(value) and not isinstance(value, type):
        name = source.choice([field.name for field in fields(value)])
        return replace(value, **{name: changed(getattr(value, name), source)})
    return value


def test_changed_states_are_refused_or_become_modules() -> None:
    """No other error, and no module that an engine refuses: a forged state is a guest, and no more."""
    source = random.Random(14)
    tried = refused = 0
    for number in range(1500):
        state, module = (saved, saved_in_c, saved_plain)[number % 3]()
        parts = ("memories", "globals", "tables", "dropped_data", "dropped_elements", "calls", "area", "stacks")
        for _ in range(source.randrange(1, 4)):
            name = source.choice(parts)
            state = replace(state, **{name: changed(getattr(state, name), source)})
        try:
            read = decode(encode(replace(state, embedded=None)))
        except (SnapshotError, UsageError):
            continue  # there are no bytes that say this
        tried += 1
        try:
            made = to_wasm(read, module)
        except SnapshotError:
            refused += 1
            continue
        wasmtime.Module.validate(engine(), made)
    assert tried > 500
    assert tried // 4 < refused < tried


def test_changed_modules_are_refused_or_become_something() -> None:
    """What a state brings along is a stranger's, too: whatever is in it, the only errors are ours."""
    source = random.Random(15)
    for number in range(1500):
        state, data = (saved, saved_plain)[number % 2]()
        module = bytearray(data)
        for _ in range(source.randrange(1, 3)):
            module[source.randrange(len(module))] = source.choice((0, 1, 2, 0x7F, 0x80, 0xFF, source.randrange(256)))
        try:
            to_wasm(state, bytes(module))
        except (SnapshotError, ModuleError):
            continue
