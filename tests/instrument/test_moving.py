"""However frames are moved, they look the same on the asyncify stack, and overflow and growth are as the ABI says.

Small modules are written here as large ones are too (chunks), and with all frames moved inline; for size, where helpers
share functions that make room, and for balance, where they may.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import INLINE, PIECES, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import LARGE_FUNCTIONS
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from tests.support.engine import assemble, engine
from tests.support.plain_abi import LATER, HostFunction, PlainGuest, always

# How frames are moved, whether without results of several values, and what is optimized for.
Form = tuple[int, bool, str]
FORMS: Final[list[Form]] = [
    (moves, plain, optimize)
    for moves in (SHARED, PIECES, INLINE)
    for plain in (False, True)
    for optimize in ("size", "balanced")
]
IDS: Final = [
    f"{name}{plain} {optimize}"
    for name in ("chunks", "pieces", "inline")
    for plain in ("", " without results of several values")
    for optimize in ("size", "balanced")
]

# How many values of each type are live across the call in each function: i32, i64, f32, f64, v128.
SAVED: Final = (
    (0, 0, 0, 0, 0),
    (1, 0, 0, 0, 0),
    (2, 1, 0, 0, 0),
    (3, 0, 0, 1, 0),
    (5, 0, 1, 0, 0),
    (6, 0, 0, 0, 0),
    (7, 2, 3, 0, 1),
    (12, 1, 7, 8, 2),
    (0, 0, 0, 0, 1),
    (4, 7, 0, 0, 0),
    (34, 0, 0, 0, 0),
)
MAKE: Final = {
    "i32": "(i32.mul (local.get $n) (i32.const {k}))",
    "i64": "(i64.mul (i64.extend_i32_s (local.get $n)) (i64.const {k}))",
    "f32": "(f32.mul (f32.convert_i32_s (local.get $n)) (f32.const {k}))",
    "f64": "(f64.mul (f64.convert_i32_s (local.get $n)) (f64.const {k}))",
    "v128": "(i32x4.splat (i32.mul (local.get $n) (i32.const {k})))",
}
USE: Final = {
    "i32": "(f64.convert_i32_s {local})",
    "i64": "(f64.convert_i64_s {local})",
    "f32": "(f64.promote_f32 {local})",
    "f64": "{local}",
    "v128": "(f64.convert_i32_s (i32x4.extract_lane 3 {local}))",
}
RECURSION: Final = """
  (func $down (param $n i32) (param $depth i32) (result f64) (local $wide i64) (local $real f64)
    (if (i32.eqz (local.get $depth)) (then (return (call $f0 (local.get $n)))))
    (local.set $wide (i64.extend_i32_s (i32.mul (local.get $n) (local.get $depth))))
    (local.set $real (f64.mul (f64.convert_i32_s (local.get $n)) (f64.const 0.5)))
    (f64.add
      (f64.mul (call $down (local.get $n) (i32.sub (local.get $depth) (i32.const 1))) (f64.const 0.75))
      (f64.add
        (f64.add (local.get $real) (f64.convert_i32_s (local.get $depth)))
        (f64.convert_i64_s (local.get $wide)))))
  (func (export "run") (param $n i32) (result f64)
    (f64.add (call $down (local.get $n) (i32.const 3)) (f64.convert_i32_s (call $ask (local.get $n)))))
