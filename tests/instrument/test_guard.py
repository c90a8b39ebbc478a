"""Where lists leave out functions, a suspension that would cross one is refused before anything has changed.

The guest traps in `asyncify_not_instrumented`, in `asyncify_start_unwind` or behind the import; everything is as it was
when the import was called, and the next call finds the guest in order. What does not cross such a function suspends as
ever. Random modules and lists are for the oracle (tests/oracle).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble, engine
from tests.support.plain_abi import HostCall, HostFunction, PlainGuest, SuspendAt, always, never

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

    def __init__(self, module: bytes, *, suspends: bool, enter: Callable[[int], int] = ask) -> None:
        self.suspends = suspends
        self.log: list[int] = []
        self.store = wasmtime.Store(engine())
        compiled = wasmtime.Module(self.store.engine, module)
        functions: dict[str | None, Callable[[int], int | None]] = {
            "ask": self._ask,
            "enter": enter,
            "note": lambda _: None,
        }
        imported: list[wasmtime.Func] = []
        for item in compiled.imports:
            assert isinstance(item.type, wasmtime.FuncType)
            imported.append(wasmtime.Func(self.store, item.type, functions[item.name]))
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


# What a host has to do with the guest while it is called: enter it, by an export or out of the table, and catch what
# comes of that.
NESTED = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "enter" (func $enter (param i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "table") 2 funcref) (elem (i32.const 0) $inner $failing)
    (func $inner (export "inner") (param $n i32) (result i32)
      (i32.add (call $ask (local.get $n)) (i32.const 1)))
    (func $failing (export "failing") (param $n i32) (result i32) (i32.add (call $fail (local.get $n)) (i32.const 1)))
    (func $fail (param $n i32) (result i32) (i32.add (call $stop (local.get $n)) (i32.const 1)))
    (func $stop (param $n i32) (result i32) (drop (call $ask (local.get $n))) (unreachable))
    (func $left (param $n i32) (result i32) (i32.add (call $middle (local.get $n)) (i32.const 1)))
    (func $middle (param $n i32) (result i32) (i32.add (call $enter (local.get $n)) (i32.const 1)))
    (func (export "outer") (param $n i32) (result i32)
      (i32.add (call $left (local.get $n)) (call $ask (local.get $n))))
    (func (export "listed") (param $n i32) (result i32)
      (i32.add (call $middle (local.get $n)) (call $ask (local.get $n)))))
"""
NESTED_OPTIONS = caesura.Options(
    only_list=("inner", "failing", "stop", "middle", "outer", "listed"), imports=("env.ask", "env.enter")
)


def nested_guest(enter: Callable[[PlainGuest, int], int]) -> PlainGuest:
    """Return a guest of which `left` and `fail` are left out; its import `enter` is given."""
    module = caesura.instrument(assemble(NESTED), NESTED_OPTIONS).module
    functions: dict[tuple[str, str], HostFunction] = {
        ("env", "ask"): ask,
        ("env", "enter"): lambda number: enter(guest, number),
    }
    guest = PlainGuest(module, functions, suspend_at=lambda call: call.name == "ask")
    return guest


def test_an_entry_from_inside_an_import_counts_for_itself() -> None:
    """Below a function that is left out, too; and what is behind it is refused as before."""
    states: list[int] = []

    def enter(guest: PlainGuest, number: int) -> int:
        states.append(unsuspendable(guest))
        result = guest.call("inner", number)
        states.append(unsuspendable(guest))
        assert isinstance(result, int)
        return result

    guest = nested_guest(enter)
    assert guest.call("outer", 5) == (5 + 100 + 1) + 1 + 1 + 105
    assert guest.suspensions == 2
    assert states == [1, 1]
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        nested_guest(lambda guest, number: guest.call("failing", number)).call("outer", 5)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("way", ["export", "table"])
@pytest.mark.parametrize("export", ["outer", "listed"])
def test_what_a_host_catches_inside_an_import_changes_nothing(export: str, way: str) -> None:
    """The functions that set the global have not returned then."""

    def enter(guest: PlainGuest, number: int) -> int:
        guest.suspend_at = never
        before = unsuspendable(guest)
        table = guest.exports["table"]
        assert isinstance(table, wasmtime.Table)
        function = guest.function("failing") if way == "export" else table.get(guest.store, 1)
        assert isinstance(function, wasmtime.Func)
        with pytest.raises(wasmtime.Trap):
            function(guest.store, number)
        assert unsuspendable(guest) == 1 or before == 0
        guest.suspend_at = lambda call: call.name == "ask"
        return number

    guest = nested_guest(enter)
    assert guest.call(export, 5) == 5 + 1 + (1 if export == "outer" else 0) + 105
    assert guest.suspensions == 1


