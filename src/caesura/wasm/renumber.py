"""Renumber functions and globals of a module: the same module with other indices.

Needed where imports come or go, since imported entities come first in an index space and all others move. Code and
constant expressions are copied with the indices in them replaced; imports, exports and element segments are written
anew; names and branch hints follow their functions. Everything else is copied byte for byte. Indices keep the width
that they had, so that offsets into bodies (hints, error messages, debug information) stay right.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND, Import, Limits
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.instructions import IMMEDIATE_FUNC, IMMEDIATE_GLOBAL, IMMEDIATES
from caesura.wasm.leb128 import encode_name, encode_padded, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.moved import Redirected
from caesura.wasm.names import renumber_names
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.segments import (
    ElementSegment,
    encode_element_segment,
    read_data_segments,
    read_element_segments,
)
from caesura.wasm.types import encode_value_type

# Code metadata whose own data are functions.
_CALL_TARGETS: Final = "metadata.code.call_targets"

# A body that is valid for every function type: no locals, `unreachable`, `end`.
_STUB: Final = b"\x03\x00\x00\x0b"


def imports_to_stubs(module: Module, removed: list[int], added_globals: list[tuple[str, str, int]]) -> bytes:
    """Return the module without some function imports, and with mutable globals imported.

    `removed` has indices of imported functions, ascending; each becomes a function of the module's own at the end of
    the index space, in this order, with a body that traps. `added_globals` has (module, name, type code); they become
    the last imported globals.
    """
    functions = _function_numbers(module, removed)
    added = len(added_globals)
    globals_ = [index + (added if index >= module.imported_globals else 0) for index in range(len(module.globals))]
    return _Renumbering(module, functions, globals_).write(removed, added_globals)


def redirect_references(module: Module, redirected: dict[int, int], edits: SectionEdits) -> None:
    """Replace some functions by others wherever a module refers to them outside of code.

    That is in element segments, initializers and exports. What `ref.func` in code refers to must be declared in one of
    these, so it has to be replaced too: `redirect_in_code`.
    """
    functions = [redirected.get(index, index) for index in range(len(module.function_types))]
    renumbering = _Renumbering(module, functions, list(range(len(module.globals))))
    renumbering.write_segments(edits)
    renumbering.write_initializers(edits)
    renumbering.write_exports(edits)


def redirect_exports(module: Module, redirected: dict[int, int], edits: SectionEdits) -> None:
    """Export others in the place of some functions."""
    functions = [redirected.get(index, index) for index in range(len(module.function_types))]
    _Renumbering(module, functions, list(range(len(module.globals)))).write_exports(edits)


def redirect_in_code(body: bytes, redirected: dict[int, int]) -> Redirected:
    """Return a function body (locals and code) in which references to some functions are references to others."""
    result = Redirected()
    out: list[bytes] = []
    copied = added = 0
    position = skip_locals(body, 0)
    while position < len(body):
        code, start, position = read_instruction(body, position)
        if code != op.REF_FUNC:
            continue
        function = read_u32(body, start)[0]
        if function in redirected:
            number = encode_padded(redirected[function], position - start)
            out += [body[copied:start], number]
            copied = position
            if len(number) > position - start:
                added += len(number) - (position - start)
                result.ends.append(position)
                result.added.append(added)
    result.is_changed = len(out) > 0
    out.append(body[copied:])
    result.code = b"".join(out)
    return result


def _function_numbers(module: Module, removed: list[int]) -> list[int]:
    numbers: list[int] = []
    last = len(module.function_types) - len(removed)
    taken = 0
    for index in range(len(module.function_types)):
        if taken < len(removed) and removed[taken] == index:
            numbers.append(last + taken)
            taken += 1
        else:
            numbers.append(index - taken)
    return numbers


def encode_import(module: Module, item: Import) -> bytes:
    """Return an import of a module in binary form, with the module and the name that the item has."""
    head = encode_name(item.module) + encode_name(item.name) + bytes([item.kind])
    if item.kind == FUNCTION_KIND:
        return head + encode_unsigned(module.function_types[item.index])
    if item.kind == TABLE_KIND:
        table = module.tables[item.index]
        return head + encode_value_type(table.element) + encode_limits(table.limits)
    if item.kind == MEMORY_KIND:
        return head + encode_limits(module.memories[item.index])
    if item.kind == GLOBAL_KIND:
        entry = module.globals[item.index]
        return head + encode_value_type(entry.type) + (b"\x01" if entry.mutable else b"\x00")
    return head + b"\x00" + encode_unsigned(module.tags[item.index])


class _Renumbering:
    """A module and the new index of each function and global."""

    def __init__(self, module: Module, functions: list[int], globals_: list[int]) -> None:
        self._module = module
        self._data = module.data
        self._functions = functions
        self._globals = globals_
        # Functions whose code moved inside their bodies.
        self._resized: set[int] = set()

    def write(self, removed: list[int], added_globals: list[tuple[str, str, int]]) -> bytes:
        """Return the renumbered module (see `imports_to_stubs`)."""
        module = self._module
        edits = SectionEdits()
        kept = [item for item in module.imports if item.kind != FUNCTION_KIND or item.index not in removed]
        imports = [encode_import(module, item) for item in kept]
        for module_name, name, value_type in added_globals:
            entry = bytes([GLOBAL_KIND]) + encode_value_type(value_type) + b"\x01"
            imports.append(encode_name(module_name) + encode_name(name) + entry)
        edits.replace[sec.IMPORT] = encode_vector(imports)
        for index in removed:
            edits.append(sec.FUNCTION, encode_unsigned(module.function_types[index]))
            edits.append(sec.CODE, _STUB)
        self._write_code(edits)
        self.write_initializers(edits)
        self.write_segments(edits)
        self.write_exports(edits)
        if module.start is not None:
            edits.replace[sec.START] = encode_unsigned(self._functions[module.start])
        section = module.custom_section("name")
        if section is not None:
            payload = self._data[section.payload : section.end]
            edits.custom["name"] = renumber_names(payload, self._functions, self._globals)
        for section in module.sections:
            if section.id == sec.CUSTOM and section.name.startswith(sec.CODE_METADATA):
                hints = None if section.name == _CALL_TARGETS else self._hints(section.payload, section.end)
                edits.custom[section.name] = hints
        return write_sections(self._data, module.sections, edits)

    def _entity(self, kind: int, index: int) -> int:
        if kind == FUNCTION_KIND:
            return self._functions[index]
        return self._globals[index] if kind == GLOBAL_KIND else index

    def _write_code(self, edits: SectionEdits) -> None:
        module = self._module
        bodies: list[bytes] = []
        for own in range(len(module.body_starts)):
            start = module.body_starts[own]
            code = skip_locals(self._data, start)
            try:
                body = self._data[start:code] + self._code(code, module.body_ends[own])
            except MalformedModule as error:
                function = f"function {module.imported_functions + own}"
                raise MalformedModule(error.reason, error.offset, function) from None
            if len(body) != module.body_ends[own] - start:
                self._resized.add(module.imported_functions + own)
            bodies.append(encode_unsigned(len(body)) + body)
        edits.replace[sec.CODE] = encode_vector(bodies)

    def _code(self, position: int, end: int) -> bytes:
        """Return the code between two positions with its indices replaced."""
        data = self._data
        out: list[bytes] = []
        copied = position
        while position < end:
            opcode = position
            code, start, position = read_instruction(data, opcode)
            kind = IMMEDIATES[code]
            if kind == IMMEDIATE_FUNC:
                index = _new_index(self._functions, read_u32(data, start)[0], "function", opcode)
            elif kind == IMMEDIATE_GLOBAL:
                index = _new_index(self._globals, read_u32(data, start)[0], "global", opcode)
            else:
                continue
            out.append(data[copied:start])
            out.append(encode_padded(index, position - start))
            copied = position
        if position != end:
            raise MalformedModule(f"the code should end at byte offset {end}", min(position, end))
        out.append(data[copied:end])
        return b"".join(out)

    def write_initializers(self, edits: SectionEdits) -> None:
        """Write the sections anew that hold initializers: globals, tables, data."""
        module = self._module
        self._patch(sec.GLOBAL, [(entry.init_start, entry.init_end) for entry in module.globals], edits)
        self._patch(sec.TABLE, [(table.init_start, table.init_end) for table in module.tables], edits)
        offsets = [(segment.offset_start, segment.offset_end) for segment in read_data_segments(module)]
        self._patch(sec.DATA, offsets, edits)

    def _patch(self, section_id: int, expressions: list[tuple[int, int]], edits: SectionEdits) -> None:
        """Replace the indices in some constant expressions of a section."""
        section = self._module.section(section_id)
        if section is None:
            return
        out: list[bytes] = []
        copied = section.payload
        for start, end in expressions:
            if end > start:
                out.append(self._data[copied:start])
                out.append(self._code(start, end))
                copied = end
        out.append(self._data[copied : section.end])
        edits.replace[section_id] = b"".join(out)

    def write_exports(self, edits: SectionEdits) -> None:
        """Write the export section anew."""
        if self._module.exports:
            edits.replace[sec.EXPORT] = encode_vector(
                [
                    encode_name(export.name)
                    + bytes([export.kind])
                    + encode_unsigned(self._entity(export.kind, export.index))
                    for export in self._module.exports
                ]
            )

    def write_segments(self, edits: SectionEdits) -> None:
        """Write the element section anew."""
        segments = read_element_segments(self._module)
        if segments:
            edits.replace[sec.ELEMENT] = encode_vector([self._element_segment(segment) for segment in segments])

    def _element_segment(self, segment: ElementSegment) -> bytes:
        offset = self._code(segment.offset_start, segment.offset_end)
        functions = [_new_index(self._functions, index, "function", segment.start) for index in segment.functions]
        expressions = [self._code(start, end) for start, end in segment.expressions]
        return encode_element_segment(segment, offset, functions, expressions)

    def _hints(self, start: int, end: int) -> bytes:
        entries: list[tuple[int, bytes]] = []
        try:
            count, position = read_u32(self._data, start)
            for _ in range(count):
                function, position = read_u32(self._data, position)
                hints = position
                number, position = read_u32(self._data, position)
                for _ in range(number):
                    _, position = read_u32(self._data, position)
                    size, position = read_u32(self._data, position)
                    position += size
                    if position > end:
                        return encode_unsigned(0)
                if function < len(self._functions) and function not in self._resized:
                    entries.append((self._functions[function], self._data[hints:position]))
        except MalformedModule:
            return encode_unsigned(0)
        if position != end:
            return encode_unsigned(0)
        entries.sort()
        return encode_vector([encode_unsigned(function) + hints for function, hints in entries])


def _new_index(numbers: list[int], index: int, kind: str, offset: int) -> int:
    if index >= len(numbers):
        raise MalformedModule(f"{kind} index {index} is out of range; the module has {len(numbers)}", offset)
    return numbers[index]


def encode_limits(limits: Limits) -> bytes:
    """Return the limits of a table or memory in binary form."""
    flags = (limits.maximum is not None) | limits.shared << 1 | limits.is64 << 2 | (limits.page_size_log2 != 16) << 3
    out = bytes([flags]) + encode_unsigned(limits.minimum)
    if limits.maximum is not None:
        out += encode_unsigned(limits.maximum)
    if limits.page_size_log2 != 16:
        out += encode_unsigned(limits.page_size_log2)
    return out
