"""Where a memory was ever touched, as the system knows it: all else is zero, and need not be looked at.

To look at a page that was never touched costs a page fault: 50 ms for the 48 MiB of a guest that has 64 and uses 16,
which is more than all else about saving it. Linux says of each page whether there is one (/proc/self/pagemap). Where
there is none, what is there is what is mapped: zeros, unless that is a file, such as the data that Wasmtime maps into
a new instance's memory, or the state that another guest was forked from (/proc/self/maps). The system's answers are
about this moment, in which nobody writes into the memory.
"""

from __future__ import annotations

import mmap
from itertools import pairwise

from caesura.snapshots.pages import append_range

# In bytes: of a smaller memory, asking takes longer than looking.
_LEAST = 4 << 20

_ENTRY = 8  # bytes for each page in pagemap
_IS_THERE = 0xC0  # of the highest of them: the page is in memory, or swapped out
_USED = bytes([value & _IS_THERE != 0 for value in range(256)])


def touched_parts(address: int, size: int) -> list[tuple[int, int]] | None:
    """Return where a memory may be other than zero, as ranges in bytes from its address on; None if nobody knows."""
    if size < _LEAST or address % mmap.PAGESIZE:
        return None
    try:
        files = _files(address, address + size)
        used = _used_pages(address, size)
    except (OSError, ValueError):  # another system, no /proc, or one that looks different
        return None
    for start, end in files:
        first, last = (start - address) // mmap.PAGESIZE, -(-(end - address) // mmap.PAGESIZE)
        used[first:last] = b"\1" * (last - first)
    return _ranges(used, size)


def _files(first: int, last: int) -> list[tuple[int, int]]:
    """Return the parts of a range of addresses into which files are mapped, or nothing. Raises OSError, ValueError."""
    anonymous: list[tuple[int, int]] = []
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            place, _, _, _, inode, *_ = line.split(maxsplit=5)
            start, end = (int(text, 16) for text in place.split(b"-"))
            if start >= last:
                break
            if end > first and inode == b"0":
                append_range(anonymous, max(start, first), min(end, last))
    borders = [first, *[place for part in anonymous for place in part], last]
    return [(start, end) for start, end in list(pairwise(borders))[::2] if start < end]


def _used_pages(address: int, size: int) -> bytearray:
    """Return a 1 for each page that is there. Raises OSError, ValueError."""
    count = -(-size // mmap.PAGESIZE)
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(address // mmap.PAGESIZE * _ENTRY)
        entries = file.read(count * _ENTRY)
    if len(entries) != count * _ENTRY:
        raise ValueError("the system says less than it was asked for")
    return bytearray(entries[_ENTRY - 1 :: _ENTRY].translate(_USED))


def _ranges(used: bytearray, size: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    place = used.find(1)
    while place >= 0:
        behind = used.find(0, place)
        if behind < 0:
            behind = len(used)
        ranges.append((place * mmap.PAGESIZE, min(behind * mmap.PAGESIZE, size)))
        place = used.find(1, behind)
    return ranges
