"""Guests that bring their own runtime: imports of module `asyncify` become calls inside the module."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.building import HEADER, parts, section
from tests.support.engine import assemble, engine
from tests.support.guests import text_guest
from tests.support.instrumenting import instrument
from tests.support.paths import npm_file
from tests.support.plain_abi import LATER, PlainGuest


def run_tasks(binary: bytes, argument: int) -> tuple[object, list[int]]:
    """Run the guest's two tasks; return the number of rounds and what was printed."""
    printed: list[int] = []
    guest = PlainGuest(binary, {("env", "print"): lambda value: printed.append(value)}, stacks=LATER)
    rounds = guest.call("run", argument)
    assert guest.call("state") == 0
    return rounds, printed


def test_two_tasks_take_turns() -> None:
    """A scheduler in the guest interleaves two call stacks, which it leaves and enters by itself."""
    binary = instrument(text_guest("tasks"), caesura.Options(ignore_imports=True))
    assert [item.module for item in wasmtime.Module(engine(), binary).imports] == ["env"]
    rounds, printed = run_tasks(binary, 3)
    assert printed == [100, 200, 101, 200, 102, 200, 3, 3000, 3000, 3001]
    assert rounds == 7


@pytest.mark.parametrize("argument", [1, 2, 10])
def test_tasks_of_other_lengths(argument: int) -> None:
    """The tasks' own results and outputs do not depend on how they are interleaved."""
    _, printed = run_tasks(instrument(text_guest("tasks"), caesura.Options(ignore_imports=True)), argument)
    assert [value for value in printed if 100 <= value < 100 + argument] == list(range(100, 100 + argument))
    assert printed.count(200) == argument
    assert printed.count(argument * 1000) == 2
    assert printed[-1] == argument * 1000 + 1


def test_runtime_is_not_instrumented() -> None:
    """Of the guest, only what can be on the stack between the two ends of the runtime is instrumented."""
    report = caesura.instrument(text_guest("tasks"), caesura.Options(ignore_imports=True))
    assert {function.name for function in report.functions if function.instrumented} == {
        "say",
        "counter",
        "mixer",
    }


@pytest.mark.parametrize("options", [{}, {"linked": True}, {"only_list": ("say", "counter", "mixer")}])
def test_thunks_would_take_its_data_for_a_control_block(options: dict[str, Any]) -> None:
    """So they are refused, where an import has one, and only there."""
    with pytest.raises(
        caesura.UnsupportedModule, match=r"a scheduler of its own, .* and import env\.print may suspend"
    ):
        caesura.instrument(text_guest("tasks"), caesura.Options(thunks=True, **options))
    with_entries_alone = instrument(
        text_guest("tasks"), caesura.Options(thunks=True, imports=("env.other",), **options)
    )
    assert run_tasks(with_entries_alone, 3) == run_tasks(
        instrument(text_guest("tasks"), caesura.Options(ignore_imports=True)), 3
    )


def test_get_state_alone() -> None:
    """`asyncify.get_state` may be imported by itself, and tells the state at any time."""
    text = """
      (module
        (import "asyncify" "get_state" (func $get_state (result i32)))
        (import "env" "ask" (func $ask (result i32)))
        (memory (export "memory") 1)
        (func (export "state") (result i32) (call $get_state))
        (func (export "run") (result i32) (i32.add (call $ask) (call $get_state))))
    """
    seen: list[object] = []

    def ask() -> int:
        seen.append(guest.call("state"))
        return 40

    guest = PlainGuest(instrument(assemble(text)), {("env", "ask"): ask}, suspend_at=lambda call: True)
    assert guest.call("state") == 0
    assert guest.call("run") == 40
    assert guest.suspensions == 1
    assert seen == [0]
    guest.set_stack_pointers(0, 64, 128)
    guest.function("asyncify_start_unwind")(guest.store, 0)
    assert guest.function("state")(guest.store) == 1
    guest.function("asyncify_start_rewind")(guest.store, 0)
    assert guest.function("state")(guest.store) == 2


SLEEPER = """
  (module
    (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
    (import "asyncify" "stop_unwind" (func $stop_unwind))
    (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
    (import "asyncify" "stop_rewind" (func $stop_rewind))
    (import "env" "sleep" (func $host (param i32)))
    (memory (export "memory") 1)
    (global $sleeping (mut i32) (i32.const 0))
    (func $sleep (param $ms i32)
      (if (global.get $sleeping)
        (then (global.set $sleeping (i32.const 0)) (call $stop_rewind))
        (else
          (global.set $sleeping (i32.const 1))
          (i32.store (i32.const 16) (i32.const 24))
          (i32.store (i32.const 20) (i32.const 1024))
          (call $host (local.get $ms))
          (call $start_unwind (i32.const 16)))))
    (func $main (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (local.get $n)))
        (call $sleep (local.get $n))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "start") (param i32) (result i32) (local $result i32)
      (local.set $result (call $main (local.get 0)))
      (if (global.get $sleeping) (then (call $stop_unwind)))
      (local.get $result))
    (func (export "resume") (result i32) (local $result i32)
      (call $start_rewind (i32.const 16))
      (local.set $result (call $main (i32.const 0)))
      (if (global.get $sleeping) (then (call $stop_unwind)))
      (local.get $result)))
"""


@pytest.mark.parametrize("optimize", ["size", "balanced"])
def test_a_small_guest_with_its_own_runtime_is_no_larger_than_with_binaryen(optimize: str, tmp_path: Path) -> None:
    """Where a module is small, what counts are the ABI's functions; the guest's imports become these themselves."""
    named = assemble(SLEEPER)
    original = HEADER + b"".join(section(item.number, item.payload) for item in parts(named) if item.number)
    (tmp_path / "in.wasm").write_bytes(original)
    command = [str(npm_file(".bin/wasm-opt")), "--asyncify", "-O1", "in.wasm", "-o", "out.wasm"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    ours = caesura.instrument(original, caesura.Options(optimize=optimize)).module
    assert len(ours) <= len((tmp_path / "out.wasm").read_bytes())


def test_a_small_guest_sleeps_and_goes_on() -> None:
    slept: list[int] = []
    binary = instrument(assemble(SLEEPER))
    guest = PlainGuest(binary, {("env", "sleep"): lambda value: slept.append(value)}, stacks=LATER)
    guest.call("start", 3)
    results = [guest.call("resume") for _ in range(3)]
    assert slept == [3, 2, 1]
    assert results[-1] == 6


def test_imports_of_the_runtime_that_are_named_twice() -> None:
    """Two imports of one function, and both names of the function that stops, are one function of the ABI."""
    binary = instrument(
        assemble("""
          (module
            (import "asyncify" "stop_unwind" (func $stop_unwind))
            (import "asyncify" "start_rewind" (func $start (param i32)))
            (import "asyncify" "start_rewind" (func $start_too (param i32)))
            (import "asyncify" "stop_rewind" (func $stop_rewind))
            (import "asyncify" "get_state" (func $state (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (param i32) (result i32)
              (call $start (i32.const 16)) (call $stop_rewind)
              (call $start_too (i32.const 16)) (call $state) (call $stop_unwind)))
        """)
    )
    store = wasmtime.Store(engine())
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, binary), []).exports(store)
    run, state = exports["run"], exports["asyncify_get_state"]
    assert isinstance(run, wasmtime.Func) and isinstance(state, wasmtime.Func)
    assert run(store, 0) == 2
    assert state(store) == 0
