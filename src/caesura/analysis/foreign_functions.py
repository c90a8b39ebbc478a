"""Whether functions of others can get to where a module calls through tables or references.

A call through a reference may reach whatever there is a reference of, and so may one through a table that was changed:
it may hold what a host has given an export as an argument. But that has to come from somewhere. A module that neither
takes a reference from others nor hands one out has none but its own, however it passes them on: programs of languages
with garbage collection call their methods so. What others get can bring something back, as an object has fields and a
function has parameters; so both ways count. Only a reference to something of the host's (`externref`) is nothing to
call, as long as there are no objects that it may stand for.
"""

from __future__ import annotations

from collections.abc import Sequence

from caesura.analysis.calls import CallGraph
from caesura.analysis.closed_tables import find_table_callees
from caesura.wasm.definitions import (
    FUNCTION_KIND,
    FUNCTION_TYPE,
    GLOBAL_KIND,
    TABLE_KIND,
    TAG_KIND,
    Export,
    Import,
)
from caesura.wasm.hierarchies import top_of
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.types import EXTERN, is_reference


def may_call_others(module: Module, graph: CallGraph) -> bool:
    """Tell whether a module may call functions of others, not by name."""
    if not shares_references(module):
        return False
    return any(graph.indirect) or any(find_table_callees(module, graph).is_open)


def shares_references(module: Module) -> bool:
    """Tell whether there is a reference that others may have as well, and that may lead to a function."""
    has_objects = any(item.kind != FUNCTION_TYPE for item in module.types)
    shared: list[int] = []
    for item in module.imports:
        shared += _types_of(module, item)
    for export in module.exports:
        shared += _types_of(module, export)
    return any(is_reference(one) and (has_objects or top_of(module, one) != EXTERN) for one in shared)


def _types_of(module: Module, item: Import | Export) -> Sequence[int]:
    """Return the types of the values that others see of something that is imported or exported."""
    if item.kind == FUNCTION_KIND:
        definition = module.function_type(FunctionIndex(item.index))
        return [*definition.params, *definition.results]
    if item.kind == TABLE_KIND:
        return [module.tables[item.index].element]
    if item.kind == GLOBAL_KIND:
        return [module.globals[item.index].type]
    return module.types[module.tags[item.index]].params if item.kind == TAG_KIND else ()
