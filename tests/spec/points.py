"""Adds suspension points to a module: calls of one more imported function at every entry and loop head.

So every call in a script suspends and resumes many times, also where the script's own modules import nothing. Frames go
to a memory that is imported too: all instances share it, as those of a dynamically linked program do.

The function and the memory are the last imported ones, and all others move. What has their indices in code is encoded
by the tests' own means; imports and element segments are encoded by what caesura renumbers modules with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND, MEMORY_KIND
from caesura.wasm.encoded import CALL
from caesura.wasm.immediates import skip_locals
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.renumber import encode_import
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.segments import (
    ElementSegment,
    encode_element_segment,
    read_data_segments,
    read_element_segments,
)
from tests.support.encoding import encode_instruction

POINTS_MODULE: Final = "points"
POINT: Final = "point"
FRAMES: Final = "frames"

# Where an instruction has the index of a memory among its immediates.
_MEMORY_PLACES: Final = {
    table.IMMEDIATE_MEMORY: (0,),
    table.IMMEDIATE_MEMARG: (1,),
    table.IMMEDIATE_MEMARG_LANE: (1,),
    table.IMMEDIATE_DATA_MEMORY: (1,),
    table.IMMEDIATE_MEMORY_MEMORY: (0, 1),
}


def with_points(binary: bytes, pages: int) -> bytes:
    """Return a module that calls `points.point` at the entry of every function and at every loop head.

    It imports a memory `points.frames` of so many pages, which it exports under that name.
    """
    return _Added(Module(binary), pages).write()


class _Added:
    def __init__(self, module: Module, pages: int) -> None:
        self._module = module
        self._pages = pages
        self._point = module.imported_functions
        self._frames = sum(item.kind == MEMORY_KIND for item in module.imports)

    def write(self) -> bytes:
        module = self._module
        edits = SectionEdits()
        edits.append(sec.TYPE, b"\x60\x00\x00")
        imports = [encode_import(module, item) for item in module.imports]
        head = encode_name(POINTS_MODULE)
        imports.append(head + encode_name(POINT) + bytes([FUNCTION_KIND]) + encode_unsigned(len(module.types)))
        limits = b"\x00" + encode_unsigned(self._pages)
        imports.append(head + encode_name(FRAMES) + bytes([MEMORY_KIND]) + limits)
        edits.replace[sec.IMPORT] = encode_vector(imports)
        if module.body_starts:
            bodies = [self._body(own) for own in range(len(module.body_starts))]
            edits.replace[sec.CODE] = encode_vector([encode_unsigned(len(body)) + body for body in bodies])
        if module.start is not None:
            edits.replace[sec.START] = encode_unsigned(self._function(module.start))
        self._write_exports(edits)
        self._write_segments(edits)
        self._patch(sec.GLOBAL, [(entry.init_start, entry.init_end) for entry in module.globals], edits)
        self._patch(sec.TABLE, [(entry.init_start, entry.init_end) for entry in module.tables], edits)
        for section in module.sections:  # what names functions, and what lies in code, lies elsewhere now
            if section.id == sec.CUSTOM:
                edits.custom[section.name] = None
        return write_sections(module.data, module.sections, edits)

    def _function(self, index: int) -> int:
        return index + (index >= self._point)

    def _memory(self, index: int) -> int:
        return index + (index >= self._frames)

    def _write_exports(self, edits: SectionEdits) -> None:
        moved: dict[int, Callable[[int], int]] = {FUNCTION_KIND: self._function, MEMORY_KIND: self._memory}
        exports = [
            encode_name(item.name)
            + bytes([item.kind])
            + encode_unsigned(moved[item.kind](item.index) if item.kind in moved else item.index)
            for item in self._module.exports
        ]
        exports.append(encode_name(FRAMES) + bytes([MEMORY_KIND]) + encode_unsigned(self._frames))
        edits.replace[sec.EXPORT] = encode_vector(exports)

    def _write_segments(self, edits: SectionEdits) -> None:
        module = self._module
        elements = read_element_segments(module)
        if elements:
            edits.replace[sec.ELEMENT] = encode_vector([self._elements(segment) for segment in elements])
        segments = []
        for data in read_data_segments(module):
            if data.offset_end:
                head = b"\x02" + encode_unsigned(self._memory(data.memory))
                head += self._code(data.offset_start, data.offset_end)
            else:
                head = b"\x01"
            segments.append(head + encode_unsigned(data.end - data.start) + module.data[data.start : data.end])
        if segments:
            edits.replace[sec.DATA] = encode_vector(segments)

    def _elements(self, segment: ElementSegment) -> bytes:
        offset = self._code(segment.offset_start, segment.offset_end)
        functions = [self._function(index) for index in segment.functions]
        expressions = [self._code(start, end) for start, end in segment.expressions]
        return encode_element_segment(segment, offset, functions, expressions)

    def _patch(self, section_id: int, expressions: list[tuple[int, int]], edits: SectionEdits) -> None:
        """Write the constant expressions of a section anew."""
        section = self._module.section(section_id)
        if section is None:
            return
        out = []
        copied = section.payload
        for start, end in expressions:
            if end > start:
                out += [self._module.data[copied:start], self._code(start, end)]
                copied = end
        edits.replace[section_id] = b"".join(out) + self._module.data[copied : section.end]

    def _body(self, own: int) -> bytes:
        module = self._module
        start = module.body_starts[own]
        code = skip_locals(module.data, start)
        point = CALL + encode_unsigned(self._point)
        return module.data[start:code] + point + self._code(code, module.body_ends[own], point)

    def _code(self, position: int, end: int, at_loop_heads: bytes = b"") -> bytes:
        data = self._module.data
        out = []
        while position < end:
            code, position = read_opcode(data, position)
            immediates, position = read_immediates(data, position, code)
            kind = table.IMMEDIATES[code]
            if kind == table.IMMEDIATE_FUNC:
                immediates = [self._function(immediates[0])]
            for place in _MEMORY_PLACES.get(kind, ()):
                immediates[place] = self._memory(immediates[place])
            out.append(encode_instruction(code, immediates))
            if code == op.LOOP:
                out.append(at_loop_heads)
        return b"".join(out)
