"""What of a finished module is the guest's state, by index; all else is the transformation's or cannot change.

Memories, mutable globals, tables that somebody may write, passive segments that code may drop. A table that only the
module reaches and that none of its instructions writes stays as its segments made it.

Saved are numbers, vectors, and references without a concrete type to functions and to the host's objects. What else is
mutable is named, so that a host can refuse, and so is what refers to structures and arrays, mutable or not: their
fields change. It is not exported, since engines' interfaces for hosts can abort where they are asked for the type of
such an export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from caesura.abi import ASYNCIFY_MEMORY, CONTRACT_SECTION, CONTRACT_VERSION
from caesura.analysis.state_changes import find_state_changes
from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.definitions import MEMORY_KIND, TABLE_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, PASSIVE, ElementSegment, read_data_segments
from caesura.wasm.types import (
    ANY,
    EXTERN,
    EXTERNREF,
    FUNCREF,
    I31,
    heap_of,
    is_number,
    is_reference,
    read_heap_type,
    type_name,
)


class Origin:
    """Where a module comes from: the SHA-256 digest of the module `given`, the names of the imports that may suspend
    ("module.name"), and the options that are not the default.
    """

    def __init__(self, given: bytes, imports: list[str], options: Mapping[str, Any]) -> None:
        self.original: Final = hashlib.sha256(given).digest()
        self.imports: Final = imports
        self.options: Final = options


class Bounds:
    """Where what the transformation added begins: in memories, globals and tables; and what of that is state.

    `globals` and `tables` are indices from these bounds on that belong to the state all the same: where references of
    frames lie. `left_out` are globals before the bound that do not: those of the ABI that are imported.
    """

    def __init__(
        self,
        memories: int,
        globals_: int,
        tables: int,
        kept_globals: list[int],
        kept_tables: list[int],
        left_out: list[int],
    ) -> None:
        self.memories: Final = memories
        self.globals: Final = globals_
        self.tables: Final = tables
        self.kept_globals: Final = kept_globals
        self.kept_tables: Final = kept_tables
        self.left_out: Final = left_out


class GuestState:
    """The indices of what is state, ascending. `unsaved` says what is but cannot be saved, in words."""

    def __init__(self) -> None:
        self.memories: list[int] = []
        self.globals: list[int] = []
        self.tables: list[int] = []
        self.data: list[int] = []
        self.elements: list[int] = []
        self.unsaved: list[str] = []


def no_bounds(module: Module) -> Bounds:
    """Return the bounds of a module to which nobody added what can be told from its own."""
    return Bounds(len(module.memories), len(module.globals), len(module.tables), [], [], [])


def find_guest_state(module: Module, bounds: Bounds, segments: list[ElementSegment]) -> GuestState:
    """Return what of a module is state; `segments` are its element segments. Raises MalformedModule."""
    state = GuestState()
    own = [item.index for item in module.exports if item.kind == MEMORY_KIND and item.name == ASYNCIFY_MEMORY]
    state.memories = [index for index in range(bounds.memories) if index not in own]
    for index in [*range(bounds.globals), *bounds.kept_globals]:
        entry = module.globals[index]
        if entry.mutable and index not in bounds.left_out:
            if is_number(entry.type) or _is_plain(entry.type):
                state.globals.append(index)
            else:
                state.unsaved.append(f"global {index}, of type {type_name(entry.type)}")
        elif _may_be_object(module, entry.type) and _is_made(module, entry.init_start):
            state.unsaved.append(f"global {index}, of type {type_name(entry.type)}")
    data = [segment.mode == PASSIVE and segment.end > segment.start for segment in read_data_segments(module)]
    elements = [segment.mode == PASSIVE and segment.count() > 0 for segment in segments]
    reached = {item.index for item in module.imports if item.kind == TABLE_KIND}
    reached.update([item.index for item in module.exports if item.kind == TABLE_KIND])
    changes = find_state_changes(module, tables=len(reached) < bounds.tables, segments=any(data) or any(elements))
    filled = {segment.table for segment in segments if segment.mode == ACTIVE and _makes_any(module, segment)}
    filled.update([index for index in range(bounds.tables) if _is_made(module, module.tables[index].init_start)])
    for index in range(bounds.tables):
        if index in reached or index in changes.tables:
            _add_table(module, index, state)
        elif index in filled and _may_be_object(module, module.tables[index].element):
            state.unsaved.append(f"table {index}, of type {type_name(module.tables[index].element)}")
    for index in bounds.kept_tables:
        _add_table(module, index, state)
    for index, segment in enumerate(segments):
        if segment.mode == PASSIVE and _may_be_object(module, segment.type) and _makes_any(module, segment):
            state.unsaved.append(f"element segment {index}, of type {type_name(segment.type)}")
    state.data = [index for index in range(len(data)) if data[index] and index in changes.data]
    state.elements = [index for index in range(len(elements)) if elements[index] and index in changes.elements]
    return state


def _add_table(module: Module, index: int, state: GuestState) -> None:
    if _is_plain(module.tables[index].element):
        state.tables.append(index)
    else:
        state.unsaved.append(f"table {index}, of type {type_name(module.tables[index].element)}")


def _may_be_object(module: Module, value_type: int) -> bool:
    """Tell whether a reference can be to a structure or an array, whose fields change where the reference does not."""
    if not is_reference(value_type) or heap_of(value_type) == I31:
        return False
    top = top_of(module, value_type)
    return top == ANY or top == EXTERN


def _makes_any(module: Module, segment: ElementSegment) -> bool:
    for start, _ in segment.expressions:
        if _is_made(module, start):
            return True
    return False


def _is_made(module: Module, initializer: int) -> bool:
    """Tell whether an initializer at an offset (0: there is none) makes what it is about.

    Else it is null, or another global's value, which is looked at there, or is the host's, which gives it again.
    """
    if initializer == 0:
        return False
    code = module.data[initializer]
    if code == op.REF_NULL:
        behind = read_heap_type(module.data, initializer + 1)[1]
    elif code == op.GLOBAL_GET:
        behind = read_u32(module.data, initializer + 1)[1]
    else:
        return True
    return module.data[behind] != op.END


def _is_plain(value_type: int) -> bool:
    return value_type == FUNCREF or value_type == EXTERNREF


def contract_of(module: Module) -> int:
    """Return the version of the contract that a module follows, as it tells it itself."""
    section = module.custom_section(CONTRACT_SECTION)
    if section is None:
        return CONTRACT_VERSION
    try:
        return read_u32(module.data, section.payload)[0]
    except MalformedModule:
        return CONTRACT_VERSION
