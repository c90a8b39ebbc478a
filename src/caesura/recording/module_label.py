"""What lines of recordings call the module that functions are of, so that indices of several are not confused.

It is the module's name in its name section, or that name's beginning. Where there is none, it is a number that imports
and exports give, since these are all that JavaScript sees of a module; what instrumenting adds to them does not count,
so that a build has the same as what it was made of. `labelOf` in js/src/record.js computes the same.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import ASYNCIFY_MODULE, BUILTIN_MODULES, OWN_PREFIX
from caesura.recording.examples import shortened_name
from caesura.wasm.definitions import KIND_NAMES
from caesura.wasm.module import Module
from caesura.wasm.names import Names

_SHARED_PREFIX: Final = "__asyncify_"

# FNV-1a, of 32 bits.
_BASIS: Final = 0x811C9DC5
_PRIME: Final = 0x01000193


def module_label(module: Module) -> str:
    """Return what lines call a module."""
    section = module.custom_section("name")
    name = "" if section is None else Names(module.data[section.payload : section.end]).module
    if name:
        return shortened_name(name)
    words: list[str] = []
    for item in module.imports:
        is_added = item.module == ASYNCIFY_MODULE or item.name.startswith(_SHARED_PREFIX)
        if not is_added and not item.module.startswith(BUILTIN_MODULES):
            words += [item.module, item.name, KIND_NAMES[item.kind]]
    for export in module.exports:
        if not export.name.startswith((OWN_PREFIX, _SHARED_PREFIX)):
            words += [export.name, KIND_NAMES[export.kind]]
    value = _BASIS
    for letter in "\n".join(words):
        value = (value ^ ord(letter)) * _PRIME % (1 << 32)
    return f"{value:08x}"
