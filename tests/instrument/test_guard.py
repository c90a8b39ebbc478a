"""Where lists leave out functions, a suspension that would cross one is refused before anything has changed.

The guest traps in `asyncify_not_instrumented`, in `asyncify_start_unwind` or behind the import; everything is as it was
when the import was called, and the next call finds the guest in order. What does not cross such a function suspends as
ever. Random modules and lists are for the oracle (tests/oracle).
"""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble, engine
from tests.support.plain_abi import HostCall, PlainGuest, SuspendAt, always, never

REFUSED = "asyncify_not_instrumented"

# `left` calls `inner`, which asks the host, in a way that each case gives; `run` calls one of the two directly.
TEXT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "note" (func $note (param i32)))
    (memory (export "memory") 1)
    (global $seen (export "seen") (mut i32) (i32.const 0))
    (type $unary (func (param i32) (result i32)))
    {more}
    (func $inner (export "inner") (param $n i32) (result i32) (local $a i32)
      (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
      (local.set $a (i32.mul (local.get $n) (i32.const 3)))
      (i32.store (i32.const 64) (local.get $a))
      (i32.add (call $ask (local.get $n)) (local.get $a)))
    (func $left (export "left") (param $n i32) (result i32) (local $kept i32)
      (local.set $kept (i32.add (local.get $n) (i32.const 1000)))
      {call})
    (func $run (export "run") (param $n i32) (param $crosses i32) (result i32)
      (if (result i32) (local.get $crosses)
        (then (i32.add (call $left (local.get $n)) (i32.const 10000)))
        (else (i32.add (call $inner (local.get $n)) (i32.const 20000))))))
