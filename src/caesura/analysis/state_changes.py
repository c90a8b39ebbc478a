"""Which tables a module's code writes, and which segments it drops: what of them belongs to the module's state.

Hardly any code does. So the bytes of all bodies are searched for what such instructions look like, which takes a
thousandth of the time that reading them takes, and only bodies in which something was found are read. Noting it while
the call graph is read was rejected: modules without an import that may suspend have none, and reading all their code
for this would be felt where they are loaded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# Tables whose indices have the form that the search looks for behind `table.set`, whose opcode alone is everywhere.
_FEW_TABLES: Final = 16

# Numbers may be padded: `table.set` and the index of one of the first tables, and the others with the prefix 0xfc.
_SET: Final = rb"\x26(?:[\x00-\x0f]|[\x80-\x8f]\x80{0,3}\x00)"
_ANY_SET: Final = rb"\x26"
_TABLE: Final = rb"\xfc[\x0c\x0e\x0f\x11\x8c\x8e\x8f\x91]"
_DROP: Final = rb"\xfc[\x09\x0d\x89\x8d]"


class StateChanges:
    """The tables that code writes, and the data and element segments that it drops."""

    def __init__(self) -> None:
        self.tables: set[int] = set()
        self.data: set[int] = set()
        self.elements: set[int] = set()


def find_state_changes(module: Module, *, tables: bool, segments: bool) -> StateChanges:
    """Return what the module's code changes of `tables` and `segments`, where these are asked for.

    Raises MalformedModule.
    """
    changes = StateChanges()
    for own in _suspected(module, tables=tables, segments=segments):
        _read_body(module, own, changes)
    return changes


def _suspected(module: Module, *, tables: bool, segments: bool) -> list[OwnFunction]:
    """Return the functions, ascending, in whose bodies something looks like a change."""
    code = module.section(sec.CODE)
    wanted: list[bytes] = [_DROP] if segments else []
    if tables:
        wanted += [_TABLE, _SET if len(module.tables) <= _FEW_TABLES else _ANY_SET]
    if code is None or not module.body_starts or not wanted:
        return []
    pattern = re.compile(b"|".join(wanted), re.DOTALL)
    found: list[OwnFunction] = []
    position: int = module.body_starts[0]
    while True:
        match = pattern.search(module.data, position, code.end)
        if match is None:
            return found
        own = OwnFunction(bisect_right(module.body_starts, match.start()) - 1)
        if match.start() < module.body_ends[own]:
            found.append(own)
            position = module.body_ends[own]
        else:
            position = match.start() + 1  # in the size of the next body


def _read_body(module: Module, own: OwnFunction, changes: StateChanges) -> None:
    data = module.data
    position = skip_locals(data, module.body_starts[own])
    end = module.body_ends[own]
    while position < end:
        code, immediates, position = read_instruction(data, position)
        if code == op.TABLE_SET or code == op.TABLE_GROW or code == op.TABLE_FILL or code == op.TABLE_COPY:
            changes.tables.add(read_u32(data, immediates)[0])
        elif code == op.TABLE_INIT:
            behind = read_u32(data, immediates)[1]
            changes.tables.add(read_u32(data, behind)[0])
        elif code == op.DATA_DROP:
            changes.data.add(read_u32(data, immediates)[0])
        elif code == op.ELEM_DROP:
            changes.elements.add(read_u32(data, immediates)[0])
