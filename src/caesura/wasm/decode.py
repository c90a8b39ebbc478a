"""Decode instructions with their immediates: the general way, for printing, typing and tests.

Immediates become a flat list of integers whose meaning the table's immediates column gives:

* indices, labels, lanes and numbers are themselves; i32 and i64 constants are signed; f32, f64 and v128 constants and
  shuffle lanes are their little-endian bytes read as one unsigned number, so that NaN payloads survive;
* a block type is a type index (>= 0), `EMPTY_BLOCK`, or the negated value type;
* a memory argument is three: alignment exponent, memory, offset;
* br_table has all its labels, the default last; typed select its types; br_on_cast flags, label, two heap types;
* try_table has its block type, then three per clause: kind, tag (NO_TAG where there is none), label.

The loops that make caesura quick do not come here: they only skip immediates (see `immediates`).
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm.immediates import read_prefixed, unknown_opcode
from caesura.wasm.leb128 import read_count, read_s32, read_s33, read_s64, read_u32, read_u64
from caesura.wasm.types import read_heap_type, read_value_type

EMPTY_BLOCK: Final = -0x40

# Stands for the tag in clauses of try_table that catch all exceptions.
NO_TAG: Final = -1

# Engines agree on this limit (WebAssembly JavaScript interface, "implementation-defined limits"); we refuse more too,
# before a lie in a few bytes costs gigabytes.
MAXIMUM_LOCALS: Final = 50_000

# A memory argument's first number holds the alignment exponent and this flag: a memory index follows.
MEMORY_FLAG: Final = 0x40


def read_opcode(data: bytes, position: int) -> tuple[int, int]:
    """Return the code of the instruction at `position` and the position behind its opcode; raises MalformedModule."""
    if position >= len(data):
        raise MalformedModule("unexpected end of data; expected an instruction", position)
    code = data[position]
    after = position + 1
    if 0xFB <= code <= 0xFE:
        code, after = read_prefixed(data, position)
    if table.IMMEDIATES[code] == table.NO_INSTRUCTION:
        raise unknown_opcode(code, position)
    return code, after


def read_immediates(data: bytes, position: int, code: int) -> tuple[list[int], int]:
    """Return the immediates of an instruction and the position behind them; raises MalformedModule."""
    kind = table.IMMEDIATES[code]
    if kind == table.IMMEDIATE_NONE:
        return [], position
    if table.IMMEDIATE_LOCAL <= kind <= table.IMMEDIATE_LABEL:
        number, position = read_u32(data, position)
        return [number], position
    if kind == table.IMMEDIATE_I32:
        number, position = read_s32(data, position)
        return [number], position
    if kind == table.IMMEDIATE_MEMARG:
        return read_memarg(data, position)
    if kind == table.IMMEDIATE_BLOCK:
        number, position = read_block_type(data, position)
        return [number], position
    if kind >= table.IMMEDIATE_TYPE_TABLE:
        number, position = read_u32(data, position)
        second, position = read_u32(data, position)
        return [number, second], position
    if kind == table.IMMEDIATE_I64:
        number, position = read_s64(data, position)
        return [number], position
    if kind == table.IMMEDIATE_F32:
        return _read_bytes(data, position, 4)
    if kind == table.IMMEDIATE_F64:
        return _read_bytes(data, position, 8)
    if kind == table.IMMEDIATE_V128 or kind == table.IMMEDIATE_LANES16:
        return _read_bytes(data, position, 16)
    if kind == table.IMMEDIATE_LANE or kind == table.IMMEDIATE_BYTE:
        return _read_bytes(data, position, 1)
    if kind == table.IMMEDIATE_MEMARG_LANE:
        numbers, position = read_memarg(data, position)
        lane, position = _read_bytes(data, position, 1)
        return numbers + lane, position
    if kind == table.IMMEDIATE_LABELS:
        return _read_labels(data, position)
    if kind == table.IMMEDIATE_TYPES:
        return _read_types(data, position)
    if kind == table.IMMEDIATE_HEAP:
        number, position = read_heap_type(data, position)
        return [number], position
    if kind == table.IMMEDIATE_CAST:
        return _read_cast(data, position)
    return _read_try_table(data, position)


def read_block_type(data: bytes, position: int) -> tuple[int, int]:
    """Return a block type (type index, EMPTY_BLOCK or negated value type) and the position behind it."""
    if position >= len(data):
        raise MalformedModule("unexpected end of data; expected a block type", position)
    byte = data[position]
    if byte == 0x40:
        return EMPTY_BLOCK, position + 1
    if 0x40 < byte < 0x80:
        value_type, position = read_value_type(data, position)
        return -value_type, position
    index, after = read_s33(data, position)
    if index < 0:
        raise MalformedModule("block type is neither empty, a value type nor a type index", position)
    return index, after


def read_memarg(data: bytes, position: int) -> tuple[list[int], int]:
    """Return alignment exponent, memory index and offset, and the position behind them."""
    flags, position = read_u32(data, position)
    memory = 0
    if flags & MEMORY_FLAG:
        memory, position = read_u32(data, position)
    offset, position = read_u64(data, position)
    return [flags & ~MEMORY_FLAG, memory, offset], position


def read_locals(data: bytes, position: int) -> tuple[list[int], int]:
    """Return the types of the locals that a body declares, and the position of its first instruction."""
    start = position
    runs, position = read_u32(data, position)
    types: list[int] = []
    for _ in range(runs):
        count, position = read_u32(data, position)
        value_type, position = read_value_type(data, position)
        if len(types) + count > MAXIMUM_LOCALS:
            raise MalformedModule(f"function declares more than {MAXIMUM_LOCALS} locals", start)
        types.extend([value_type] * count)
    return types, position


def _read_bytes(data: bytes, position: int, size: int) -> tuple[list[int], int]:
    end = position + size
    if end > len(data):
        raise MalformedModule("unexpected end of data inside an instruction", position)
    return [int.from_bytes(data[position:end], "little")], end


def _read_labels(data: bytes, position: int) -> tuple[list[int], int]:
    count, position = read_count(data, position, "instruction", "labels")
    labels: list[int] = []
    for _ in range(count + 1):
        label, position = read_u32(data, position)
        labels.append(label)
    return labels, position


def _read_types(data: bytes, position: int) -> tuple[list[int], int]:
    count, position = read_count(data, position, "instruction", "types")
    types: list[int] = []
    for _ in range(count):
        value_type, position = read_value_type(data, position)
        types.append(value_type)
    return types, position


def _read_cast(data: bytes, position: int) -> tuple[list[int], int]:
    start = position
    numbers, position = _read_bytes(data, position, 1)
    if numbers[0] > 3:
        raise MalformedModule(f"unknown cast flags 0x{numbers[0]:02x}; expected 0 to 3", start)
    label, position = read_u32(data, position)
    source, position = read_heap_type(data, position)
    target, position = read_heap_type(data, position)
    return [numbers[0], label, source, target], position


def _read_try_table(data: bytes, position: int) -> tuple[list[int], int]:
    block_type, position = read_block_type(data, position)
    numbers = [block_type]
    count, position = read_count(data, position, "instruction", "catch clauses")
    for _ in range(count):
        start = position
        kind, position = _read_bytes(data, position, 1)
        if kind[0] > 3:
            raise MalformedModule(f"unknown catch clause kind {kind[0]}; expected 0 to 3", start)
        tag = NO_TAG
        if kind[0] < 2:
            tag, position = read_u32(data, position)
        label, position = read_u32(data, position)
        numbers += [kind[0], tag, label]
    return numbers, position
