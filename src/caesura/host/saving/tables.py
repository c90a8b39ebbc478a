"""The elements of a guest's tables, read and put back."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from caesura.abi import STATE_TABLES
from caesura.errors import SnapshotError, UsageError
from caesura.host import native
from caesura.host.instance import Instance
from caesura.host.saving.globals import global_item
from caesura.host.saving.live import EVERYWHERE, Live
from caesura.host.saving.references import ReferenceLoader, ReferenceSaver
from caesura.snapshots.state import NULL, GlobalState, TableState
from caesura.wasm import types as t

_VALUE: Final = ffi.wasmtime_val_t.of.offset
_FUNCTION_SIZE: Final = ctypes.sizeof(ffi.wasmtime_func_t)
_KINDS: Final = {t.FUNCREF: ffi.WASMTIME_FUNCREF, t.EXTERNREF: ffi.WASMTIME_EXTERNREF}


def read_table(
    instance: Instance, index: int, kind: int, references: ReferenceSaver, live: Live = EVERYWHERE
) -> TableState:
    """Return a table, by its export. Raises SnapshotError for elements that cannot be saved."""
    size = _size(instance, index)
    numbers: list[int] = []
    for place, holder in enumerate(live.holders(size)):
        what = holder or f"element {place} of table {index}"
        numbers.append(NULL if holder is None else _read(instance, index, place, kind, what, references))
    return TableState(index=index, type=kind, elements=struct.pack(f"<{size}I", *numbers))


def read_function(instance: Instance, table: int, place: int, references: ReferenceSaver) -> int | None:
    """Return the index of the function in a table at a place, None for null. Raises SnapshotError for others' ones."""
    if place >= _size(instance, table):
        return None
    number = _read(instance, table, place, t.FUNCREF, f"element {place} of table {table}", references)
    return None if number == NULL else number


def _read(instance: Instance, index: int, place: int, kind: int, what: str, references: ReferenceSaver) -> int:
    value = ffi.wasmtime_val_t()
    address = ctypes.addressof(value)
    native.table_get(instance.store.context, _address(instance, index), place, address)
    return read_reference(instance, kind, address, what, references)


def read_reference(instance: Instance, kind: int, value: int, what: str, references: ReferenceSaver) -> int:
    """Return the number of the reference in Wasmtime's structure at an address, which is done with it."""
    reference = value + _VALUE
    if not ctypes.c_uint64.from_address(reference).value:
        return NULL
    if kind == t.FUNCREF:
        return references.function(ctypes.string_at(reference, _FUNCTION_SIZE), what)
    try:
        found = instance.objects.from_handle(reference, what)
    except UsageError as error:
        raise SnapshotError(f"the guest cannot be saved: {error}") from None
    finally:
        native.externref_unroot(reference)
    return references.object(found, what)


def read_global_reference(instance: Instance, index: int, kind: int, references: ReferenceSaver) -> int:
    """Return the number of the reference in a mutable global. Raises SnapshotError for what cannot be saved."""
    what = f"global {index}"
    value = ffi.wasmtime_val_t()
    address = ctypes.addressof(value)
    item = global_item(instance, index)
    native.get_global(instance.store.context, ctypes.addressof(item), address)
    return read_reference(instance, kind, address, what, references)


def put_global_back(instance: Instance, state: GlobalState, references: ReferenceLoader) -> None:
    """Set such a global of a new instance to what it was."""
    item = global_item(instance, state.index)
    with instance.objects.value(state.type, references.load(state.type, state.bits)) as value:
        error = native.set_global(instance.store.context, ctypes.addressof(item), value)
    if error:
        raise SnapshotError(f"global {state.index} cannot be set: {native.error_from(error)}")


def put_table_back(instance: Instance, state: TableState, references: ReferenceLoader) -> None:
    """Make a new instance's table what it was. Raises SnapshotError where that cannot be."""
    size = len(state.elements) // 4
    missing = size - _size(instance, state.index)
    if missing < 0:
        raise SnapshotError(f"table {state.index} of the snapshot has {size} elements, and that of the module more")
    store = instance.store
    address = _address(instance, state.index)
    null = ffi.wasmtime_val_t(kind=_KINDS[state.type])
    before = ctypes.c_uint64()
    if missing:
        error = native.table_grow(store.context, address, missing, ctypes.addressof(null), ctypes.addressof(before))
        if error:
            raise SnapshotError(
                f"table {state.index} of the snapshot has {size} elements, and may not have as many here: "
                f"{native.error_from(error)}"
            )
    for place, (number,) in enumerate(struct.iter_unpack("<I", state.elements)):
        with instance.objects.value(state.type, references.load(state.type, number)) as value:
            error = native.table_set(store.context, address, place, value)
        if error:
            raise SnapshotError(f"element {place} of table {state.index} cannot be set: {native.error_from(error)}")


def _size(instance: Instance, index: int) -> int:
    return int(native.table_size(instance.store.context, _address(instance, index)))


def _address(instance: Instance, index: int) -> int:
    item = instance.item(f"{STATE_TABLES}{index}")
    assert isinstance(item, wasmtime.Table), "exports have the kinds that the module says"
    return ctypes.addressof(item._table)
