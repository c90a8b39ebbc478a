"""Exports through which a host only calls on behalf of the guest: Emscripten's `dynCall_*`.

Its JavaScript has functions `invoke_*`, which the guest imports to call through a table where an exception may come,
and which call such an export in turn. When something suspends below, they are passed on the way out and called again on
the way back in, so the call that goes through them is the one that the guest was in before, and no new one. An export
of that name is one; where Emscripten has shortened the names, it is one that does nothing but call out of a table what
its first parameter says, with the rest, in a module with an import of its very type, which may be such an `invoke_*`.
To take every such function for one was rejected: other hosts enter guests through them anew.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND, Export
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

PREFIX: Final = "dynCall_"


def dispatching_exports(module: Module) -> list[Export]:
    """Return these exports of a module."""
    imported = frozenset(module.function_types[: module.imported_functions])
    return [
        export
        for export in module.exports
        if export.kind == FUNCTION_KIND
        and export.index >= module.imported_functions
        and (
            export.name.startswith(PREFIX)
            or (module.function_types[export.index] in imported and _dispatches(module, FunctionIndex(export.index)))
        )
    ]


def _dispatches(module: Module, function: FunctionIndex) -> bool:
    """Tell whether a function's body is a call out of a table, of its first parameter with the others."""
    own = module.own_of(function)
    end = module.body_ends[own]
    locals_, position = read_locals(module.data, module.body_starts[own])
    if len(locals_) > 0:
        return False
    count = len(module.function_type(function).params)
    for place in [*range(1, count), 0]:
        code, position = read_opcode(module.data, position)
        immediates, position = read_immediates(module.data, position, code)
        if code != op.LOCAL_GET or immediates[0] != place:
            return False
    code, position = read_opcode(module.data, position)
    if code not in (op.CALL_INDIRECT, op.RETURN_CALL_INDIRECT):
        return False
    _, position = read_immediates(module.data, position, code)
    return position == end - 1
