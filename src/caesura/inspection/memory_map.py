"""What lies where in a guest's memory: data, C stacks, frames of suspended calls, heap, zeros.

Nobody but the guest knows its heap. So that is what is left: bytes that are not zero and are nothing else. Where data
and the guest's own C stack lie, only its module tells; without it they count as heap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from caesura.analysis.shadow_stack import find_shadow_stack
from caesura.analysis.stack_region import find_region
from caesura.snapshots.differences import initial_ranges
from caesura.snapshots.state import CHUNK, MemoryState, State
from caesura.wasm.constant import constant_number
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, read_data_segments

DATA: Final = "data"
STACK: Final = "C stack"
FRAMES: Final = "asyncify stack"
HEAP: Final = "heap"
ZERO: Final = "zero"
KINDS: Final = (DATA, STACK, FRAMES, HEAP, ZERO)

Range = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """A part of a memory: what it is, its first address, the one behind its last, and how many bytes of it are in
    chunks that are not all zeros.
    """

    kind: str
    start: int
    end: int
    used: int


def regions_of(memory: MemoryState, state: State, module: Module | None) -> list[Region]:
    """Return the regions of a memory, without gaps, in ascending order."""
    used = [(first * CHUNK, min(first * CHUNK + len(content), memory.size)) for first, content in memory.runs]
    used = sorted([*used, *initial_ranges(memory)])
    claimed: list[tuple[int, int, str]] = []
    if memory.index == 0:
        stacks = state.stacks
        claimed += [(start, start + stacks.size, STACK) for start in stacks.stacks]
        if module is not None:
            claimed += [(start, end, STACK) for start, end in _own_stack(module)]
        if state.area is not None:
            claimed.append((*state.area, FRAMES))
    if module is not None:
        claimed += [(start, end, DATA) for start, end in _data(module, memory.index)]
    regions: list[Region] = []
    place = 0
    for start, end, kind in sorted(claimed):
        start, end = max(start, place), min(end, memory.size)
        if start >= end:
            continue
        _add_unclaimed(regions, place, start, used)
        _add(regions, Region(kind, start, end, _overlap(used, start, end)))
        place = end
    _add_unclaimed(regions, place, memory.size, used)
    return regions


def kind_at(regions: Sequence[Region], address: int) -> str:
    """Return of which kind the region is that an address lies in; "" for none."""
    return next((region.kind for region in regions if region.start <= address < region.end), "")


def _own_stack(module: Module) -> list[Range]:
    pointer = find_shadow_stack(module).pointer
    region = find_region(module, pointer) if pointer is not None else None
    return [] if region is None else [(region.low, region.high)]


def _data(module: Module, memory: int) -> list[Range]:
    """Return what active segments with constant addresses fill."""
    found: list[Range] = []
    for segment in read_data_segments(module):
        if segment.mode == ACTIVE and segment.memory == memory and segment.end > segment.start:
            start = constant_number(module.data, segment.offset_start, segment.offset_end)
            if start is not None:
                found.append((start, start + segment.end - segment.start))
    return found


def _add_unclaimed(regions: list[Region], start: int, end: int, used: Iterable[Range]) -> None:
    """Add what lies between two addresses and is nothing in particular."""
    place = start
    for low, high in used:
        low, high = max(low, place), min(high, end)
        if low < high:
            if low > place:
                _add(regions, Region(ZERO, place, low, 0))
            _add(regions, Region(HEAP, low, high, high - low))
            place = high
    if end > place:
        _add(regions, Region(ZERO, place, end, 0))


def _add(regions: list[Region], region: Region) -> None:
    """Add a region, or let the last one of the same kind, which it follows, go on."""
    if regions and regions[-1].kind == region.kind and regions[-1].end == region.start:
        last = regions.pop()
        region = Region(last.kind, last.start, region.end, last.used + region.used)
    regions.append(region)


def _overlap(ranges: Iterable[Range], start: int, end: int) -> int:
    return sum(max(0, min(high, end) - max(low, start)) for low, high in ranges)
