"""The contents of memories: cut into the runs of chunks that are not zero, and found in them again.

Most of a memory is zero, and nothing is copied of that: a part is looked at as a whole, and only if something is in it
in smaller parts. What looks is the C library's `memcmp`, at a tenth of a millisecond for a mebibyte: whether all is
zero is whether the first chunk is, and each byte is as the one a chunk before. It keeps the interpreter's lock, so that
no other thread changes the memory between looking and copying.

Numpy was rejected: it would be a dependency, and reads all of what `memcmp` leaves at the first difference. So were
huge pages for what is copied (`madvise`): 100 MB are copied in 10 ms then, and not in 45, but in 230 where the system
has to make room for such pages first, while the guest and its event loop stand still.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from caesura.snapshots.state import CHUNK

# A number of the first chunk, and what is in that and those that follow.
Run = tuple[int, bytes]

# Where something begins and ends, in bytes.
Ranges = Sequence[tuple[int, int]]

# In bytes: the parts that are looked at as a whole before what is in them.
_LARGE: Final = 1 << 20
_SMALL: Final = 1 << 16

_ZEROS: Final = bytes(CHUNK)


def split_runs(content: bytes) -> tuple[Run, ...]:
    """Return the runs of a memory with this content (`MemoryState.runs`)."""
    return split_runs_at(address_of(content), len(content)) if content else ()


def split_runs_at(address: int, size: int, within: Ranges | None = None) -> tuple[Run, ...]:
    """Return the runs of a memory that lies at an address of this process; its size is in bytes.

    What was never touched costs a page fault each page where it is looked at. So who knows where a memory may be other
    than zero says so: `within` are ranges of chunks that ascend and do not overlap, in bytes from the address on.
    """
    if not size:
        return ()
    view = view_of(address, size)
    runs: list[tuple[int, int]] = []
    for start, end in ((0, size),) if within is None else within:
        for first, last in used_parts(address + start, end - start):
            append_range(runs, start + first, start + last)
    return tuple([(first // CHUNK, bytes(view[first:last])) for first, last in runs])


def append_range(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    """Append a range to some that end before it, or make the last one longer if it touches that."""
    if ranges and ranges[-1][1] == start:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((start, end))


def outside(ranges: Iterable[tuple[int, int]], others: Ranges) -> list[tuple[int, int]]:
    """Return what of some ranges lies in none of others; both ascend and do not overlap."""
    found: list[tuple[int, int]] = []
    index = 0
    for start, end in ranges:
        while index < len(others) and others[index][1] <= start:
            index += 1
        place = start
        for low, high in itertools.islice(others, index, None):
            if low >= end:
                break
            if low > place:
                found.append((place, low))
            place = high
        if place < end:
            found.append((place, end))
    return found


def view_of(address: int, size: int) -> memoryview:
    """Return the bytes at an address of this process."""
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")


def used_parts(address: int, size: int) -> list[tuple[int, int]]:
    """Return where each run begins and ends, in bytes from the address on."""
    compare, zeros = memcmp(), address_of(_ZEROS)

    def is_zero(start: int, length: int) -> bool:
        place = address + start
        if compare(place, zeros, min(length, CHUNK)):
            return False
        return length <= CHUNK or not compare(place + CHUNK, place, length - CHUNK)

    def used(start: int, end: int) -> list[int]:
        return [place for place in range(start, end, CHUNK) if compare(address + place, zeros, CHUNK)]

    return find_parts(size, is_zero, used)


def different_parts(one: int, other: int, size: int) -> list[tuple[int, int]]:
    """Return where runs of chunks begin and end that differ between two addresses, in bytes from there on."""
    compare = memcmp()

    def is_same(start: int, length: int) -> bool:
        return not compare(one + start, other + start, length)

    def changed(start: int, end: int) -> list[int]:
        return [place for place in range(start, end, CHUNK) if compare(one + place, other + place, CHUNK)]

    return find_parts(size, is_same, changed)


def find_parts(
    size: int, is_dull: Callable[[int, int], bool], look: Callable[[int, int], list[int]]
) -> list[tuple[int, int]]:
    """Return where runs of chunks begin and end that are of interest.

    `is_dull` tells of a start and a length whether nothing there is, `look` of a start and an end where chunks begin
    that are; the last chunk may be shorter than the others, and is looked at by `is_dull`.
    """
    whole = size - size % CHUNK
    found: list[int] = []
    for large in range(0, whole, _LARGE):
        after = min(large + _LARGE, whole)
        if not is_dull(large, after - large):
            for small in range(large, after, _SMALL):
                if not is_dull(small, min(_SMALL, after - small)):
                    found += look(small, min(small + _SMALL, after))
    if whole < size and not is_dull(whole, size - whole):
        found.append(whole)
    return _joined(found, size)


def _joined(chunks: list[int], size: int) -> list[tuple[int, int]]:
    """Return where runs of these chunks begin and end."""
    runs: list[tuple[int, int]] = []
    start = behind = -1
    for place in chunks:
        if place != behind:
            if behind >= 0:
                runs.append((start, behind))
            start = place
        behind = place + CHUNK
    if behind >= 0:
        runs.append((start, min(behind, size)))
    return runs


def read(runs: tuple[Run, ...], start: int, end: int) -> bytes:
    """Return the bytes of a memory from one address to another, of which it need not have as many: the rest is zero."""
    pieces: list[bytes] = []
    place = start
    index = max(0, bisect_right(runs, start // CHUNK, key=_first) - 1)
    while place < end and index < len(runs):
        first, content = runs[index]
        begins = first * CHUNK
        if begins >= end:
            break
        if begins > place:
            pieces.append(bytes(begins - place))
            place = begins
        piece = content[place - begins : end - begins]
        pieces.append(piece)
        place += len(piece)
        index += 1
    if place < end:
        pieces.append(bytes(end - place))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _first(run: Run) -> int:
    return run[0]


def address_of(content: bytes) -> int:
    """Return where the bytes of an object lie, for as long as there is that object."""
    return ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value or 0


@functools.cache
def memcmp() -> Callable[[int, int, int], int]:
    """Return the C library's function."""
    library = ctypes.PyDLL("msvcrt") if sys.platform == "win32" else ctypes.PyDLL(None)
    function = library.memcmp
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_int
    return function
