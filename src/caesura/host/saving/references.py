"""References in a saved guest: functions of its own by their index, Python's objects by what a codec makes of them.

A function has no index that one could ask for. So the module has a table that it fills, when it is asked, with every
function that a reference can exist of, and what a reference is shows by comparison with these. Functions of the host's
or of other instances in a guest's tables are not among them, and are refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from caesura.abi import STATE_FUNCTIONS, STATE_LIST_FUNCTIONS
from caesura.errors import SnapshotError
from caesura.host import native
from caesura.host.errors import GuestTrap
from caesura.host.instance import Instance
from caesura.host.references import FunctionReference
from caesura.snapshots.state import NULL
from caesura.wasm import types as t

SaveObject = Callable[[Any], bytes]
LoadObject = Callable[[bytes], Any]

_VALUE: Final = ffi.wasmtime_val_t.of.offset


class ReferenceSaver:
    """Turns a guest's references into numbers; `objects` are what the codec made of those that are objects."""

    def __init__(self, instance: Instance, save_object: SaveObject | None) -> None:
        self._instance = instance
        self._save_object = save_object
        self._indices: dict[int, int] | None = None
        self._numbers: dict[int, int] = {}  # by what Python identifies objects by: those are alive meanwhile
        self.objects: list[bytes] = []

    def save(self, kind: int, value: Any, what: str) -> int:
        """Return the number of a Python object, or of a function of the guest's."""
        if value is None:
            return NULL
        if kind == t.FUNCREF:
            assert isinstance(value, FunctionReference)
            return self.function(value.handle_for(self._instance.objects, what), what)
        return self.object(value, what)

    def object(self, value: object, what: str) -> int:
        """Return the number of a Python object. Raises SnapshotError without a codec, or for what that refuses."""
        if value is None:
            return NULL
        number = self._numbers.get(id(value))
        if number is not None:
            return number
        if self._save_object is None:
            raise SnapshotError(
                f"{what} refers to a Python object of type {type(value).__name__}: give snapshot a save_object, and "
                "restore a load_object, that turn such objects into bytes and back"
            )
        content = self._save_object(value)
        self._instance.check()  # it may have closed the guest
        if not isinstance(content, bytes):
            raise SnapshotError(f"save_object returned {content!r:.100} for {what}: expected bytes")
        number = self._numbers[id(value)] = len(self.objects)
        self.objects.append(content)
        return number

    def function(self, handle: bytes, what: str) -> int:
        """Return the index of a function, by Wasmtime's structure. Raises SnapshotError for one that is not its own."""
        buffer = ctypes.create_string_buffer(handle, len(handle))
        raw = int(native.function_to_raw(self._instance.store.context, ctypes.addressof(buffer)) or 0)
        return self.raw_function(raw, what)

    def raw_function(self, raw: int, what: str) -> int:
        """Return the index of a function, by its raw form. Raises SnapshotError for one that is not the guest's own."""
        if self._indices is None:
            self._indices = {raw: index for index, raw in listed_functions(self._instance).items()}
        index = self._indices.get(raw)
        if index is None:
            raise SnapshotError(f"{what} refers to a function that is not the guest's own, which cannot be saved")
        return index


class ReferenceLoader:
    """Turns the numbers of a saved guest into references of a new instance."""

    def __init__(self, instance: Instance, objects: tuple[bytes, ...], load_object: LoadObject | None) -> None:
        self._instance = instance
        self._contents = objects
        self._load_object = load_object
        self._objects: dict[int, Any] = {}
        self._functions: dict[int, int] | None = None

    def load(self, kind: int, number: int) -> Any:
        """Return the object, or the function, that a number stands for. Raises SnapshotError where there is none."""
        if number == NULL:
            return None
        if kind == t.FUNCREF:
            return self._instance.objects.function_from_raw(self.function(number))
        return self.object(number)

    def object(self, number: int) -> Any:
        """Return an object, which is made once."""
        if number not in self._objects:
            if not 0 <= number < len(self._contents):
                raise SnapshotError(f"the snapshot has no object {number}")
            if self._load_object is None:
                raise SnapshotError(
                    "the snapshot refers to Python objects: give a load_object that makes them of bytes"
                )
            self._objects[number] = self._load_object(self._contents[number])
        return self._objects[number]

    def function(self, index: int) -> int:
        """Return the raw form of a function."""
        if self._functions is None:
            self._functions = listed_functions(self._instance)
        raw = self._functions.get(index)
        if raw is None:
            raise SnapshotError(f"the snapshot refers to function {index}, of which the module makes no references")
        return raw


def listed_functions(instance: Instance) -> dict[int, int]:
    """Return the raw forms of all functions that a reference can exist of, by their index."""
    saved = instance.description.state()
    if saved is None or not saved.functions:
        return {}
    store = instance.store
    if not instance.abi_function(STATE_LIST_FUNCTIONS).attempt():
        raise SnapshotError(
            f"the guest's {len(saved.functions)} functions that references can exist of cannot be listed, which tells "
            "one from another: a table of so many elements is more than table_limit allows"
        )
    table = instance.item(STATE_FUNCTIONS)
    assert isinstance(table, wasmtime.Table), "exports have the kinds that the module says"
    found: dict[int, int] = {}
    value = ffi.wasmtime_val_t()
    address = ctypes.addressof(value)
    table_address = ctypes.addressof(table._table)
    for place, index in enumerate(saved.functions):
        listed = native.table_get(store.context, table_address, place, address)
        if not listed or not ctypes.c_uint64.from_address(address + _VALUE).value:  # Wasmtime aborts on what is none
            raise GuestTrap(f"{STATE_LIST_FUNCTIONS} did not list function {index}, as the module says it does", ())
        found[index] = int(native.function_to_raw(store.context, address + _VALUE) or 0)
    return found
