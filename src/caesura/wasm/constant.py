"""Constant expressions: where the initializer of a global, table, or segment ends, and the functions that it refers to
(specification, section 3.4.12).
"""

from __future__ import annotations

from caesura.errors import MalformedModule
from caesura.wasm.immediates import (
    FORMS,
    read_prefixed,
    skip_immediates,
    unknown_opcode,
)
from caesura.wasm.leb128 import read_u32
from caesura.wasm.opcodes import REF_FUNC


def skip_constant_expression(data: bytes, position: int, end: int) -> int:
    """Return the position behind the `end` of the constant expression at `position`; raises MalformedModule.

    Constant expressions hold no blocks, so the first `end` is theirs.
    """
    start = position
    while position < end:
        opcode = position
        code = data[position]
        position += 1
        if code == 0x0B:
            return position
        if 0xFB <= code <= 0xFE:
            code, position = read_prefixed(data, opcode)
        form = FORMS[code]
        if form < 0:
            raise unknown_opcode(code, opcode)
        position = skip_immediates(data, position, form)
    raise MalformedModule("constant expression has no end", start)


def referenced_functions(data: bytes, start: int, end: int) -> list[int]:
    """Return the functions that a constant expression, which must be well-formed, makes references of."""
    functions: list[int] = []
    position = start
    while position < end:
        opcode = position
        code = data[position]
        position += 1
        if 0xFB <= code <= 0xFE:
            code, position = read_prefixed(data, opcode)
        if code == REF_FUNC:
            function, position = read_u32(data, position)
            functions.append(function)
        else:
            position = skip_immediates(data, position, FORMS[code])
    return functions
