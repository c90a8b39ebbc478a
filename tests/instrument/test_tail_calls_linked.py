"""Tail calls from one module into another, or into functions of the host that a table has."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.tail_calls import HOST, MODULE, answer
from tests.support.engine import assemble, engine
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    HEADER,
    PlainGuest,
    StackArea,
    always,
    never,
)


def test_a_foreign_function_that_is_suspended_below_a_tail_call_traps_by_name() -> None:
    """It is no import of the module's, so nothing of it is left when the guest is rewound."""
    store = wasmtime.Store(engine())
    kind = wasmtime.FuncType([wasmtime.ValType.i32(), wasmtime.ValType.i64()], [wasmtime.ValType.i64()])
    guest = PlainGuest(instrument(assemble(MODULE)), HOST, stacks=StackArea(4096, 4096, 1), store=store)
    asleep: list[int] = []

    def sleep(value: int, wide: int) -> int:
        asleep.append(value)
        guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
        guest.function("asyncify_start_unwind")(store, 4096)
        return 0

    table = guest.exports["open"]
    assert isinstance(table, wasmtime.Table)
    table.set(store, 1, wasmtime.Func(store, kind, sleep))
    assert guest.function("open_table")(store, 1) == 0
    guest.function("asyncify_stop_unwind")(store)
    guest.function("asyncify_start_rewind")(store, 4096)
    with pytest.raises(wasmtime.Trap) as trap:
        guest.function("open_table")(store, 1)
    assert trap.value.frames[0].func_name == "asyncify_suspended_in_foreign_tail_call"
    assert asleep == [1]
    guest.function("asyncify_stop_unwind")(store)
    assert guest.call("ring", 3) == PlainGuest(assemble(MODULE), HOST).call("ring", 3)


def test_an_import_that_is_exported_again_can_be_put_into_a_table() -> None:
    """What the host gets from the module's exports is a function of the module's, which has a frame."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32 i64) (result i64)))
        (export "ask" (func $ask))
        (memory (export "memory") 1)
        (type $t (func (param i32 i64) (result i64)))
        (table (export "table") 1 funcref)
        (func (export "f") (param i32) (result i64)
          (i64.add (i64.const 1) (call $leave (local.get 0))))
        (func $leave (param i32) (result i64)
          (return_call_indirect (type $t) (local.get 0) (i64.const 4) (i32.const 0))))
    """
    results: list[object] = []
    for binary, suspend_at in ((assemble(text), never), (instrument(assemble(text)), always)):
        guest = PlainGuest(binary, HOST, suspend_at=suspend_at)
        table = guest.exports["table"]
        assert isinstance(table, wasmtime.Table)
        table.set(guest.store, 0, guest.function("ask"))
        results.append(guest.call("f", 5))
    assert results == [answer(5, 4) + 1] * 2


LINKED = (
    """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (table (export "table") 4 funcref) (elem (i32.const 0) func $own $leave)
        (type $t (func (param i32) (result i32)))
        (func $own (type $t) (i32.add (i32.const 10) (call $ask (local.get 0))))
        (func $leave (export "leave") (type $t)
          (if (i32.and (local.get 0) (i32.const 1)) (then (return_call $own (local.get 0))))
          (return_call $ask (i32.add (local.get 0) (i32.const 1)))))
    """,
    """
      (module
        (import "main" "leave" (func $theirs (param i32) (result i32)))
        (import "main" "memory" (memory 1))
        (import "main" "table" (table $table 4 funcref))
        (type $t (func (param i32) (result i32)))
        (elem (table $table) (i32.const 2) func $mine)
        (func $mine (type $t) (i32.mul (i32.const 3) (call $theirs (local.get 0))))
        (func $through (type $t) (return_call_indirect $table (type $t) (i32.const 6) (local.get 0)))
        (func (export "f") (type $t) (i32.sub (call $mine (local.get 0)) (i32.const 1)))
        (func (export "g") (type $t) (return_call $theirs (i32.add (local.get 0) (i32.const 2))))
        (func (export "table") (type $t) (i32.add (call $through (local.get 0)) (i32.const 1))))
    """,
)