@pytest.mark.parametrize("thunks", [False, True])
def test_what_a_host_catches_inside_an_import_in_a_table_changes_nothing(thunks: bool) -> None:
    """Such an import is called through the table, not by name, and need not be one that suspends."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (import "env" "enter" (func $enter (param i32) (result i32)))
        (import "env" "note" (func $note (param i32)))
        (memory (export "memory") 1)
        (global $place (export "place") (mut i32) (i32.const 0))
        (type $unary (func (param i32) (result i32)))
        (table 2 funcref) (elem (i32.const 0) $enter)
        (func $inner (param $n i32) (result i32) (i32.add (call $ask (local.get $n)) (i32.const 1)))
        (func (export "fails") (param $n i32) (drop (call $left (local.get $n))))
        (func $left (param $n i32) (result i32) (i32.add (call $stop (local.get $n)) (i32.const 1)))
        (func $stop (param $n i32) (result i32)
          (if (i32.eqz (local.get $n)) (then (drop (call $inner (local.get $n)))))
          (unreachable))
        (func (export "run") (param $n i32) (result i32)
          (i32.add (call_indirect (type $unary) (local.get $n) (global.get $place)) (call $inner (local.get $n)))))
    """
    options = caesura.Options(
        only_list=("inner", "fails", "stop", "run"), imports=("env.ask",), thunks=thunks, in_secondary_memory=thunks
    )
    module = caesura.instrument(assemble(text), options).module
    assert_valid(module)
    entered: list[int] = []

    def enter(number: int) -> int:
        exports = guest.exports
        function = exports["fails"]
        assert isinstance(function, wasmtime.Func)
        with pytest.raises(wasmtime.Trap):
            function(guest.store, 1)
        entered.append(number)
        return number

    functions: dict[tuple[str, str], HostFunction] = {
        ("env", "ask"): ask,
        ("env", "enter"): enter,
        ("env", "note"): lambda _: None,
    }
    guest: PlainGuest | ThunkGuest
    if thunks:
        guest = ThunkGuest(module, suspends=True, enter=enter)
    else:
        guest = PlainGuest(module, functions, suspend_at=lambda call: call.name == "ask")
    assert guest.call("run", 5) == 5 + 105 + 1
    assert entered == [5]


def test_a_function_out_of_the_table_is_part_of_the_call_that_it_is_in() -> None:
    """So are those that Emscripten's `invoke_*` call, which suspend and resume with the guest."""

    def enter(guest: PlainGuest, number: int) -> int:
        table = guest.exports["table"]
        assert isinstance(table, wasmtime.Table)
        function = table.get(guest.store, 0)
        assert isinstance(function, wasmtime.Func)
        result = function(guest.store, number)
        assert isinstance(result, int)
        return result

    with pytest.raises(wasmtime.Trap, match=REFUSED):
        nested_guest(enter).call("outer", 5)


CATCHING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (tag $odd)
    (func $throwing (param $n i32) (result i32)
      (if (i32.and (local.get $n) (i32.const 1)) (then (throw $odd)))
      (i32.add (call $ask (local.get $n)) (i32.const 1)))
    (func $left (param $n i32) (result i32 i64) (call $throwing (local.get $n)) (i64.const 7))
    (func (export "run") (param $n i32) (result i32)
      (block $caught
        (try_table (catch $odd $caught)
          (call $left (local.get $n)) (drop)
          (return)))
      (i32.add (call $ask (local.get $n)) (i32.const 2))))
