"""`caesura print`: a whole module as text that `wat2wasm` reads back to an equal module.

Equal means: the same sections, custom ones included, up to what the text format cannot say. It does not know how a
number was padded, how locals were grouped, whether imports were stored compactly, and it has a data count section
exactly where an instruction needs one. The name section becomes identifiers; every other custom section becomes a
`@custom` annotation at its place, which is where tools differ: those that do not know annotations leave them out.

Text is handed out in pieces, a definition at a time, so that a large module need not be held as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.definitions import (
    FUNCTION_KIND,
    FUNCTION_TYPE,
    GLOBAL_KIND,
    MEMORY_KIND,
    STRUCT_TYPE,
    TABLE_KIND,
    TAG_KIND,
    Global,
    Limits,
    Table,
    TypeDefinition,
)
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.print_code import CodePrinter, declarations, join
from caesura.wasm.print_names import TextNames
from caesura.wasm.print_values import name_text, string_text
from caesura.wasm.segments import (
    ACTIVE,
    DECLARED,
    DataSegment,
    ElementSegment,
    read_data_segments,
    read_element_segments,
)

_EXPORT_KEYWORDS: Final = ["func", "table", "memory", "global", "tag"]

# How a custom section's place names the section before it.
_ANCHORS: Final[dict[int, str]] = {
    sec.TYPE: "type",
    sec.IMPORT: "import",
    sec.FUNCTION: "func",
    sec.TABLE: "table",
    sec.MEMORY: "memory",
    sec.TAG: "tag",
    sec.GLOBAL: "global",
    sec.EXPORT: "export",
    sec.START: "start",
    sec.ELEMENT: "elem",
    sec.CODE: "code",
    sec.DATA: "data",
}

_DATA_LINE: Final = 128


def print_module(data: bytes) -> str:
    """Return the text of a binary module; raises MalformedModule."""
    pieces: list[str] = []
    write_text(data, pieces.append)
    return "".join(pieces)


def write_text(data: bytes, write: Callable[[str], object]) -> None:
    """Hand the text of a binary module to `write`, piece by piece; raises MalformedModule."""
    _ModulePrinter(Module(data), write).run()


class _ModulePrinter:
    def __init__(self, module: Module, write: Callable[[str], object]) -> None:
        self.module = module
        self.write = write
        self.elements = read_element_segments(module)
        self.data = read_data_segments(module)
        self.names = TextNames(module, len(self.elements), len(self.data))
        self.code = CodePrinter(module, self.names)

    def run(self) -> None:
        """Write everything, in the order of the binary format (index spaces depend on it)."""
        module = self.module
        names = self.names
        self.write(f"(module {names.module}\n" if names.module else "(module\n")
        self._types()
        self._imports()
        self._functions()
        imported = [0, 0, 0, 0, 0]
        for item in module.imports:
            imported[item.kind] += 1
        for index in range(imported[TABLE_KIND], len(module.tables)):
            self._line(self._head("table", names.tables, index) + self._table(module.tables[index]) + ")")
        for index in range(imported[MEMORY_KIND], len(module.memories)):
            self._line(self._head("memory", names.memories, index) + _limits(module.memories[index]) + ")")
        for index in range(imported[TAG_KIND], len(module.tags)):
            self._line(self._head("tag", names.tags, index) + self._typed(module.tags[index]) + ")")
        for index in range(imported[GLOBAL_KIND], len(module.globals)):
            one = module.globals[index]
            initial = self.code.expression(one.init_start, one.init_end)
            self._line(f"{self._head('global', names.globals, index)} {self._global(one)} {initial})")
        self._exports()
        if module.start is not None:
            self._line(f"(start {names.function_references[module.start]})")
        for index in range(len(self.elements)):
            self._line(self._head("elem", names.elements, index) + self._element(self.elements[index]) + ")")
        for index in range(len(self.data)):
            self._data(index, self.data[index])
        self._custom_sections()
        self.write(")\n")

    def _line(self, text: str) -> None:
        self.write(f"  {text}\n")

    def _head(self, keyword: str, identifiers: list[str], index: int) -> str:
        """Return the start of a definition: keyword, identifier if there is one, and the index as a comment."""
        return f"({join(f'{keyword} {identifiers[index]}' if identifiers[index] else keyword, f'(;{index};)')}"

    def _types(self) -> None:
        for first, count in self.module.recursion_groups:
            if count == 1:
                self._line(self._type(first))
                continue
            self._line("(rec")
            for index in range(first, first + count):
                self._line("  " + self._type(index))
            self._line(")")

    def _type(self, index: int) -> str:
        definition = self.module.types[index]
        text = self._composite(index, definition)
        if definition.supertypes or not definition.final:
            supertypes = [self.names.heap_text(one) for one in definition.supertypes]
            text = f"({' '.join(['sub', *(['final'] if definition.final else []), *supertypes])} {text})"
        return f"{self._head('type', self.names.types, index)} {text})"

    def _composite(self, index: int, definition: TypeDefinition) -> str:
        text = self.names.type_text
        if definition.kind == FUNCTION_TYPE:
            return f"(func{self._signature(definition)})"
        fields = [f"(mut {text(one)})" if mutable else text(one) for one, mutable in definition.fields]
        if definition.kind == STRUCT_TYPE:
            return f"(struct{declarations('field', fields, self.names.fields[index])})"
        return f"(array {fields[0]})"

    def _signature(self, definition: TypeDefinition) -> str:
        params = declarations("param", [self.names.type_text(one) for one in definition.params], [])
        return params + declarations("result", [self.names.type_text(one) for one in definition.results], [])

    def _type_use(self, index: int) -> str:
        return f" (type {self.names.type_references[index]})"

    def _typed(self, index: int) -> str:
        return self._type_use(index) + self._signature(self.module.types[index])

    def _imports(self) -> None:
        module = self.module
        names = self.names
        for item in module.imports:
            index = item.index
            if item.kind == FUNCTION_KIND:
                text = self._head("func", names.functions, index) + self._typed(module.function_types[index])
            elif item.kind == TABLE_KIND:
                text = self._head("table", names.tables, index) + self._table(module.tables[index])
            elif item.kind == MEMORY_KIND:
                text = self._head("memory", names.memories, index) + _limits(module.memories[index])
            elif item.kind == GLOBAL_KIND:
                text = f"{self._head('global', names.globals, index)} {self._global(module.globals[index])}"
            else:
                text = self._head("tag", names.tags, index) + self._typed(module.tags[index])
            self._line(f"(import {name_text(item.module)} {name_text(item.name)} {text}))")

    def _functions(self) -> None:
        module = self.module
        for function in range(module.imported_functions, len(module.function_types)):
            header = self._head("func", self.names.functions, function)
            header += self._type_use(module.function_types[function])
            self.write("\n".join(self.code.function(FunctionIndex(function), "  " + header)) + "\n")

    def _table(self, one: Table) -> str:
        text = f"{_limits(one.limits)} {self.names.type_text(one.element)}"
        if one.init_end:
            text += " " + self.code.expression(one.init_start, one.init_end)
        return text

    def _global(self, one: Global) -> str:
        text = self.names.type_text(one.type)
        return f"(mut {text})" if one.mutable else text

    def _exports(self) -> None:
        names = self.names
        spaces = [
            names.function_references,
            names.table_references,
            names.memory_references,
            names.global_references,
            names.tag_references,
        ]
        for item in self.module.exports:
            what = f"({_EXPORT_KEYWORDS[item.kind]} {spaces[item.kind][item.index]})"
            self._line(f"(export {name_text(item.name)} {what})")

    def _element(self, segment: ElementSegment) -> str:
        text = ""
        if segment.mode == ACTIVE:
            if segment.flags & 2:
                text += f" (table {self._reference(self.names.table_references, segment.table, 'table')})"
            text += f" (offset {self._bare_expression(segment.offset_start, segment.offset_end)})"
        elif segment.mode == DECLARED:
            text += " declare"
        if not segment.has_expressions:
            space = self.names.function_references
            functions = [self._reference(space, one, "function") for one in segment.functions]
            return f"{text} {' '.join(['func', *functions])}"
        items = [f"(item {self._bare_expression(start, end)})" for start, end in segment.expressions]
        return f"{text} {' '.join([self.names.type_text(segment.type), *items])}"

    def _data(self, index: int, segment: DataSegment) -> None:
        text = self._head("data", self.names.data, index)
        if segment.mode == ACTIVE:
            if segment.memory:
                text += f" (memory {self._reference(self.names.memory_references, segment.memory, 'memory')})"
            text += f" (offset {self._bare_expression(segment.offset_start, segment.offset_end)})"
        self._strings(text, segment.start, segment.end)

    def _custom_sections(self) -> None:
        place = "(before first)"
        for section in self.module.sections:
            if section.id == sec.CUSTOM:
                if section.name != "name":
                    self._strings(f"(@custom {name_text(section.name)} {place}", section.payload, section.end)
            elif section.id == sec.DATA_COUNT:
                place = "(before code)"
            else:
                place = f"(after {_ANCHORS[section.id]})"

    def _strings(self, head: str, start: int, end: int) -> None:
        """Write a definition that ends in bytes, the bytes as strings of a readable length."""
        data = self.module.data
        if end - start <= _DATA_LINE:
            self._line(f"{head} {string_text(data[start:end])})")
            return
        self._line(head)
        for line in range(start, end, _DATA_LINE):
            self._line("  " + string_text(data[line : min(line + _DATA_LINE, end)]))
        self._line(")")

    def _bare_expression(self, start: int, end: int) -> str:
        text = self.code.expression(start, end)
        return text[1:-1] if text.startswith("(") else text

    def _reference(self, space: list[str], index: int, what: str) -> str:
        if index >= len(space):
            raise MalformedModule(f"{what} index {index} of a segment is out of range; there are {len(space)}")
        return space[index]


def _limits(limits: Limits) -> str:
    text = f" i64 {limits.minimum}" if limits.is64 else f" {limits.minimum}"
    if limits.maximum is not None:
        text += f" {limits.maximum}"
    if limits.shared:
        text += " shared"
    if limits.page_size_log2 > 16:
        raise MalformedModule(f"page size 2 to the power of {limits.page_size_log2} is too large")
    if limits.page_size_log2 != 16:
        text += f" (pagesize {1 << limits.page_size_log2})"
    return text
