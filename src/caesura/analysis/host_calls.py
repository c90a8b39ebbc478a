"""Which of a module's own functions a host can call, and so call again from a function of its own that they call.

These are exports. Others too, if the host can get a reference to a function: out of a table or a global that it shares
with the module, as a parameter of its functions, as a result, or with an exception. Then any may be called that a
reference can be made of. What else lies in a table is called by the module only.

The other way round, a call through a table or a reference can be one of a function of the host's: where the module has
a reference to one of its imports, or gets references from the host. In a table that the module only exports, a host
puts its own functions on its own account (docs/abi.md): counting these for calls of the host, nearly all calls through
tables of most C programs would be such.
"""

from __future__ import annotations

from caesura.analysis.entries import may_be_referenced
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, TABLE_KIND, TAG_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.module import Module
from caesura.wasm.types import FUNC, is_reference


def called_by_host(module: Module) -> list[int]:
    """Return the own functions that a host can call, ascending."""
    called = [False] * len(module.function_types)
    if _gives_references(module):
        called = may_be_referenced(module)
    for export in module.exports:
        if export.kind == FUNCTION_KIND:
            called[export.index] = True
    first = module.imported_functions
    return [function - first for function in range(first, len(called)) if called[function]]


def gets_functions(module: Module) -> bool:
    """Tell whether the module is given references to functions of the host's that are not among its imports."""
    places = [0] * 256
    for item in module.imports:
        kind = item.kind
        index = places[kind]
        places[kind] += 1
        if kind == FUNCTION_KIND:
            definition = module.types[module.function_types[index]]
            if _has_functions(module, definition.results):
                return True
        elif _gives_reference(module, kind, index):
            return True
    for export in module.exports:
        if export.kind == FUNCTION_KIND and export.index >= module.imported_functions:
            definition = module.types[module.function_types[export.index]]
            if _has_functions(module, definition.params):
                return True
    return False


def _gives_references(module: Module) -> bool:
    """Tell whether a host can get a reference to one of the module's functions."""
    shared = [(item.kind, item.index) for item in module.exports]
    places = [0] * 256  # of each kind of imports, how many there have been
    for item in module.imports:
        shared.append((item.kind, places[item.kind]))
        places[item.kind] += 1
    for kind, index in shared:
        if _gives_reference(module, kind, index):
            return True
    return False


def _gives_reference(module: Module, kind: int, index: int) -> bool:
    if kind == FUNCTION_KIND:
        definition = module.types[module.function_types[index]]
        return _has_functions(module, definition.params if index < module.imported_functions else definition.results)
    if kind == TABLE_KIND:
        return _has_functions(module, (module.tables[index].element,))
    if kind == GLOBAL_KIND:
        return _has_functions(module, (module.globals[index].type,))
    return kind == TAG_KIND and _has_functions(module, module.types[module.tags[index]].params)


def _has_functions(module: Module, types: tuple[int, ...]) -> bool:
    for one in types:
        if is_reference(one) and top_of(module, one) == FUNC:
            return True
    return False
