"""Where a guest is: names for the frames of a trap, and what is on the stack of a running guest.

Wasmtime has no function that describes a running stack, but a trap carries the frames of all guest code below
it. So a guest that is about to be suspended is asked by calling a function that does nothing but trap. That
costs some 50 us, and is done only for guests loaded with options that keep functions from being instrumented.
Wasmtime keeps the innermost 20 frames.
"""

from __future__ import annotations

import ctypes
from typing import Final

import wasmtime

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.description import ENTRY_PREFIX, Description

_OWN: Final = "asyncify_"
_OVERFLOW: Final = "asyncify_stack_overflow"

_KINDS: Final = {
    wasmtime.TrapCode.STACK_OVERFLOW: "stack overflow",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "memory out of bounds",
    wasmtime.TrapCode.HEAP_MISALIGNED: "misaligned atomic access",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "table out of bounds",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "indirect call to null",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by zero",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
    wasmtime.TrapCode.INTERRUPT: "interrupted",
    wasmtime.TrapCode.OUT_OF_FUEL: "out of fuel",
    wasmtime.TrapCode.NULL_REFERENCE: "null reference",
    wasmtime.TrapCode.ARRAY_OUT_OF_BOUNDS: "array out of bounds",
    wasmtime.TrapCode.ALLOCATION_TOO_LARGE: "allocation too large",
    wasmtime.TrapCode.CAST_FAILURE: "cast failure",
    wasmtime.TrapCode.UNCAUGHT_EXCEPTION: "uncaught exception",
}

# A module whose only function traps.
_TRAPPER: Final = bytes.fromhex("0061736d0100000001040160000003020100070501017400000a05010300000b")


def kind_of_trap(trap: wasmtime.Trap, unwinding: bool) -> str:
    """Return WebAssembly's reason for a trap in a few words."""
    code = trap.trap_code
    frames = trap.frames
    innermost = frames[0].func_name if frames else None
    if innermost == _OVERFLOW or (unwinding and code == wasmtime.TrapCode.UNREACHABLE):
        return "asyncify stack overflow"
    if code is None:
        return trap.message.splitlines()[0]
    return _KINDS.get(code, code.name.lower().replace("_", " "))


def describe_frames(failure: wasmtime.Trap | wasmtime.WasmtimeError, description: Description) -> tuple[str, ...]:
    """Return the names of the guest's functions on the stack of a failure, innermost first."""
    names: list[str] = []
    for frame in native.frames_of(failure):
        name = _name(frame, description)
        if not name.startswith(_OWN):
            names.append(name)
    return tuple(names)


def _name(frame: wasmtime.Frame, description: Description) -> str:
    name = frame.func_name
    if name is not None:
        return name
    index = frame.func_index
    for exported, shape in description.functions.items():
        if shape.index == index:
            return exported
    return f"function {index}"


class CheckedStack:
    """Checks that a guest can be suspended where it is."""

    def __init__(self, store: wasmtime.Store, description: Description) -> None:
        self._description = description
        self._uninstrumented = frozenset(description.uninstrumented)
        instance = wasmtime.Instance(store, wasmtime.Module(store.engine, _TRAPPER), [])
        function = instance.exports(store)["t"]
        assert isinstance(function, wasmtime.Func)
        self._store = store
        self._function = function

    def check(self, waiting: str) -> None:
        """Raise UsageError if a function on the stack is not instrumented; `waiting` is the host function."""
        context = native.address_of(self._store._context())
        trap = ctypes.c_void_p()
        native.call_function(context, ctypes.addressof(self._function._func), 0, 0, ctypes.addressof(trap))
        assert trap.value is not None, "a function that does nothing but trap did not trap"
        for frame in native.trap_from(trap.value).frames[1:]:
            name = _name(frame, self._description)
            if name.startswith(ENTRY_PREFIX):
                return
            if frame.func_index in self._uninstrumented:
                raise UsageError(
                    f"host function {waiting} has to wait, but {name} is on the guest's stack and is not "
                    "instrumented: the options leave it out"
                )
