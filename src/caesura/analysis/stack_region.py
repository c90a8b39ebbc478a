"""Find where a module's own shadow stack lies in its memory, as its linker laid it out.

The stack pointer begins at the stack's upper end: that is its initial value. What lies below depends on the layout.
With the stack first, which lld and rustc choose today, it is the memory's beginning; otherwise the stack follows the
data, and `__data_end` or the last data segment in front of it tells where it begins. (Variables without an initial
value are in no segment: where the linker's symbols are gone, they count as part of the stack. That the stack seems
larger than it is does no harm: what is found here sizes other stacks, and nothing that is within the stack is taken for
an overflow.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.wasm.constant import constant_number
from caesura.wasm.definitions import GLOBAL_KIND
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, read_data_segments
from caesura.wasm.types import I32, I64

# Immutable globals that linkers export for these symbols.
_LOW_SYMBOLS: Final = ("__stack_low", "__data_end")

_ALIGNMENT: Final = 16

# No linker makes a smaller stack.
_LEAST: Final = 256


@dataclass(frozen=True)
class StackRegion:
    """The addresses of a stack: its lowest, and the one behind its highest."""

    low: int
    high: int


def find_region(module: Module, stack_pointer: int) -> StackRegion | None:
    """Return where the stack lies whose pointer is a global; None if the global does not begin at a stack's end."""
    high = initial_value(module, stack_pointer)
    if high is None or not module.memories or high == 0 or high % _ALIGNMENT:
        return None
    memory = module.memories[0]
    if high > memory.minimum << memory.page_size_log2:
        return None
    low = 0
    for item in module.exports:
        if item.kind == GLOBAL_KIND and item.name in _LOW_SYMBOLS and item.index < len(module.globals):
            symbol = initial_value(module, item.index)
            if symbol is not None and not module.globals[item.index].mutable and low < symbol < high:
                low = symbol
    for start, end in _initialized(module):
        if start < high < end or high == end:
            return None  # these are data
        if end < high:
            low = max(low, end)
    low = -(-low // _ALIGNMENT) * _ALIGNMENT
    return StackRegion(low, high) if high - low >= _LEAST else None


def initial_value(module: Module, index: int) -> int | None:
    """Return the initial value of an integer global, unsigned; None if it is imported or not a plain constant."""
    entry = module.globals[index]
    if entry.init_end == 0 or entry.type not in (I32, I64):
        return None
    return constant_number(module.data, entry.init_start, entry.init_end)


def _initialized(module: Module) -> list[tuple[int, int]]:
    """Return the ranges of addresses of memory 0 that data segments fill, where the module says which."""
    ranges: list[tuple[int, int]] = []
    for segment in read_data_segments(module):
        if segment.mode == ACTIVE and segment.memory == 0:
            start = constant_number(module.data, segment.offset_start, segment.offset_end)
            if start is not None:
                ranges.append((start, start + segment.end - segment.start))
    return ranges
