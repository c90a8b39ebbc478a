"""Where a memory was ever touched, as the system knows it: all else is zero, and need not be looked at.

To look at a page that was never touched costs a page fault: 50 ms for the 48 MiB of a guest that has 64 and uses 16,
which is more than all else about saving it. Linux says of each page whether there is one (/proc/self/pagemap). Where
there is none, what is there is what is mapped: zeros, unless that is a file (/proc/self/maps), such as the data that
Wasmtime maps into a new instance's memory. Of the file with the state that a guest was forked from we know what is
in it, and a page of it that was never written is that file's still. The system's answers are about this moment, in
which nobody writes into the memory.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from itertools import pairwise

from caesura.snapshots.pages import Ranges, append_range, outside

# In bytes: of a smaller memory, asking takes longer than looking.
_LEAST = 4 << 20

_ENTRY = 8  # bytes for each page in pagemap
_IS_THERE = 0xC0  # of the highest of them: the page is in memory, or swapped out
_IS_OF_FILE = 0x20  # ... and is a file's, not one that was copied when it was written
_USED = bytes([value & _IS_THERE != 0 for value in range(256)])
_WRITTEN = bytes([value & _IS_THERE != 0 and not value & _IS_OF_FILE for value in range(256)])


@dataclass(frozen=True)
class MappedFile:
    """A file that was mapped over a memory from its beginning, private to it: its device and number, and where there is
    something in it, in ranges of bytes.
    """

    device: int
    inode: int
    used: Ranges


@dataclass(frozen=True)
class Touched:
    """What the system knows of a memory, in ranges of bytes from its address on: where it may be other than zero, and
    where pages of the file are that was mapped over it, and were never written.
    """

    parts: list[tuple[int, int]]
    unwritten: list[tuple[int, int]]


def touched_parts(address: int, size: int) -> list[tuple[int, int]] | None:
    """Return where a memory may be other than zero, as ranges in bytes from its address on; None if nobody knows."""
    found = find_touched(address, size, None)
    return None if found is None else found.parts


def find_touched(address: int, size: int, file: MappedFile | None) -> Touched | None:
    """Return what the system knows of a memory; `file` was mapped over it, and may not be any more. None: nothing."""
    if size < _LEAST or address % mmap.PAGESIZE:
        return None
    try:
        others, own = _files(address, address + size, file)
        entries = _entries(address, size)
    except (OSError, ValueError):  # another system, no /proc, or one that looks different
        return None
    used = bytearray(entries.translate(_USED))
    for start, end in others:
        first, last = (start - address) // mmap.PAGESIZE, -(-(end - address) // mmap.PAGESIZE)
        used[first:last] = b"\1" * (last - first)
    parts = _ranges(used, size)
    if file is None or not own:
        return Touched(parts, [])
    mapped = [(start - address, end - address) for start, end in own]
    unwritten = outside(mapped, _ranges(bytearray(entries.translate(_WRITTEN)), size))
    there = outside(unwritten, outside(unwritten, file.used))  # what is in both
    return Touched(sorted([*outside(parts, unwritten), *there]), unwritten)


def _files(first: int, last: int, file: MappedFile | None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the parts of a range of addresses into which files are mapped, or nothing, and those where a certain file
    is, mapped from the beginning of the range on. Raises OSError, ValueError.
    """
    known: list[tuple[int, int]] = []
    own: list[tuple[int, int]] = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            place, _, offset, device, inode, *_ = line.split(maxsplit=5)
            start, end = (int(text, 16) for text in place.split(b"-"))
            if start >= last:
                break
            if end <= first:
                continue
            part = max(start, first), min(end, last)
            if inode == b"0":
                append_range(known, *part)
            elif file is not None and int(inode) == file.inode and _device(device) == file.device:
                if int(offset, 16) == start - first:
                    append_range(known, *part)
                    append_range(own, *part)
    borders = [first, *[place for part in known for place in part], last]
    return [(start, end) for start, end in list(pairwise(borders))[::2] if start < end], own


def _device(text: bytes) -> int:
    major, minor = text.split(b":")
    return os.makedev(int(major, 16), int(minor, 16))


def _entries(address: int, size: int) -> bytes:
    """Return for each page the byte of its entry that tells what it is. Raises OSError, ValueError."""
    count = -(-size // mmap.PAGESIZE)
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(address // mmap.PAGESIZE * _ENTRY)
        entries: bytes = file.read(count * _ENTRY)
    if len(entries) != count * _ENTRY:
        raise ValueError("the system says less than it was asked for")
    return entries[_ENTRY - 1 :: _ENTRY]


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
