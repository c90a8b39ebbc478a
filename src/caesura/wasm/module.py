"""Module: what a WebAssembly module declares, read once and kept as flat lists.

Everything but code and custom sections is decoded (`definitions` has the entries); function bodies stay bytes in place
and are known by their offsets, because most of them are never touched. Index spaces follow the specification (section
2.5.1): imported entities come first. An object per function was rejected: a large module has tens of thousands of them,
and the analysis wants parallel lists of ints.
"""

from __future__ import annotations

from typing import Final, cast

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.constant import skip_constant_expression
from caesura.wasm.definitions import (
    FUNCTION_KIND,
    FUNCTION_TYPE,
    GLOBAL_KIND,
    KIND_NAMES,
    MEMORY_KIND,
    TABLE_KIND,
    TAG_KIND,
    Export,
    Global,
    Import,
    Limits,
    Table,
    TypeDefinition,
    read_byte,
    read_global_type,
    read_limits,
    read_recursion_group,
    read_table_type,
)
from caesura.wasm.indices import ByteOffset, FunctionIndex, OwnFunction, TypeIndex
from caesura.wasm.leb128 import read_u32
from caesura.wasm.sections import Section, read_name, read_sections

# Bytes before the first section.
_PREAMBLE: Final = 8

_EXACT_IMPORT: Final = 0x20
_COMPACT_SHARED_MODULE: Final = 0x7F
_COMPACT_SHARED_ALL: Final = 0x7E
_HAS_INITIALIZER: Final = 0x40