def test_modules_that_share_a_state() -> None:
    """One leaves by a tail call of an import that is a function of the other, which leaves by one as well.

    Through a table that both share only their own functions can be resumed: identities are each module's own.
    """
    store = wasmtime.Store(engine())
    state: list[int] = []

    def ask(value: int) -> int:
        if state and state[-1] == 1:
            main["asyncify_stop_rewind"](store)
            state.append(0)
            return value * 2
        main["asyncify_start_unwind"](store, 4096)
        state.append(1)
        return 0

    number = wasmtime.ValType.i32()
    options = (caesura.Options(export_globals=True), caesura.Options(import_globals=True))
    modules = [wasmtime.Module(engine(), instrument(assemble(LINKED[place]), options[place])) for place in (0, 1)]
    imported = wasmtime.Func(store, wasmtime.FuncType([number], [number]), ask)
    main: dict[str, Any] = dict(wasmtime.Instance(store, modules[0], [imported]).exports(store))
    shared = {"__asyncify_state": "env", "__asyncify_data": "env", "leave": "main", "memory": "main", "table": "main"}
    assert {item.name for item in modules[1].imports} == set(shared)
    externs = [main[item.name or ""] for item in modules[1].imports]
    side: dict[str, Any] = dict(wasmtime.Instance(store, modules[1], externs).exports(store))

    def suspended_and_resumed(name: str, value: int) -> object:
        main["memory"].write(store, (4104).to_bytes(4, "little") + (4200).to_bytes(4, "little"), 4096)
        side[name](store, value)
        main["asyncify_stop_unwind"](store)
        main["asyncify_start_rewind"](store, 4096)
        return side[name](store, -9)

    assert suspended_and_resumed("f", 4) == 3 * (2 * 5) - 1
    assert suspended_and_resumed("f", 5) == 3 * (10 + 2 * 5) - 1
    assert suspended_and_resumed("g", 4) == 2 * 7
    # Entry 2 is the module's own, which calls the other's: 6 is even.
    assert suspended_and_resumed("table", 2) == 3 * (2 * 7) + 1
    with pytest.raises(wasmtime.Trap, match="asyncify_suspended_in_foreign_tail_call"):
        suspended_and_resumed("table", 0)


LEAVING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (table {exported} 1 funcref)
    (elem (i32.const 0) func $own)
    (type $t (func (param i32) (result i32)))
    (global $steps (export "steps") (mut i32) (i32.const 0))
    (func $step (global.set $steps (i32.add (global.get $steps) (i32.const 1))))
    (func $own (type $t) (i32.add (i32.const 1) (call $ask (local.get 0))))
    (func (export "leave") (type $t) (call $step) ({call} (type $t) (local.get 0) (i32.const 0)))
    (func (export "leave_or_wait") (type $t)
      (call $step)
      (if (i32.eqz (local.get 0)) (then (return (i32.add (i32.const 5) (call $ask (local.get 0))))))
      ({call} (type $t) (local.get 0) (i32.const 0))))
"""


@pytest.mark.parametrize("thunks", [False, True])
def test_what_has_left_for_another_instance_does_not_run_again_where_that_is_rewound(*, thunks: bool) -> None:
    """The host says so by the state: it had no frame, so its caller has called it again."""
    given = assemble(LEAVING.format(exported='(export "table")', call="return_call_indirect"))
    module = instrument(given, caesura.Options(thunks=thunks))
    store = wasmtime.Store(engine())
    number = wasmtime.ValType.i32()
    imported = wasmtime.Func(store, wasmtime.FuncType([number], [number]), lambda value: value * 2)
    exports: dict[str, Any] = dict(
        wasmtime.Instance(store, wasmtime.Module(engine(), module), [imported]).exports(store)
    )
    state = exports["asyncify_leaving_state"]
    for name in ("leave", "leave_or_wait"):
        steps = exports["steps"].value(store)
        state.set_value(store, 4)
        assert exports["asyncify_get_state"](store) == 4
        with pytest.raises(wasmtime.Trap, match="asyncify_suspended_in_foreign_tail_call"):
            exports[name](store, 3)
        assert state.value(store) == 0
        assert exports["steps"].value(store) == steps
        assert exports[name](store, 3) == 7


@pytest.mark.parametrize(
    ("exported", "call", "tells"),
    [
        ('(export "table")', "return_call_indirect", True),
        ('(export "table")', "call_indirect", False),
        ("", "return_call_indirect", False),
    ],
)
def test_only_modules_that_can_leave_for_other_instances_tell_of_it(exported: str, call: str, *, tells: bool) -> None:
    module = instrument(assemble(LEAVING.format(exported=exported, call=call)))
    assert (b"asyncify_leaving_state" in module) == tells
