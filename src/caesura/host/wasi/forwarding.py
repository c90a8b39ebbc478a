"""Calling Wasmtime's own WASI functions for a guest, from Python.

They find the memory in the module that calls them, so Python cannot call one. A small module that re-exports the
guest's memory stands in between.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache as once
from typing import Final

import wasmtime

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.backtrace import cause_of, kind_of_trap
from caesura.host.errors import GuestTrap
from caesura.host.instance import Instance
from caesura.host.preview_1 import FUNCTIONS, MOST_PARAMETERS, PREVIEW_1
from caesura.host.values import SLOT

_BITS: Final = {"i32": 32, "i64": 64}
_FORMATS: Final = {"i32": "I12x", "i64": "Q8x"}


class Forwarder:
    """Calls Wasmtime's functions for one guest, which are connected in groups, each when it is first needed."""

    def __init__(self, instance: Instance, groups: tuple[tuple[str, ...], ...]) -> None:
        self._instance = instance
        self._groups = groups
        self._linker: wasmtime.Linker | None = None
        self._exported: dict[tuple[str, ...], wasmtime.Instance] = {}
        self._functions: dict[str, wasmtime.Func] = {}
        self._buffer = ctypes.create_string_buffer(MOST_PARAMETERS * SLOT)

    def call(self, name: str, *arguments: int) -> int:
        """Call a function with arguments, signed or unsigned; return its error number.

        Raises GuestTrap for arguments that it refuses in another way.
        """
        store = self._instance.store
        function = ctypes.addressof(self._function(name)._func)
        kinds = FUNCTIONS[name]
        unsigned = [value & (1 << _BITS[kind]) - 1 for kind, value in zip(kinds, arguments, strict=True)]
        struct.pack_into("<" + "".join(_FORMATS[kind] for kind in kinds), self._buffer, 0, *unsigned)
        buffer = ctypes.addressof(self._buffer)
        error = native.call_function(store.context, function, buffer, len(arguments), store.trap_address)
        if error:
            raise GuestTrap(cause_of(native.error_from(error)), ())
        trap, store.trap.value = store.trap.value, None
        if trap:  # the guest was interrupted meanwhile
            kind = kind_of_trap(native.trap_from(trap), self._instance.description, unwinding=False)
            raise GuestTrap(kind, ())
        result: int = struct.unpack_from("<i", self._buffer)[0]
        return result

    def _function(self, name: str) -> wasmtime.Func:
        found = self._functions.get(name)
        if found is None:
            item = native.export_of(self._instance.store.wasmtime_store, self._exporting(name), name)
            assert isinstance(item, wasmtime.Func), "all that it exports but the memory are functions"
            found = self._functions[name] = item
        return found

    def _exporting(self, name: str) -> wasmtime.Instance:
        """Return the instance that stands in between for a function."""
        group = next(names for names in self._groups if name in names)
        found = self._exported.get(group)
        if found is None:
            if self._linker is None:
                self._linker = _linker(self._instance)
            found = self._exported[group] = _instantiate(self._instance, self._linker, group)
        return found


@once
def _module(engine: wasmtime.Engine, names: tuple[str, ...], *, is_shared: bool) -> wasmtime.Module:
    limits = "0 65536 shared" if is_shared else "0"
    lines = [f'(module (import "guest" "memory" (memory {limits}))']
    for name in names:
        params = f"(param {' '.join(FUNCTIONS[name])})"
        lines.append(f'(import "{PREVIEW_1}" "{name}" (func ${name} {params} (result i32)))')
    lines.append('(export "memory" (memory 0))')
    for name in names:
        params = f"(param {' '.join(FUNCTIONS[name])})"
        arguments = " ".join(f"local.get {place}" for place in range(len(FUNCTIONS[name])))
        lines.append(f'(func (export "{name}") {params} (result i32) {arguments} call ${name})')
    return wasmtime.Module(engine, "\n".join([*lines, ")"]))


def _linker(instance: Instance) -> wasmtime.Linker:
    linker = wasmtime.Linker(instance.program.engine)
    linker.define_wasi()
    memory = instance.guest_memory()
    given = native.SharedMemory.of(memory) if isinstance(memory, wasmtime.SharedMemory) else memory
    linker.define(instance.store.wasmtime_store, "guest", "memory", given)
    return linker


def _instantiate(instance: Instance, linker: wasmtime.Linker, names: tuple[str, ...]) -> wasmtime.Instance:
    is_shared = isinstance(instance.guest_memory(), wasmtime.SharedMemory)
    module = _module(instance.program.engine, names, is_shared=is_shared)
    try:
        return linker.instantiate(instance.store.wasmtime_store, module)
    except wasmtime.WasmtimeError as error:
        raise UsageError(f"WASI's functions cannot use the guest's memory: {cause_of(error)}") from error
