"""Instructions that fill, copy or make as many elements as their last operand says, and what that is.

They are the ones whose time is not bounded by the code: one can take as long as ten million others. The number of
elements is always the topmost operand. What they do is counted in units: 32 bytes of a memory, or an element of a table
or an array. Behind one that may have done MOST_UNITS stands a look whether to pause. So there is one of these
at most between two looks, and others cost no more than that.

A struct that is made of default values has as many as its type has fields, up to ten thousand, and no operands that
would be instructions: where these are many, they count on the way to the next look, too.

To let a memory grow takes an engine long, by however little: V8 0.15 ms. So it counts as if it did much, but is not
followed by a look, which would be a call site in every `malloc`; on the way to the next look it is as long as many.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates
from caesura.wasm.definitions import STRUCT_TYPE
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, OwnFunction
from caesura.wasm.leb128 import read_s32, read_s64, read_u32
from caesura.wasm.module import Module
from caesura.wasm.signatures import definition_of, memory_address_type, table_address_type
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

# Bytes of a memory for a unit, as a power of two: what takes as long as a few instructions.
BYTES_FOR_A_UNIT: Final = 5

# Units for growing by however little. What V8 takes for a memory is four times that at the speed of simple loops; with
# more, a program that takes its memory page by page would use a budget up by that alone.
_UNITS_TO_GROW: Final = {op.MEMORY_GROW: 16_384, op.TABLE_GROW: 256}

# How long a way is on which a memory grows: so it does so a hundred times at most between two looks, and a function
# that does it once needs no pause point at its entry.
_WAY_TO_GROW: Final = 8_192

# Fields that a struct may have whose making takes no longer than a few instructions.
_FEW_FIELDS: Final = 64

# From so many units on, 64 KiB of a memory, a look stands behind it.
MOST_UNITS: Final = 2048


def is_bulk(code: int) -> bool:
    """Tell whether an instruction is one of them."""
    if code < op.ARRAY_NEW:
        return code == op.MEMORY_GROW
    return code in _OF_MEMORIES or code in _OF_TABLES_AND_ARRAYS


def is_of_memory(code: int) -> bool:
    """Tell whether what it counts are bytes of a memory."""
    return code in _OF_MEMORIES


class Bulk:
    """Such an instruction: where it is and what follows it, and for how many units it counts, at most MOST_UNITS;
    `is_constant` where the code says how many, or the operand does not matter; `least` are units besides.
    """

    def __init__(self, start: int, behind: int, units: int, least: int, *, is_constant: bool) -> None:
        self.start: Final = ByteOffset(start)
        self.behind: Final = ByteOffset(behind)
        self.units: Final = units
        self.least: Final = least
        self.is_constant: Final = is_constant

    def may_be_long(self) -> bool:
        """Tell whether it may take so long that it has to be followed by a look."""
        return self.units >= MOST_UNITS


def find_bulk(module: Module, own: OwnFunction) -> list[Bulk]:
    """Return those of a function, ascending."""
    data = module.data
    position = skip_locals(data, module.body_starts[own])
    end = module.body_ends[own]
    found: list[Bulk] = []
    before = position
    while position < end:
        start = position
        code, _, position = read_instruction(data, position)
        if is_bulk(code):
            is_constant = code == op.MEMORY_GROW or data[before] == op.I32_CONST or data[before] == op.I64_CONST
            least = _UNITS_TO_GROW.get(code, 0)
            found.append(Bulk(start, position, _operand(data, code, before), least, is_constant=is_constant))
        before = start
    return found


def length_of_bulk(data: bytes, code: int, before: int) -> int:
    """Return how long one makes a way, in instructions; `before` is where the instruction before it is.

    What only fills and copies is followed by a look where it is more than MOST_UNITS.
    """
    if code == op.MEMORY_GROW:
        return _WAY_TO_GROW
    return min(_operand(data, code, before) + _UNITS_TO_GROW.get(code, 0), MOST_UNITS)


def length_of_struct(module: Module, immediates: int) -> int:
    """Return how long a `struct.new_default` makes a way, besides itself; its immediate is at `immediates`."""
    fields = len(definition_of(module, read_u32(module.data, immediates)[0], STRUCT_TYPE).fields)
    return fields if fields > _FEW_FIELDS else 0


def _operand(data: bytes, code: int, before: int) -> int:
    """Return for how many units one counts as its operand says, at most MOST_UNITS."""
    if code == op.MEMORY_GROW:
        return 0
    if data[before] == op.I32_CONST:
        count = read_s32(data, before + 1)[0] & 0xFFFF_FFFF
    elif data[before] == op.I64_CONST:
        count = read_s64(data, before + 1)[0] & 0xFFFF_FFFF_FFFF_FFFF
    else:
        return MOST_UNITS
    return min(count >> BYTES_FOR_A_UNIT if is_of_memory(code) else count, MOST_UNITS)


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
