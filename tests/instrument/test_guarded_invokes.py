"""What Emscripten's `invoke_*` call belongs to the call that they are in: a suspension there is refused in time.

They are functions of the host that call one out of the table, by itself or through an export that does it
(`dynCall_*`), and catch exceptions of JavaScript. The refusal comes where the guest is asked to suspend, before a byte
is written to the asyncify stack. Exceptions that leave the guest do not let it refuse what is called later.
"""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble, engine
from tests.support.plain_abi import HEADER, HostFunction, PlainGuest, always, never

REFUSED = "asyncify_not_instrumented"
NAP, LEFT_OUT_NAP, FAILING = range(3)

TEXT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "fail" (func $fail))
    (import "env" "invoke_ii" (func $invoke_ii (param i32 i32) (result i32)))
    (import "env" "other" (func $other (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (type $unary (func (param i32) (result i32)))
    (table (export "table") 3 funcref) (elem (i32.const 0) $nap $left_out_nap $failing)
    (func $nap (param $n i32) (result i32) (i32.add (call $ask (local.get $n)) (i32.const 1)))
    (func $left_out_nap (param $n i32) (result i32) (i32.add (call $nap (local.get $n)) (i32.const 10)))
    (func $failing (param $n i32) (result i32) (call $left_out_failing) (call $nap (local.get $n)))
    (func $left_out_failing (call $listed_failing) (drop (call $nap (i32.const 0))))
    (func $listed_failing (drop (call $maybe_nap (i32.const 0))) (call $fail))
    (func $maybe_nap (param i32) (result i32)
      (if (local.get 0) (then (return (call $nap (i32.const 0))))) (i32.const 0))
    (func (export "dynCall_ii") (param $index i32) (param $n i32) (result i32)
      (call_indirect (type $unary) (local.get $n) (local.get $index)))
    (func $catches (param $index i32) (param $n i32) (result i32)
      (i32.add (call $invoke_ii (local.get $index) (local.get $n)) (i32.const 100)))
    (func $between (param $index i32) (param $n i32) (result i32)
      (i32.add (call $catches (local.get $index) (local.get $n)) (i32.const 1000)))
    (func $asks_other (param $index i32) (param $n i32) (result i32)
      (i32.add (call $other (local.get $index) (local.get $n)) (i32.const 100)))
    (func $between_other (param $index i32) (param $n i32) (result i32)
      (i32.add (call $asks_other (local.get $index) (local.get $n)) (i32.const 1000)))
    (func (export "run") (param $crosses i32) (param $index i32) (param $n i32) (result i32)
      (if (result i32) (local.get $crosses)
        (then (i32.mul (call $between (local.get $index) (local.get $n)) (i32.const 2)))
        (else (i32.mul (call $catches (local.get $index) (local.get $n)) (i32.const 2)))))
    (func (export "run_other") (param $index i32) (param $n i32) (result i32)
      (i32.add (call $between_other (local.get $index) (local.get $n)) (call $ask (local.get $n))))
    (func (export "fails") (call $left_out_failing)))
"""
LISTED = ("nap", "failing", "listed_failing", "maybe_nap", "dynCall_ii", "catches", "asks_other", "run*", "fails")


class Thrown(Exception):
    """Stands for a number that Emscripten's JavaScript throws."""


def module(**more: Any) -> bytes:
    made = caesura.instrument(
        assemble(TEXT),
        caesura.Options(only_list=LISTED, imports=("env.ask", "env.invoke_ii", "env.other"), **more),
    ).module
    assert_valid(made)
    return made


def ask(number: int) -> int:
    return number * 3


def guest_of(binary: bytes, way: str) -> PlainGuest:
    """Return a guest whose `invoke_ii` calls functions in one way; it is suspended whenever it asks."""
    store = wasmtime.Store(engine())
    i32 = wasmtime.ValType.i32()

    def invoke(index: int, number: int) -> int:
        try:
            if way == "dynCall":
                result = guest.function("dynCall_ii")(guest.store, index, number)
            else:
                table = guest.exports["table"]
                assert isinstance(table, wasmtime.Table)
                function = table.get(guest.store, index)
                assert isinstance(function, wasmtime.Func)
                result = function(guest.store, number)
        except Thrown:
            return -1
        assert isinstance(result, int)
        return result

    def fail() -> None:
        raise Thrown

    functions: dict[tuple[str, str], HostFunction | wasmtime.Func] = {
        ("env", "ask"): ask,
        ("env", "fail"): wasmtime.Func(store, wasmtime.FuncType([], []), fail),
        ("env", "invoke_ii"): wasmtime.Func(store, wasmtime.FuncType([i32, i32], [i32]), invoke),
        ("env", "other"): lambda _, number: number,
    }
    guest = PlainGuest(binary, functions, suspend_at=always, store=store)
    return guest


@pytest.mark.parametrize("way", ["dynCall", "table"])
def test_what_is_missing_on_either_side_is_found_in_time(way: str) -> None:
    binary = module()
    for crosses, index in ((1, NAP), (0, LEFT_OUT_NAP), (1, LEFT_OUT_NAP)):
        guest = guest_of(binary, way)
        assert guest.stacks is not None
        with pytest.raises(wasmtime.Trap, match=REFUSED):
            guest.call("run", crosses, index, 5)
        assert guest.state() == 0
        assert guest.stack_pointers(guest.stacks.address)[0] == guest.stacks.address + HEADER
        assert guest.call("run", 0, NAP, 5) == (15 + 1 + 100) * 2
        assert guest.suspensions == 2
        guest.suspend_at = never
        assert guest.call("run", 1, LEFT_OUT_NAP, 5) == (15 + 1 + 10 + 100 + 1000) * 2


@pytest.mark.parametrize("way", ["dynCall", "table"])
def test_what_it_catches_changes_nothing(way: str) -> None:
    guest = guest_of(module(), way)
    assert guest.call("run", 0, FAILING, 5) == (-1 + 100) * 2
    assert guest.call("run", 1, FAILING, 5) == (-1 + 100 + 1000) * 2
    assert guest.call("run", 0, NAP, 5) == (15 + 1 + 100) * 2
    assert guest.suspensions == 1


@pytest.mark.parametrize("way", ["dynCall", "table"])
@pytest.mark.parametrize("below", ["", "invoke"])
def test_an_exception_that_leaves_the_guest_lets_nothing_be_refused(below: str, way: str) -> None:
    """Be it below an `invoke_*` that lets it pass: what is called next begins anew."""
    guest = guest_of(module(), way)
    guest.suspend_at = never

    def leave(_: int) -> int:
        raise KeyError("not what invoke_* catch")

    if below:
        guest.replace(("env", "ask"), leave)
        with pytest.raises(KeyError):
            guest.call("run", 1, LEFT_OUT_NAP, 1)
        guest.replace(("env", "ask"), ask)
    else:
        with pytest.raises(Thrown):
            guest.call("fails")
    guest.suspend_at = always
    assert guest.call("dynCall_ii", NAP, 5) == 16
    assert guest.call("run", 0, NAP, 5) == (15 + 1 + 100) * 2
    assert guest.suspensions == 2


def test_exports_that_other_imports_call_begin_anew() -> None:
    """Hosts suspend these calls by themselves."""
    guest = guest_of(module(), "dynCall")
    guest.suspend_at = lambda call: call.name == "ask"

    def other(index: int, number: int) -> int:
        result = guest.call("dynCall_ii", index, number)
        assert isinstance(result, int)
        return result

    guest.replace(("env", "other"), other)
    assert guest.call("run_other", NAP, 5) == 16 + 100 + 1000 + 15
    assert guest.suspensions == 2