"""
ASK: Final[dict[tuple[str, str], HostFunction]] = {("env", "ask"): lambda value: value + 5}


def keeper(number: int, callee: str) -> str:
    """Return a function that keeps values of all types across a call."""
    declarations, before, after = "", "", ""
    for count, kind in zip(SAVED[number], MAKE, strict=True):
        for place in range(count):
            local = f"${kind}_{place}"
            declarations += f"(local {local} {kind}) "
            before += f"(local.set {local} {MAKE[kind].format(k=3 * place + number + 2)})\n"
            after += f"{USE[kind].format(local=f'(local.get {local})')} f64.add\n"
    return f"(func $f{number} (param $n i32) (result f64) {declarations}\n{before}{callee}\n{after})\n"


@functools.cache
def guest(memory: str) -> bytes:
    """Return the guest, with this memory."""
    functions = ""
    for number in range(len(SAVED)):
        last = number + 1 == len(SAVED)
        callee = "(f64.convert_i32_s (call $ask (local.get $n)))" if last else f"(call $f{number + 1} (local.get $n))"
        functions += keeper(number, callee)
    imports = '(import "env" "ask" (func $ask (param i32) (result i32)))'
    return assemble(f'(module {imports} (memory (export "memory") {memory}) {functions} {RECURSION})')


def in_form(module: bytes, form: Form, **options: Any) -> bytes:
    """Return a module instrumented in one form."""
    moves, plain, optimize = form
    given = caesura.Options(no_multivalue=plain, optimize=optimize, **options)
    return instrument_as(module, given, None, moves, LARGE_FUNCTIONS).module


def instrumented(memory: str, form: Form) -> bytes:
    """Return the instrumented guest in one form."""
    return in_form(guest(memory), form)


def start_unwinding(host: PlainGuest, structure: int) -> None:
    """Let the import suspend the next call."""

    def start(value: int) -> int:
        host.function("asyncify_start_unwind")(host.store, structure)
        return 0

    host.replace(("env", "ask"), start)


def stacks(wide: bool) -> tuple[int, int, int, str]:
    """Return the addresses of data structure and stack and the stack's end, and the structure's layout."""
    return 1024, 4096, 8192, "<QQ" if wide else "<II"


@pytest.mark.parametrize("memory", ["2", "i64 2"])
def test_all_forms_write_the_same_stack(memory: str) -> None:
    """Each form resumes what any other has written."""
    structure, begin, end, _ = stacks(memory != "2")
    wanted = PlainGuest(guest(memory), ASK).call("run", 7)
    images = []
    for form in FORMS:
        host = PlainGuest(instrumented(memory, form), ASK, stacks=LATER)
        host.set_stack_pointers(structure, begin, end)
        start_unwinding(host, structure)
        host.function("run")(host.store, 7)
        host.function("asyncify_stop_unwind")(host.store)
        images.append(host.read(0, 131072))
    assert images.count(images[0]) == len(images)
    for form in FORMS:
        host = PlainGuest(instrumented(memory, form), ASK, stacks=LATER)
        host.write(0, images[0])
        asked: list[int] = []
        host.replace(("env", "ask"), functools.partial(_arrive, host, asked))
        host.function("asyncify_start_rewind")(host.store, structure)
        assert host.function("run")(host.store, 0) == wanted
        assert asked == [7, 7]
        assert host.stack_pointers(structure) == (begin, end)


def _arrive(host: PlainGuest, asked: list[int], value: int) -> int:
    if not asked:
        host.function("asyncify_stop_rewind")(host.store)
    asked.append(value)
    return value + 5


@pytest.mark.parametrize("form", FORMS, ids=IDS)
@pytest.mark.parametrize("memory", ["2", "i64 2"])
def test_overflow(memory: str, form: Form) -> None:
    """With any size of stack, the guest is suspended or traps, writes nothing outside, and the next stop traps too."""
    binary = instrumented(memory, form)
    structure, begin, _, layout = stacks(memory != "2")
    pattern = bytes(value % 251 + 1 for value in range(4096))
    host, _ = _suspend(binary, structure, begin, begin + 4096, pattern)
    enough = host.stack_pointers(structure)[0] - begin
    sizes = [*range(0, enough, 28), *range(enough - 12, enough + 1)]
    for size in sizes:
        host, trap = _suspend(binary, structure, begin, begin + size, pattern)
        assert (trap is None) == (size >= enough)
        current, end = host.stack_pointers(structure)
        assert begin <= current <= end == begin + size
        assert host.read(end, begin + 4096 - end) == pattern[size:]
        assert host.read(structure + struct.calcsize(layout), 1024) == bytes(1024)
        if trap is not None:
            assert any("asyncify_stack_overflow" in (frame.func_name or "") for frame in trap.frames)
            assert host.state() == 3
            with pytest.raises(wasmtime.Trap):
                host.function("asyncify_stop_unwind")(host.store)
            assert host.state() == 0


def _suspend(
    binary: bytes, structure: int, begin: int, end: int, pattern: bytes
) -> tuple[PlainGuest, wasmtime.Trap | None]:
    host = PlainGuest(binary, ASK, stacks=LATER)
    host.write(begin, pattern)
    host.set_stack_pointers(structure, begin, end)
    start_unwinding(host, structure)
    try:
        host.function("run")(host.store, 7)
    except wasmtime.Trap as trap:
        return host, trap
    return host, None


@pytest.mark.parametrize("form", FORMS, ids=IDS)
@pytest.mark.parametrize("memory", ["2", "i64 2"])
def test_stack_at_address_zero(memory: str, form: Form) -> None:
    """The stack may begin at address 0, and the frame there may be that of an export, which leaves in mid-unwind."""
    text = f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") {memory})
        (func (export "run") (param $n i32) (result i32)
          (i32.add (call $ask (local.get $n)) (i32.mul (local.get $n) (i32.const 10)))))
    """
    binary = in_form(assemble(text), form)
    host = PlainGuest(binary, ASK, stacks=LATER)
    host.set_stack_pointers(1024, 0, 512)
    nested: list[object] = []

    def start(value: int) -> int:
        host.function("asyncify_start_unwind")(host.store, 1024)
        nested.append(host.function("run")(host.store, 3))
        return 0

    host.replace(("env", "ask"), start)
    host.function("run")(host.store, 4)
    assert nested == [0]
    host.function("asyncify_stop_unwind")(host.store)
    host.replace(("env", "ask"), functools.partial(_arrive, host, []))
    host.function("asyncify_start_rewind")(host.store, 1024)
    assert host.function("run")(host.store, 0) == 4 + 5 + 40


