"""An exported function of a guest, as a call needs it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import wasmtime

from caesura.errors import UsageError, printable
from caesura.host.description import FunctionShape
from caesura.host.values import SLOT, values_of
from caesura.wasm import types as t


class Export:
    """An exported function, ready to be called; `address` is that of its entry thunk, if it has one.

    `is_import` says that it is an import that the module exports again: then nothing leaves frames.
    """

    def __init__(
        self, name: str, shape: FunctionShape, function: wasmtime.Func, *, may_suspend: bool, is_import: bool
    ) -> None:
        self.name = name
        self.shown = printable(name)  # in messages
        self.is_import = is_import
        self.may_suspend = may_suspend
        self.params = values_of(shape.params)
        self.results = values_of(shape.results)
        unsupported = self.params.unsupported or self.results.unsupported
        if unsupported:
            kind = t.type_name(unsupported)
            raise UsageError(f"export {self.shown} has a value of type {kind}, which Python cannot pass")
        self.slots = max(self.params.count, self.results.count)
        self.new_buffer: Callable[[], ctypes.Array[ctypes.c_char]] = ctypes.c_char * (SLOT * max(self.slots, 1))
        self._function = function  # keeps the structure at the address alive
        self.address = ctypes.addressof(function._func)
