"""What a module imports, each thing once, however often it is imported.

A module may import the same function 100,000 times: connecting each would stop an event loop for seconds, with every
guest anew. A host gives one thing for a name, so what is imported more than once is connected once, and a module that
imports different things under one name is refused. To leave such modules to Wasmtime was rejected: it connects the
first, too, but says only that something else does not fit.
"""

from __future__ import annotations

from caesura.errors import UnsupportedModule
from caesura.host.description import FunctionShape, ImportShape
from caesura.wasm import types as t
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, KIND_NAMES, Import
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module


def import_shapes(module: Module) -> tuple[tuple[ImportShape, ...], list[int]]:
    """Return the imports, each once, and for every imported function its number among the functions in these.

    Raises UnsupportedModule for a name under which different things are imported.
    """
    found: dict[tuple[str, str], ImportShape] = {}
    numbers: dict[tuple[str, str], int] = {}
    functions: list[int] = []
    for place, item in enumerate(module.imports):
        name = item.module, item.name
        known = found.get(name)
        if known is None:
            found[name] = _shape(module, item, place)
        elif not _is_same(module, item, known):
            raise UnsupportedModule(
                f"the module imports {known.shown} as a {_described(known)} and as a "
                f"{_described(_shape(module, item, place))}; a host has one thing for a name"
            )
        if item.kind == FUNCTION_KIND:
            functions.append(numbers.setdefault(name, len(numbers)))
    return tuple(found.values()), functions


def _shape(module: Module, item: Import, place: int) -> ImportShape:
    if item.kind == GLOBAL_KIND:
        entry = module.globals[item.index]
        return ImportShape(place, item.module, item.name, item.kind, type=entry.type, mutable=entry.mutable)
    shape: FunctionShape | None = None
    if item.kind == FUNCTION_KIND:
        definition = module.function_type(FunctionIndex(item.index))
        shape = FunctionShape(item.index, definition.params, definition.results)
    return ImportShape(place, item.module, item.name, item.kind, shape=shape)


def _is_same(module: Module, item: Import, known: ImportShape) -> bool:
    if item.kind != known.kind:
        return False
    if known.shape is not None:
        definition = module.function_type(FunctionIndex(item.index))
        return definition.params == known.shape.params and definition.results == known.shape.results
    if item.kind == GLOBAL_KIND:
        entry = module.globals[item.index]
        return entry.type == known.type and entry.mutable == known.mutable
    return True  # one memory or table that is as large as it has to be


def _described(item: ImportShape) -> str:
    if item.shape is not None:
        params, results = (", ".join(map(t.type_name, types)) for types in (item.shape.params, item.shape.results))
        return f"function ({params}) -> ({results})"
    if item.kind == GLOBAL_KIND:
        return f"{'mutable ' if item.mutable else ''}global of type {t.type_name(item.type)}"
    return KIND_NAMES[item.kind]
