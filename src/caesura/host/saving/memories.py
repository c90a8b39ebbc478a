"""A guest's memories: read as the parts that are not zero, and put back by mapping them, or by writing.

A state that is put back often (`fork`) is written to a file in memory once, and that is mapped over the linear memory
of each guest, private to it: nothing is copied before the guest writes, and guests do not see each other's writes.
Wasmtime reserves the place, makes what is used of it accessible, and gives all of it back at the end, whatever is
mapped there; growing only makes more of it accessible. Where there are no such files (macOS, Windows), or the system
lets this process have none so large (a limit of memory or of files' sizes, no descriptor left), the bytes are written.

What a state leaves out, since the module makes it, is taken from the first new instance, and is written to the file,
too. Much of it is (`filling`) by a thread. Several may do so at once, since all write the same; nobody maps the file
before one of them has written all.

To put a memory in as an import was rejected: code that imports its memory ran up to 1.11 times slower. So was to hand
Wasmtime a module of data segments for each state, which would be compiled again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Callable
from ctypes import c_int, c_long, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Final

import wasmtime

from caesura.abi import STATE_MEMORIES
from caesura.errors import SnapshotError
from caesura.host import native
from caesura.host.instance import Instance
from caesura.host.saving.touched import MappedFile, find_touched, touched_parts
from caesura.snapshots.differences import changed_runs_at, initial_ranges, with_changes
from caesura.snapshots.pages import (
    Ranges,
    Run,
    address_of,
    different_parts,
    outside,
    split_runs_at,
    used_parts,
    view_of,
)
from caesura.snapshots.state import CHUNK, MemoryState

_MAP_FIXED: Final = 0x10  # the same on Linux and macOS, for all processors
_FAILED: Final = c_void_p(-1).value

_CAN_MAP: Final = sys.platform == "linux"


def read_memory(
    instance: Instance, index: int, page_size: int, before: MemoryState | None, initial: tuple[Run, ...]
) -> tuple[MemoryState, tuple[Run, ...]]:
    """Return a memory, and the chunks that differ from what it was before; where that is not known, all.

    `initial` is what it held in a new instance: chunks that do so still are only named. Raises SnapshotError for one
    that is shared: others write into it.
    """
    memory = _memory(instance, index)
    if isinstance(memory, wasmtime.SharedMemory):
        raise SnapshotError(
            f"memory {index} is shared with other threads, which go on writing into it: it cannot be saved"
        )
    cell = native.MemoryCell(instance.store.context, memory)
    base, size = cell.base(), cell.size()
    mapped = _mapped.get(instance, {}).get(index)
    touched = find_touched(base, size, None if mapped is None else mapped.file)
    parts = [(0, size)] if touched is None else touched.parts
    same = _unchanged_parts(initial, base)
    if before is None:
        changes = runs = split_runs_at(base, size, outside(parts, same))
    else:
        dull = same
        if touched is not None and mapped is not None and mapped.state() is before:
            dull = sorted([*same, *outside(touched.unwritten, same)])
        changes = changed_runs_at(before, base, size, parts, dull)
        runs = with_changes(before, size, changes, same)
    left_out = tuple([(start // CHUNK, -(-(end - start) // CHUNK)) for start, end in same])
    return MemoryState(index=index, size=size, page_size=page_size, runs=runs, initial=left_out), changes


def _unchanged_parts(initial: tuple[Run, ...], base: int) -> list[tuple[int, int]]:
    """Return where a memory is as it was at first, in ranges of chunks, in bytes."""
    found: list[tuple[int, int]] = []
    for first, content in initial:
        start = first * CHUNK
        changed = different_parts(address_of(content), base + start, len(content))
        found += outside([(start, start + len(content))], [(start + low, start + high) for low, high in changed])
    return found


def grow_to(instance: Instance, state: MemoryState, page_size: int) -> native.MemoryCell:
    """Make a new instance's memory as large as a saved one. Raises SnapshotError if it cannot be."""
    memory = _memory(instance, state.index)
    what = f"memory {state.index} of the snapshot has {state.size:,} bytes"
    if isinstance(memory, wasmtime.SharedMemory):
        raise SnapshotError(f"{what}, and that of the module is shared between threads")
    cell = native.MemoryCell(instance.store.context, memory)
    size = cell.size()
    if page_size != state.page_size or state.size % page_size or size > state.size:
        raise SnapshotError(f"{what}, in pages of {state.page_size}, and that of the module begins with {size:,}")
    if size < state.size:
        try:
            memory.grow(instance.store.wasmtime_store, (state.size - size) // page_size)
        except wasmtime.WasmtimeError:
            raise SnapshotError(
                f"{what}, and may not have as many here: the module, or memory_limit, says so"
            ) from None
    return cell


@dataclass(frozen=True)
class _Mapped:
    """What an instance's memory was put back as: a file in memory, and the state in it, which may be gone."""

    file: MappedFile
    state: weakref.ref[MemoryState]


# By the memory's index.
_mapped: Final = weakref.WeakKeyDictionary[Instance, dict[int, _Mapped]]()


class MemoryImage:
    """What a memory holds, ready to be put into any number of new instances: a file in memory, where there are such."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._file = -1
        self._close: weakref.finalize[[int], MemoryImage] | None = None
        self._lacks_initial = bool(state.initial)
        self.index: Final = state.index
        used = [(first * CHUNK, first * CHUNK + len(content)) for first, content in state.runs]
        self._used = sorted([*used, *initial_ranges(state)])
        # Only whole pages of the processor's can be mapped.
        self._mapped = state.size - state.size % mmap.PAGESIZE
        if _CAN_MAP and self._mapped:
            try:
                self._file = os.memfd_create("caesura", os.MFD_CLOEXEC)
                self._close = weakref.finalize(self, os.close, self._file)
                os.ftruncate(self._file, self._mapped)
                for first, content in self._state.runs:
                    _write_all(self._file, memoryview(content)[: self._within(first)], first * CHUNK)
            except OSError:
                self._file = -1
                if self._close is not None:
                    self._close()

    @property
    def missing(self) -> int:
        """How many bytes `add_initial` has to write."""
        if self._file < 0 or not self._lacks_initial:
            return 0
        return sum(end - start for start, end in initial_ranges(self._state))

    def add_initial(self, base: int, size: int) -> None:
        """Write what is as the module makes it, as it lies in a new instance's memory of that size; from any thread."""
        file = self._file
        try:
            for start, end in _touched_within(base, size, _below(size, initial_ranges(self._state))):
                for low, high in used_parts(base + start, end - start):
                    place = start + low
                    _write_all(file, view_of(base + place, high - low)[: max(0, self._mapped - place)], place)
        except OSError:
            self._file = -1  # it stays open for as long as this image: another thread may be writing to it
        self._lacks_initial = False

    def _as_mapped(self) -> _Mapped:
        """Return what an instance's memory is from now on."""
        status = os.fstat(self._file)
        return _Mapped(MappedFile(status.st_dev, status.st_ino, self._used), weakref.ref(self._state))

    def _within(self, first: int) -> int:
        """Return how many bytes from a chunk on are mapped."""
        return max(0, self._mapped - first * CHUNK)

    def put_into(self, instance: Instance, cell: native.MemoryCell) -> None:
        """Put the contents into a new instance's memory of that size. Raises SnapshotError where the system refuses."""
        base = cell.base()
        if self.missing:
            self.add_initial(base, self._state.size)
        if self._file >= 0:
            _map(base, self._mapped, mmap.MAP_PRIVATE, self._file)
            _mapped.setdefault(instance, {})[self._state.index] = self._as_mapped()
            write_memory(cell, self._state, self._mapped)
        else:
            write_memory(cell, self._state)


def write_memory(cell: native.MemoryCell, state: MemoryState, begin: int = 0) -> None:
    """Write contents into a new instance's memory, which is as large, from an address on where a chunk begins."""
    if begin >= state.size:
        return
    base = cell.base()
    kept = [(0, begin)] + [(max(start, begin), end) for start, end in initial_ranges(state) if end > begin]
    for first, content in state.runs:
        start, end = first * CHUNK, first * CHUNK + len(content)
        if end > begin:
            content = content[max(0, begin - start) :]
            ctypes.memmove(base + end - len(content), content, len(content))
            kept.append((max(start, begin), end))
    # What lies between may have the module's own data; what is zero already takes no memory.
    for start, end in _touched_within(base, state.size, outside(((0, state.size),), sorted(kept))):
        for first, last in used_parts(base + start, end - start):
            ctypes.memset(base + start + first, 0, last - first)


def _touched_within(base: int, size: int, ranges: Ranges) -> Ranges:
    """Return what of some ranges of a memory may be other than zero."""
    touched = touched_parts(base, size)
    return ranges if touched is None else outside(ranges, outside(((0, size),), touched))


def _memory(instance: Instance, index: int) -> native.Memory:
    item = instance.item_for_now(f"{STATE_MEMORIES}{index}")
    assert isinstance(item, native.Memory), "exports have the kinds that the module says"
    return item


def _below(size: int, ranges: Ranges) -> Ranges:
    return [(start, min(end, size)) for start, end in ranges if start < size]


def _write_all(file: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(file, content, offset)
        content = content[written:]
        offset += written


def _map(address: int, size: int, kind: int, file: int) -> None:
    assert _mmap is not None, "who asks has looked"
    found = _mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, kind | _MAP_FIXED, file, 0)
    if found == _FAILED:
        reason = os.strerror(ctypes.get_errno())
        raise SnapshotError(f"the memory of a restored guest ({size:,} bytes) cannot be mapped: {reason}")


def _system_call() -> Callable[..., int | None]:
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = c_void_p
    function.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_long)
    called: Callable[..., int | None] = function
    return called


_mmap: Final = _system_call() if _CAN_MAP else None
