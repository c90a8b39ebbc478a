"""Which types are the same, and which are subtypes of others (specification, sections 3.3 and 4.2).

Type indices of one module may stand for one type: recursion groups of the same structure are the same group. Groups
refer only to earlier ones and to themselves, so one pass over them in order suffices: references to earlier types
become the first index of that type, references inside a group become distances from its start, and what is equal then
is the same.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.definitions import ARRAY_TYPE, FUNCTION_TYPE, STRUCT_TYPE
from caesura.wasm.module import Module
from caesura.wasm.types import (
    ANY,
    ARRAY,
    EQ,
    EXN,
    EXTERN,
    FUNC,
    I31,
    NOEXN,
    NOEXTERN,
    NOFUNC,
    NONE,
    STRUCT,
    heap_of,
    is_abstract,
    is_nullable,
    is_reference,
    make_reference,
)

# Above each abstract heap type, and above the types that a module defines, by their kind.
_ABOVE: Final = {EQ: (ANY,), I31: (EQ, ANY), STRUCT: (EQ, ANY), ARRAY: (EQ, ANY)}
_ABOVE_DEFINED: Final = {FUNCTION_TYPE: (FUNC,), STRUCT_TYPE: (STRUCT, EQ, ANY), ARRAY_TYPE: (ARRAY, EQ, ANY)}

# What lies below all others, and the abstract heap types that each lies below.
_BELOW: Final = {NONE: (ANY, EQ, I31, STRUCT, ARRAY), NOFUNC: (FUNC,), NOEXTERN: (EXTERN,), NOEXN: (EXN,)}


def same_types(module: Module) -> list[int]:
    """Return for each type index the first index that stands for the same type; raises MalformedModule."""
    known: dict[str, int] = {}
    same: list[int] = []
    for first, count in module.recursion_groups:
        parts: list[str] = []
        for index in range(first, first + count):
            definition = module.types[index]
            for supertype in definition.supertypes:
                parts.append(f"<{_heap(supertype, first, count, same, len(module.types))}")
            parts.append(f"{definition.kind} {definition.final}")
            for value_type in definition.params:
                parts.append(str(_value(value_type, first, count, same, len(module.types))))
            parts.append(">")
            for value_type in definition.results:
                parts.append(str(_value(value_type, first, count, same, len(module.types))))
            for value_type, mutable in definition.fields:
                parts.append(f"{_value(value_type, first, count, same, len(module.types))} {mutable}")
        earliest = known.setdefault(",".join(parts), first)
        same.extend([earliest + place for place in range(count)])
    return same


def with_supertypes(module: Module, same: list[int], index: int) -> list[int]:
    """Return the types, as `same_types` gives them, that a value of a defined type has: its own and those above it."""
    if index >= len(same):
        raise MalformedModule(f"a reference to type {index}, and the module has {len(same)} types")
    found = [same[index]]
    while module.types[index].supertypes:
        supertype = module.types[index].supertypes[0]
        if supertype >= index:
            raise MalformedModule(f"supertype {supertype} of type {index} does not come before it")
        index = supertype
        found.append(same[index])
    return found


def are_subtypes(module: Module, same: list[int], below: tuple[int, ...], above: tuple[int, ...]) -> bool:
    """Tell whether values of some types can stand where values of as many others are asked for, in their order."""
    if len(below) != len(above):
        return False
    for place in range(len(below)):
        if not _is_subtype(module, same, below[place], above[place]):
            return False
    return True


def _is_subtype(module: Module, same: list[int], below: int, above: int) -> bool:
    if below == above:
        return True
    if not is_reference(below) or not is_reference(above) or (is_nullable(below) and not is_nullable(above)):
        return False
    heap = heap_of(below)
    wanted = heap_of(above)
    if heap == wanted:
        return True
    if not is_abstract(heap):
        if is_abstract(wanted):
            return wanted in _ABOVE_DEFINED[module.types[with_supertypes(module, same, heap)[0]].kind]
        return wanted < len(same) and same[wanted] in with_supertypes(module, same, heap)
    if is_abstract(wanted):
        return wanted in _ABOVE.get(heap, ()) or wanted in _BELOW.get(heap, ())
    if wanted >= len(same):
        raise MalformedModule(f"a reference to type {wanted}, and the module has {len(same)} types")
    return heap in _BELOW and _ABOVE_DEFINED[module.types[wanted].kind][-1] in _BELOW[heap]


def _value(value_type: int, first: int, count: int, same: list[int], types: int) -> int:
    if not is_reference(value_type) or is_abstract(heap_of(value_type)):
        return value_type
    return make_reference(_heap(heap_of(value_type), first, count, same, types), nullable=is_nullable(value_type))


def _heap(index: int, first: int, count: int, same: list[int], types: int) -> int:
    """Return a number for a type index that does not depend on where the group stands."""
    if index < first:
        return same[index]
    if index >= first + count:
        raise MalformedModule(f"type {index} is used before it is defined, in the types from {first}")
    return types + index - first
