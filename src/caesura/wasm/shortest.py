"""The shortest form of numbers in code that a linker padded.

Linkers write indices and addresses of objects in five or ten bytes, so that they can be patched in place, and mostly
leave them so: 6% to 8% of some modules. Here code is written anew with the shortest form of what linkers patch: indices
of functions, types, tables, globals, memories and tags, block types, constants, and offsets of loads and stores.

Padded numbers mostly end with bytes 80 00, which short ones never do, and little else does. So whether a linker padded
a module's numbers can be seen without decoding it: in modules where it did, in four functions of five, in others in one
of a hundred. Only in these is code written anew.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from caesura.wasm.immediates import (
    FORM_BLOCK,
    FORM_LEB,
    FORM_LEB64,
    FORM_MEMARG,
    FORM_MEMARG_LANE,
    FORM_TRY_TABLE,
    FORM_TWO_LEBS,
    FORMS,
    read_instruction,
    skip_block_type,
    skip_leb,
    skip_locals,
)
from caesura.wasm.instructions import IMMEDIATE_HEAP, IMMEDIATE_I32, IMMEDIATES
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.moved import Moved

# The end of most padded numbers, and the part of a module's functions that have it if a linker padded them.
_END_OF_PADDED: Final = b"\x80\0"
_PADDED_PART: Final = 16


class Shortened(Moved):
    """Code with the shortest numbers: `code`, and what became of places in it.

    `ends` are the places behind numbers that became shorter, ascending, `removed` how many bytes that took off up to
    there.
    """

    def __init__(self) -> None:
        self.code = b""
        self.ends: list[int] = []
        self.removed: list[int] = []

    def place(self, offset: int) -> int:
        """Return where a place in the code is now."""
        found = bisect_right(self.ends, offset)
        return offset - self.removed[found - 1] if found else offset


def has_padding(module: Module) -> bool:
    """Tell whether a linker padded the numbers in a module's code."""
    found = 0
    for own in range(len(module.body_starts)):
        if module.data.find(_END_OF_PADDED, module.body_starts[own], module.body_ends[own]) >= 0:
            found += 1
    return found > 0 and found * _PADDED_PART >= len(module.body_starts)


def shorten_body(body: bytes) -> Shortened:
    """Return a function body (locals and code, without size field) with the shortest numbers."""
    walk = _Walk(body)
    walk.declarations()
    return walk.run(skip_locals(body, 0))


def shorten_code(code: bytes) -> bytes:
    """Return instructions with the shortest numbers in them."""
    return _Walk(code).run(0).code


class _Walk:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._result = Shortened()
        self._out: list[bytes] = []
        self._copied = 0
        self._saved = 0

    def declarations(self) -> None:
        """Shorten the numbers of locals at the head of a body."""
        count, position = read_u32(self._data, 0)
        self._number(0, position, is_signed=False)
        for _ in range(count):
            start = position
            position = skip_leb(self._data, position, 5)
            self._number(start, position, is_signed=False)
            position = skip_block_type(self._data, position)  # a value type

    def run(self, position: int) -> Shortened:
        """Shorten the numbers of all instructions from a position on."""
        data = self._data
        end = len(data)
        while position < end:
            code, immediates, position = read_instruction(data, position)
            if position - immediates > 1:
                self._instruction(code, immediates, position)
        self._out.append(data[self._copied :])
        self._result.code = b"".join(self._out)
        return self._result

    def _instruction(self, code: int, position: int, behind: int) -> None:
        """Shorten the numbers of an instruction whose immediates take more than a byte."""
        form = FORMS[code]
        if form == FORM_LEB:
            is_signed = IMMEDIATES[code] == IMMEDIATE_I32 or IMMEDIATES[code] == IMMEDIATE_HEAP
            self._number(position, behind, is_signed=is_signed)
        elif form == FORM_LEB64:
            self._number(position, behind, is_signed=True)
        elif form == FORM_MEMARG or form == FORM_TWO_LEBS:
            self._numbers(position, behind)
        elif form == FORM_MEMARG_LANE:
            self._numbers(position, behind - 1)
        elif form == FORM_BLOCK:
            self._block_type(position, behind)
        elif form == FORM_TRY_TABLE:
            clauses = skip_block_type(self._data, position)
            self._block_type(position, clauses)
            self._clauses(clauses)

    def _numbers(self, position: int, behind: int) -> None:
        """Shorten some unsigned numbers."""
        while position < behind:
            start = position
            position = skip_leb(self._data, position, 10)
            self._number(start, position, is_signed=False)

    def _block_type(self, position: int, behind: int) -> None:
        is_reference = self._data[position] == 0x63 or self._data[position] == 0x64
        self._number(position + 1 if is_reference else position, behind, is_signed=True)

    def _clauses(self, position: int) -> None:
        """Shorten the tags of a try_table's catch clauses."""
        count, position = read_u32(self._data, position)
        for _ in range(count):
            kind = self._data[position]
            position += 1
            if kind < 2:
                start = position
                position = skip_leb(self._data, position, 5)
                self._number(start, position, is_signed=False)
            position = skip_leb(self._data, position, 5)

    def _number(self, start: int, behind: int, *, is_signed: bool) -> None:
        """Shorten one number."""
        data = self._data
        last = behind - 1
        while last > start and _adds_nothing(data[last], data[last - 1], is_signed=is_signed):
            last -= 1
        if last == behind - 1:
            return
        self._out.append(data[self._copied : last])
        self._out.append((data[last] & 0x7F).to_bytes(1, "little"))
        self._copied = behind
        self._saved += behind - 1 - last
        self._result.ends.append(behind)
        self._result.removed.append(self._saved)


def _adds_nothing(byte: int, before: int, *, is_signed: bool) -> bool:
    """Tell whether the last byte of a number only repeats the sign of the byte before it."""
    if not is_signed:
        return byte & 0x7F == 0
    return byte & 0x7F == (0x7F if before & 0x40 else 0)
