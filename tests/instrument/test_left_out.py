"""A function that options wrongly left out goes on while the guest unwinds: it traps, or what it enters then does.

Else it would be rewound with a frame that is another function's. What hosts enter from inside the import does nothing,
as ever: tests/real/test_abi.py. That is how it is without the guard (test_guard.py), which says so earlier.
"""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from tests.support.engine import assemble
from tests.support.plain_abi import HostFunction, PlainGuest, always

TEXT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "other" (func $other))
    (memory (export "memory") 1)
    (type $unary (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $inner)
    (func $inner (param $n i32) (result i32) (local $a i32)
      (local.set $a (i32.mul (local.get $n) (i32.const 3)))
      (i32.add (call $ask (local.get $n)) (local.get $a)))
    (func $next {export} (param $n i32) (result i32) (local $a i32) (local $b i32)
      (local.set $a (i32.mul (local.get $n) (i32.const 5)))
      (local.set $b (call $ask (local.get $n)))
      (if (local.get $a) (then (local.set $b (i32.add (local.get $b) (call $ask (i32.const 7))))))
      (i32.add (local.get $b) (local.get $a)))
    (func $middle (param i32) (result i32) (i32.add {call} {behind}))
    (func $sum (export "run") (param $n i32) (result i32)
      (i32.add (call $middle (local.get $n)) (call $next (local.get $n)))))
"""
CALL = "(call $inner (local.get 0))"
INDIRECT = "(call_indirect (type $unary) (local.get 0) (i32.const 0))"
# What is exported too, what the function in the middle calls and what behind that, and the options that are wrong.
CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "remove-list": ("", CALL, "(i32.const 1)", {"remove_list": ("middle",)}),
    "remove-list, an export next": ('(export "next")', CALL, "(i32.const 1)", {"remove_list": ("middle",)}),
    "remove-list, next at once": ("", CALL, "(call $next (local.get 0))", {"remove_list": ("middle",)}),
    "only-list": ("", CALL, "(i32.const 1)", {"only_list": ("inner", "next", "sum")}),
    "ignored calls": ("", INDIRECT, "(i32.const 1)", {"ignore_indirect": True, "add_list": ("next", "sum")}),
}
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "pieces": ({}, AUTOMATIC),
    "shared": ({}, SHARED),
    "inline": ({}, INLINE),
    "size": ({"optimize": "size"}, AUTOMATIC),
    "two bodies": ({"two_bodies": "all"}, AUTOMATIC),
    "two bodies, shared": ({"two_bodies": "all"}, SHARED),
    "no multivalue": ({"no_multivalue": True}, SHARED),
}


def ask(number: int) -> int:
    return number + 100


def build(case: str, shape: str, right: bool) -> bytes:
    export, call, behind, wrong = CASES[case]
    settings, moves = SHAPES[shape]
    text = TEXT.format(export=export, call=call, behind=behind)
    lists = {"imports": ("env.ask",)} if right else {**wrong, "no_guard": True}
    return instrument_as(assemble(text), caesura.Options(**settings, **lists), None, moves, None).module


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_what_is_entered_while_unwinding_traps(case: str, shape: str) -> None:
    functions: dict[tuple[str, str], HostFunction] = {("env", "ask"): ask, ("env", "other"): lambda: None}
    right = PlainGuest(build(case, shape, right=True), functions, suspend_at=always)
    never = PlainGuest(build(case, shape, right=True), functions)
    assert right.call("run", 4) == never.call("run", 4)
    assert right.suspensions == len(never.log) > 2
    wrong = PlainGuest(build(case, shape, right=False), functions, suspend_at=always)
    with pytest.raises(wasmtime.Trap) as trap:
        wrong.call("run", 4)
    assert trap.value.trap_code == wasmtime.TrapCode.UNREACHABLE
    assert "asyncify_entered_while_unwinding" in str(trap.value)
    assert len(wrong.log) == 1, "it was rewound"


DIRECT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $next (export "next") (param $n i32) (result i32)
      (i32.add (call $ask (local.get $n)) (i32.mul (local.get $n) (i32.const 5))))
    (func $direct (export "direct") (param $n i32) (result i32) (local $sum i32)
      (if (i32.eqz (local.get $n)) (then (return (i32.const 9))))
      (local.set $sum (call $ask (local.get $n)))
      (i32.add (local.get $sum) (call $next (local.get $sum))))
    (func $sum (export "run") (param $n i32) (result i32)
      (i32.add (call $direct (local.get $n)) (call $next (local.get $n)))))
"""


@pytest.mark.parametrize("lists", [{"remove_list": ("direct",)}, {"only_list": ("next", "sum")}])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_function_that_calls_the_import_itself(shape: str, lists: dict[str, Any]) -> None:
    """What it goes on to call may be entered from outside, and nothing has been pushed then."""
    settings, moves = SHAPES[shape]
    functions: dict[tuple[str, str], HostFunction] = {("env", "ask"): ask}
    options = caesura.Options(**settings, **lists, imports=("env.ask",), no_guard=True)
    module = instrument_as(assemble(DIRECT), options, None, moves, None).module
    for export in ("run", "direct"):
        guest = PlainGuest(module, functions, suspend_at=always)
        with pytest.raises(wasmtime.Trap) as trap:
            guest.call(export, 4)
        assert trap.value.trap_code == wasmtime.TrapCode.UNREACHABLE
        assert "asyncify_suspended_where_left_out" in str(trap.value)
        assert len(guest.log) == 1, "it has gone on"
        if export == "direct":
            assert guest.call("direct", 0) == 9
    never = PlainGuest(module, functions)
    assert never.call("run", 4) == (104 + 204 + 520) + (104 + 20)


@pytest.mark.parametrize("asserts", [False, True])
def test_a_function_that_leaves_by_a_tail_call_of_the_import(asserts: bool) -> None:
    """It is not on the stack any more; what it returns to is not known to suspend."""
    text = DIRECT.replace("(local.set $sum (call $ask (local.get $n)))", "(return_call $ask (local.get $n))")
    options = caesura.Options(remove_list=("direct",), imports=("env.ask",), asserts=asserts, no_guard=True)
    module = caesura.instrument(assemble(text), options).module
    for export in ("run", "direct"):
        guest = PlainGuest(module, {("env", "ask"): ask}, suspend_at=always)
        with pytest.raises(wasmtime.Trap) as trap:
            guest.call(export, 4)
        wanted = "suspended below function 2 (direct)" if asserts else "asyncify_suspended_where_left_out"
        assert wanted in str(trap.value)
        assert len(guest.log) == 1, "it has gone on"
    assert PlainGuest(module, {("env", "ask"): ask}).call("run", 4) == PlainGuest(
        assemble(text), {("env", "ask"): ask}
    ).call("run", 4)


def test_where_nothing_is_left_out_there_is_no_check() -> None:
    plain = caesura.instrument(assemble(DIRECT), caesura.Options(imports=("env.ask",))).module
    assert b"asyncify_suspended_where_left_out" not in plain
