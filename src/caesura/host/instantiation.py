"""How long making an instance takes, estimated: what takes long is done in a thread (see `starting`).

Wasmtime makes most instances in microseconds. Where a module's data lie at constant addresses in a memory of its own,
close together, they are mapped; where elements are functions at constant places of a table of its own, the table is
filled when an element is first used. All else is written when an instance is made, however much it is: data whose
place only the instance knows, other elements, tables with an initializer, and objects of the garbage collector. A
module of a hundred bytes can begin with an array of a hundred megabytes.

What is mapped is decided as Wasmtime does, or counted as written in cases of doubt: a thread that was not needed costs
a tenth of a millisecond. Looking at the clock while the first instance is made was rejected: that is too late for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from caesura.host.description import Instantiation
from caesura.wasm import opcodes as op
from caesura.wasm.constant import constant_number
from caesura.wasm.definitions import FUNCTION_TYPE, MEMORY_KIND, TABLE_KIND, Table
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_s32
from caesura.wasm.module import Module
from caesura.wasm.segments import (
    ACTIVE,
    DECLARED,
    DataSegment,
    ElementSegment,
    read_data_segments,
    read_element_segments,
)

# Nanoseconds that Wasmtime takes for each of these.
_BYTE: Final = 1
_ELEMENT: Final = 100
_FILLED_ELEMENT: Final = 8
_OBJECT: Final = 1_500
_ARRAY_ITEM: Final = 10
_OPERAND: Final = 25

# How long an array may be whose length is not a plain number.
_UNKNOWN: Final = 1 << 30

_PAGE_SIZE_LOG2: Final = 16

_OBJECTS: Final = (
    op.STRUCT_NEW,
    op.STRUCT_NEW_DEFAULT,
    op.ARRAY_NEW,
    op.ARRAY_NEW_DEFAULT,
    op.ARRAY_NEW_FIXED,
)


def instantiation_of(module: Module) -> Instantiation:
    """Return what making an instance of a module takes. Raises MalformedModule for segments that are."""
    segments = [segment for segment in read_data_segments(module) if segment.mode == ACTIVE]
    data = sum(segment.end - segment.start for segment in segments) * _BYTE
    has_objects = any(item.kind != FUNCTION_TYPE for item in module.types)
    effort = _tables(module) + _elements(module)
    if has_objects:
        effort += sum(_objects(module.data, start, end) for start, end in _expressions(module))
    return Instantiation(effort, data) if _are_mapped(module, segments) else Instantiation(effort + data, 0)


def _are_mapped(module: Module, segments: list[DataSegment]) -> bool:
    """Tell whether Wasmtime maps active data, all of it: it does where every memory is its own and mostly data."""
    imported = sum(item.kind == MEMORY_KIND for item in module.imports)
    places: dict[int, list[tuple[int, int]]] = {}
    for segment in segments:
        memory = module.memories[segment.memory] if imported <= segment.memory < len(module.memories) else None
        start = constant_number(module.data, segment.offset_start, segment.offset_end)
        if memory is None or memory.shared or memory.page_size_log2 != _PAGE_SIZE_LOG2 or start is None:
            return False
        places.setdefault(segment.memory, []).append((start, start + segment.end - segment.start))
    return not any(_are_scattered(ranges) for ranges in places.values())


def _are_scattered(ranges: list[tuple[int, int]]) -> bool:
    """Tell whether ranges of addresses are less than half of the memory from the first to the last."""
    size = sum(end - start for start, end in ranges)
    return max(end for _, end in ranges) - min(start for start, _ in ranges) > 2 * size


def _tables(module: Module) -> int:
    """Return what it takes to fill tables that have an initializer."""
    return sum(table.limits.minimum * _FILLED_ELEMENT for table in module.tables if _is_filled(module, table))


def _is_filled(module: Module, table: Table) -> bool:
    return table.init_end != 0 and module.data[table.init_start] != op.REF_NULL


def _elements(module: Module) -> int:
    """Return what it takes to write elements: those of active segments from the first on that is not known before."""
    imported = sum(item.kind == TABLE_KIND for item in module.imports)
    written, is_known = 0, True
    for segment in read_element_segments(module):
        if segment.mode != DECLARED:
            written += len(segment.expressions)
        if segment.mode != ACTIVE:
            continue
        is_known = is_known and imported <= segment.table < len(module.tables) and _is_known(module, segment)
        if not is_known:
            written += len(segment.functions)
    return written * _ELEMENT


def _is_known(module: Module, segment: ElementSegment) -> bool:
    """Tell whether a segment consists of functions, at a constant place of a table that is empty otherwise."""
    return (
        not segment.has_expressions
        and not _is_filled(module, module.tables[segment.table])
        and constant_number(module.data, segment.offset_start, segment.offset_end) is not None
    )


def _expressions(module: Module) -> Iterator[tuple[int, int]]:
    """Yield where the expressions lie that may make objects."""
    for item in module.globals:
        yield item.init_start, item.init_end
    for table in module.tables:
        yield table.init_start, table.init_end
    for segment in read_element_segments(module):
        if segment.mode != DECLARED:
            yield from segment.expressions


def _objects(data: bytes, start: int, end: int) -> int:
    """Return what it takes to make the objects of a constant expression."""
    effort, length, position = 0, _UNKNOWN, start
    while position < end:
        code, immediates, position = read_instruction(data, position)
        if code in (op.ARRAY_NEW, op.ARRAY_NEW_DEFAULT):
            effort += length * _ARRAY_ITEM
        effort += _OBJECT if code in _OBJECTS else _OPERAND
        length = read_s32(data, immediates)[0] & 0xFFFF_FFFF if code == op.I32_CONST else _UNKNOWN
    return effort