"""


def test_the_guest_catches_what_has_passed_a_function_that_is_left_out() -> None:
    options = caesura.Options(only_list=("throwing", "run"), imports=("env.ask",))
    module = caesura.instrument(assemble(CATCHING), options).module
    assert_valid(module)
    guest = PlainGuest(module, {("env", "ask"): ask}, suspend_at=always)
    assert guest.call("run", 5) == 105 + 2
    assert guest.suspensions == 1
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.call("run", 4)
    guest.suspend_at = never
    assert guest.call("run", 4) == 104 + 1


def test_tail_calls_take_no_stack() -> None:
    """Whatever goes on by tail calls in what is left out, and comes back to it from what is not."""
    module = caesura.instrument(
        assemble("""
          (module
            (import "env" "ask" (func $ask (param i32) (result i32)))
            (memory (export "memory") 1)
            (type $step (func (param i32) (result i32)))
            (table 2 funcref) (elem (i32.const 0) $left $listed)
            (func $left (type $step)
              (if (i32.eqz (local.get 0)) (then (return_call $ask (i32.const 1))))
              (return_call_indirect (type $step)
                (i32.sub (local.get 0) (i32.const 1)) (i32.and (local.get 0) (i32.const 1))))
            (func $listed (type $step)
              (if (i32.eqz (local.get 0)) (then (return (call $ask (i32.const 2)))))
              (return_call $left (i32.sub (local.get 0) (i32.const 1))))
            (func (export "run") (param i32) (result i32) (i32.add (call $left (local.get 0)) (i32.const 1))))
        """),
        caesura.Options(only_list=("listed", "run")),
    ).module
    guest = PlainGuest(module, {("env", "ask"): ask})
    assert guest.call("run", 3_000_000) == 103
    guest.suspend_at = always
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.call("run", 3_000_000)


def test_ignored_tail_calls_take_no_stack() -> None:
    """An instrumented function leaves by a call that `ignore_indirect` takes out."""
    module = caesura.instrument(
        assemble("""
          (module
            (import "env" "ask" (func $ask (param i32) (result i32)))
            (memory (export "memory") 1)
            (type $step (func (param i32) (result i32)))
            (table 1 funcref) (elem (i32.const 0) $step)
            (func $step (type $step)
              (if (i32.eqz (local.get 0)) (then (return (i32.add (call $ask (i32.const 1)) (i32.const 1)))))
              (return_call_indirect (type $step) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
            (func (export "run") (param i32) (result i32) (i32.add (call $step (local.get 0)) (i32.const 1))))
        """),
        caesura.Options(ignore_indirect=True),
    ).module
    guest = PlainGuest(module, {("env", "ask"): ask})
    assert guest.call("run", 3_000_000) == 103
    guest.suspend_at = always
    assert guest.call("run", 0) == 103
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.call("run", 3_000_000)


@pytest.mark.parametrize("shared", ["export_globals", "import_globals"])
def test_modules_that_share_the_state_trap_behind_the_call(shared: str) -> None:
    """Nobody knows what is left out in the others."""
    module = build("by name", LISTS["only-list"], **{shared: True})
    assert b"asyncify_unsuspendable" not in module
    store = wasmtime.Store(engine())
    i32 = wasmtime.ValType.i32()
    functions: dict[tuple[str, str], Any] = {("env", "ask"): ask, ("env", "note"): lambda _: None}
    if shared == "import_globals":
        kind = wasmtime.GlobalType(i32, mutable=True)
        for name in ("__asyncify_state", "__asyncify_data"):
            functions["env", name] = wasmtime.Global(store, kind, wasmtime.Val.i32(0))
    guest = PlainGuest(module, functions, suspend_at=always, store=store)
    assert guest.call("run", 4, 0) == 4 + 100 + 12 + 20000
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.call("run", 4, 1)
    assert guest.state() == 0


def test_what_a_scheduler_calls_counts_for_itself() -> None:
    """A suspension ends at the function that stops it, whatever is on the stack above."""
    module = caesura.instrument(
        assemble("""
          (module
            (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
            (import "asyncify" "stop_unwind" (func $stop_unwind))
            (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
            (import "asyncify" "stop_rewind" (func $stop_rewind))
            (memory (export "memory") 1)
            (global $resuming (mut i32) (i32.const 0))
            (func $yield
              (if (global.get $resuming)
                (then (call $stop_rewind) (global.set $resuming (i32.const 0)))
                (else (call $start_unwind (i32.const 64)))))
            (func $task (param $n i32) (result i32) (call $yield) (i32.add (local.get $n) (i32.const 1)))
            (func $bad (param $n i32) (result i32) (i32.add (call $task (local.get $n)) (i32.const 1)))
            (func $schedule (param $n i32) (param $bad i32) (result i32)
              (i32.store (i32.const 64) (i32.const 128))
              (i32.store (i32.const 68) (i32.const 4096))
              (drop (if (result i32) (local.get $bad)
                (then (call $bad (local.get $n))) (else (call $task (local.get $n)))))
              (call $stop_unwind)
              (global.set $resuming (i32.const 1))
              (call $start_rewind (i32.const 64))
              (call $task (i32.const 0)))
            (func $listed (param $n i32) (param $bad i32) (result i32)
              (call $yields_never) (call $schedule (local.get $n) (local.get $bad)))
            (func $yields_never (if (i32.const 0) (then (call $yield))))
            (func $left (param $n i32) (param $bad i32) (result i32)
              (i32.add (call $listed (local.get $n) (local.get $bad)) (i32.const 100)))
            (func (export "run") (param i32 i32) (result i32) (call $left (local.get 0) (local.get 1))))
        """),
        caesura.Options(only_list=("task", "listed", "yields_never", "run")),
    ).module
    assert_valid(module)
    guest = PlainGuest(module, {})
    assert guest.function("run")(guest.store, 5, 0) == 106
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.function("run")(guest.store, 5, 1)
