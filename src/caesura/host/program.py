"""A compiled module, and the programs that it is linked to: what instances are made of.

Imported functions are linked by number, without the Python functions behind them: guests with different host functions
share one program.
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

from caesura.errors import InternalError, UsageError
from caesura.host import native
from caesura.host.compiling import Provided
from caesura.host.description import Description, ImportShape
from caesura.host.engines import EngineSettings, engine_of
from caesura.host.preview_1 import FUNCTIONS, PREVIEW_1
from caesura.options import PREEMPT_FUEL
from caesura.wasm.external_kinds import FUNCTION_KIND
from caesura.wasm.types import I32, I64

# The types of WASI's parameters.
_TYPES: Final = {"i32": I32, "i64": I64}

# How many imports Wasmtime connects in less than a millisecond.
_FEW_IMPORTS: Final = 10_000


class CompiledModule:
    """A module that was compiled for an engine, and its description; `mapped` is whether its code is from a file."""

    def __init__(
        self, module: wasmtime.Module, description: Description, settings: EngineSettings, *, mapped: bool
    ) -> None:
        self.module = module
        self.description = description
        self.is_instantiated_quickly = description.instantiation.is_quick(mapped=mapped)
        self.settings = settings
        self.engine = engine_of(settings)
        self.function_types, self._imports = _function_types(module, description)
        self._programs: WeakValueDictionary[Provided, LinkedProgram] = WeakValueDictionary()

    def is_linked_quickly(self, provided: Provided) -> bool:
        """Tell whether `program` takes less than some milliseconds."""
        return self._imports <= _FEW_IMPORTS or provided in self._programs

    def program(self, provided: Provided) -> LinkedProgram:
        """Return the program that is linked with what is there. Raises UsageError if that is not all it imports."""
        found = self._programs.get(provided)
        if found is None:
            provided.check(self.description.imports)
            found = LinkedProgram(self, provided)
            self._programs[provided] = found
        return found


class LinkedProgram:
    """A compiled module with its imported functions linked, ready to make instances."""

    def __init__(self, compiled: CompiledModule, provided: Provided) -> None:
        self._compiled = compiled  # whoever looks for it finds it for as long as there are guests
        self.description = compiled.description
        self.module = compiled.module
        self.engine = compiled.engine
        self.settings = compiled.settings
        self.is_instantiated_quickly = compiled.is_instantiated_quickly
        self.provided = provided
        self._linked: wasmtime.InstancePre | None = None
        if all(item.kind == FUNCTION_KIND for item in self.description.imports):
            linker = self._linker()
            try:
                self._linked = linker.instantiate_pre(self.module)
            except wasmtime.WasmtimeError as error:  # a function of WASI that there is not, or not of this type
                reason = " ".join(str(error).split())
                raise UsageError(f"the module cannot be instantiated: {reason}") from error

    def instantiate_alone(self) -> tuple[wasmtime.Store, wasmtime.Instance] | None:
        """Make an instance that shares nothing with any guest, to see what is in a new one; none of its code runs.

        Returns None where it would have memories, tables or globals of somebody else's.
        """
        if self._linked is None:
            return None
        store = wasmtime.Store(self.engine)
        if self.settings.interruptible:
            store.set_epoch_deadline(1 << 62)
        return store, self._linked.instantiate(store)

    def instantiate(self, store: wasmtime.Store, items: list[tuple[str, str, AsExtern]]) -> wasmtime.Instance:
        """Make an instance; `items` are the memories, tables and globals that the module imports."""
        if self._linked is not None:
            return self._linked.instantiate(store)
        linker = self._linker()
        for module, name, item in items:
            linker.define(store, module, name, item)
        return linker.instantiate(store, self.module)

    def forwards(self, item: ImportShape) -> bool:
        """Tell whether a function of Wasmtime's WASI is called by Python for the guest: that is so where it counts, and
        is told that its time is over when a function of the host returns, of which it cannot be told otherwise.
        """
        if self.description.preempt != PREEMPT_FUEL or not self.provided.wasi or item.module != PREVIEW_1:
            return False
        params = FUNCTIONS.get(item.name)
        if params is None or item.shape is None:
            return False
        return item.shape.params == tuple(_TYPES[kind] for kind in params) and item.shape.results == (I32,)

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self.engine)
        linker.allow_shadowing = True
        if self.provided.wasi:
            linker.define_wasi()
        for number, (item, kind) in enumerate(self._compiled.function_types):
            if f"{item.module}.{item.name}" in self.provided.names or self.forwards(item):
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
