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
from caesura.host.values import SLOT
from caesura.host.wasi_functions import FUNCTIONS, MOST_PARAMETERS, PREVIEW_1

_BITS: Final = {"i32": 32, "i64": 64}
_FORMATS: Final = {"i32": "I12x", "i64": "Q8x"}


class Forwarder:
    """Calls Wasmtime's functions for one guest."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._functions: dict[str, wasmtime.Func] = {}
        self._buffer = ctypes.create_string_buffer(MOST_PARAMETERS * SLOT)

    def call(self, name: str, *arguments: int) -> int:
        """Call a function with arguments, signed or unsigned; return its error number.

        Raises GuestTrap for arguments that it refuses in another way.
        """
        store = self._instance.store
        if not self._functions:
            self._functions = _instantiate(self._instance)
        kinds = FUNCTIONS[name]
        unsigned = [value & (1 << _BITS[kind]) - 1 for kind, value in zip(kinds, arguments, strict=True)]
        struct.pack_into("<" + "".join(_FORMATS[kind] for kind in kinds), self._buffer, 0, *unsigned)
        function = ctypes.addressof(self._functions[name]._func)
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


@once
def _module(engine: wasmtime.Engine, *, is_shared: bool) -> wasmtime.Module:
    limits = "0 65536 shared" if is_shared else "0"
    lines = [f'(module (import "guest" "memory" (memory {limits}))']
    for name, kinds in FUNCTIONS.items():
        params = f"(param {' '.join(kinds)})"
        lines.append(f'(import "{PREVIEW_1}" "{name}" (func ${name} {params} (result i32)))')
    lines.append('(export "memory" (memory 0))')
    for name, kinds in FUNCTIONS.items():
        arguments = " ".join(f"local.get {place}" for place in range(len(kinds)))
        lines.append(f'(func (export "{name}") (param {" ".join(kinds)}) (result i32) {arguments} call ${name})')
    return wasmtime.Module(engine, "\n".join([*lines, ")"]))


def _instantiate(instance: Instance) -> dict[str, wasmtime.Func]:
    store = instance.store.wasmtime_store
    linker = wasmtime.Linker(instance.program.engine)
    linker.define_wasi()
    memory = instance.guest_memory()
    is_shared = isinstance(memory, wasmtime.SharedMemory)
    given = native.SharedMemory.of(memory) if isinstance(memory, wasmtime.SharedMemory) else memory
    linker.define(store, "guest", "memory", given)
    try:
        exports = linker.instantiate(store, _module(instance.program.engine, is_shared=is_shared)).exports(store)
    except wasmtime.WasmtimeError as error:
        raise UsageError(f"WASI's functions cannot use the guest's memory: {cause_of(error)}") from error
    functions: dict[str, wasmtime.Func] = {}
    for name in FUNCTIONS:
        function = exports[name]
        assert isinstance(function, wasmtime.Func)
        functions[name] = function
    return functions
