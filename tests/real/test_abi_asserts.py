"""The option `asserts`: a function that was kept from being instrumented, but is suspended all the same, is found."""

from __future__ import annotations

import pytest
import wasmtime

import caesura
from tests.support.engine import assemble
from tests.support.instrumenting import instrument
from tests.support.plain_abi import HostFunction, PlainGuest, always, never

TEXT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (type $unary (func (param i32) (result i32)))
    (table funcref (elem $asker))
    (func $asker (type $unary) (i32.add (call $ask (local.get 0)) (i32.const 1)))
    (func $forgotten (param i32) (result i32) (i32.mul (call $asker (local.get 0)) (i32.const 2)))
    (func $direct (param i32) (result i32) (i32.mul (call $ask (local.get 0)) (i32.const 3)))
    (func $pointer (param i32) (result i32)
      (i32.sub (call_indirect (type $unary) (local.get 0) (i32.const 0)) (i32.const 5)))
    (func $quiet (param i32) (result i32) (i32.add (local.get 0) (i32.const 4)))
    (func (export "forgotten") (param i32) (result i32) (call $quiet (call $forgotten (local.get 0))))
    (func (export "direct") (param i32) (result i32) (call $quiet (call $direct (local.get 0))))
    (func (export "pointer") (param i32) (result i32) (call $quiet (call $pointer (local.get 0)))))
"""
REMOVED = ("forgotten", "direct", "pointer")
ASK: dict[tuple[str, str], HostFunction] = {("env", "ask"): lambda value: value * 7}


@pytest.mark.parametrize("name", REMOVED)
def test_trap_names_the_function(name: str) -> None:
    """The function on the remove-list traps as soon as it sees the suspension, and the backtrace says which it was."""
    binary = instrument(assemble(TEXT), caesura.Options(remove_list=REMOVED, asserts=True, no_guard=True))
    guest = PlainGuest(binary, ASK, suspend_at=always)
    with pytest.raises(wasmtime.Trap) as trap:
        guest.call(name, 6)
    innermost = trap.value.frames[0].func_name or ""
    assert name in innermost
    assert "instrumented" in innermost


@pytest.mark.parametrize("name", REMOVED)
def test_silence_without_suspension(name: str) -> None:
    """The checks change nothing while nothing is suspended."""
    original = PlainGuest(assemble(TEXT), ASK)
    binary = instrument(assemble(TEXT), caesura.Options(remove_list=REMOVED, asserts=True, no_guard=True))
    assert PlainGuest(binary, ASK, suspend_at=never).call(name, 6) == original.call(name, 6)


def test_instrumented_functions_are_not_checked() -> None:
    """Functions that are instrumented are suspended as ever, with the option too."""
    binary = instrument(assemble(TEXT), caesura.Options(asserts=True))
    original = PlainGuest(assemble(TEXT), ASK)
    for name in REMOVED:
        guest = PlainGuest(binary, ASK, suspend_at=always)
        assert guest.call(name, 6) == original.call(name, 6)
        assert guest.suspensions == 1


def test_function_without_a_name() -> None:
    """In a module that has no names, the trap shows the function's index."""
    original = assemble("""
      (module
        (import "env" "ask" (func (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (param i32) (result i32) (i32.mul (call 0 (local.get 0)) (i32.const 2)))
        (func (export "run") (param i32) (result i32) (call 1 (local.get 0))))
    """)
    nameless = next(function for function in caesura.instrument(original).functions if function.index == 1)
    binary = instrument(original, caesura.Options(remove_list=(nameless.name,), asserts=True, no_guard=True))
    with pytest.raises(wasmtime.Trap) as trap:
        PlainGuest(binary, ASK, suspend_at=always).call("run", 6)
    assert "1" in (trap.value.frames[0].func_name or "")


LEAVING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $passed (export "passed") (mut i32) (i32.const 0))
    (func $asker (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
    (func $left (export "left") (param i32) (result i32)
      (global.set $passed (i32.add (global.get $passed) (i32.const 1)))
      (return_call $ask (local.get 0)))
    (func (export "run") (param i32) (result i32) (i32.add (call $left (local.get 0)) (call $asker (i32.const 1)))))
"""
WRAPPING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $asker (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
    (func $wrapper (export "wrapper") (param i32) (result i32) (call $asker (local.get 0))))
"""


@pytest.mark.parametrize("thunks", [False, True])
@pytest.mark.parametrize("asserts", [False, True])
def test_what_the_guard_refuses_is_refused_in_time_all_the_same(asserts: bool, thunks: bool) -> None:
    """Be it called, or leave by a tail call: nothing has changed where the guest traps."""
    for text, lists, names in (
        (TEXT, {"remove_list": REMOVED}, REMOVED),
        (LEAVING, {"only_list": ("asker", "run")}, ("left", "run")),
    ):
        binary = instrument(assemble(text), caesura.Options(**lists, asserts=asserts, thunks=thunks))
        for name in names:
            guest = PlainGuest(binary, ASK, suspend_at=always)
            with pytest.raises(wasmtime.Trap, match="asyncify_not_instrumented"):
                guest.call(name, 6)
            assert guest.state() == 0
            guest.suspend_at = never
            assert guest.call(name, 6) == PlainGuest(assemble(text), ASK).call(name, 6)


@pytest.mark.parametrize("asserts", [False, True])
def test_what_passes_a_suspension_on_may_be_left_out(asserts: bool) -> None:
    binary = instrument(assemble(WRAPPING), caesura.Options(only_list=("asker",), asserts=asserts))
    guest = PlainGuest(binary, ASK, suspend_at=always)
    assert guest.call("wrapper", 6) == 43
    assert guest.suspensions == 1
