"""Where asyncify stacks and the transformation's globals may lie: other memories, wide addresses, other modules."""

from __future__ import annotations

import pytest
import wasmtime

import caesura
from tests.support.engine import assemble, engine
from tests.support.instrumenting import instrument
from tests.support.plain_abi import LATER, Extern, HostFunction, PlainGuest, StackArea, Value, always

BODY = """
    (global $count (export "count") (mut i64) (i64.const 0))
    (func $twice (param $a i64) (result i64)
      (i64.add (call $ask (local.get $a)) (call $ask (i64.add (local.get $a) (i64.const 1)))))
    (func (export "run") (param $a i64) (param $b f64) (result f64)
      (local $sum i64)
      (local.set $sum (call $twice (local.get $a)))
      (global.set $count (i64.add (global.get $count) (local.get $sum)))
      {store}
      (f64.mul (local.get $b) (f64.convert_i64_s (i64.add (local.get $sum) (call $twice (local.get $sum))))))
"""


def module(memories: str, store: str = "") -> bytes:
    """Return a guest with these memories."""
    return assemble(f"""(module (import "env" "ask" (func $ask (param i64) (result i64)))
        {memories} {BODY.format(store=store)})""")


ASK: dict[tuple[str, str], HostFunction] = {("env", "ask"): lambda value: value * 3 + 1}


def run(guest: PlainGuest) -> tuple[object, dict[str, Value], int]:
    """Run the guest to its end."""
    return guest.call("run", 1 << 33, 0.125), guest.globals(), guest.suspensions


def check(original: bytes, options: caesura.Options, **placing: object) -> PlainGuest:
    """Run a guest without and with suspensions, assert that they are equal, and return the latter."""
    wanted = run(PlainGuest(original, ASK, stacks=LATER))
    guest = PlainGuest(instrument(original, options), ASK, suspend_at=always, **placing)  # type: ignore[arg-type]
    assert run(guest) == (*wanted[:2], 4)
    return guest


def test_memory64() -> None:
    """In a 64-bit memory the data structure has 64-bit pointers, and the functions take one."""
    original = module('(memory (export "memory") i64 2)', "(i64.store (i64.const 8) (local.get $sum))")
    guest = check(original, caesura.Options(), stacks=StackArea(65536, 4096, 1))
    assert guest.function("asyncify_start_unwind").type(guest.store).params == [wasmtime.ValType.i64()]
    assert guest.function("asyncify_start_rewind").type(guest.store).params == [wasmtime.ValType.i64()]
    # The stack's pointers as the ABI has them: {i64 current, i64 end}, empty again.
    assert guest.read(65536, 16) == (65536 + 16).to_bytes(8, "little") + (65536 + 4096).to_bytes(8, "little")


def test_chosen_memory() -> None:
    """Of several memories, the one exported under the given name holds the stacks."""
    text = '(memory $code (export "memory") 1) (memory (export "stacks") 1)'
    original = module(text, "(i64.store $code (i32.const 8) (local.get $sum))")
    stacks = StackArea(1024, 4096, 1)
    guest = check(original, caesura.Options(memory="stacks"), memory="stacks", stacks=stacks)
    assert guest.read(16, 65536 - 16, "memory") == bytes(65536 - 16)
    assert guest.read(1024, 16, "stacks") != bytes(16)


def test_no_memory_under_that_name() -> None:
    """Which of several memories is meant must be clear."""
    original = module('(memory (export "one") 1) (memory (export "two") 1)')
    with pytest.raises(caesura.UsageError, match="memor"):
        caesura.instrument(original, caesura.Options(memory="three"))


def test_secondary_memory() -> None:
    """The stacks can have a memory of their own, which the guest cannot reach."""
    original = module('(memory (export "memory") 1)', "(i64.store (i32.const 8) (local.get $sum))")
    options = caesura.Options(in_secondary_memory=True)
    guest = check(original, options, memory="asyncify_memory", stacks=StackArea(0, 4096, 2))
    assert guest.read(16, 65536 - 16, "memory") == bytes(65536 - 16)


