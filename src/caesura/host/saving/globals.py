"""The bits of a guest's globals, read and set without asking for types.

`wasmtime.Global` asks, and that aborts the process where a type holds a reference to a concrete type. The values go by
Wasmtime's structure, so that floats keep all their bits.
"""

from __future__ import annotations

import ctypes
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from caesura.abi import STATE_GLOBALS
from caesura.errors import SnapshotError
from caesura.host import native
from caesura.host.instance import Instance
from caesura.snapshots.state import GlobalState
from caesura.wasm import types as t

_KINDS: Final = {
    t.I32: (ffi.WASMTIME_I32, 4),
    t.I64: (ffi.WASMTIME_I64, 8),
    t.F32: (ffi.WASMTIME_F32, 4),
    t.F64: (ffi.WASMTIME_F64, 8),
    t.V128: (ffi.WASMTIME_V128, 16),
}
_VALUE: Final = ffi.wasmtime_val_t.of.offset


def read_number(instance: Instance, index: int, kind: int) -> GlobalState:
    """Return a mutable global of a number or a vector, by its export."""
    value = ffi.wasmtime_val_t()
    item = global_item(instance, index)
    native.get_global(instance.store.context, ctypes.addressof(item), ctypes.addressof(value))
    size = _KINDS[kind][1]
    bits = int.from_bytes(ctypes.string_at(ctypes.addressof(value) + _VALUE, size), "little")
    return GlobalState(index=index, type=kind, bits=bits)


def write_number(instance: Instance, state: GlobalState) -> None:
    """Set such a global to what it was."""
    kind, size = _KINDS[state.type]
    value = ffi.wasmtime_val_t(kind=kind)
    ctypes.memmove(ctypes.addressof(value) + _VALUE, state.bits.to_bytes(size, "little"), size)
    item = global_item(instance, state.index)
    error = native.set_global(instance.store.context, ctypes.addressof(item), ctypes.addressof(value))
    if error:
        raise SnapshotError(f"global {state.index} cannot be set: {native.error_from(error)}")


def is_number(kind: int) -> bool:
    """Tell whether a type is a number's or a vector's."""
    return kind in _KINDS


def global_item(instance: Instance, index: int) -> ctypes.Structure:
    """Return Wasmtime's structure for a mutable global."""
    item = instance.item_for_now(f"{STATE_GLOBALS}{index}")
    assert isinstance(item, wasmtime.Global), "exports have the kinds that the module says"
    found: ctypes.Structure = item._global
    return found
