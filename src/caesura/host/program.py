"""Compiled modules in this process, and how instances of them are made.

Compiled modules are kept for as long as anybody uses them and found again by their content, so that the second `load`
of a module costs an instantiation (60 us), not a compilation. Imported functions are linked by number, without the
Python functions behind them: guests with different host functions share one program.
"""

from __future__ import annotations

import ctypes
from typing import Final
from weakref import WeakValueDictionary

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._exportable import AsExtern
from wasmtime._module import ImportTypeList
from wasmtime._types import ImportType

from caesura.errors import InternalError
from caesura.host import native
from caesura.host.compiling import CompiledCode, Provided, Recipe
from caesura.host.description import Description, ImportShape
from caesura.host.engines import EngineSettings, engine_of
from caesura.wasm.module import FUNCTION_KIND

# How many imports Wasmtime connects in less than a millisecond.
_FEW_IMPORTS: Final = 10_000

# A module's digest and how it was compiled.
Key = tuple[bytes, Recipe]


class CompiledModule:
    """A module that was compiled for an engine, and its description."""

    def __init__(self, module: wasmtime.Module, description: Description, settings: EngineSettings) -> None:
        self.module = module
        self.description = description
        self.settings = settings
        self.engine = engine_of(settings)
        self.function_types, self._imports = _function_types(module, description)
        self._programs: WeakValueDictionary[Provided, Program] = WeakValueDictionary()

    def is_linked_quickly(self, provided: Provided) -> bool:
        """Tell whether `program` takes less than some milliseconds."""
        return self._imports <= _FEW_IMPORTS or provided in self._programs

    def program(self, provided: Provided) -> Program:
        """Return the program that is linked with what is there. Raises UsageError if that is not all it imports."""
        found = self._programs.get(provided)
        if found is None:
            provided.check(self.description.imports)
            found = Program(self, provided)
            self._programs[provided] = found
        return found


class Program:
    """A compiled module with its imported functions linked, ready to make instances."""

    def __init__(self, compiled: CompiledModule, provided: Provided) -> None:
        self._compiled = compiled  # whoever looks for it finds it for as long as there are guests
        self.description = compiled.description
        self.module = compiled.module
        self.engine = compiled.engine
        self.settings = compiled.settings
        self.provided = provided
        self._linked: wasmtime.InstancePre | None = None
        if all(item.kind == FUNCTION_KIND for item in self.description.imports):
            self._linked = self._linker().instantiate_pre(self.module)

    def instantiate(self, store: wasmtime.Store, items: list[tuple[str, str, AsExtern]]) -> wasmtime.Instance:
        """Make an instance; `items` are the memories, tables and globals that the module imports."""
        if self._linked is not None:
            return self._linked.instantiate(store)
        linker = self._linker()
        for module, name, item in items:
            linker.define(store, module, name, item)
        return linker.instantiate(store, self.module)

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self.engine)
        linker.allow_shadowing = True
        if self.provided.wasi:
            linker.define_wasi()
        for number, (item, kind) in enumerate(self._compiled.function_types):
            if f"{item.module}.{item.name}" in self.provided.names:
                native.define_import(linker, number, item.module, item.name, kind)
        return linker


def _function_types(
    module: wasmtime.Module, description: Description
) -> tuple[list[tuple[ImportShape, wasmtime.FuncType]], int]:
    """Return the imported functions with Wasmtime's types of them, and how many imports there are, each counted.

    wasmtime-py's `imports` would make objects for all.
    """
    imports = ImportTypeList()
    ffi.wasmtime_module_imports(module.ptr(), ctypes.byref(imports.vec))
    found = []
    for item in description.imports:
        if item.kind == FUNCTION_KIND:
            if not 0 <= item.place < imports.vec.size:
                raise ValueError("an import that is not there")
            kind = ImportType._from_ptr(imports.vec.data[item.place], imports).type
            if not isinstance(kind, wasmtime.FuncType):
                raise InternalError(f"Wasmtime and the reader disagree on import {item.module}.{item.name}")
            found.append((item, kind))
    return found, int(imports.vec.size)


_compiled: Final[WeakValueDictionary[Key, CompiledModule]] = WeakValueDictionary()


def find_compiled(key: Key) -> CompiledModule | None:
    """Return a compiled module that is in memory."""
    return _compiled.get(key)


def keep_compiled(key: Key, made: CompiledModule) -> CompiledModule:
    """Let others find a compiled module for as long as anybody uses it; return what they find."""
    return _compiled.setdefault(key, made)


def load_code(made: CompiledCode, settings: EngineSettings) -> CompiledModule:
    """Make a module of compiled code in memory. Raises WasmtimeError for code of another Wasmtime."""
    pointer = ctypes.POINTER(ffi.wasmtime_module_t)()
    engine = native.address_of(engine_of(settings).ptr())
    error = native.deserialize(engine, made.code, len(made.code), ctypes.addressof(pointer))
    if error:
        raise native.error_from(error)
    module = wasmtime.Module._from_ptr(pointer)
    return CompiledModule(module, Description.from_json(made.description), settings)
