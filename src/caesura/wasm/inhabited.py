"""Which types have values: of some reference types without null there are none, so whoever returns one never returns.

There is nothing below `none` and its like but null. A structure that has to hold such a reference cannot be made, nor
can one that has to hold a structure of its own type, or any other that cannot be made. Everything else has values: an
array can be empty, and any function can trap.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.definitions import STRUCT_TYPE
from caesura.wasm.hierarchies import is_bottom
from caesura.wasm.module import Module
from caesura.wasm.types import heap_of, is_abstract, is_non_null


class Inhabited:
    """Tells of which types of a module there are values."""

    def __init__(self, module: Module) -> None:
        self._valueless: Final = _valueless_structures(module)

    def has_value(self, value_type: int) -> bool:
        """Tell whether a type has any value."""
        if not is_non_null(value_type):
            return True
        return not is_bottom(value_type) and heap_of(value_type) not in self._valueless

    def have_values(self, types: tuple[int, ...]) -> bool:
        """Tell whether there is a value of each type."""
        for value_type in types:
            if not self.has_value(value_type):
                return False
        return True


def held_structures(module: Module, index: int) -> list[int]:
    """Return the types of the structures that one of a type has to hold, in the order of its fields."""
    held: list[int] = []
    if module.types[index].kind != STRUCT_TYPE:
        return held
    for field, _ in module.types[index].fields:
        heap = heap_of(field)
        if is_non_null(field) and not is_abstract(heap) and heap < len(module.types):
            if module.types[heap].kind == STRUCT_TYPE:
                held.append(heap)
    return held


def _valueless_structures(module: Module) -> set[int]:
    """Return the types of structures that cannot be made: those that are left when all others have been."""
    missing: dict[int, int] = {}  # how many of those that a structure has to hold are not known to have values
    holders: dict[int, list[int]] = {}
    for index in range(len(module.types)):
        if module.types[index].kind != STRUCT_TYPE:
            continue
        held = held_structures(module, index)
        count = len(held)
        for field, _ in module.types[index].fields:
            if is_non_null(field) and is_bottom(field):
                count += 1
        if count > 0:
            missing[index] = count
        for one in held:
            holders.setdefault(one, []).append(index)
    made = [index for index in holders if index not in missing]
    while made:
        for holder in holders.get(made.pop(), []):
            missing[holder] -= 1
            if missing[holder] == 0:
                del missing[holder]
                made.append(holder)
    return set(missing)
