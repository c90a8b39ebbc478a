"""A program that contains its own event loop: pure WebAssembly that prints 1, sleeps, is told 2, and prints 3."""

from __future__ import annotations

import pytest
import wasmtime

from tests.support.engine import engine
from tests.support.guests import text_guest
from tests.support.instrumenting import instrument

ASYNCIFY = {
    "start_unwind": [wasmtime.ValType.i32()],
    "stop_unwind": [],
    "start_rewind": [wasmtime.ValType.i32()],
    "stop_rewind": [],
}


def run(binary: bytes) -> list[int]:
    """Run the guest and return what it printed. Imports that caesura would have replaced do nothing."""
    printed: list[int] = []
    store = wasmtime.Store(engine())
    linker = wasmtime.Linker(store.engine)
    linker.define_func("spectest", "print", wasmtime.FuncType([wasmtime.ValType.i32()], []), printed.append)
    for name, parameters in ASYNCIFY.items():
        linker.define_func("asyncify", name, wasmtime.FuncType(parameters, []), lambda *arguments: None)
    instance = linker.instantiate(store, wasmtime.Module(store.engine, binary))
    runtime = instance.exports(store)["runtime"]
    assert isinstance(runtime, wasmtime.Func)
    runtime(store)
    return printed


def imports_of(binary: bytes) -> list[str]:
    """Return the modules from which a module imports."""
    return [item.module for item in wasmtime.Module(engine(), binary).imports]


def test_prints_in_order() -> None:
    """Instrumented, `main` is left in the middle and entered there again."""
    binary = instrument(text_guest("blog"))
    assert imports_of(binary) == ["spectest"]
    assert run(binary) == [1, 2, 3]


def test_uninstrumented_cannot_even_start() -> None:
    """As written, the program needs functions that only an instrumented module has."""
    store = wasmtime.Store(engine())
    print_number = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], []), lambda value: None)
    module = wasmtime.Module(store.engine, text_guest("blog"))
    with pytest.raises(wasmtime.WasmtimeError, match=r"expected 5 imports, found 1"):
        wasmtime.Instance(store, module, [print_number])


def test_uninstrumented_does_not_pause() -> None:
    """Given functions that do nothing, nothing unwinds: `main` runs to its end before the runtime prints, and again."""
    assert run(text_guest("blog")) == [1, 3, 2, 1, 3]
