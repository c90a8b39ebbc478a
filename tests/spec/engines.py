"""Engines that run the modules of scripts: what a run needs of one, and Wasmtime.

Instances are numbers; the first is `driver.RUNTIME`, the second `SPECTEST`, the module that the suite expects.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import wasmtime

from caesura.host.native import SharedMemory, allow_shared_memories
from tests.spec.driver import HOSTS, RUNTIME, SLOT

RUNTIME_INSTANCE: Final = 0
SPECTEST_INSTANCE: Final = 1
MOST_RESULTS: Final = 64

EXCEPTION: Final = "exception"

SPECTEST: Final = """(module
  (func (export "print")) (func (export "print_i32") (param i32)) (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32)) (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32)) (func (export "print_f64_f64") (param f64 f64))
  (global (export "global_i32") i32 (i32.const 666)) (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6)) (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref) (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2) (memory (export "shared_memory") 1 2 shared))
"""
_PROPOSALS: Final = (
    "custom_page_sizes exceptions function_references gc memory64 multi_memory relaxed_simd tail_call threads "
    "wide_arithmetic"
)


class CannotInstantiateError(Exception):
    """A module is not valid for the engine, does not link, or its start function or a segment traps."""


class Import(NamedTuple):
    """An import and what it is given: an export of an instance."""

    module: str
    name: str
    instance: int
    export: str


class Engine(Protocol):
    """An engine with its instances."""

    def instantiate(self, binary: bytes, imports: list[Import]) -> int:
        """Return the number of a new instance; raises CannotInstantiateError."""

    def call(self, instance: int, export: str) -> str:
        """Call an exported function without parameters and results; return what it ended with, "" if it returned.

        That is `EXCEPTION`, or words for the trap.
        """

    def record(self) -> bytes:
        """Return what a driver has stored, for at most MOST_RESULTS results."""

    def suspensions(self) -> int:
        """Return how often a guest was suspended."""

    def close(self) -> None:
        """End what the engine runs in."""


@functools.cache
def wasmtime_engine() -> wasmtime.Engine:
    """Wasmtime, with every proposal that it knows."""
    configuration = wasmtime.Config()
    for proposal in _PROPOSALS.split():
        setattr(configuration, f"wasm_{proposal}", True)
    allow_shared_memories(configuration)
    configuration.cranelift_opt_level = "none"
    configuration.parallel_compilation = False
    return wasmtime.Engine(configuration)


@functools.cache
def _compiled(text: str) -> wasmtime.Module:
    return wasmtime.Module(wasmtime_engine(), bytes(wasmtime.wat2wasm(text)))


class WasmtimeEngine:
    """Wasmtime, in this process."""

    def __init__(self) -> None:
        self._store = wasmtime.Store(wasmtime_engine())
        kind = wasmtime.FuncType([wasmtime.ValType.externref()], [wasmtime.ValType.i32()])
        identify = wasmtime.Func(self._store, kind, lambda value: value)
        self._instances: list[Mapping[str, Any]] = []
        runtime = self._add(_compiled(RUNTIME), [identify])
        self._runtime = self._instances[runtime]
        for number in range(HOSTS):
            self._runtime["hosts"].set(self._store, number, number)
        self._add(_compiled(SPECTEST), [])

    def _add(self, module: wasmtime.Module, imports: list[Any]) -> int:
        self._instances.append(wasmtime.Instance(self._store, module, imports).exports(self._store))
        return len(self._instances) - 1

    def instantiate(self, binary: bytes, imports: list[Import]) -> int:
        """See `Engine`."""
        for item in imports:
            if item.export not in self._instances[item.instance]:
                raise CannotInstantiateError(f"there is no export '{item.export}'")
        items = [self._instances[item.instance][item.export] for item in imports]
        shared = [SharedMemory.of(item) if isinstance(item, wasmtime.SharedMemory) else item for item in items]
        try:
            return self._add(wasmtime.Module(wasmtime_engine(), binary), shared)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise CannotInstantiateError(_first_line(error)) from None

    def call(self, instance: int, export: str) -> str:
        """See `Engine`."""
        try:
            self._instances[instance][export](self._store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            return _ending(error)
        return ""

    def record(self) -> bytes:
        """See `Engine`."""
        return ctypes.string_at(self._runtime["record"].data_ptr(self._store), MOST_RESULTS * SLOT)

    def suspensions(self) -> int:
        """See `Engine`."""
        count: int = self._runtime["suspensions"].value(self._store)
        return count

    def close(self) -> None:
        """See `Engine`."""
        self._store.close()


def _ending(error: Exception) -> str:
    if isinstance(error, wasmtime.Trap) and error.trap_code is not None:
        code = error.trap_code.name.lower()
        return EXCEPTION if code == "uncaught_exception" else code
    return EXCEPTION if "exception" in str(error) else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]
