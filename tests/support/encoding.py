"""Encode instructions from a code and its immediates, in the shortest form; the inverse of `decode`.

What `decode` reads from canonical bytes (shortest LEB128 numbers, no memory index where it is 0) comes out the same.
"""

from __future__ import annotations

from caesura.wasm import instructions as table
from caesura.wasm.decode import EMPTY_BLOCK, MEMORY_FLAG
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import encode_heap_type, encode_value_type


def encode_opcode(code: int) -> bytes:
    """Return the opcode of a code, with its prefix."""
    if code < 0x100:
        return bytes([code])
    if code < 0x200:
        return b"\xfb" + encode_unsigned(code - 0x100)
    if code < 0x300:
        return b"\xfc" + encode_unsigned(code - 0x200)
    if code < 0x500:
        return b"\xfd" + encode_unsigned(code - 0x300)
    return b"\xfe" + encode_unsigned(code - 0x500)


def encode_block_type(block_type: int) -> bytes:
    """Return the encoding of a block type (type index, EMPTY_BLOCK or negated value type)."""
    if block_type >= 0:
        return encode_signed(block_type)
    if block_type == EMPTY_BLOCK:
        return b"\x40"
    return encode_value_type(-block_type)


def encode_memarg(alignment: int, memory: int, offset: int) -> bytes:
    """Return the encoding of a memory argument; `alignment` is the exponent."""
    if memory == 0:
        return encode_unsigned(alignment) + encode_unsigned(offset)
    return encode_unsigned(alignment | MEMORY_FLAG) + encode_unsigned(memory) + encode_unsigned(offset)


def encode_instruction(code: int, immediates: list[int]) -> bytes:
    """Return an instruction; the immediates are as `decode.read_immediates` gives them."""
    return encode_opcode(code) + _encode_immediates(table.IMMEDIATES[code], immediates)


def _encode_immediates(kind: int, numbers: list[int]) -> bytes:
    if kind == table.IMMEDIATE_I32 or kind == table.IMMEDIATE_I64:
        return encode_signed(numbers[0])
    if kind == table.IMMEDIATE_MEMARG:
        return encode_memarg(numbers[0], numbers[1], numbers[2])
    if kind == table.IMMEDIATE_BLOCK:
        return encode_block_type(numbers[0])
    if kind == table.IMMEDIATE_F32:
        return numbers[0].to_bytes(4, "little")
    if kind == table.IMMEDIATE_F64:
        return numbers[0].to_bytes(8, "little")
    if kind == table.IMMEDIATE_V128 or kind == table.IMMEDIATE_LANES16:
        return numbers[0].to_bytes(16, "little")
    if kind == table.IMMEDIATE_LANE or kind == table.IMMEDIATE_BYTE:
        return bytes(numbers)
    if kind == table.IMMEDIATE_MEMARG_LANE:
        return encode_memarg(numbers[0], numbers[1], numbers[2]) + bytes([numbers[3]])
    if kind == table.IMMEDIATE_LABELS:
        return encode_unsigned(len(numbers) - 1) + b"".join([encode_unsigned(label) for label in numbers])
    if kind == table.IMMEDIATE_TYPES:
        return encode_unsigned(len(numbers)) + b"".join([encode_value_type(one) for one in numbers])
    if kind == table.IMMEDIATE_HEAP:
        return encode_heap_type(numbers[0])
    if kind == table.IMMEDIATE_CAST:
        return (
            bytes([numbers[0]])
            + encode_unsigned(numbers[1])
            + encode_heap_type(numbers[2])
            + encode_heap_type(numbers[3])
        )
    if kind == table.IMMEDIATE_BLOCK_CATCHES:
        return _encode_try_table(numbers)
    return b"".join([encode_unsigned(number) for number in numbers])


def _encode_try_table(numbers: list[int]) -> bytes:
    out = encode_block_type(numbers[0]) + encode_unsigned((len(numbers) - 1) // 3)
    for clause in range(1, len(numbers), 3):
        out += bytes([numbers[clause]])
        if numbers[clause] < 2:
            out += encode_unsigned(numbers[clause + 1])
        out += encode_unsigned(numbers[clause + 2])
    return out
