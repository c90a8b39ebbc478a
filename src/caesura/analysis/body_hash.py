"""A hash of a function's body that a rebuild changes only where the function changes, to know it by without a name.

Indices of functions, types, globals, tables, memories, tags and segments are left out, since whatever is added to a
program moves them; so are the addresses of static data, which move likewise: constants and offsets from 1,024 on, where
linkers begin to place data. Numbers count by their value, however a linker padded them. What is left is every
instruction in its order, the types of the function and its locals, labels, locals, small constants, and what floating
point and vector instructions have. So functions that differ only in whom they call have the same hash; their index
tells them apart. Hashing what is called as well was rejected: a change would reach everything above it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.types import heap_of, is_abstract, is_reference, read_value_type

# How many hexadecimal digits a hash has: by chance two of 24,000 functions share one in a run of 60 billion.
DIGITS: Final = 16

# From where on a number may be the address of static data.
_FIRST_ADDRESS: Final = 1024
_ADDRESS: Final = -(1 << 40)

# Which of an instruction's immediates are left out, by their kind: all, or the first of two.
_ALL_INDICES: Final = frozenset(
    [
        table.IMMEDIATE_GLOBAL,
        table.IMMEDIATE_FUNC,
        table.IMMEDIATE_TYPE,
        table.IMMEDIATE_TABLE,
        table.IMMEDIATE_MEMORY,
        table.IMMEDIATE_TAG,
        table.IMMEDIATE_DATA,
        table.IMMEDIATE_ELEM,
        table.IMMEDIATE_TYPE_TABLE,
        table.IMMEDIATE_TYPE_TYPE,
        table.IMMEDIATE_TYPE_DATA,
        table.IMMEDIATE_TYPE_ELEM,
        table.IMMEDIATE_ELEM_TABLE,
        table.IMMEDIATE_TABLE_TABLE,
        table.IMMEDIATE_DATA_MEMORY,
        table.IMMEDIATE_MEMORY_MEMORY,
        table.IMMEDIATE_HEAP,
    ]
)
_FIRST_IS_INDEX: Final = (table.IMMEDIATE_TYPE_FIELD, table.IMMEDIATE_TYPE_U32)


def body_hash(module: Module, function: FunctionIndex) -> str:
    """Return the hash of one of the module's own functions; raises MalformedModule for code that cannot be read."""
    own = module.own_of(function)
    data = module.data
    end = module.body_ends[own]
    definition = module.function_type(function)
    numbers = [_type(param) for param in definition.params]
    numbers.append(-1)
    numbers += [_type(result) for result in definition.results]
    words = [str(number) for number in numbers]
    count, position = read_u32(data, module.body_starts[own])
    for _ in range(count):
        locals_, position = read_u32(data, position)
        value_type, position = read_value_type(data, position)
        words.append(f"{locals_}x{_type(value_type)}")
    while position < end:
        code, position = read_opcode(data, position)
        immediates, position = read_immediates(data, position, code)
        words.append(_word(code, immediates))
    if position != end:
        raise MalformedModule("an instruction reaches over the end of its function", end)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:DIGITS]


def _type(value_type: int) -> int:
    """Return a value type; one of all that refer to a type of the module."""
    if is_reference(value_type) and not is_abstract(heap_of(value_type)):
        return 0
    return value_type


def _word(code: int, immediates: list[int]) -> str:
    kind = table.IMMEDIATES[code]
    if not immediates or kind in _ALL_INDICES:
        return str(code)
    if kind == table.IMMEDIATE_I32 or kind == table.IMMEDIATE_I64:
        immediates = [_constant(immediates[0])]
    elif kind == table.IMMEDIATE_MEMARG or kind == table.IMMEDIATE_MEMARG_LANE:
        immediates = [immediates[0], _constant(immediates[2])] + immediates[3:]
    elif kind == table.IMMEDIATE_BLOCK:
        immediates = [min(immediates[0], 0)]
    elif kind == table.IMMEDIATE_TYPES:
        immediates = [_type(value_type) for value_type in immediates]
    elif kind == table.IMMEDIATE_CAST:
        immediates = immediates[:2]
    elif kind in _FIRST_IS_INDEX:
        immediates = immediates[1:]
    elif kind == table.IMMEDIATE_BLOCK_CATCHES:
        clauses = immediates[1:]
        immediates = [min(immediates[0], 0)]
        for place in range(0, len(clauses), 3):
            immediates += [clauses[place], clauses[place + 2]]
    return f"{code}:{','.join([str(number) for number in immediates])}"


def _constant(number: int) -> int:
    return number if number < _FIRST_ADDRESS else _ADDRESS
