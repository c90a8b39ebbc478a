"""Putting a saved state into a new instance, before any code of the guest's own has run there.

Everything that the state says is compared with the module first: memories, globals, tables and segments by their index
and kind, calls by their export and import. What a forged state can then do is what a guest can do to itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import wasmtime

from caesura.abi import CONTROL_BLOCK
from caesura.errors import SnapshotError
from caesura.host import native
from caesura.host.description import NONE, Description
from caesura.host.instance import Instance
from caesura.host.memory import PAGE_SIZE
from caesura.host.saving.calls import put_calls_back
from caesura.host.saving.exceptions import ExceptionLoader
from caesura.host.saving.globals import is_number, write_number
from caesura.host.saving.held import Held
from caesura.host.saving.memories import MemoryImage, grow_to, write_memory
from caesura.host.saving.references import LoadObject, ReferenceLoader
from caesura.host.saving.segments import drop_again
from caesura.host.saving.tables import put_global_back, put_table_back
from caesura.host.setup import can_suspend, make_recorder, make_slicing, make_switch, make_unwinder
from caesura.host.values import SLOT
from caesura.host.wasi.reopening import OnMissing
from caesura.snapshots.section import StateSection
from caesura.snapshots.state import State


class _Indexed(Protocol):
    @property
    def index(self) -> int: ...


_OTHER_MODULE: Final = (
    "the snapshot is of another module, or of one that was instrumented otherwise: with other options, other imports "
    "that may suspend, or by another version of caesura; what was taken with embed=True brings its module along"
)


class SavedGuest(NamedTuple):
    """A state that is put into new guests. `images` are its memories', where they are at hand; `load_object` is the
    user's codec for Python objects, `on_missing` what the user says of files that are not there any more.
    """

    state: State
    images: Sequence[MemoryImage] | None = None
    load_object: LoadObject | None = None
    on_missing: OnMissing | None = None


def set_up_again(instance: Instance, exported: wasmtime.Instance, guest: SavedGuest) -> None:
    """Make the parts of an instance that Wasmtime has made as they were in a saved guest.

    Raises SnapshotError where the state does not fit the module.
    """
    state, images = guest.state, guest.images
    description = instance.description
    saved = description.state()
    if saved is None:
        raise SnapshotError(f"the snapshot cannot be put back: {description.why_unsaved}")
    if state.module.instrumented != saved.instrumented:
        raise SnapshotError(_OTHER_MODULE)
    instance.has_begun(exported)
    page_sizes = {item.index: item.page_size for item in saved.memories}
    _compare("memories", state.memories, page_sizes)
    for place, memory in enumerate(state.memories):
        cell = grow_to(instance, memory, page_sizes[memory.index])
        if images is not None:
            images[place].put_into(instance, cell)
        else:
            write_memory(cell, memory)
    references = ReferenceLoader(instance, state.objects, guest.load_object)
    exceptions = ExceptionLoader(instance, state.exceptions)
    _put_globals_back(instance, saved, state, references, exceptions)
    known = {item.index: item for item in saved.tables}
    _compare("tables", state.tables, known)
    for table in state.tables:
        if table.type != known[table.index].type:
            raise SnapshotError(f"table {table.index} of the snapshot holds something else than that of the module")
        if known[table.index].declared:
            Held(instance, known[table.index]).put_back(
                [number for (number,) in struct.iter_unpack("<I", table.elements)], references, exceptions
            )
        else:
            put_table_back(instance, table, references)
    drop_again(instance, saved, state)
    unwinder = None
    if can_suspend(instance) or (state.calls and description.abi != NONE):
        unwinder = make_unwinder(instance, _space_for_frames(instance, state))
    instance.can_be_called(unwinder, make_switch(instance, unwinder), make_slicing(instance, unwinder))
    instance.recorder = make_recorder(instance)
    put_calls_back(instance, state, references)


def check_fits(description: Description, state: State) -> None:
    """Raise SnapshotError for references that do not fit the module, before an instance is made."""
    from caesura.snapshots.fitting import check_references  # with the format, which other guests do without

    saved = description.state()
    if saved is not None and state.module.instrumented == saved.instrumented:
        check_references(state, saved)


def _put_globals_back(
    instance: Instance, saved: StateSection, state: State, references: ReferenceLoader, exceptions: ExceptionLoader
) -> None:
    known = {item.index: item for item in saved.globals}
    _compare("globals", state.globals, known)
    for item in state.globals:
        if item.type != known[item.index].type:
            raise SnapshotError(f"global {item.index} of the snapshot is of another type than that of the module")
        if is_number(item.type):
            write_number(instance, item)
        elif known[item.index].declared:
            Held(instance, known[item.index]).put_back([item.bits], references, exceptions)
        else:
            put_global_back(instance, item, references)


def _space_for_frames(instance: Instance, state: State) -> tuple[int, int] | None:
    """Return where the asyncify stack was, if that is the guest's own memory; else make its memory large enough."""
    description = instance.description
    if not description.asyncify_memory:
        return None  # `make_unwinder` says so
    if not description.has_own_asyncify_memory:
        if state.area is None:
            raise SnapshotError("the snapshot does not say where the asyncify stack lies")
        start, end = state.area
        size = native.MemoryCell(instance.store.context, instance.memory_item(description.asyncify_memory)).size()
        if not 0 < start < end - description.frames_offset or end > size or start % SLOT:
            raise SnapshotError(
                f"the asyncify stack of the snapshot lies from {start} to {end}, which is no place for it: the guest's "
                f"memory has {size} bytes"
            )
        return state.area
    memory = instance.memory_item(description.asyncify_memory)
    needed = CONTROL_BLOCK + description.frames_offset + max((len(call.frames) for call in state.calls), default=0)
    missing = needed - native.MemoryCell(instance.store.context, memory).size()
    if missing > 0:
        assert not isinstance(memory, wasmtime.SharedMemory), "the transformation's own memory is not shared"
        try:
            memory.grow(instance.store.wasmtime_store, -(-missing // PAGE_SIZE))
        except wasmtime.WasmtimeError:
            raise SnapshotError(
                f"a call of the snapshot has {needed:,} bytes of frames, for which the asyncify stack has no room here "
                "(secondary_memory_maximum, memory_limit)"
            ) from None
    return None


def _compare(what: str, given: Sequence[_Indexed], known: Iterable[int]) -> None:
    """Raise SnapshotError unless a state has exactly what the module has."""
    if {item.index for item in given} != {*known} or len({item.index for item in given}) != len(given):
        raise SnapshotError(f"the snapshot has other {what} than the module")