def test_secondary_memory_beside_a_wide_one() -> None:
    """A new memory has 32-bit addresses, whatever the guest's own have."""
    original = module('(memory (export "memory") i64 1)')
    options = caesura.Options(in_secondary_memory=True, secondary_memory_size=3)
    guest = check(original, options, memory="asyncify_memory", stacks=StackArea(0, 3 * 65536, 1))
    assert guest.function("asyncify_start_unwind").type(guest.store).params == [wasmtime.ValType.i32()]


def test_guest_without_memory() -> None:
    """A guest that has no memory gets one for the stacks."""
    check(module(""), caesura.Options(), stacks=StackArea(256, 4096, 2))


def test_exported_globals() -> None:
    """With export_globals the state and the data pointer can be seen, and follow the calls."""
    original = module('(memory (export "memory") 1)')
    guest = check(original, caesura.Options(export_globals=True), stacks=StackArea(1024, 4096, 1))
    state, data = guest.exports["__asyncify_state"], guest.exports["__asyncify_data"]
    assert isinstance(state, wasmtime.Global) and isinstance(data, wasmtime.Global)
    assert (state.value(guest.store), data.value(guest.store)) == (0, 1024)
    guest.function("asyncify_start_unwind")(guest.store, 1024)
    assert state.value(guest.store) == 1


LIBRARY = """
  (module
    (import "env" "ask" (func $ask (param i64) (result i64)))
    (memory (export "memory") 1)
    (func (export "work") (param $a i64) (result i64)
      (i64.add (local.get $a) (call $ask (i64.mul (local.get $a) (i64.const 2))))))
"""
PROGRAM = """
  (module
    (import "env" "memory" (memory 1))
    (import "env" "ask" (func $ask (param i64) (result i64)))
    (import "library" "work" (func $work (param i64) (result i64)))
    (export "memory" (memory 0))
    (export "ask" (func $ask))
    (func (export "run") (param $a i64) (param $b f64) (result f64)
      (local $first i64)
      (local.set $first (call $work (local.get $a)))
      (f64.mul (local.get $b) (f64.convert_i64_s
        (i64.add (call $work (i64.const 5)) (i64.sub (local.get $first) (call $ask (i64.const 9))))))))
"""


def link(library: bytes, program: bytes) -> PlainGuest:
    """Return the program, linked with the library, whose memory and asyncify globals it shares."""
    store = wasmtime.Store(engine())
    i64 = wasmtime.ValType.i64()
    guests: list[PlainGuest] = []
    # The library asks by way of the program, whose driver conducts the suspension.
    ask = wasmtime.Func(store, wasmtime.FuncType([i64], [i64]), lambda value: guests[0].function("ask")(store, value))
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, library), [ask]).exports(store)
    names = ("memory", "__asyncify_state", "__asyncify_data")
    imports: dict[tuple[str, str], HostFunction | Extern] = {**ASK}
    for name in (*names, "work"):
        if name in exports:
            item = exports[name]
            assert isinstance(item, wasmtime.Func | wasmtime.Global | wasmtime.Memory)
            imports["library" if name == "work" else "env", name] = item
    guests.append(PlainGuest(program, imports, suspend_at=always, stacks=StackArea(1024, 4096, 1), store=store))
    return guests[0]


def test_modules_that_share_globals() -> None:
    """Two modules, one of which imports the globals of the other, unwind and rewind together."""
    library, program = assemble(LIBRARY), assemble(PROGRAM)
    wanted = link(library, program).call("run", 7, 0.5)
    guest = link(
        instrument(library, caesura.Options(export_globals=True)),
        instrument(program, caesura.Options(import_globals=True)),
    )
    assert guest.call("run", 7, 0.5) == wanted
    assert guest.suspensions == 3
