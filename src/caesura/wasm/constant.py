"""Constant expressions: where the initializer of a global, table, or segment ends (specification, section 3.4.12)."""

from __future__ import annotations

from caesura.errors import MalformedModule
from caesura.wasm.immediates import (
    FORMS,
    read_prefixed,
    skip_immediates,
    unknown_opcode,
)


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
