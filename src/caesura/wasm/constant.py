"""Constant expressions: where the initializer of a global, table, or segment ends, the functions that it refers to, and
the number that it is (specification, section 3.4.12).
"""

from __future__ import annotations

from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_s32, read_s64, read_u32


def skip_constant_expression(data: bytes, position: int, end: int) -> int:
    """Return the position behind the `end` of the constant expression at `position`; raises MalformedModule.

    Constant expressions hold no blocks, so the first `end` is theirs.
    """
    start = position
    while position < end:
        code, _, position = read_instruction(data, position)
        if code == op.END:
            return position
    raise MalformedModule("constant expression has no end", start)


def referenced_functions(data: bytes, start: int, end: int) -> list[int]:
    """Return the functions that a constant expression, which must be well-formed, makes references of."""
    functions: list[int] = []
    position = start
    while position < end:
        code, immediates, position = read_instruction(data, position)
        if code == op.REF_FUNC:
            functions.append(read_u32(data, immediates)[0])
    return functions


def constant_number(data: bytes, start: int, end: int) -> int | None:
    """Return the integer, unsigned, that a well-formed constant expression is; None if it is anything else."""
    code, immediates, position = read_instruction(data, start)
    if position != end - 1:
        return None
    if code == op.I32_CONST:
        return read_s32(data, immediates)[0] & 0xFFFF_FFFF
    return read_s64(data, immediates)[0] & 0xFFFF_FFFF_FFFF_FFFF if code == op.I64_CONST else None
