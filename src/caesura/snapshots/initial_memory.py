"""What a module's active data segments make of its memories, for states that leave it out.

A state says only which chunks are as the module makes them: whoever restores it has an instance of the module, in which
they are so already. This is for those that run nothing. They read the segments as an engine does (specification,
section 4.5.4), and keep those chunks only that are asked for. The module is anybody's: of a few bytes it may make a
chunk, but in as many places only as engines take segments.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Final

from caesura.errors import SnapshotError
from caesura.snapshots.differences import initial_ranges, with_changes
from caesura.snapshots.pages import Ranges, outside
from caesura.snapshots.state import CHUNK, MemoryState, State
from caesura.wasm import opcodes as op
from caesura.wasm.constant import constant_number
from caesura.wasm.definitions import MEMORY_KIND
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, read_data_segments

# How many data segments engines take, JavaScript's and Wasmtime.
_MOST_SEGMENTS: Final = 100_000

# What constant expressions can calculate, by opcode: of how many bits.
_CALCULATIONS: Final = {
    0x6A: (32, operator.add),
    0x6B: (32, operator.sub),
    0x6C: (32, operator.mul),
    0x7C: (64, operator.add),
    0x7D: (64, operator.sub),
    0x7E: (64, operator.mul),
}


def leaves_out(state: State) -> bool:
    """Tell whether a state has chunks whose contents only its module tells."""
    return any(memory.initial for memory in state.memories)


def complete(state: State, module: Module) -> State:
    """Return a state with everything that its memories hold, in runs; `module` is its own, instrumented or not.

    Raises SnapshotError where the module does not tell that.
    """
    if not leaves_out(state):
        return state
    return replace(state, memories=tuple([_complete(memory, module) for memory in state.memories]))


def _complete(memory: MemoryState, module: Module) -> MemoryState:
    if not memory.initial:
        return memory
    what = f"parts of memory {memory.index} of the snapshot are as the module makes them"
    imported = [item.index for item in module.imports if item.kind == MEMORY_KIND]
    if memory.index in imported or memory.index >= len(module.memories):
        raise SnapshotError(f"{what}, and it makes no such memory")
    segments = read_data_segments(module)
    if len(segments) > _MOST_SEGMENTS:
        raise SnapshotError(f"{what}, which has {len(segments):,} data segments, more than engines take")
    limits = module.memories[memory.index]
    size = limits.minimum << limits.page_size_log2
    wanted = initial_ranges(memory)
    chunks: dict[int, bytearray] = {}
    for segment in segments:
        if segment.mode != ACTIVE or segment.memory != memory.index:
            continue
        start = _constant(module, segment.offset_start, segment.offset_end)
        if start is None:
            raise SnapshotError(f"{what}, and where it puts them depends on what it imports")
        if start + segment.end - segment.start > size:
            raise SnapshotError(f"{what}, and a data segment reaches beyond its memory")
        _put(chunks, start, memoryview(module.data)[segment.start : segment.end], wanted)
    runs = tuple([(number, bytes(chunks[number][: memory.size - number * CHUNK])) for number in sorted(chunks)])
    return replace(memory, runs=with_changes(memory, memory.size, runs), initial=())


def _put(chunks: dict[int, bytearray], start: int, content: memoryview, wanted: Ranges) -> None:
    """Put contents into the chunks from an address on, but only into those that are wanted."""
    end = start + len(content)
    unwanted = outside([(start, end)], wanted)
    for low, high in outside([(start, end)], unwanted):
        for place in range(low - low % CHUNK, high, CHUNK):
            first, last = max(low, place), min(high, place + CHUNK)
            chunk = chunks.setdefault(place // CHUNK, bytearray(CHUNK))
            chunk[first - place : last - place] = content[first - start : last - start]


def _constant(module: Module, start: int, end: int) -> int | None:
    """Return the integer, unsigned, that a well-formed constant expression is; None if the module does not tell.

    It may calculate, and take the value of a global that is a number itself.
    """
    stack: list[int] = []
    position, data = start, module.data
    while position < end:
        first = position
        code, immediates, position = read_instruction(data, first)
        if code == op.END:
            return stack.pop() if len(stack) == 1 else None
        if code == op.GLOBAL_GET:
            value = _global(module, read_u32(data, immediates)[0])
        elif code in _CALCULATIONS and len(stack) > 1:
            bits, calculate = _CALCULATIONS[code]
            second = stack.pop()
            value = calculate(stack.pop(), second) & ((1 << bits) - 1)
        else:
            value = constant_number(data, first, position + 1)
        if value is None:
            return None
        stack.append(value)
    return None


def _global(module: Module, index: int) -> int | None:
    if index >= len(module.globals):
        return None
    entry = module.globals[index]
    if entry.mutable or not entry.init_end:  # imported
        return None
    return constant_number(module.data, entry.init_start, entry.init_end)
