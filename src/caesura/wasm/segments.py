"""Element and data segments: what initializes tables and memories, and where it lies in the module.

Who renumbers a module reads its element segments, and has them encoded anew with other indices in what they hold.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.constant import skip_constant_expression
from caesura.wasm.leb128 import encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.sections import Section
from caesura.wasm.types import FUNCREF, encode_value_type, read_reference_type

ACTIVE: Final = 0
PASSIVE: Final = 1
DECLARED: Final = 2


class ElementSegment:
    """An element segment.

    `start` is its byte offset;
    `flags` is the form as encoded; `mode` is ACTIVE, PASSIVE or DECLARED; an active one has `table` and an offset
    expression `data[offset_start:offset_end]`. Its items are function indices in `functions`, or, where
    `has_expressions`, constant expressions by (start, end) in `expressions`.
    """

    def __init__(self, flags: int, start: int) -> None:
        self.flags = flags
        self.start = start
        self.mode = ACTIVE if flags & 1 == 0 else DECLARED if flags & 2 else PASSIVE
        self.table = 0
        self.offset_start = 0
        self.offset_end = 0
        self.type = FUNCREF
        self.has_expressions = flags & 4 != 0
        self.functions: list[int] = []
        self.expressions: list[tuple[int, int]] = []

    def count(self) -> int:
        """Return how many items it has."""
        return len(self.functions) + len(self.expressions)


class DataSegment:
    """A data segment: its bytes are `data[start:end]`; an active one has `memory` and an offset expression."""

    def __init__(self, flags: int) -> None:
        self.mode = PASSIVE if flags == 1 else ACTIVE
        self.memory = 0
        self.offset_start = 0
        self.offset_end = 0
        self.start = 0
        self.end = 0


def encode_element_segment(
    segment: ElementSegment, offset: bytes, functions: list[int], expressions: list[bytes]
) -> bytes:
    """Return an element segment in binary form, in the form that it had, with other contents.

    `offset` is the expression of an active one, else empty; of `functions` and `expressions` it has those that stand in
    the place of the segment's own.
    """
    out = encode_unsigned(segment.flags)
    if segment.mode == ACTIVE:
        if segment.flags & 2:
            out += encode_unsigned(segment.table)
        out += offset
    if segment.flags & 3:
        out += encode_value_type(segment.type) if segment.has_expressions else b"\x00"
    if segment.has_expressions:
        return out + encode_vector(expressions)
    return out + encode_vector([encode_unsigned(function) for function in functions])


def read_element_segments(module: Module) -> list[ElementSegment]:
    """Return the module's element segments in index order; raises MalformedModule."""
    segments: list[ElementSegment] = []
    section = module.section(sec.ELEMENT)
    if section is None:
        return segments
    count, position = read_u32(module.data, section.payload)
    for _ in range(count):
        segment, position = _read_element_segment(module.data, position, section)
        segments.append(segment)
    _check_end(position, section)
    return segments


def read_data_segments(module: Module) -> list[DataSegment]:
    """Return the module's data segments in index order; raises MalformedModule."""
    segments: list[DataSegment] = []
    section = module.section(sec.DATA)
    if section is None:
        return segments
    data = module.data
    count, position = read_u32(data, section.payload)
    for _ in range(count):
        start = position
        flags, position = read_u32(data, position)
        if flags > 2:
            raise MalformedModule(f"unknown data segment flags {flags}; expected 0 to 2", start)
        segment = DataSegment(flags)
        if flags == 2:
            segment.memory, position = read_u32(data, position)
        if segment.mode == ACTIVE:
            segment.offset_start = position
            position = skip_constant_expression(data, position, section.end)
            segment.offset_end = position
        size, position = read_u32(data, position)
        if size > section.end - position:
            raise MalformedModule(f"data segment of {size} bytes reaches beyond the end of its section", start)
        segment.start = position
        position += size
        segment.end = position
        segments.append(segment)
    _check_end(position, section)
    return segments


def _read_element_segment(data: bytes, position: int, section: Section) -> tuple[ElementSegment, int]:
    start = position
    flags, position = read_u32(data, position)
    if flags > 7:
        raise MalformedModule(f"unknown element segment flags {flags}; expected 0 to 7", start)
    segment = ElementSegment(flags, start)
    if segment.mode == ACTIVE:
        if flags & 2:
            segment.table, position = read_u32(data, position)
        segment.offset_start = position
        position = skip_constant_expression(data, position, section.end)
        segment.offset_end = position
    if flags & 3:
        if segment.has_expressions:
            segment.type, position = read_reference_type(data, position)
        else:
            kind, position = read_u32(data, position)
            if kind != 0:
                raise MalformedModule(f"unknown element kind {kind}; expected 0 (functions)", position - 1)
    count, position = read_u32(data, position)
    if count > section.end - position:
        raise MalformedModule(f"element segment claims {count} items, more than its section has bytes left", start)
    for _ in range(count):
        if segment.has_expressions:
            item = position
            position = skip_constant_expression(data, position, section.end)
            segment.expressions.append((item, position))
        else:
            function, position = read_u32(data, position)
            segment.functions.append(function)
    return segment, position


def _check_end(position: int, section: Section) -> None:
    if position != section.end:
        raise MalformedModule(
            f"{sec.SECTION_NAMES[section.id]} section should end at byte offset {section.end} "
            f"but its content ends here",
            position,
        )
