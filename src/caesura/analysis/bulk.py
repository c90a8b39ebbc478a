"""Instructions that fill, copy or make as many elements as their last operand says, and what that is.

They are the ones whose time is not bounded by the code: one can take as long as ten million others. The number of
elements is always the topmost operand.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.signatures import memory_address_type, table_address_type
from caesura.wasm.types import I32, I64

_OF_MEMORIES: Final = (op.MEMORY_FILL, op.MEMORY_COPY, op.MEMORY_INIT)
_OF_TABLES_AND_ARRAYS: Final = (
    op.TABLE_FILL,
    op.TABLE_COPY,
    op.TABLE_INIT,
    op.TABLE_GROW,
    op.ARRAY_NEW,
    op.ARRAY_NEW_DEFAULT,
    op.ARRAY_NEW_DATA,
    op.ARRAY_NEW_ELEM,
    op.ARRAY_FILL,
    op.ARRAY_COPY,
    op.ARRAY_INIT_DATA,
    op.ARRAY_INIT_ELEM,
)


def is_bulk(code: int) -> bool:
    """Tell whether an instruction is one of them."""
    return code >= op.ARRAY_NEW and (code in _OF_MEMORIES or code in _OF_TABLES_AND_ARRAYS)


def is_of_memory(code: int) -> bool:
    """Tell whether what it counts are bytes of a memory."""
    return code in _OF_MEMORIES


def find_bulk(module: Module, own: OwnFunction) -> list[ByteOffset]:
    """Return where they stand in a function, ascending."""
    data = module.data
    position = skip_locals(data, module.body_starts[own])
    end = module.body_ends[own]
    found: list[ByteOffset] = []
    while position < end:
        start = position
        code, _, position = read_instruction(data, position)
        if is_bulk(code):
            found.append(ByteOffset(start))
    return found


def count_type(module: Module, code: int, immediates: int) -> int:
    """Return the type of the operand that says how many; `immediates` is where those of the instruction are."""
    numbers = read_immediates(module.data, immediates, code)[0]
    if code == op.MEMORY_FILL:
        return memory_address_type(module, numbers[0])
    if code == op.TABLE_FILL or code == op.TABLE_GROW:
        return table_address_type(module, numbers[0])
    if code == op.MEMORY_COPY:
        return _narrower(memory_address_type(module, numbers[0]), memory_address_type(module, numbers[1]))
    if code == op.TABLE_COPY:
        return _narrower(table_address_type(module, numbers[0]), table_address_type(module, numbers[1]))
    return I32


def _narrower(one: int, other: int) -> int:
    """Return the narrower of two types of addresses."""
    return I64 if one == I64 and other == I64 else I32
