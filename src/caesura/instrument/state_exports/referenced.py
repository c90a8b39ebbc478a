"""Which functions references can be made of: those that a host has to tell apart in tables and globals.

Code can make references only of functions that stand in element segments, in initializers or among the exports
(specification, section 3.4.1), and hosts of what is exported. So no code is read.
"""

from __future__ import annotations

from caesura.abi import OWN_PREFIX, START_FUNCTION
from caesura.wasm import opcodes as op
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ElementSegment


def referenced_functions(module: Module, segments: list[ElementSegment]) -> list[int]:
    """Return these functions, ascending; of exports, all but those that only the ABI has."""
    found: set[int] = set()
    for segment in segments:
        found.update(segment.functions)
        for start, end in segment.expressions:
            _read_expression(module, start, end, found)
    for entry in module.globals:
        _read_expression(module, entry.init_start, entry.init_end, found)
    for table in module.tables:
        _read_expression(module, table.init_start, table.init_end, found)
    for item in module.exports:
        if item.kind == FUNCTION_KIND and (item.name == START_FUNCTION or not item.name.startswith(OWN_PREFIX)):
            found.add(item.index)
    return sorted([function for function in found if function < len(module.function_types)])


def _read_expression(module: Module, start: int, end: int, found: set[int]) -> None:
    while start < end:
        code, immediates, start = read_instruction(module.data, start)
        if code == op.REF_FUNC:
            found.add(read_u32(module.data, immediates)[0])
