"""What of a finished module is the guest's state, by index; all else is the transformation's or cannot change.

Memories, mutable globals, tables that somebody may write, passive segments that code may drop. A table that only the
module reaches and that none of its instructions writes stays as its segments made it.

Numbers, vectors, and references without a concrete type to functions and to the host's objects are exported. References
of other types are *held*: hosts reach them by functions, since engines' interfaces can abort where they are asked for
the type of such an export, and since JavaScript knows no exceptions as values. What they refer to is looked at when a
state is saved: null, functions, and exceptions that carry numbers can be.

Structures and arrays that initializers make, and whose fields can change, are named, so that a host can refuse: nothing
shows what became of them. Those without such fields are made again with each instance, as they were. Those of a passive
segment that code drops stand in nobody's way once it is dropped.
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
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, DECLARED, PASSIVE, ElementSegment, read_data_segments
from caesura.wasm.types import EXTERNREF, FUNCREF, is_number, type_name

# The instructions of initializers that make a structure or an array, whose first immediate is its type.
_MAKING: Final = (
    op.STRUCT_NEW,
    op.STRUCT_NEW_DEFAULT,
    op.ARRAY_NEW,
    op.ARRAY_NEW_DEFAULT,
    op.ARRAY_NEW_FIXED,
    op.ARRAY_NEW_DATA,
    op.ARRAY_NEW_ELEM,
)


class Origin:
    """Where a module comes from: the SHA-256 digest of the module `given`, the names of the imports that may suspend
    ("module.name"), and the options that are not the default.
    """

    def __init__(self, given: bytes, imports: list[str], options: Mapping[str, Any]) -> None:
        self.original: Final = hashlib.sha256(given).digest()
        self.imports: Final = imports
        self.options: Final = options


class FrameReferences:
    """Where references of frames lie: tables, in the order of their runs on the asyncify stack, if `has_runs`, and
    globals that tell where in these (see `instrument.abi.references`).
    """

    def __init__(self, globals_: list[int], tables: list[int], *, has_runs: bool) -> None:
        self.globals: Final = globals_
        self.tables: Final = tables
        self.has_runs: Final = has_runs


class Bounds:
    """Where what the transformation added begins: in memories, globals and tables; and what of that is state.

    That is what holds references of `frames`. `left_out` are globals before the bound that do not belong to the state:
    those of the ABI that are imported.
    """

    def __init__(self, memories: int, globals_: int, tables: int, frames: FrameReferences, left_out: list[int]) -> None:
        self.memories: Final = memories
        self.globals: Final = globals_
        self.tables: Final = tables
        self.frames: Final = frames
        self.left_out: Final = left_out


class GuestState:
    """The indices of what is state, ascending. `unsaved` says what is but cannot be saved, in words.

    `undropped` are those of `elements` that cannot be saved before they are dropped. `frames` are where
    references of frames lie.
    """

    def __init__(self, frames: FrameReferences) -> None:
        self.frames: Final = frames
        self.memories: list[int] = []
        self.globals: list[int] = []
        self.tables: list[int] = []
        self.data: list[int] = []
        self.elements: list[int] = []
        self.undropped: list[int] = []
        self.unsaved: list[str] = []


def no_bounds(module: Module) -> Bounds:
    """Return the bounds of a module to which nobody added what can be told from its own."""
    return Bounds(
        len(module.memories), len(module.globals), len(module.tables), FrameReferences([], [], has_runs=False), []
    )


def find_guest_state(module: Module, bounds: Bounds, segments: list[ElementSegment]) -> GuestState:
    """Return what of a module is state; `segments` are its element segments. Raises MalformedModule."""
    state = GuestState(bounds.frames)
    own = [item.index for item in module.exports if item.kind == MEMORY_KIND and item.name == ASYNCIFY_MEMORY]
    state.memories = [index for index in range(bounds.memories) if index not in own]
    for index in [*range(bounds.globals), *bounds.frames.globals]:
        entry = module.globals[index]
        if entry.mutable and index not in bounds.left_out:
            state.globals.append(index)
        elif _makes_changing(module, entry.init_start, entry.init_end):
            state.unsaved.append(f"global {index}, of type {type_name(entry.type)}")
    data = [segment.mode == PASSIVE and segment.end > segment.start for segment in read_data_segments(module)]
    elements = [segment.mode == PASSIVE and segment.count() > 0 for segment in segments]
    reached = {item.index for item in module.imports if item.kind == TABLE_KIND}
    reached.update([item.index for item in module.exports if item.kind == TABLE_KIND])
    changes = find_state_changes(module, tables=len(reached) < bounds.tables, segments=any(data) or any(elements))
    for index in range(bounds.tables):
        if index in reached or index in changes.tables:
            state.tables.append(index)
    state.tables += bounds.frames.tables
    made: set[int] = set()
    for index in range(bounds.tables):
        if _makes_changing(module, module.tables[index].init_start, module.tables[index].init_end):
            made.add(index)
    named: list[str] = []
    for index, segment in enumerate(segments):
        for start, end in segment.expressions:
            if segment.mode != DECLARED and _makes_changing(module, start, end):
                if segment.mode == ACTIVE:
                    made.add(segment.table)
                elif index in changes.elements:
                    state.undropped.append(index)
                else:
                    named.append(f"element segment {index}, of type {type_name(segment.type)}")
                break
    for index in range(bounds.tables):  # what is in the others is looked at when a state is saved
        if index in made and index not in state.tables:
            state.unsaved.append(f"table {index}, of type {type_name(module.tables[index].element)}")
    state.unsaved += named
    state.data = [index for index in range(len(data)) if data[index] and index in changes.data]
    state.elements = [index for index in range(len(elements)) if elements[index] and index in changes.elements]
    return state


def _makes_changing(module: Module, start: int, end: int) -> bool:
    """Tell whether an initializer (0, 0: there is none) makes a structure or an array whose fields can change."""
    while start < end:
        code, immediates, start = read_instruction(module.data, start)
        if code in _MAKING:
            definition = module.types[read_u32(module.data, immediates)[0]]
            for _, is_mutable in definition.fields:
                if is_mutable:
                    return True
    return False


def is_held(value_type: int) -> bool:
    """Tell whether hosts reach what is of this type by functions."""
    return not is_number(value_type) and value_type != FUNCREF and value_type != EXTERNREF


def contract_of(module: Module) -> int:
    """Return the version of the contract that a module follows, as it tells it itself."""
    section = module.custom_section(CONTRACT_SECTION)
    if section is None:
        return CONTRACT_VERSION
    try:
        return read_u32(module.data, section.payload)[0]
    except MalformedModule:
        return CONTRACT_VERSION