class Module:
    """A decoded module. Lists are index spaces: imported entities first, then the module's own.

    `function_types[i]` is the type index of function i; function i's own body (locals and code, without the size
    field) is `data[body_starts[k]:body_ends[k]]` with k = i - imported_functions. `recursion_groups` has (first type
    index, number of types) of each group, a plain type being a group of one; `tags` has type indices.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections: list[Section] = read_sections(data)
        self.types: list[TypeDefinition] = []
        self.recursion_groups: list[tuple[int, int]] = []
        self.imports: list[Import] = []
        self.function_types: list[TypeIndex] = []
        self.tables: list[Table] = []
        self.memories: list[Limits] = []
        self.globals: list[Global] = []
        self.tags: list[TypeIndex] = []
        self.exports: list[Export] = []
        self.start: FunctionIndex | None = None
        self.body_starts: list[ByteOffset] = []
        self.body_ends: list[ByteOffset] = []
        self.imported_functions = 0
        self.imported_globals = 0
        for section in self.sections:
            self._read_section(section)
        own = len(self.function_types) - self.imported_functions
        if own != len(self.body_starts):
            code = self.section(sec.CODE)
            raise MalformedModule(
                f"the function section declares {own} functions but the code section holds {len(self.body_starts)}",
                len(data) if code is None else code.payload,
            )

    def section(self, section_id: int) -> Section | None:
        """Return the section of an id, or None."""
        for section in self.sections:
            if section.id == section_id:
                return section
        return None

    def custom_section(self, name: str) -> Section | None:
        """Return the first custom section of a name, or None."""
        for section in self.sections:
            if section.id == sec.CUSTOM and section.name == name:
                return section
        return None

    def function_type(self, function: FunctionIndex) -> TypeDefinition:
        """Return the type of a function; its index must be valid."""
        return self.types[self.function_types[function]]

    def function_of(self, own: OwnFunction) -> FunctionIndex:
        """Return the function index of one of the module's own functions."""
        return FunctionIndex(self.imported_functions + own)

    def own_of(self, function: FunctionIndex) -> OwnFunction:
        """Return which of the module's own functions a function is; negative for an imported one."""
        return OwnFunction(function - self.imported_functions)

    def own_functions(self) -> list[OwnFunction]:
        """Return the numbers of the module's own functions, in order."""
        return cast(list[OwnFunction], list(range(len(self.body_starts))))

    def with_bodies(self, bodies: dict[OwnFunction, bytes]) -> Module:
        """Return the module with other bodies for some functions, without size fields.

        They lie behind the bytes of the file, which stay where they are.
        """
        result = Module(self.data[:_PREAMBLE])
        result.sections = self.sections
        result.types = self.types
        result.recursion_groups = self.recursion_groups
        result.imports = self.imports
        result.function_types = self.function_types
        result.tables = self.tables
        result.memories = self.memories
        result.globals = self.globals
        result.tags = self.tags
        result.exports = self.exports
        result.start = self.start
        result.imported_functions = self.imported_functions
        result.imported_globals = self.imported_globals
        result.body_starts = self.body_starts.copy()
        result.body_ends = self.body_ends.copy()
        end = len(self.data)
        for own, body in bodies.items():
            result.body_starts[own] = ByteOffset(end)
            end += len(body)
            result.body_ends[own] = ByteOffset(end)
        result.data = b"".join([self.data, *bodies.values()])
        return result

    def function_imports(self) -> list[Import]:
        """Return the imported functions in index order."""
        return [item for item in self.imports if item.kind == FUNCTION_KIND]

    def _read_section(self, section: Section) -> None:
        section_id = section.id
        position = section.payload
        end = section.end
        if section_id == sec.CUSTOM:
            return
        if section_id == sec.START:
            index, position = read_u32(self.data, position)
            self._check_index(index, len(self.function_types), "function", section.payload)
            self.start = FunctionIndex(index)
        elif section_id == sec.DATA_COUNT:
            _, position = read_u32(self.data, position)
        elif section_id == sec.ELEMENT or section_id == sec.DATA:
            return  # only the printer and renumbering look inside
        else:
            position = self._read_vector(section_id, position, end)
        if position != end:
            raise MalformedModule(
                f"{sec.SECTION_NAMES[section_id]} section should end at byte offset {end} but its content ends here",
                position,
            )

    def _read_vector(self, section_id: int, position: int, end: int) -> int:
        data = self.data
        count, position = read_u32(data, position)
        if count > end - position:
            raise MalformedModule(
                f"{sec.SECTION_NAMES[section_id]} section claims {count} entries in {end - position} bytes", position
            )
        for _ in range(count):
            if position >= end:
                raise MalformedModule(f"{sec.SECTION_NAMES[section_id]} section ends in mid-entry", position)
            if section_id == sec.TYPE:
                first = len(self.types)
                group, position = read_recursion_group(data, position)
                self.types += group
                self.recursion_groups.append((first, len(group)))
            elif section_id == sec.IMPORT:
                position = self._read_import(position, end)
            elif section_id == sec.FUNCTION:
                position = self._read_function_type(position)
            elif section_id == sec.TABLE:
                position = self._read_own_table(position)
            elif section_id == sec.MEMORY:
                limits, position = read_limits(data, position)
                self.memories.append(limits)
            elif section_id == sec.TAG:
                position = self._read_tag(position)
            elif section_id == sec.GLOBAL:
                value_type, mutable, start = read_global_type(data, position)
                position = skip_constant_expression(data, start, end)
                self.globals.append(Global(value_type, mutable, start, position))
            elif section_id == sec.EXPORT:
                position = self._read_export(position, end)
            else:
                position = self._read_body(position, end)
        return position

    def _read_import(self, position: int, end: int) -> int:
        data = self.data
        module, position = read_name(data, position, end)
        name, position = read_name(data, position, end)
        kind = read_byte(self.data, position)
        position += 1
        if name or kind not in (_COMPACT_SHARED_MODULE, _COMPACT_SHARED_ALL):
            return self._read_import_type(module, name, kind, position)
        if kind == _COMPACT_SHARED_MODULE:
            count, position = read_u32(data, position)
            for _ in range(count):
                name, position = read_name(data, position, end)
                position = self._read_import_type(module, name, read_byte(self.data, position), position + 1)
            return position
        kind = read_byte(self.data, position)
        start = position + 1
        before = len(self.imports)
        position = self._read_import_type(module, "", kind, start)
        count, position = read_u32(data, position)
        self._forget_import(before)
        for _ in range(count):
            name, position = read_name(data, position, end)
            self._read_import_type(module, name, kind, start)
        return position

    def _forget_import(self, count: int) -> None:
        """Take back the one import that was read to find the end of a type that several imports share."""
        item = self.imports.pop()
        assert len(self.imports) == count
        if item.kind == FUNCTION_KIND:
            self.function_types.pop()
            self.imported_functions -= 1
        elif item.kind == TABLE_KIND:
            self.tables.pop()
        elif item.kind == MEMORY_KIND:
            self.memories.pop()
        elif item.kind == GLOBAL_KIND:
            self.globals.pop()
            self.imported_globals -= 1
        else:
            self.tags.pop()

    def _read_import_type(self, module: str, name: str, kind: int, position: int) -> int:
        start = position - 1
        kind &= ~_EXACT_IMPORT
        if kind == FUNCTION_KIND:
            position = self._read_function_type(position)
            index = self.imported_functions
            self.imported_functions += 1
        elif kind == TABLE_KIND:
            index = len(self.tables)
            element, limits, position = read_table_type(self.data, position)
            self.tables.append(Table(element, limits))
        elif kind == MEMORY_KIND:
            index = len(self.memories)
            limits, position = read_limits(self.data, position)
            self.memories.append(limits)
        elif kind == GLOBAL_KIND:
            index = self.imported_globals
            self.imported_globals += 1
            value_type, mutable, position = read_global_type(self.data, position)
            self.globals.append(Global(value_type, mutable))
        elif kind == TAG_KIND:
            index = len(self.tags)
            position = self._read_tag(position)
        else:
            raise MalformedModule(f"unknown import kind {kind}; expected 0 to 4", start)
        self.imports.append(Import(module, name, kind, index))
        return position

    def _read_function_type(self, position: int) -> int:
        index, after = read_u32(self.data, position)
        self._check_index(index, len(self.types), "type", position)
        if self.types[index].kind != FUNCTION_TYPE:
            raise MalformedModule(f"type {index} is not a function type", position)
        self.function_types.append(TypeIndex(index))
        return after

    def _read_own_table(self, position: int) -> int:
        if read_byte(self.data, position) != _HAS_INITIALIZER:
            element, limits, position = read_table_type(self.data, position)
            self.tables.append(Table(element, limits))
            return position
        if read_byte(self.data, position + 1) != 0:
            raise MalformedModule("expected a zero byte before a table type with an initializer", position + 1)
        element, limits, start = read_table_type(self.data, position + 2)
        position = skip_constant_expression(self.data, start, len(self.data))
        self.tables.append(Table(element, limits, start, position))
        return position

    def _read_tag(self, position: int) -> int:
        index, after = read_u32(self.data, position + 1)
        self._check_index(index, len(self.types), "type", position + 1)
        self.tags.append(TypeIndex(index))
        return after

    def _read_export(self, position: int, end: int) -> int:
        name, position = read_name(self.data, position, end)
        kind = read_byte(self.data, position)
        start = position
        index, position = read_u32(self.data, position + 1)
        if kind > TAG_KIND:
            raise MalformedModule(f"unknown export kind {kind}; expected 0 to 4", start)
        spaces = [len(self.function_types), len(self.tables), len(self.memories), len(self.globals), len(self.tags)]
        self._check_index(index, spaces[kind], KIND_NAMES[kind], start + 1)
        self.exports.append(Export(name, kind, index))
        return position

    def _read_body(self, position: int, end: int) -> int:
        size, start = read_u32(self.data, position)
        if start + size > end:
            raise MalformedModule(f"function body of {size} bytes reaches beyond the end of the code section", position)
        if size < 2:
            raise MalformedModule(f"function body of {size} bytes is too short for locals and end", position)
        if self.data[start] > 0:
            # Refused here, since who skips declarations does not look where the body ends.
            runs = read_u32(self.data, start)[0]
            if 2 * runs > size:
                raise MalformedModule(f"function body of {size} bytes claims {runs} declarations of locals", start)
        self.body_starts.append(ByteOffset(start))
        self.body_ends.append(ByteOffset(start + size))
        return start + size

    def _check_index(self, index: int, count: int, kind: str, offset: int) -> None:
        if index >= count:
            raise MalformedModule(f"{kind} index {index} is out of range; the module has {count}", offset)
