"""A state as what a module begins with: limits, initial values and segments instead of what somebody puts back.

* A memory is as large as it was, and active data segments hold what is in it; so with tables and element segments.
* A mutable global's initial value is its bits.
* An active segment of the module's own has done its work: engines drop such segments, so it becomes one that is
  dropped from the start, as those do that the guest has dropped itself. No index changes: code has them.
* A memory, a table or a mutable global that was imported is the module's own, exported under the name that it had,
  since whoever gave it may look into it.

To leave these imports as they were, and fill them when the module is instantiated, was rejected: two instances would
share them, and an imported global has no place for a value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeVar

from caesura.abi import ENTRY_PREFIX, FRAMES_SECTION, OWN_PREFIX, START_FUNCTION, STATE_PREFIX, STATE_SECTION
from caesura.errors import SnapshotError, printable
from caesura.snapshots.answering import Answering
from caesura.snapshots.fitting import check_references
from caesura.snapshots.pages import Run
from caesura.snapshots.section import StateSection
from caesura.snapshots.state import CHUNK, MOST_NUMBER, NULL, GlobalState, MemoryState, State, TableState
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND, Import, Limits
from caesura.wasm.hierarchies import top_of
from caesura.wasm.leb128 import encode_name, encode_signed, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.renumber import encode_import, encode_limits
from caesura.wasm.sections import SectionEdits
from caesura.wasm.segments import (
    ACTIVE,
    DECLARED,
    PASSIVE,
    DataSegment,
    ElementSegment,
    encode_element_segment,
    read_data_segments,
    read_element_segments,
)
from caesura.wasm.types import (
    ANY,
    ANYREF,
    EQ,
    F32,
    F64,
    FUNCREF,
    I31,
    I32,
    I64,
    V128,
    encode_value_type,
    heap_of,
    is_abstract,
    is_nullable,
    is_number,
    is_reference,
    make_reference,
    type_name,
)

# How many data segments engines take: JavaScript's interface allows no more.
_MOST_SEGMENTS: Final = 100_000

# Indices of tables have 32 bits, and what a state holds of those with more is as small.
_MOST_ELEMENTS: Final = 0xFFFF_FFFF

# What hosts of WASI call by themselves before anything else, and would call a second time.
INITIALIZE: Final = "_initialize"

# What is empty, passive and of no use: a data segment that was dropped.
_DROPPED_DATA: Final = b"\x01\x00"

_END: Final = b"\x0b"
_REF_I31: Final = b"\xfb\x1c"
_HAS_INITIALIZER: Final = b"\x40\x00"
_DECLARES: Final = 3
_WITH_EXPRESSIONS: Final = 4
_HAS_INDEX: Final = 2
_WIDTHS: Final = {I32: 4, I64: 8, F32: 4, F64: 8, V128: 16}
_CONSTANTS: Final = {F32: b"\x43", F64: b"\x44", V128: b"\xfd\x0c"}

_Indexed = TypeVar("_Indexed", MemoryState, GlobalState, TableState)


class InitialState:
    """Writes a state into a module's sections. Raises SnapshotError for a state that does not fit the module, and for
    what no module can begin with.

    `minimums` and `values` say more of memories and globals than the state does, by index: least sizes in pages, and
    values in place of those that were saved. Functions of `answering` stand in for some imports.
    """

    def __init__(
        self,
        module: Module,
        section: StateSection,
        state: State,
        minimums: dict[int, int],
        values: dict[int, int],
        answering: Answering,
    ) -> None:
        self._module: Final = module
        self._section: Final = section
        self._state: Final = state
        self._minimums: Final = minimums
        self._memories: Final = _by_index("memories", state.memories, [item.index for item in section.memories])
        self._tables: Final = _by_index("tables", state.tables, [item.index for item in section.tables])
        globals_ = _by_index("globals", state.globals, [item.index for item in section.globals])
        self._globals: Final = {
            index: replace(item, bits=values.get(index, item.bits)) for index, item in globals_.items()
        }
        self._functions: Final = {*section.functions}
        self._answering: Final = answering
        self._owned: Final = [item for item in module.imports if self._becomes_own(item)]
        self._check()

    def write(self, edits: SectionEdits, data: list[bytes], added: list[bytes], exports: list[bytes]) -> None:
        """Write all of it. `data` are further data segments, `added` further globals, `exports` further exports."""
        module = self._module
        if self._owned:
            kept = [item for item in module.imports if item not in self._owned]
            edits.replace[sec.IMPORT] = encode_vector([encode_import(module, item) for item in kept])
        if module.memories:
            edits.replace[sec.MEMORY] = encode_vector([self._memory(index) for index in self._own(MEMORY_KIND)])
        if module.tables:
            edits.replace[sec.TABLE] = encode_vector([self._table(index) for index in self._own(TABLE_KIND)])
        if module.globals:
            edits.replace[sec.GLOBAL] = encode_vector([*self._global_entries(), *added])
        edits.replace[sec.EXPORT] = encode_vector([*self._exports(), *exports])
        elements = self._element_segments()
        if elements:
            edits.replace[sec.ELEMENT] = encode_vector(elements)
        segments = [*self._data_segments(), *data]
        segments += self._contents(_MOST_SEGMENTS - len(segments))
        if segments:
            edits.replace[sec.DATA_COUNT] = encode_unsigned(len(segments))
            edits.pieces[sec.DATA] = [encode_unsigned(len(segments)), *segments]
        edits.dropped.add(sec.START)
        for told_of_before in (STATE_SECTION, FRAMES_SECTION):
            edits.custom[told_of_before] = None

    def _check(self) -> None:
        if self._section.unsaved:
            raise SnapshotError(f"the module has what cannot be saved: {', '.join(self._section.unsaved)}")
        if self._state.exceptions:
            raise SnapshotError(
                "the snapshot has an exception that a handler is to throw on, which no module can begin with"
            )
        for what, items, count in (
            ("memory", self._section.memories, len(self._module.memories)),
            ("global", self._section.globals, len(self._module.globals)),
            ("table", self._section.tables, len(self._module.tables)),
        ):
            if items and items[-1].index >= count:  # they ascend
                raise SnapshotError(f"the module does not have the {what} {items[-1].index} of its state")
        check_references(self._state, self._section)
        for what, dropped, known in (
            ("data", self._state.dropped_data, self._section.data),
            ("element", self._state.dropped_elements, self._section.elements),
        ):
            for index in dropped:
                if index not in known:
                    raise SnapshotError(
                        f"the snapshot has dropped {what} segment {index}, which the module never drops"
                    )
        stays: Import | None = None
        for item in reversed(self._module.imports):
            if item.kind != GLOBAL_KIND:
                continue
            if item not in self._owned:
                stays = stays or item
            elif stays is not None:
                raise SnapshotError(
                    f"the module imports the mutable global {printable(f'{item.module}.{item.name}')} before "
                    f"{printable(f'{stays.module}.{stays.name}')}, which stays an import: it cannot become one of the "
                    "module's own"
                )

    def _becomes_own(self, item: Import) -> bool:
        if item.kind == GLOBAL_KIND:
            return item.index in self._globals
        return item.kind == MEMORY_KIND or item.kind == TABLE_KIND

    def _own(self, kind: int) -> range:
        return range(len(self._module.memories if kind == MEMORY_KIND else self._module.tables))

    def _memory(self, index: int) -> bytes:
        limits = self._module.memories[index]
        what = f"memory {index} of the snapshot"
        if limits.shared:
            raise SnapshotError(f"memory {index} is shared between threads: it cannot begin with anything of its own")
        minimum = limits.minimum
        memory = self._memories.get(index)
        if memory is not None:
            page = 1 << limits.page_size_log2
            if memory.page_size != page or memory.size % page or memory.size // page < minimum:
                raise SnapshotError(
                    f"{what} has {memory.size:,} bytes, in pages of {memory.page_size}, and that of the module begins "
                    f"with {minimum * page:,}, in pages of {page}"
                )
            minimum = memory.size // page
        minimum = max(minimum, self._minimums.get(index, 0))
        if minimum > _most_pages(limits):
            raise SnapshotError(f"{what} needs {minimum:,} pages, and may have {_most_pages(limits):,}")
        return encode_limits(replace(limits, minimum=minimum))

    def _table(self, index: int) -> bytes:
        entry = self._module.tables[index]
        table = self._tables.get(index)
        if table is None:
            kind = encode_value_type(entry.element) + encode_limits(entry.limits)
            initializer = self._answering.redirect(self._module.data[entry.init_start : entry.init_end])
            return _HAS_INITIALIZER + kind + initializer if initializer else kind
        if table.type != _told_type(self._module, entry.element):
            raise SnapshotError(f"table {index} of the snapshot holds something else than that of the module")
        size, rest = divmod(len(table.elements), 4)
        if rest or size < entry.limits.minimum:
            raise SnapshotError(f"table {index} of the snapshot has {size} elements, and that of the module more")
        if size > _most_elements(entry.limits):
            raise SnapshotError(
                f"table {index} of the snapshot has {size:,} elements, and may have {_most_elements(entry.limits):,}"
            )
        kind = encode_value_type(entry.element) + encode_limits(replace(entry.limits, minimum=size))
        if is_nullable(entry.element):
            return kind
        what = f"table {index} of the snapshot"
        number = int.from_bytes(table.elements[:4], "little")
        initializer = self._answering.redirect(self._module.data[entry.init_start : entry.init_end])
        if size:
            initializer = self._reference(table.type, entry.element, number, what) + _END
        return _HAS_INITIALIZER + kind + initializer

    def _global_entries(self) -> list[bytes]:
        """Return the entries of the globals that are the module's own now: first those that were imported."""
        module = self._module
        entries = [_global_type(item.type) + self._value(item) for item in self._imported_globals()]
        section = module.section(sec.GLOBAL)
        if section is None:
            return entries
        start = read_u32(module.data, section.payload)[1]
        for index in range(module.imported_globals, len(module.globals)):
            entry = module.globals[index]
            item = self._globals.get(index)
            if item is None:
                initializer = self._answering.redirect(module.data[entry.init_start : entry.init_end])
                entries.append(module.data[start : entry.init_start] + initializer)
            else:
                entries.append(module.data[start : entry.init_start] + self._value(item))
            start = entry.init_end
        return entries

    def _imported_globals(self) -> list[GlobalState]:
        return [self._globals[item.index] for item in self._owned if item.kind == GLOBAL_KIND]

    def _value(self, item: GlobalState) -> bytes:
        """Return the constant expression for the bits of a global."""
        entry = self._module.globals[item.index]
        what = f"global {item.index} of the snapshot"
        if item.type != _told_type(self._module, entry.type) or not entry.mutable:
            raise SnapshotError(f"{what} is of another type than that of the module, {type_name(entry.type)}")
        if not is_number(item.type):
            return self._reference(item.type, entry.type, item.bits, what) + _END
        size = _WIDTHS[item.type]
        if item.bits >> 8 * size:
            raise SnapshotError(f"{what} has more bits than its type, {type_name(item.type)}")
        raw = item.bits.to_bytes(size, "little")
        if item.type in _CONSTANTS:
            return _CONSTANTS[item.type] + raw + _END
        return c.unsigned_constant(item.type, item.bits) + _END

    def _reference(self, kind: int, value_type: int, number: int, what: str) -> bytes:
        """Return the code of a reference, null, to a function or a number, of the type of what holds it; `kind` is what
        the state says that is. Raises SnapshotError for others.
        """
        if number == NULL:
            return c.ref_null(heap_of(value_type))
        if kind == ANYREF:
            if number > MOST_NUMBER or heap_of(value_type) not in (ANY, EQ, I31):
                raise SnapshotError(f"{what} holds {number}, and may hold a {type_name(value_type)}")
            return c.CONST_I32 + encode_signed(number) + _REF_I31
        function = self._function(kind, number, what)
        if not is_abstract(heap_of(value_type)) and not self._is_of_type(number, heap_of(value_type)):
            raise SnapshotError(f"{what} refers to function {number}, which is of another type than it holds")
        return c.REF_FUNC + encode_unsigned(function)

    def _is_of_type(self, function: int, wanted: int) -> bool:
        """Tell whether a function can be of a type; engines see the rest, which types of the same form are the same."""
        types = self._module.types
        left = [self._module.function_types[function]]
        while left:
            found = types[left.pop()]
            if (found.params, found.results) == (types[wanted].params, types[wanted].results):
                return True
            left += found.supertypes
        return False

    def _function(self, kind: int, number: int, what: str) -> int:
        if kind != FUNCREF:
            raise SnapshotError(f"{what} refers to an object of the host's, which no module can begin with")
        if number not in self._functions or number >= len(self._module.function_types):
            raise SnapshotError(f"{what} refers to function {number}, of which the module makes no references")
        return self._answering.redirected.get(number, number)

    def _exports(self) -> list[bytes]:
        """Return the module's exports, but for what shows the state or has begun already, with what was imported."""
        module = self._module
        kept = [item for item in module.exports if not _goes(item.name)]
        out = [
            encode_name(item.name) + bytes([item.kind]) + encode_unsigned(self._index(item.kind, item.index))
            for item in kept
        ]
        taken = {item.name for item in kept}
        reached = {(item.kind, item.index) for item in kept if not item.name.startswith(OWN_PREFIX)}
        for item in self._owned:
            if item.name not in taken and (item.kind, item.index) not in reached:
                out.append(encode_name(item.name) + bytes([item.kind]) + encode_unsigned(item.index))
                taken.add(item.name)
        return out

    def _index(self, kind: int, index: int) -> int:
        return self._answering.redirected.get(index, index) if kind == FUNCTION_KIND else index

    def _element_segments(self) -> list[bytes]:
        segments = read_element_segments(self._module)
        out = [self._element_segment(index, segment) for index, segment in enumerate(segments)]
        started = [
            item.index
            for item in self._module.exports
            if item.kind == FUNCTION_KIND and item.name == START_FUNCTION and item.index in self._functions
        ]
        if started:  # code may make references only of what is exported or stands in a segment
            out.append(
                encode_element_segment(ElementSegment(_DECLARES, 0), b"", [self._index(FUNCTION_KIND, started[0])], [])
            )
        for table in self._state.tables:
            out += self._table_contents(table)
        return out

    def _element_segment(self, index: int, segment: ElementSegment) -> bytes:
        """Return a segment of the module's own: one that was dropped only declares what it refers to."""
        is_spent = segment.mode == ACTIVE and segment.table in self._tables
        flags = segment.flags
        if is_spent or (segment.mode == PASSIVE and index in self._state.dropped_elements):
            flags = _DECLARES | (flags & _WITH_EXPRESSIONS)
        made = ElementSegment(flags, segment.start)
        made.table, made.type = segment.table, segment.type
        data = self._module.data
        offset = data[segment.offset_start : segment.offset_end] if made.mode != DECLARED else b""
        expressions = [self._answering.redirect(data[start:end]) for start, end in segment.expressions]
        functions = [self._answering.redirected.get(function, function) for function in segment.functions]
        return encode_element_segment(made, offset, functions, expressions)

    def _table_contents(self, table: TableState) -> Iterator[bytes]:
        """Yield active segments for the elements of a table that are not null."""
        what = f"table {table.index} of the snapshot"
        element = self._module.tables[table.index].element
        is_wide = self._module.tables[table.index].limits.is64
        found: list[int] = []
        expressions: list[bytes] = []
        numbers = [number for (number,) in struct.iter_unpack("<I", table.elements)]
        for place, number in enumerate([*numbers, NULL]):
            if number != NULL:
                expressions.append(self._reference(table.type, element, number, what) + _END)
                if element == FUNCREF:
                    found.append(self._function(table.type, number, what))
            elif expressions:
                flags = _HAS_INDEX if table.index or element != FUNCREF else 0
                segment = ElementSegment(flags | (_WITH_EXPRESSIONS if element != FUNCREF else 0), 0)
                segment.table, segment.type = table.index, element
                offset = _offset(place - len(expressions), is_wide=is_wide)
                yield encode_element_segment(segment, offset, found, expressions)
                found, expressions = [], []

    def _data_segments(self) -> list[bytes]:
        segments = read_data_segments(self._module)
        return [self._data_segment(index, segment) for index, segment in enumerate(segments)]

    def _data_segment(self, index: int, segment: DataSegment) -> bytes:
        data = self._module.data
        content = encode_unsigned(segment.end - segment.start) + data[segment.start : segment.end]
        if segment.mode == PASSIVE:
            return _DROPPED_DATA if index in self._state.dropped_data else b"\x01" + content
        if segment.memory in self._memories:
            return _DROPPED_DATA
        return _active(segment.memory, data[segment.offset_start : segment.offset_end]) + content

    def _contents(self, most: int) -> list[bytes]:
        """Return active segments for what is in the memories."""
        out: list[bytes] = []
        for memory in self._state.memories:
            is_wide = self._module.memories[memory.index].is64
            before = 0
            for first, content in memory.runs:
                start = first * CHUNK
                if start < before or start + len(content) > memory.size:
                    raise SnapshotError(f"memory {memory.index} of the snapshot has content outside of its size")
                before = start + len(content)
                out += _segments(memory.index, (first, content), is_wide=is_wide)
        if len(out) > most:
            raise SnapshotError(
                f"the memories have {len(out):,} parts with zeros between them, and a module may have {most:,} segments"
            )
        return out


