"""Doing the same steps with a module whose state can be read, in Wasmtime and in Node.

A step is a word and what it needs. Numbers are i32s without a sign, and texts of digits are i64s, as JavaScript has
them. Imported functions return their argument, imported globals are mutable i32s of 7.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import wasmtime

from caesura.abi import STATE_FUNCTIONS, STATE_LIST_FUNCTIONS
from caesura.host import native
from tests.support.engine import engine
from tests.support.node import newer_node, run_driver

Step = Sequence[Any]


def in_node(module: bytes, steps: Sequence[Step], folder: Path) -> list[Any]:
    """Do steps in Node with a new instance of a module, and return what each gave."""
    file = folder / "module.wasm"
    file.write_bytes(module)
    result: list[Any] = run_driver("state.mjs", file, json.dumps(steps), node=newer_node())
    return result


def in_wasmtime(module: bytes, steps: Sequence[Step]) -> list[Any]:
    """Do the same in Wasmtime."""
    stateful = Stateful(module)
    return [getattr(stateful, str(word))(*rest) for word, *rest in steps]


class Stateful:
    """An instance in Wasmtime; its methods are the steps."""

    def __init__(self, module: bytes) -> None:
        self.store: Final = wasmtime.Store(engine())
        compiled = wasmtime.Module(engine(), module)
        items: list[Any] = []
        for item in compiled.imports:
            if isinstance(item.type, wasmtime.FuncType):
                items.append(wasmtime.Func(self.store, item.type, _identity(item.type)))
            else:
                kind = wasmtime.GlobalType(wasmtime.ValType.i32(), True)
                items.append(wasmtime.Global(self.store, kind, wasmtime.Val.i32(7)))
        self.exports: Final = wasmtime.Instance(self.store, compiled, items).exports(self.store)

    def call(self, name: str, *values: str | int) -> str | int | None:
        """Call an export; gives "trap" if it traps."""
        try:
            return _told(self._function(name), self.store, *map(int, values))
        except wasmtime.Trap:
            return "trap"

    def read(self, name: str) -> str | int | None:
        """Read a global that is an integer."""
        cell = self.exports[name]
        assert isinstance(cell, wasmtime.Global)
        value = cell.value(self.store)
        wide = str(cell.type(self.store).content) == "i64"
        return str(value & 0xFFFF_FFFF_FFFF_FFFF) if wide else int(value) & 0xFFFF_FFFF

    def write(self, name: str, value: str | int) -> None:
        """Set a global that is an integer."""
        cell = self.exports[name]
        assert isinstance(cell, wasmtime.Global)
        cell.set_value(self.store, wasmtime.Val.i64(int(value)) if isinstance(value, str) else value)

    def count(self) -> int:
        """Have the functions listed, and count them."""
        return len(self._functions())

    def sizes(self, name: str) -> int:
        """Give the size of a table."""
        return self._table(name).size(self.store)

    def find(self, name: str, place: int) -> int:
        """Give the place of a table's function in the list, or -1."""
        wanted = self._identity(self._table(name), place)
        return next((at for at, identity in enumerate(self._functions()) if identity == wanted), -1)

    def put(self, name: str, place: int, listed: int) -> None:
        """Put a function of the list into a table."""
        self._functions()
        function = self._table(STATE_FUNCTIONS).get(self.store, listed)
        self._table(name).set(self.store, place, function)

    def byte(self, name: str, address: int) -> int:
        """Read a byte of a memory."""
        memory = self.exports[name]
        assert isinstance(memory, wasmtime.Memory)
        return memory.read(self.store, address, address + 1)[0]

    def names(self) -> list[str]:
        """Give the names of all exports."""
        return list(self.exports.keys())

    def _functions(self) -> list[int | None]:
        self._function(STATE_LIST_FUNCTIONS)(self.store)
        table = self._table(STATE_FUNCTIONS)
        return [self._identity(table, place) for place in range(table.size(self.store))]

    def _identity(self, table: wasmtime.Table, place: int) -> int | None:
        function = table.get(self.store, place)
        if not isinstance(function, wasmtime.Func):
            return None  # null
        context = native.address_of(self.store._context())
        return int(native.function_to_raw(context, ctypes.addressof(function._func)))

    def _function(self, name: str) -> wasmtime.Func:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return function

    def _table(self, name: str) -> wasmtime.Table:
        table = self.exports[name]
        assert isinstance(table, wasmtime.Table)
        return table


def _identity(kind: wasmtime.FuncType) -> Callable[..., Any]:
    return (lambda *values: values[0] if values else 0) if kind.results else lambda *values: None


def _told(function: wasmtime.Func, store: wasmtime.Store, *values: int) -> str | int | None:
    result = function(store, *values)
    if result is None:
        return None
    wide = str(function.type(store).results[0]) == "i64"
    return str(result & 0xFFFF_FFFF_FFFF_FFFF) if wide else int(result) & 0xFFFF_FFFF
