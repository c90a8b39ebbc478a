"""The section in which a module tells what its frames hold (docs/abi.md, "Frame layouts"), read and checked.

Its author may lie: indices of functions and of values are within their bounds here, and frames are no larger than the
section could tell, but nothing is compared with the module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from caesura.abi import (
    CALLS_FUNCTION,
    CALLS_REFERENCE,
    CALLS_TABLE,
    FRAMES_SECTION,
    FRAMES_VERSION,
    HAS_DEAD_VALUES,
    HAS_FRAME,
    HAS_IDENTITY,
    LEAVES,
    SOURCE_VALUE,
)
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.abi.chunks import frame_places
from caesura.wasm.leb128 import read_s33, read_u32
from caesura.wasm.module import Module
from caesura.wasm.types import I32, is_reference, read_value_type

_BAD: Final = f"the section {FRAMES_SECTION} of the module is not as it should be"

# More values than this no frame has: locals, and temporaries.
_MOST_VALUES: Final = 200_000


@dataclass(frozen=True)
class SavedValue:
    """A value of a frame: its type code, its offset in the frame in bytes, and which local of the original it is.

    `local` is None for a temporary, which holds an operand. References lie in frames as handles, which are i32s.
    """

    type: int
    offset: int
    local: int | None


@dataclass(frozen=True)
class CallSite:
    """A call site: where its call instruction stands in the original, in bytes, and what it calls.

    `kind` is CALLS_FUNCTION, with the function's index as `target`, CALLS_TABLE or CALLS_REFERENCE, with that of the
    type. `source` says where the index in the table or the reference comes from (SOURCE_...), which is `constant` if
    that is one.
    """

    offset: int
    kind: int
    target: int
    table: int = 0
    source: int = 0
    constant: int = 0


@dataclass(frozen=True, kw_only=True)
class FunctionLayout:
    """What frames of a function hold. Without a frame it has at most one call site, and passes suspensions on.

    `size` is the frame's bytes without its identity, which is None where it has none. `leaves` tells that it can leave
    by a tail call. `first` is the number of the first of its call sites; `dead` has, for each of them, the values that
    are not the program's there, since nothing reads them any more.
    """

    index: int
    has_frame: bool
    leaves: bool
    identity: int | None
    values: tuple[SavedValue, ...]
    size: int
    first: int
    sites: tuple[CallSite, ...]
    dead: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """The layouts of a module's frames, by function; indices are those of the instrumented module.

    `pointer_size` is 4 or 8. A function has an index higher by `shift` in the original, if it is below `given`; others
    were added. `marker` are the bytes that an import leaves on top of its caller's frame. `tables` hold references of
    frames; `has_runs` tells that where those lie stands behind the outermost frame.
    """

    pointer_size: int
    shift: int
    given: int
    marker: int
    has_runs: bool
    tables: tuple[int, ...]
    functions: dict[int, FunctionLayout] = field(default_factory=dict)
    by_identity: dict[int, FunctionLayout] = field(default_factory=dict)

    @property
    def identity_size(self) -> int:
        """How many bytes an identity takes."""
        return self.pointer_size

    @property
    def runs_size(self) -> int:
        """How many bytes stand behind the outermost frame."""
        return 8 * len(self.tables) if self.has_runs else 0


def layouts_of(module: Module) -> Layouts | None:
    """Return the layouts that a module tells of; None if it does not. Raises UnsupportedModule for what is none."""
    section = module.custom_section(FRAMES_SECTION)
    return None if section is None else read_layouts(module.data[section.payload : section.end])


def read_layouts(payload: bytes) -> Layouts:
    """Return the layouts that the section tells of; raises UnsupportedModule for what is none."""
    try:
        return _Reader(payload).layouts()
    except (MalformedModule, IndexError) as error:
        raise UnsupportedModule(f"{_BAD}: {error}") from error


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._data: Final = payload
        self._position = 0
        self._offset = 0
        self._first_identity = 0

    def layouts(self) -> Layouts:
        version = self._unsigned()
        if version != FRAMES_VERSION:
            raise UnsupportedModule(
                f"the module tells of its frames by version {version} of the section {FRAMES_SECTION}, and this "
                f"caesura knows version {FRAMES_VERSION}: instrument the original anew"
            )
        pointer_size = self._unsigned()
        if pointer_size not in (4, 8):
            raise UnsupportedModule(f"{_BAD}: pointers of {pointer_size} bytes")
        shift, given, marker = self._unsigned(), self._unsigned(), self._unsigned()
        self._first_identity = self._unsigned()
        has_runs = self._unsigned() != 0
        tables = tuple(self._unsigned() for _ in range(self._count()))
        layouts = Layouts(
            pointer_size=pointer_size, shift=shift, given=given, marker=marker, has_runs=has_runs, tables=tables
        )
        behind = 0
        for _ in range(self._count()):
            index = behind + self._unsigned()
            behind = index + 1
            layout = self._function(index, pointer_size)
            layouts.functions[index] = layout
            if layout.identity is not None:
                layouts.by_identity[layout.identity] = layout
        return layouts

    def _function(self, index: int, pointer_size: int) -> FunctionLayout:
        kind = self._unsigned()
        identity = self._first_identity + self._unsigned() if kind & HAS_IDENTITY else None
        values: tuple[SavedValue, ...] = ()
        size = 0
        if kind & HAS_FRAME:
            values, size = self._values(pointer_size)
        count = self._count()
        first = self._signed() if count else 0
        sites = tuple(self._site(len(values)) for _ in range(count))
        dead = tuple(self._dead(len(values)) for _ in range(count)) if kind & HAS_DEAD_VALUES else ()
        return FunctionLayout(
            index=index,
            has_frame=kind & HAS_FRAME != 0,
            leaves=kind & LEAVES != 0,
            identity=identity,
            values=values,
            size=size,
            first=first,
            sites=sites,
            dead=dead,
        )

    def _values(self, pointer_size: int) -> tuple[tuple[SavedValue, ...], int]:
        locals_ = self._unsigned()
        types: list[int] = []
        which: list[int] = []
        for _ in range(self._count()):
            value_type, self._position = read_value_type(self._data, self._position)
            local = 0
            for _ in range(self._count()):
                local += self._unsigned()
                types.append(value_type)
                which.append(local)
                local += 1
        if len(types) > _MOST_VALUES:
            raise UnsupportedModule(f"{_BAD}: a frame of {len(types)} values")
        offsets, size = frame_places((I32, *[I32 if is_reference(kind) else kind for kind in types]), pointer_size)
        found = zip(types, offsets[1:], which, strict=True)
        return tuple(
            SavedValue(kind, offset, local if local < locals_ else None) for kind, offset, local in found
        ), size

    def _site(self, values: int) -> CallSite:
        self._offset += self._signed()
        call = self._unsigned()
        kind, target = call & 3, call >> 2
        if kind == CALLS_FUNCTION:
            return CallSite(self._offset, kind, target)
        if kind not in (CALLS_TABLE, CALLS_REFERENCE):
            raise UnsupportedModule(f"{_BAD}: a call of kind {kind}")
        table = self._unsigned() if kind == CALLS_TABLE else 0
        source = self._unsigned()
        if source - SOURCE_VALUE >= values:
            raise UnsupportedModule(f"{_BAD}: value {source - SOURCE_VALUE} of a frame that has {values}")
        constant = self._unsigned() if source and source < SOURCE_VALUE else 0
        return CallSite(self._offset, kind, target, table, source, constant)

    def _dead(self, values: int) -> frozenset[int]:
        size = (values + 7) // 8
        bits = self._data[self._position : self._position + size]
        if len(bits) < size:
            raise IndexError("it is cut off")
        self._position += size
        return frozenset(value for value in range(values) if not bits[value >> 3] >> (value & 7) & 1)

    def _unsigned(self) -> int:
        value, self._position = read_u32(self._data, self._position)
        return value

    def _signed(self) -> int:
        value, self._position = read_s33(self._data, self._position)
        return value

    def _count(self) -> int:
        """Read how many items follow, each of which takes a byte at least."""
        count = self._unsigned()
        if count > len(self._data) - self._position:
            raise UnsupportedModule(f"{_BAD}: {count} items where {len(self._data) - self._position} bytes are left")
        return count
