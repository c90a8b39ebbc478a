"""Which defined types are the same, and which are declared subtypes of others (specification, sections 3.3 and 4.2).

Type indices of one module may stand for one type: recursion groups of the same structure are the same group. Groups
refer only to earlier ones and to themselves, so one pass over them in order suffices: references to earlier types
become the first index of that type, references inside a group become distances from its start, and what is equal then
is the same.
"""

from __future__ import annotations

from caesura.errors import MalformedModule
from caesura.wasm.module import Module
from caesura.wasm.types import heap_of, is_abstract, is_nullable, is_reference, make_reference


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
    found = [same[index]]
    while module.types[index].supertypes:
        supertype = module.types[index].supertypes[0]
        if supertype >= index:
            raise MalformedModule(f"supertype {supertype} of type {index} does not come before it")
        index = supertype
        found.append(same[index])
    return found


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
