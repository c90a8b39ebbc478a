"""A module whose index spaces must change: imports of module `asyncify` go, imported globals come.

Everything else that the transformation adds stands behind what exists, so that no index changes. But an import of
`asyncify.start_unwind` and its sisters must become a function of the module's own, and with `import_globals` two
imports must come in front of the module's own globals. Both renumber the module, once, before anything looks at it:
each function that stands for such an import goes to the end of the function index space.
"""

from __future__ import annotations

from dataclasses import dataclass

from caesura.abi import (
    ASYNCIFY_MODULE,
    DATA_GLOBAL,
    GLOBALS_MODULE,
    IMPORTED_GET_STATE,
    IMPORTED_START_REWIND,
    IMPORTED_START_UNWIND,
    RUNTIME_IMPORTS,
    STATE_GLOBAL,
)
from caesura.errors import NO_OFFSET, UnsupportedModule, printable
from caesura.instrument.abi.memory import pointer_type
from caesura.options import Options
from caesura.wasm.definitions import Import
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.renumber import imports_to_stubs
from caesura.wasm.types import I32


@dataclass(frozen=True)
class Renumbered:
    """The module that is instrumented, and how it relates to the one that was given.

    `runtime_functions` has (import name, function) for the functions that stand for imports of module `asyncify`;
    they are the last ones. `shift` is how much lower the indices of the module's own functions are than in `original`.
    """

    original: Module
    module: Module
    runtime_functions: list[tuple[str, FunctionIndex]]
    shift: int

    def original_function(self, function: FunctionIndex) -> FunctionIndex:
        """Return the index that one of the module's own functions has in the original."""
        return FunctionIndex(function + self.shift)

    def original_offset(self, own: OwnFunction, offset: int) -> int:
        """Return where an offset in the body of an own function lies in the original (NO_OFFSET: nowhere).

        Renumbering keeps the width of indices, so that bodies correspond byte for byte.
        """
        if self.original is self.module or offset == NO_OFFSET:
            return offset
        delta = offset - self.module.body_starts[own]
        size = self.module.body_ends[own] - self.module.body_starts[own]
        if own >= len(self.original.body_starts) or delta < 0 or delta > size:
            return NO_OFFSET
        start = self.original.body_starts[own]
        return start + delta if self.original.body_ends[own] - start == size else start


def renumber(module: Module, options: Options, original: Module | None = None) -> Renumbered:
    """Return the module, renumbered where that is necessary; `original` is the one that was given, if it is another.

    Raises UnsupportedModule for an import of module `asyncify` that the ABI does not know, or of another type.
    """
    imports = [item for item in module.function_imports() if item.module == ASYNCIFY_MODULE]
    if not imports and not options.import_globals:
        return Renumbered(original or module, module, [], 0)
    pointer = pointer_type(module, options)
    for item in imports:
        _check_import(module, item, pointer)
    shared = [(GLOBALS_MODULE, STATE_GLOBAL, I32), (GLOBALS_MODULE, DATA_GLOBAL, pointer)]
    added = shared if options.import_globals else []
    renumbered = Module(imports_to_stubs(module, [item.index for item in imports], added))
    first = len(module.function_types) - len(imports)
    names = [item.name for item in imports]
    runtime_functions = [(names[place], FunctionIndex(first + place)) for place in range(len(names))]
    return Renumbered(original or module, renumbered, runtime_functions, len(imports))


def _check_import(module: Module, item: Import, pointer: int) -> None:
    if item.name not in RUNTIME_IMPORTS:
        known = ", ".join(RUNTIME_IMPORTS)
        raise UnsupportedModule(f"unknown import {ASYNCIFY_MODULE}.{printable(item.name)}; expected one of {known}")
    definition = module.function_type(FunctionIndex(item.index))
    params = (pointer,) if item.name in (IMPORTED_START_UNWIND, IMPORTED_START_REWIND) else ()
    results = (I32,) if item.name == IMPORTED_GET_STATE else ()
    if definition.params != params or definition.results != results:
        raise UnsupportedModule(
            f"import {ASYNCIFY_MODULE}.{item.name} has another type than the ABI's "
            "(start_unwind and start_rewind take a pointer, get_state returns an i32)"
        )
