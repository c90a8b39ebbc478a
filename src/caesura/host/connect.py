"""What a user gives for a module's imports, checked and sorted by what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, Final

import wasmtime
from wasmtime._exportable import AsExtern

from caesura.argument_kinds import check_kind
from caesura.errors import UsageError
from caesura.host.description import ImportShape
from caesura.host.imports import PLAIN_FUNCTION, HostFunction, kind_of
from caesura.host.memory import GuestMemory
from caesura.host.native import SharedMemory
from caesura.host.preview_1 import FUNCTIONS, PREVIEW_1
from caesura.host.values import checked_value
from caesura.wasm import types as t
from caesura.wasm.external_kinds import FUNCTION_KIND, GLOBAL_KIND, KIND_NAMES, MEMORY_KIND, TABLE_KIND

Imports = Mapping[str, Mapping[str, Any]]

# How wasmtime-py makes the types of numbers, and numbers.
_NUMBERS: Final[dict[int, tuple[Callable[[], wasmtime.ValType], Callable[[Any], wasmtime.Val]]]] = {
    t.I32: (wasmtime.ValType.i32, wasmtime.Val.i32),
    t.I64: (wasmtime.ValType.i64, wasmtime.Val.i64),
    t.F32: (wasmtime.ValType.f32, wasmtime.Val.f32),
    t.F64: (wasmtime.ValType.f64, wasmtime.Val.f64),
}

_NUMBERS_BY_NAME: Final = {t.type_name(kind): kind for kind in _NUMBERS}


class Connections:
    """The imports that a guest is given, whether or not its module wants them.

    `defaults` are what stands in for those that the user does not give, `blocking` forms of these that stop the thread
    while they wait, for guests that cannot be suspended in them. `forwarding` are functions that call Wasmtime's own,
    for guests that must not call these by themselves.
    """

    def __init__(
        self, imports: Imports, defaults: Imports, blocking: Imports, forwarding: Imports | None = None
    ) -> None:
        self._given: dict[tuple[str, str], Any] = {}
        for source in (defaults, imports):
            for module, items in source.items():
                if not isinstance(items, Mapping):
                    raise UsageError(
                        f"imports['{module}'] is a {type(items).__name__}: expected a mapping from names to functions"
                    )
                check_kind("a module's name among the imports", module, str)
                for name, item in items.items():
                    check_kind(f"a name in imports['{module}']", name, str)
                    self._given[module, name] = item
        self._own = {
            (module, name)
            for module, items in defaults.items()
            for name in items
            if name not in imports.get(module, {})
        }
        self._blocking = {
            (module, name): item
            for module, items in blocking.items()
            for name, item in items.items()
            if name not in imports.get(module, {})
        }
        self._forwarding = {
            (module, name): item for module, items in (forwarding or {}).items() for name, item in items.items()
        }
        self.provided = frozenset(f"{module}.{name}" for module, name in self._given)
        self.import_list = tuple(
            sorted(
                f"{module}.{name}"
                for (module, name), item in self._given.items()
                if callable(item) and kind_of(item) != PLAIN_FUNCTION
            )
        )

    def host_functions(
        self,
        imports: tuple[ImportShape, ...],
        unsuspended: tuple[int, ...],
        forwards: Callable[[ImportShape], bool],
    ) -> list[HostFunction | None]:
        """Return the host functions by number; None where Wasmtime's WASI has the function, and the guest calls that.

        `unsuspended` are the numbers of those in which the guest cannot be suspended. `forwards` tells of which
        functions of Wasmtime's the guest calls what calls them.
        """
        functions: list[HostFunction | None] = []
        never = frozenset(unsuspended)
        for item in imports:
            if item.shape is None:
                continue
            place = item.module, item.name
            given = self._given.get(place)
            if place not in self._given:
                if not forwards(item):
                    functions.append(None)
                    continue
                given = self._forwarding[place]
            if len(functions) in never:
                given = self._blocking.get(place, given)
            if not callable(given):
                raise _wrong(item, given, "a callable")
            if place in self._own:
                _check_type(item)
            functions.append(HostFunction(intern(f"{item.module}.{item.name}"), item.shape, given))
        return functions

    def has_blocking(self, module: str, name: str) -> bool:
        """Tell whether a function has a form for guests that cannot be suspended in it."""
        return (module, name) in self._blocking

    def items(self, imports: tuple[ImportShape, ...], store: wasmtime.Store) -> list[tuple[str, str, AsExtern]]:
        """Return new memories, tables and globals for the imports that want them."""
        items: list[tuple[str, str, AsExtern]] = []
        for item in imports:
            if item.kind != FUNCTION_KIND:
                given = self._given.get((item.module, item.name))
                items.append((item.module, item.name, _make_item(item, given, store)))
        return items


def _check_type(item: ImportShape) -> None:
    """Refuse a function of WASI's that a module imports with another type, as Wasmtime does with its own."""
    params, shape = FUNCTIONS.get(item.name), item.shape
    if params is None or shape is None or item.module != PREVIEW_1:
        return
    if shape.params != tuple(_NUMBERS_BY_NAME[kind] for kind in params) or shape.results != (t.I32,):
        raise UsageError(
            f"import {item.module}.{item.name} is a function {_type_name(shape.params, shape.results)}: "
            f"WASI's has the type ({', '.join(params)}) -> (i32)"
        )


def _type_name(params: tuple[int, ...], results: tuple[int, ...]) -> str:
    return " -> ".join(f"({', '.join(map(t.type_name, types))})" for types in (params, results))


def _make_item(item: ImportShape, given: Any, store: wasmtime.Store) -> AsExtern:
    if item.kind == MEMORY_KIND:
        return _make_memory(item, given, store)
    if item.kind == TABLE_KIND:
        if not isinstance(given, wasmtime.TableType):
            raise _wrong(item, given, "a wasmtime.TableType, of which a new table is made")
        return wasmtime.Table(store, given, None)
    if item.kind != GLOBAL_KIND or item.type not in _NUMBERS:
        kind = t.type_name(item.type) if item.kind == GLOBAL_KIND else KIND_NAMES[item.kind]
        raise UsageError(f"import {item.shown} is a {kind}, which cannot be given from Python")
    number = checked_value(item.type, given, f"the global given for import {item.shown}")
    kind_of_value, make_value = _NUMBERS[item.type]
    return wasmtime.Global(store, wasmtime.GlobalType(kind_of_value(), item.mutable), make_value(number))


def _make_memory(item: ImportShape, given: Any, store: wasmtime.Store) -> AsExtern:
    """Return a new memory, or the one that another guest has, if threads may share it."""
    if isinstance(given, GuestMemory):
        if not isinstance(given.item, wasmtime.SharedMemory):
            raise UsageError(f"import {item.shown} was given a guest's memory, which is not a shared one")
        return SharedMemory.of(given.item)
    if not isinstance(given, wasmtime.MemoryType):
        expected = "a wasmtime.MemoryType, of which a new memory is made, or another guest's memory, if that is shared"
        raise _wrong(item, given, expected)
    return SharedMemory(store.engine, given) if given.is_shared else wasmtime.Memory(store, given)


def _wrong(item: ImportShape, given: object, expected: str) -> UsageError:
    return UsageError(f"import {item.shown} is a {KIND_NAMES[item.kind]} and was given {given!r}: expected {expected}")
