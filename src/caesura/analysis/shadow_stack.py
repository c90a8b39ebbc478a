"""Find the global that points to the shadow stack, the C stack in linear memory.

Hosts that keep several calls of one instance suspended give each a shadow stack of its own, so they must know the
global. It is the one named `__stack_pointer` (by export, import or name section); in a module without names it is the
one that functions begin by subtracting from, which is how LLVM opens a C stack frame.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.immediates import skip_leb, skip_locals
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import GLOBAL_KIND, Module
from caesura.wasm.names import GLOBAL_NAMES, Names
from caesura.wasm.types import I32, I64

NAME: Final = "__stack_pointer"

_GLOBAL_GET: Final = 0x23
_CONSTANTS: Final = (0x41, 0x42)
_SUBTRACTIONS: Final = (0x6B, 0x7D)


def find_stack_pointer(module: Module) -> int:
    """Return the index of the shadow stack pointer's global, or -1."""
    for export in module.exports:
        if export.kind == GLOBAL_KIND and export.name == NAME:
            return _checked(module, export.index)
    for item in module.imports:
        if item.kind == GLOBAL_KIND and item.name == NAME:
            return _checked(module, item.index)
    section = module.custom_section("name")
    if section is not None:
        names = Names(module.data[section.payload : section.end])
        for index, name in names.maps[GLOBAL_NAMES].items():
            if name == NAME and index < len(module.globals):
                return _checked(module, index)
    return _by_prologues(module)


def _checked(module: Module, index: int) -> int:
    entry = module.globals[index]
    return index if entry.mutable and entry.type in (I32, I64) else -1


def _by_prologues(module: Module) -> int:
    data = module.data
    frames = [0] * len(module.globals)
    for own in range(len(module.body_starts)):
        position = skip_locals(data, module.body_starts[own])
        if data[position] != _GLOBAL_GET:
            continue
        index, position = read_u32(data, position + 1)
        if index < len(frames) and data[position] in _CONSTANTS:
            position = skip_leb(data, position + 1, 10)
            if data[position] in _SUBTRACTIONS and _checked(module, index) >= 0:
                frames[index] += 1
    most = max(frames, default=0)
    return frames.index(most) if most else -1
