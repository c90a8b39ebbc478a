"""What is missing in a list is found in whatever a command prints: errors of hosts, stacks of engines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
import wasmtime

import caesura
from caesura.recording.missing import MissingEntries, MissingFunctions
from caesura.recording.refusals import MISSING, StackFrame, read_refusals

# Functions of the module are numbered from 1: the trap, what calls it, the one that is not instrumented, the outermost.
MODULE: Final = bytes(
    wasmtime.wat2wasm("""
    (module
      (import "env" "f" (func $f))
      (func $asyncify_not_instrumented unreachable)
      (func $inner (export "inner") call $asyncify_not_instrumented)
      (func $left_out call $f)
      (func $main (export "main") call $left_out))
    """)
)
SCRIPT: Final = """\
import { readFileSync } from "node:fs";
const f = () => guest.inner();
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), { env: { f } });
const guest = instance.exports;
const text = process.argv[3] == "quoted" ? JSON.stringify : (value) => value;
try { guest.main(); } catch (error) { console.log("before\\n" + text(error.stack) + "\\nbehind"); }
"""
STACK: Final = (StackFrame(2, "inner"), StackFrame(3, "left_out"), StackFrame(4, "main"))


@pytest.mark.parametrize("form", ["lines", "quoted"])
def test_stacks_of_v8(form: str, tmp_path: Path) -> None:
    (tmp_path / "guest.wasm").write_bytes(MODULE)
    (tmp_path / "run.mjs").write_text(SCRIPT)
    command = ["node", "run.mjs", "guest.wasm", form]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert read_refusals(output.splitlines() * 2).stacks == (STACK,)


def test_a_function_that_is_called_like_the_trap() -> None:
    """It is one of the stack, below the trap, and hides nothing of it."""
    frame = "    at {} (wasm://wasm/1a2b:wasm-function[{}]:0x45)"
    names = [("asyncify_not_instrumented", 9), ("inner", 2), ("asyncify_not_instrumented", 3), ("main", 4)]
    lines = ["RuntimeError: unreachable", *[frame.format(*one) for one in names], "behind"]
    stack = tuple([StackFrame(index, name) for name, index in names[1:]])
    assert read_refusals(lines * 2).stacks == (stack,)


def test_stacks_of_wasmtime() -> None:
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, MODULE)

    def f() -> None:
        call("inner")

    def call(name: str) -> None:
        function = instance.exports(store)[name]
        assert isinstance(function, wasmtime.Func)
        function(store)

    instance = wasmtime.Instance(store, module, [wasmtime.Func(store, wasmtime.FuncType([], []), f)])
    with pytest.raises(wasmtime.Trap) as error:
        call("main")
    assert read_refusals(str(error.value).splitlines()).stacks == (
        tuple(StackFrame(None, frame.name) for frame in STACK),
    )


def test_a_stack_of_firefox() -> None:
    text = """\
RuntimeError: unreachable executed
asyncify_not_instrumented@http://localhost/guest.wasm:wasm-function[1]:0x37
inner@http://localhost/guest.wasm:wasm-function[2]:0x3b
f@http://localhost/run.mjs:2:20
left_out@http://localhost/guest.wasm:wasm-function[3]:0x40
main@http://localhost/guest.wasm:wasm-function[4]:0x45
@http://localhost/run.mjs:6:20

later@http://localhost/guest.wasm:wasm-function[9]:0x45
"""
    assert read_refusals(text.splitlines()).stacks == (STACK,)


def test_errors_of_our_hosts() -> None:
    names = ["main", "operator<<(a, b)[abi]", 'with "quotes" and \\', "#12@0123456789abcdef"]
    error = f"UsageError: env.f has to wait. {MISSING}{json.dumps(names)}. More of it"
    lines = [
        "nothing",
        f"E   {error}",
        f"  'message': {json.dumps(error)}",
        f'{MISSING}["another"]',
        f'{MISSING}["cut off',
        f'{MISSING}{{"no": "list"}}',
        f"{MISSING}{'[' * 100_000}",
    ]
    assert read_refusals(lines).entries == (*names, "another")


def missing_functions(module: bytes, *only_list: str) -> MissingFunctions:
    return MissingFunctions(module, only_list, caesura.instrument(module, caesura.Options(only_list=only_list)))


def test_entries_for_what_is_missing() -> None:
    missing = missing_functions(MODULE, "ma*", "left_out")
    told = ["inner", "#2", caesura.body_entries(MODULE, [2])[0], "main", "#3", "*", "#99", "#2@0123456789abcdef"]
    found = missing.entries(told, [STACK])
    assert found.entries == ("inner",)
    assert found.instrumented == ("main", "left_out")
    assert found.unknown == ("*", "#99", "#2@0123456789abcdef")


def test_what_is_listed_is_not_missing_where_it_calls_nothing_that_is() -> None:
    found = missing_functions(MODULE, "main").entries(["main", "left_out"], [STACK])
    assert found == MissingEntries(entries=("left_out", "inner"), instrumented=(), unknown=())


def test_entries_for_functions_without_names() -> None:
    module = bytes(wasmtime.wat2wasm('(module (import "a" "b" (func)) (func call 0) (func (export "run") call 1))'))
    frames = [StackFrame(1, None), StackFrame(2, None), StackFrame(99, None)]
    found = missing_functions(module, "run").entries(["#1"], [frames])
    assert found.entries == caesura.body_entries(module, [1])


def test_functions_of_other_modules_are_not_taken() -> None:
    frames = [StackFrame(3, "something"), StackFrame(None, "else"), StackFrame(3, "guest.left_out")]
    assert missing_functions(MODULE, "main").entries([], [frames]).entries == ("left_out",)


def test_indices_where_imports_went_away() -> None:
    module = bytes(
        wasmtime.wat2wasm("""
        (module
          (import "asyncify" "start_unwind" (func $start (param i32)))
          (import "env" "f" (func $f))
          (memory 1)
          (func $sleep i32.const 16 call $start)
          (func $left_out call $sleep)
          (func $main (export "main") call $left_out))
        """)
    )
    frames = [StackFrame(2, None), StackFrame(3, None)]  # one lower than in the module that was given
    assert missing_functions(module, "main").entries(["#3"], [frames]).entries == ("left_out",)