"""
BEHIND = "(i32.add (local.get $kept) {})"
TABLE = "(table {} 2 funcref) (elem (i32.const 0) $inner $ask)"
WIDE = "(table {} i64 2 funcref) (elem (i64.const 0) $inner $ask)"
REFERENCED = "(elem declare func $inner)"
# What the module has besides, and how the function that is left out goes on.
CALLS: dict[str, tuple[str, str]] = {
    "by name": ("", BEHIND.format("(call $inner (local.get $n))")),
    "the import": ("", BEHIND.format("(call $ask (local.get $n))")),
    "table": (TABLE.format(""), BEHIND.format("(call_indirect (type $unary) (local.get $n) (i32.const 0))")),
    "open table": (
        TABLE.format('(export "table")'),
        BEHIND.format("(call_indirect (type $unary) (local.get $n) (i32.const 0))"),
    ),
    "the import in a table": (
        TABLE.format(""),
        BEHIND.format("(call_indirect (type $unary) (local.get $n) (i32.const 1))"),
    ),
    "wide table": (WIDE.format(""), BEHIND.format("(call_indirect (type $unary) (local.get $n) (i64.const 0))")),
    "reference": (REFERENCED, BEHIND.format("(call_ref $unary (local.get $n) (ref.func $inner))")),
    "tail call": ("", "(return_call $inner (local.get $n))"),
    "tail call of the import": ("", "(return_call $ask (local.get $n))"),
    "tail call through a table": (
        TABLE.format(""),
        "(return_call_indirect (type $unary) (local.get $n) (i32.const 0))",
    ),
    "tail call through a reference": (REFERENCED, "(return_call_ref $unary (local.get $n) (ref.func $inner))"),
    "below another": (
        "(func $other (param $n i32) (result i32) (i32.mul (call $inner (local.get $n)) (i32.const 2)))",
        BEHIND.format("(call $other (local.get $n))"),
    ),
}
LISTS: dict[str, dict[str, Any]] = {
    "only-list": {"only_list": ("run", "inner")},
    "remove-list": {"remove_list": ("left", "other")},
}


# In the thunk ABI: where the control block lies in a memory of its own, and places in it.
BLOCK, STATUS, RESULTS, FRAMES = 16, 32, 48, 304


def ask(number: int) -> int:
    return number + 100


def build(call: str, lists: dict[str, Any], **more: Any) -> bytes:
    parts = CALLS[call]
    text = TEXT.format(more=parts[0], call=parts[1])
    module = caesura.instrument(assemble(text), caesura.Options(imports=("env.ask",), **lists, **more)).module
    assert_valid(module)
    return module


def guest_of(module: bytes, suspend_at: SuspendAt) -> PlainGuest:
    return PlainGuest(module, {("env", "ask"): ask, ("env", "note"): lambda _: None}, suspend_at=suspend_at)


def looking(guest: PlainGuest, before: list[bytes]) -> SuspendAt:
    """Suspend everywhere; add to `before` what the memory is when an import is called."""

    def look(_: HostCall) -> bool:
        before.append(guest.memory_image())
        return True

    return look


def unsuspendable(guest: PlainGuest) -> int:
    flag = guest.exports["asyncify_unsuspendable"]
    assert isinstance(flag, wasmtime.Global)
    value = flag.value(guest.store)
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize("lists", LISTS)
@pytest.mark.parametrize("call", CALLS)
def test_what_would_cross_is_refused_and_all_else_suspends(call: str, lists: str) -> None:
    module = build(call, LISTS[lists])
    plain = guest_of(module, never)
    expected = [plain.call("run", 4, crosses) for crosses in (0, 1)]
    for export, arguments in (("run", (4, 1)), ("left", (4,))):
        guest = guest_of(module, always)
        before: list[bytes] = []
        guest.suspend_at = looking(guest, before)
        with pytest.raises(wasmtime.Trap) as trap:
            guest.call(export, *arguments)
        assert REFUSED in str(trap.value)
        assert guest.state() == 0
        assert guest.memory_image() == before[0]
        assert len(guest.log) == 1
        guest.suspend_at = always
        assert guest.call("run", 4, 0) == expected[0]
        assert guest.suspensions == 2
        guest.suspend_at = never
        assert guest.call("run", 4, 1) == expected[1]
    assert unsuspendable(plain) == 0


class ThunkGuest:
    """A guest with thunks that is suspended at each call of the import, or never."""

    def __init__(self, module: bytes, *, suspends: bool) -> None:
        self.suspends = suspends
        self.log: list[int] = []
        self.store = wasmtime.Store(engine())
        compiled = wasmtime.Module(self.store.engine, module)
        i32 = wasmtime.ValType.i32()
        imported = [
            wasmtime.Func(self.store, wasmtime.FuncType([i32], [i32]), self._ask),
            wasmtime.Func(self.store, wasmtime.FuncType([i32], []), lambda _: None),
        ]
        self.exports = wasmtime.Instance(self.store, compiled, imported).exports(self.store)
        memory = self.exports["asyncify_memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory

    def word(self, address: int) -> int:
        """Return the i32 at an address."""
        return int.from_bytes(self.memory.read(self.store, address, address + 4), "little")

    def write(self, address: int, value: int) -> None:
        """Set the i32 at an address."""
        self.memory.write(self.store, value.to_bytes(4, "little"), address)

    def call(self, name: str, *arguments: int) -> object:
        """Run an export to its end."""
        function = self.exports[f"asyncify_entry:{name}"]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *arguments)
        while self.word(STATUS) == 1:
            self.write(RESULTS, self.log[-1] + 100)
            self.write(STATUS, 2)
            result = function(self.store, *[0 for _ in arguments])
        assert self.word(STATUS) == 0
        return result

    def _ask(self, number: int) -> int:
        self.log.append(number)
        if not self.suspends:
            return number + 100
        self.write(BLOCK, FRAMES)
        self.write(BLOCK + 4, 65536)
        self.write(STATUS, 1)
        return 0


@pytest.mark.parametrize("lists", LISTS)
@pytest.mark.parametrize("call", CALLS)
def test_thunks_refuse_too(call: str, lists: str) -> None:
    module = build(call, LISTS[lists], thunks=True, in_secondary_memory=True)
    plain = ThunkGuest(module, suspends=False)
    expected = [plain.call("run", 4, crosses) for crosses in (0, 1)]
    guest = ThunkGuest(module, suspends=True)
    with pytest.raises(wasmtime.Trap) as trap:
        guest.call("run", 4, 1)
    assert REFUSED in str(trap.value)
    assert guest.log == [4]
    assert guest.word(BLOCK) == FRAMES
    guest.write(STATUS, 0)
    assert guest.call("run", 4, 0) == expected[0]
    guest.suspends = False
    assert guest.call("run", 4, 1) == expected[1]


def test_a_module_without_names_says_why_it_traps() -> None:
    module = caesura.instrument(
        assemble("""
          (module
            (import "env" "ask" (func (param i32) (result i32)))
            (memory (export "memory") 1)
            (func (param i32) (result i32) (i32.add (call 0 (local.get 0)) (i32.const 1)))
            (func (export "run") (param i32) (result i32) (i32.add (call 1 (local.get 0)) (i32.const 1))))
        """),
        caesura.Options(only_list=("run",)),
    ).module
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        PlainGuest(module, {("env", "ask"): ask}, suspend_at=always).call("run", 1)


def test_what_passes_a_suspension_on_may_be_left_out() -> None:
    """Such as the `main` of C programs, which only calls another one; but not if an instrumented one calls it."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (func $inner (param $n i32) (result i32) (i32.add (call $ask (local.get $n)) (i32.const 1)))
        (func $middle (param $n i32) (result i32) (call $inner (i32.mul (local.get $n) (i32.const 2))))
        (func $main (export "main") (param $n i32) (result i32) (call $middle (local.get $n)))
        %s)
    """
    lists = caesura.Options(only_list=("inner", "other"), imports=("env.ask",))
    module = caesura.instrument(assemble(text % ""), lists).module
    guest = PlainGuest(module, {("env", "ask"): ask}, suspend_at=always)
    assert guest.call("main", 4) == 109
    assert guest.suspensions == 1
    calls = '(func $other (export "other") (result i32) (i32.add (call $middle (i32.const 1)) (i32.const 1)))'
    module = caesura.instrument(assemble(text % calls), lists).module
    for export, arguments in (("main", (4,)), ("other", ())):
        with pytest.raises(wasmtime.Trap, match=REFUSED):
            PlainGuest(module, {("env", "ask"): ask}, suspend_at=always).call(export, *arguments)


def test_without_lists_or_with_no_guard_there_is_none() -> None:
    binary = assemble(TEXT.format(more="", call=CALLS["by name"][1]))
    left, run = ("left",), ("run",)
    for options in (caesura.Options(), caesura.Options(add_list=left), caesura.Options(only_list=run, no_guard=True)):
        assert b"asyncify_unsuspendable" not in caesura.instrument(binary, options).module
