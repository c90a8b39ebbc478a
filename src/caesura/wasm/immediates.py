"""How long instructions are: the form of every instruction's immediates, and how to step over them.

Derived from the one table in `instructions`. Scanning code means: look at the opcode, skip what follows; so each
opcode maps to one of a dozen forms, and the hot loops (here and in `analysis`) branch on those. LEB128 lengths are
checked, values are not: what nobody looks at is only copied.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.instructions import CODES, NAMES, ROWS
from caesura.wasm.leb128 import read_count, read_u32

# The code is no instruction.
FORM_UNKNOWN: Final = -1
FORM_NONE: Final = 0
FORM_LEB: Final = 1
FORM_LEB64: Final = 2
FORM_TWO_LEBS: Final = 3
FORM_MEMARG: Final = 4
FORM_MEMARG_LANE: Final = 5
FORM_BYTES_4: Final = 6
FORM_BYTES_8: Final = 7
FORM_BYTES_16: Final = 8
FORM_BYTE: Final = 9
FORM_LABELS: Final = 10
FORM_BLOCK: Final = 11
FORM_TYPES: Final = 12
FORM_TRY_TABLE: Final = 13
FORM_CAST: Final = 14

# Words of the table's column that are not here are one LEB128 number of 32 bits each.
_FORM_OF: Final = {
    "": FORM_NONE,
    "i64": FORM_LEB64,
    "memarg": FORM_MEMARG,
    "memarg lane": FORM_MEMARG_LANE,
    "f32": FORM_BYTES_4,
    "f64": FORM_BYTES_8,
    "v128": FORM_BYTES_16,
    "lanes16": FORM_BYTES_16,
    "lane": FORM_BYTE,
    "byte": FORM_BYTE,
    "labels": FORM_LABELS,
    "block": FORM_BLOCK,
    "types": FORM_TYPES,
    "block catches": FORM_TRY_TABLE,
    "cast": FORM_CAST,
}


def _forms() -> list[int]:
    forms = [FORM_UNKNOWN] * CODES
    for row in ROWS:
        if row.immediates in _FORM_OF:
            forms[row.code] = _FORM_OF[row.immediates]
        else:
            forms[row.code] = FORM_TWO_LEBS if " " in row.immediates else FORM_LEB
    return forms


FORMS: Final[list[int]] = _forms()

_PREFIX_BASES: Final = {0xFB: 0x100, 0xFC: 0x200, 0xFD: 0x300, 0xFE: 0x500}
_PREFIX_SIZES: Final = {0xFB: 0x100, 0xFC: 0x100, 0xFD: 0x200, 0xFE: 0x100}


def read_prefixed(data: bytes, position: int) -> tuple[int, int]:
    """Return the code of a prefixed instruction (its prefix byte at `position`) and the position behind the opcode."""
    prefix = data[position]
    number, after = read_u32(data, position + 1)
    if number >= _PREFIX_SIZES[prefix]:
        raise MalformedModule(f"unknown opcode 0x{prefix:02x} {number}", position)
    return _PREFIX_BASES[prefix] + number, after


def unknown_opcode(code: int, position: int) -> MalformedModule:
    """Return the error for an opcode that the table does not know."""
    if code < 0x100:
        return MalformedModule(f"unknown opcode 0x{code:02x}", position)
    prefix = 0xFE if code >= 0x500 else 0xFD if code >= 0x300 else 0xFC if code >= 0x200 else 0xFB
    return MalformedModule(f"unknown opcode 0x{prefix:02x} {code - _PREFIX_BASES[prefix]}", position)


def instruction_name(code: int) -> str:
    """Return the text name of an instruction's code."""
    return NAMES[code]