DEEP: Final = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (func $down (param $n i32) (result i64) (local $a i64) (local $b i64) (local $c i64)
      (if (i32.eqz (local.get $n)) (then (return (i64.extend_i32_s (call $ask (i32.const 1))))))
      (local.set $a (i64.extend_i32_s (local.get $n)))
      (local.set $b (i64.mul (local.get $a) (i64.const 3)))
      (local.set $c (i64.xor (local.get $b) (i64.const 85)))
      (i64.add
        (i64.add (call $down (i32.sub (local.get $n) (i32.const 1))) (local.get $a))
        (i64.xor (i64.xor (local.get $b) (local.get $c)) (i64.const 85))))
    (func (export "run") (param $n i32) (result i64) (call $down (local.get $n))))
"""


@pytest.mark.parametrize("form", FORMS, ids=IDS)
@pytest.mark.parametrize("depth", [10, 3_000, 6_000])
def test_growth(depth: int, form: Form) -> None:
    """Through thunks, a push that finds too little room makes the secondary memory grow, and traps where it may not."""
    binary = in_form(assemble(DEEP), form, thunks=True, in_secondary_memory=True, secondary_memory_maximum=2)
    store = wasmtime.Store(engine())
    base = 16 + 288

    def ask(value: int) -> int:
        memory = _stacks(exports)
        _write(memory, store, 16, base, memory.data_len(store))
        _write(memory, store, 32, 1)
        return 0

    i32 = wasmtime.ValType.i32()
    imported = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), ask)
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, binary), [imported]).exports(store)
    memory = _stacks(exports)
    enter: Callable[..., object] = exports["asyncify_entry:run"]  # type: ignore[assignment]
    if depth == 6_000:
        with pytest.raises(wasmtime.Trap, match="asyncify_stack_overflow"):
            enter(store, depth)
        assert memory.size(store) == 2
        return
    enter(store, depth)
    assert struct.unpack("<i", memory.read(store, 32, 36)) == (1,)
    current, end = struct.unpack("<II", memory.read(store, 16, 24))
    assert end == memory.data_len(store) == (65536 if depth == 10 else 2 * 65536)
    assert current > depth * 28
    _write(memory, store, 32, 2)
    _write(memory, store, 16 + 32, 1000)
    assert enter(store, 0) == 1000 + depth * (depth + 1) // 2


def _stacks(exports: Mapping[str, object]) -> wasmtime.Memory:
    memory = exports["asyncify_memory"]
    assert isinstance(memory, wasmtime.Memory)
    return memory


def _write(memory: wasmtime.Memory, store: wasmtime.Store, address: int, *values: int) -> None:
    memory.write(store, struct.pack(f"<{len(values)}I", *values), address)


@pytest.mark.parametrize(("optimize", "most"), [("size", 6), ("balanced", 3)])
def test_calls_of_helpers_take_little_of_the_native_stack(optimize: str, most: int) -> None:
    """What they pass and return has room in the native frame of the function that calls them."""
    original = guest("4")
    module = Module(in_form(original, (SHARED, False, optimize)))
    added = range(len(Module(original).function_types), len(module.function_types))
    types = [module.function_type(FunctionIndex(index)) for index in added]
    assert max(len(values) for item in types for values in (item.params, item.results)) == most


def test_no_room_for_locals() -> None:
    """A function that calls itself, and has as many locals as engines allow, moves its frames by helpers."""
    original = assemble(f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (func $down (export "run") (param $n i32) (result i32) (local {"i64 " * 49_999})
          (if (result i32) (local.get $n)
            (then (i32.add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))
            (else (call $ask (i32.const 8))))))
    """)
    guest = PlainGuest(caesura.instrument(original).module, ASK, suspend_at=always)
    assert (guest.call("run", 3), guest.suspensions) == (3 + 2 + 1 + 8 + 5, 1)
    with pytest.raises(caesura.UnsupportedModule, match="50,000"):
        instrument_as(original, caesura.Options(), None, INLINE, LARGE_FUNCTIONS)