def _segments(memory: int, run: Run, *, is_wide: bool) -> list[bytes]:
    """Return the segment of a run, without the zeros at its ends; none if there is nothing else in it."""
    first, content = run
    inner = content.lstrip(b"\0")
    start = first * CHUNK + len(content) - len(inner)
    inner = inner.rstrip(b"\0")
    if not inner:
        return []
    return [_active(memory, _offset(start, is_wide=is_wide)) + encode_unsigned(len(inner)) + inner]


def _by_index(what: str, items: tuple[_Indexed, ...], known: list[int]) -> dict[int, _Indexed]:
    """Return parts of a state by their index. Raises SnapshotError unless they are just those of the module."""
    indices = [item.index for item in items]
    if sorted(indices) != known:
        raise SnapshotError(f"the snapshot has other {what} than the module")
    return dict(zip(indices, items, strict=True))


def _told_type(module: Module, value_type: int) -> int:
    """Return the type that a state gives for what is of a type."""
    return make_reference(top_of(module, value_type), nullable=True) if is_reference(value_type) else value_type


def _most_pages(limits: Limits) -> int:
    most = 1 << ((64 if limits.is64 else 32) - limits.page_size_log2)
    return most if limits.maximum is None else min(most, limits.maximum)


def _most_elements(limits: Limits) -> int:
    return _MOST_ELEMENTS if limits.maximum is None else min(_MOST_ELEMENTS, limits.maximum)


def _goes(name: str) -> bool:
    if name in (INITIALIZE, ENTRY_PREFIX + INITIALIZE):
        return True
    return name.startswith(STATE_PREFIX) or name == START_FUNCTION or name == ENTRY_PREFIX + START_FUNCTION


def _global_type(value_type: int) -> bytes:
    return encode_value_type(value_type) + b"\x01"


def _active(memory: int, offset: bytes) -> bytes:
    return (b"\x02" + encode_unsigned(memory) if memory else b"\x00") + offset


def _offset(address: int, *, is_wide: bool) -> bytes:
    """Return the constant expression for an address, or for a place in a table."""
    return c.unsigned_constant(I64 if is_wide else I32, address) + _END