def read_instruction(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the code of an instruction, and where its immediates begin and end; raises MalformedModule.

    This is for code of which most instructions are only stepped over. The loops that read every function of a module
    (in `analysis.calls` and `analysis.body`) do the same in place, which is quicker.
    """
    code = data[position]
    immediates = position + 1
    if 0xFB <= code <= 0xFE:
        code, immediates = read_prefixed(data, position)
    form = FORMS[code]
    if form == FORM_UNKNOWN:
        raise unknown_opcode(code, position)
    return code, immediates, skip_immediates(data, immediates, form)


def skip_leb(data: bytes, position: int, longest: int) -> int:
    """Return the position behind a LEB128 number of at most `longest` bytes; raises MalformedModule."""
    end = position + longest
    size = len(data)
    start = position
    while position < end:
        if position >= size:
            raise MalformedModule("unexpected end of data inside a LEB128 number", start)
        if data[position] < 0x80:
            return position + 1
        position += 1
    raise MalformedModule(f"LEB128 number is longer than {longest} bytes", start)


def skip_immediates(data: bytes, position: int, form: int) -> int:
    """Return the position behind immediates of a form; raises MalformedModule.

    The caller checks that the position does not lie behind the end of the body.
    """
    if form == FORM_NONE:
        return position
    if form == FORM_LEB:
        return skip_leb(data, position, 5)
    if form == FORM_MEMARG:
        return skip_memarg(data, position)
    if form == FORM_BLOCK:
        return skip_block_type(data, position)
    if form == FORM_LEB64:
        return skip_leb(data, position, 10)
    if form == FORM_TWO_LEBS:
        return skip_leb(data, skip_leb(data, position, 5), 5)
    if form == FORM_BYTES_8:
        return position + 8
    if form == FORM_BYTES_4:
        return position + 4
    if form == FORM_BYTES_16:
        return position + 16
    if form == FORM_BYTE:
        return position + 1
    if form == FORM_MEMARG_LANE:
        return skip_memarg(data, position) + 1
    if form == FORM_LABELS:
        return _skip_labels(data, position)
    if form == FORM_TYPES:
        return _skip_types(data, position)
    if form == FORM_TRY_TABLE:
        return _skip_catches(data, skip_block_type(data, position))
    position = skip_leb(data, position + 1, 5)  # FORM_CAST: flags, label, two heap types
    return skip_leb(data, skip_leb(data, position, 5), 5)


def skip_memarg(data: bytes, position: int) -> int:
    """Return the position behind a memory argument: alignment, perhaps a memory index, offset."""
    flags, position = read_u32(data, position)
    if flags & 0x40:
        position = skip_leb(data, position, 5)
    return skip_leb(data, position, 10)


def skip_block_type(data: bytes, position: int) -> int:
    """Return the position behind a block type: empty, a value type, or a type index."""
    if position < len(data) and data[position] in (0x63, 0x64):
        return skip_leb(data, position + 1, 5)
    return skip_leb(data, position, 5)


def skip_locals(data: bytes, position: int) -> int:
    """Return the position of a body's first instruction, behind the declarations of its locals."""
    count, position = read_u32(data, position)
    for _ in range(count):
        position = skip_leb(data, position, 5)
        position += 1
        if data[position - 1] == 0x63 or data[position - 1] == 0x64:
            position = skip_leb(data, position, 5)
    return position


def _skip_labels(data: bytes, position: int) -> int:
    count, position = read_count(data, position, "br_table", "labels")
    for _ in range(count + 1):
        position = skip_leb(data, position, 5)
    return position


def _skip_types(data: bytes, position: int) -> int:
    count, position = read_count(data, position, "select", "types")
    for _ in range(count):
        position = skip_block_type(data, position)
    return position


def _skip_catches(data: bytes, position: int) -> int:
    count, position = read_count(data, position, "try_table", "catch clauses")
    for _ in range(count):
        if position >= len(data):
            raise MalformedModule("unexpected end of data inside a catch clause", position)
        kind = data[position]
        if kind > 3:
            raise MalformedModule(f"unknown catch clause kind {kind}; expected 0 to 3", position)
        if kind < 2:
            position = skip_leb(data, position + 1, 5)
            position = skip_leb(data, position, 5)
        else:
            position = skip_leb(data, position + 1, 5)
    return position
