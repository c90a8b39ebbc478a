"""Identifiers for the text format, made from the name section.

An identifier has a small set of characters and must be unique in its index space, names in a name section need
neither. So every other character becomes an underscore, and a name that is taken gets a number behind it. What has no
name is referred to by its index. (Quoted identifiers would keep every character, but few tools read them yet.)
"""

from __future__ import annotations

import re
from typing import Final

from caesura.wasm import names as name_section
from caesura.wasm.module import Module
from caesura.wasm.names import Names
from caesura.wasm.types import ABSTRACT, REFERENCE, heap_name, heap_of, is_nullable, type_name

_UNUSABLE: Final = re.compile(r"[^0-9A-Za-z!#$%&'*+\-./:<=>?@\\^_`|~]")


class IdentifierSpace:
    """Hands out identifiers that are unique within one index space."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def identifier(self, name: str) -> str:
        """Return a fresh identifier, with its dollar sign, that resembles the name; the name must not be empty."""
        base = "$" + _UNUSABLE.sub("_", name)
        chosen = base
        while chosen in self._taken:
            number = self._counts.get(base, 0) + 1
            self._counts[base] = number
            chosen = f"{base}_{number}"
        self._taken.add(chosen)
        return chosen


def identifiers(names: dict[int, str], count: int) -> list[str]:
    """Return for each index below `count` its identifier, or the empty string where it has no name."""
    space = IdentifierSpace()
    found = [""] * count
    for index in sorted(names):
        if index < count and names[index]:
            found[index] = space.identifier(names[index])
    return found


def references(own: list[str]) -> list[str]:
    """Return how to refer to each index: its identifier, or its number."""
    return [own[index] or str(index) for index in range(len(own))]


class TextNames:
    """How the text calls everything in a module.

    For each index space there is a list of identifiers (empty: none), for the place of the definition, and a list of
    references (identifier or index), for the places that use it.
    """

    def __init__(self, module: Module, elements: int, data: int) -> None:
        section = module.custom_section("name")
        self.names = Names(module.data[section.payload : section.end] if section is not None else b"")
        maps = self.names.maps
        module_name = self.names.module
        self.module = IdentifierSpace().identifier(module_name) if module_name else ""
        self.functions = identifiers(maps[name_section.FUNCTION_NAMES], len(module.function_types))
        self.types = identifiers(maps[name_section.TYPE_NAMES], len(module.types))
        self.tables = identifiers(maps[name_section.TABLE_NAMES], len(module.tables))
        self.memories = identifiers(maps[name_section.MEMORY_NAMES], len(module.memories))
        self.globals = identifiers(maps[name_section.GLOBAL_NAMES], len(module.globals))
        self.elements = identifiers(maps[name_section.ELEMENT_NAMES], elements)
        self.data = identifiers(maps[name_section.DATA_NAMES], data)
        self.tags = identifiers(maps[name_section.TAG_NAMES], len(module.tags))
        self.function_references = references(self.functions)
        self.type_references = references(self.types)
        self.table_references = references(self.tables)
        self.memory_references = references(self.memories)
        self.global_references = references(self.globals)
        self.element_references = references(self.elements)
        self.data_references = references(self.data)
        self.tag_references = references(self.tags)
        self.fields = [self._fields_of(module, index) for index in range(len(module.types))]
        self.field_references = [references(own) for own in self.fields]

    def locals_of(self, function: int, count: int) -> list[str]:
        """Return the identifiers of a function's locals."""
        return identifiers(self.names.inner(name_section.LOCAL_NAMES, function), count)

    def labels_of(self, function: int) -> dict[int, str]:
        """Return the identifiers of a function's blocks, by their number in order of appearance."""
        named = self.names.inner(name_section.LABEL_NAMES, function)
        space = IdentifierSpace()
        return {index: space.identifier(named[index]) for index in sorted(named) if named[index]}

    def type_text(self, value_type: int) -> str:
        """Return the text of a value type."""
        if value_type < REFERENCE or heap_of(value_type) >= ABSTRACT:
            return type_name(value_type)
        return f"(ref {'null ' if is_nullable(value_type) else ''}{self.heap_text(heap_of(value_type))})"

    def reference_text(self, heap: int, *, is_nullable: bool) -> str:
        """Return the text of a reference type in its long form, which casts require."""
        return f"(ref {'null ' if is_nullable else ''}{self.heap_text(heap)})"

    def heap_text(self, heap: int) -> str:
        """Return the text of a heap type."""
        if heap < len(self.type_references):
            return self.type_references[heap]
        return heap_name(heap)

    def _fields_of(self, module: Module, index: int) -> list[str]:
        return identifiers(self.names.inner(name_section.FIELD_NAMES, index), len(module.types[index].fields))
