"""Modules of functions that only make a call through a table: these share the call and its frame.

What they call is a function of the host here, put into the exported table when the module is there, as the instance
that an adapter is for does it. It must get its real arguments again in a rewind, whatever the host enters with.
"""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

import caesura
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid
from tests.support.engine import assemble, engine

STACK = 1024


def adapter(count: int, others: int = 0, before: str = "", *, names: bool = False) -> bytes:
    """Return an adapter with `count` functions of two types in turn, and others that do something else."""
    lines = []
    for number in range(count):
        type_ = "(param i32 i64) (result i64)" if number % 2 else "(param i32)"
        arguments = "(local.get 0)" + (" (local.get 1)" if number % 2 else "")
        call = f"{before} {arguments} (i32.const {number}) (call_indirect {type_})"
        lines.append(f'(func {f"$f{number}" if names else ""} (export "{number}") {type_} {call})')
    lines += [f"(func (result i32) (i32.const {number}))" for number in range(others)]
    table = f'(table (export "$imports") {count} {count} funcref) (memory (export "memory") 1)'
    return assemble(f"(module {table} {' '.join(lines)})")


def instrumented_functions(binary: bytes, **options: Any) -> caesura.Instrumented:
    result = caesura.instrument(binary, caesura.Options(**options))
    assert_valid(result.module)
    return result


@pytest.mark.parametrize("options", [{}, {"optimize": "size"}, {"no_multivalue": True}, {"thunks": True}])
def test_an_adapter_grows_by_little(options: dict[str, Any]) -> None:
    """Bodies stay as long as they are; two functions are added, whatever the number of those that call them."""
    small, large = adapter(10), adapter(40)
    added = [len(instrumented_functions(binary, **options).module) - len(binary) for binary in (small, large)]
    each = (added[1] - added[0]) / 30
    assert each < (50 if options.get("thunks") else 1)
    result = instrumented_functions(large, **options)
    assert len(result.functions) == result.instrumented == result.sites == 40
    assert all(function.frameless for function in result.functions)


@pytest.mark.parametrize("before", ["", "(drop (i64.mul (i64.const 3) (i64.extend_i32_u (local.get 0))))"])
@pytest.mark.parametrize("number", [4, 5])
def test_what_is_called_gets_its_arguments_again(number: int, before: str) -> None:
    binary = caesura.instrument(adapter(8, before=before)).module
    store = wasmtime.Store(engine())
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, binary), []).exports(store)
    calls: list[tuple[int, ...]] = []

    def abi(name: str, *arguments: int) -> Any:
        function = exports[f"asyncify_{name}"]
        assert isinstance(function, wasmtime.Func)
        return function(store, *arguments)

    def called(*arguments: int) -> int | None:
        calls.append(arguments)
        if abi("get_state") == 0:
            abi("start_unwind", 16)
        else:
            abi("stop_rewind")
        return 1 << 40 if number % 2 else None

    i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
    type_ = wasmtime.FuncType([i32, i64], [i64]) if number % 2 else wasmtime.FuncType([i32], [])
    table, memory, entered = exports["$imports"], exports["memory"], exports[str(number)]
    assert isinstance(table, wasmtime.Table) and isinstance(memory, wasmtime.Memory)
    assert isinstance(entered, wasmtime.Func)
    table.set(store, number, wasmtime.Func(store, type_, called))
    memory.write(store, STACK.to_bytes(4, "little") + (2 * STACK).to_bytes(4, "little"), 16)
    real, garbage = ((7, 1 << 50), (0, -1)) if number % 2 else ((7,), (0,))
    assert not entered(store, *real)
    assert abi("get_state") == 1
    assert not entered(store, *garbage)  # in mid-unwind it does nothing
    abi("stop_unwind")
    assert calls == [real]
    abi("start_rewind", 16)
    assert entered(store, *garbage) == (1 << 40 if number % 2 else None)
    assert calls == [real, real]
    assert memory.read(store, 16, 20) == STACK.to_bytes(4, "little")


@pytest.mark.parametrize(
    "options",
    [
        {"add_list": ("0",)},
        {"remove_list": ("0",)},
        {"only_list": ("0",)},
        {"ignore_indirect": True},
        {"asserts": True},
    ],
)
def test_where_functions_are_listed_nothing_is_shared(options: dict[str, Any]) -> None:
    result = instrumented_functions(adapter(8), **options)
    assert not any(function.frameless for function in result.functions)


def test_programs_with_few_such_functions_stay_as_they_are() -> None:
    assert instrumented_functions(adapter(4, others=40)).instrumented == 4
    assert not any(function.frameless for function in instrumented_functions(adapter(4, others=40)).functions)


def test_a_table_of_the_modules_own_is_looked_into_instead() -> None:
    binary = assemble("""
      (module (table 2 2 funcref) (elem (i32.const 0) $quiet)
        (func $quiet (param i32))
        (func (export "a") (param i32) (local.get 0) (i32.const 0) (call_indirect (param i32)))
        (func (export "b") (param i32) (local.get 0) (i32.const 0) (call_indirect (param i32))))
    """)
    assert instrumented_functions(binary).instrumented == 0


def test_added_functions_have_names_and_offsets_stay() -> None:
    result = instrumented_functions(adapter(8, names=True))
    assert b"asyncify_call_indirect_" in result.module
    assert [function.name for function in result.functions] == [f"f{number}" for number in range(8)]


def test_code_that_is_malformed_is_refused_with_its_place() -> None:
    good = adapter(8)
    broken = bytearray(good)
    broken[Module(good).body_starts[3] + 1] = 0xF8
    with pytest.raises(caesura.MalformedModule, match="unknown opcode 0xf8") as refused:
        caesura.instrument(bytes(broken))
    assert refused.value.offset == Module(good).body_starts[3] + 1


# The types in turn of the functions in the module through which a component's own module calls its imports.
SHIM_TYPES = (
    "(param i32)",
    "(param i32 i32)",
    "(param i32 i64 i32)",
    "(param i32 i32 i32 i32)",
    "(param i32 i32 i32 i32) (result i32)",
    "(param i32 i32) (result i32)",
    "(param i64 i32)",
    "(param i32) (result i32)",
)


def shim(count: int, names: bool) -> bytes:
    """Return a module as wit-component makes it to link a component: names, exports and table are laid out like its."""
    functions = []
    for number in range(count):
        type_ = SHIM_TYPES[number % len(SHIM_TYPES)]
        parameters = len(type_.partition(" (result")[0].removeprefix("(param ").split())
        arguments = " ".join(f"(local.get {place})" for place in range(parameters))
        name = f"$indirect-wasi:filesystem/types-method-{number}" if names else ""
        call = f"(call_indirect {type_} (i32.const {number}))"
        functions.append(f'(func {name} (export "{number}") {type_} {arguments} {call})')
    return assemble(f'(module {" ".join(functions)} (table (export "$imports") {count} {count} funcref))')


# Binaryen's output (`--asyncify -O1 -g`) has 7,794 bytes without names and 9,511 with names.
@pytest.mark.parametrize(
    ("names", "thunks", "most"), [(False, False, 1.15), (False, True, 3.0), (True, False, 0.55), (True, True, 1.16)]
)
def test_what_a_components_shim_grows_by(names: bool, thunks: bool, most: float) -> None:
    binary = shim(41, names)
    assert len(instrumented_functions(binary, thunks=thunks).module) <= len(binary) * (1 + most)
