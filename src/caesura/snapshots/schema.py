"""Which field of a state is of which kind, and what must hold between fields: the one table behind the document.

docs/snapshots.md has the same for people. What is told here is what the bytes alone can tell; whether there is such an
export, such a function, such a memory in the module is for whoever restores the guest.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from caesura.snapshots.fields import (
    LARGEST_NUMBER,
    Bulk,
    Bytes,
    Choice,
    Digest,
    Flag,
    Integer,
    Items,
    Json,
    Keyed,
    Maybe,
    Mistake,
    Numbered,
    Pairs,
    Record,
    Row,
    Text,
    shown,
)
from caesura.snapshots.state import (
    CHUNK,
    MODES,
    MOST_NUMBER,
    NULL,
    CallRecord,
    Descriptor,
    ExceptionState,
    GlobalState,
    KeptState,
    MemoryState,
    ModuleIdentity,
    StacksState,
    State,
    TableState,
    WasiState,
)
from caesura.wasm import types as t

_U32: Final = Integer(0, 0xFFFF_FFFF)
_U64: Final = Integer(0, 0xFFFF_FFFF_FFFF_FFFF)
_BITS: Final = Integer(0, (1 << 128) - 1)

# Larger than any engine's memory; in bytes, and in chunks.
_LARGEST_MEMORY: Final = 1 << 48
_CHUNKS: Final = Integer(0, _LARGEST_MEMORY // CHUNK)

_WIDTHS: Final = {t.I32: 32, t.I64: 64, t.F32: 32, t.F64: 64, t.V128: 128, t.FUNCREF: 32, t.EXTERNREF: 32}
_HELD: Final = (t.ANYREF, t.EXNREF)
_TYPES: Final = Choice({kind: t.type_name(kind) for kind in (*_WIDTHS, *_HELD)})
_ARGUMENTS: Final = Choice({kind: t.type_name(kind) for kind in _WIDTHS})
_NUMBERS: Final = Choice({kind: t.type_name(kind) for kind in _WIDTHS if t.is_number(kind)})
_REFERENCES: Final = Choice({kind: t.type_name(kind) for kind in (t.FUNCREF, t.EXTERNREF, *_HELD)})
_DESCRIPTORS: Final = ("stdin", "stdout", "stderr", "preopen", "file", "folder")

_OPTION: Final = re.compile("[a-z][a-z0-9_]{0,63}")


class _Options:
    """The options of the transformation: flags, numbers, text, and lists of text, by name."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the object."""
        return {name: list(item) if isinstance(item, tuple) else item for name, item in self._checked(value).items()}

    def read(self, value: Json, bulk: Bulk) -> dict[str, Any]:
        """Return the mapping, lists as tuples."""
        if type(value) is not dict:
            raise Mistake(f"{shown(value)} is not an object")
        made = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        return self._checked(made)

    def _checked(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Mistake(f"{shown(value)} is not a mapping")
        options = dict(value)
        for name, item in options.items():
            if type(name) is not str or _OPTION.fullmatch(name) is None:
                raise Mistake("this is not the name of an option", shown(name))
            for part in item if type(item) is tuple else (item,):
                if type(part) is not str and (type(item) is tuple or type(part) not in (bool, int)):
                    raise Mistake(f"{shown(part)} is not the value of an option", name)
            if type(item) is int and abs(item) > LARGEST_NUMBER:
                raise Mistake(f"{shown(item)} is not the value of an option", name)
        return options


def _check_memory(memory: MemoryState) -> None:
    page = memory.page_size
    if page & (page - 1):
        raise Mistake(f"{page} is not a power of two", "page_size")
    if memory.size % page:
        raise Mistake(f"{memory.size} is not a multiple of the page size, {page}", "size")
    free = 0
    for place, (first, count) in enumerate(memory.initial):
        if first < free or count < 1 or (first + count - 1) * CHUNK >= memory.size:
            raise Mistake(
                f"{count} chunks from number {first} on are none, or not beyond those before, or not in the memory",
                "initial",
                str(place),
            )
        free = first + count + 1


def _check_value(kind: int, bits: int) -> None:
    width = _WIDTHS.get(kind, 32)
    if bits >> width:
        raise Mistake(f"{shown(bits)} has more than the {width} bits of {t.type_name(kind)}", "bits")


def _check_global(state: GlobalState) -> None:
    _check_value(state.type, state.bits)


def _check_table(table: TableState) -> None:
    if len(table.elements) % 4:
        raise Mistake(f"{len(table.elements)} bytes are not 4 for each element", "elements")


def _check_kept(kept: KeptState) -> None:
    if kept.low > kept.high:
        raise Mistake(f"{kept.low} lies above high, {kept.high}", "low")


def _check_call(call: CallRecord) -> None:
    _check_values(call.arguments, "arguments")


def _check_exception(exception: ExceptionState) -> None:
    _check_values(exception.values, "values")


def _check_values(values: tuple[tuple[int, int], ...], name: str) -> None:
    for place, (kind, bits) in enumerate(values):
        try:
            _check_value(kind, bits)
        except Mistake as mistake:
            raise mistake.within(str(place)).within(name) from None


def _check_state(state: State) -> None:
    """Check what refers to something else in the state: calls by their places, objects by their numbers."""
    for place, call in enumerate(state.calls):
        neighbour = call.kept.neighbour if call.kept is not None else None
        if neighbour is not None and (neighbour >= len(state.calls) or neighbour == place):
            raise Mistake(f"there is no such other call as {neighbour}", "calls", str(place), "kept", "neighbour")
        for kind, bits in call.arguments:
            _check_object(state, kind, bits, "calls", str(place), "arguments")
    if state.area is not None and state.area[0] > state.area[1]:
        raise Mistake(f"{state.area[0]} lies above the end, {state.area[1]}", "area")
    main = state.stacks.main
    if main is not None and main >= len(state.calls):
        raise Mistake(f"there is no call {main}", "stacks", "main")
    for item in state.globals:
        _check_object(state, item.type, item.bits, "globals", str(item.index))
    for table in state.tables:
        if table.type != t.FUNCREF:
            for number in set(numbers_of(table.elements)):
                _check_object(state, table.type, number, "tables", str(table.index))
    for name in ("dropped_data", "dropped_elements"):
        segments = getattr(state, name)
        if any(later <= earlier for earlier, later in pairwise(segments)):
            raise Mistake("these are not ascending", name)


def _check_object(state: State, kind: int, number: int, *path: str) -> None:
    if number == NULL:
        return
    if kind == t.EXTERNREF and number >= len(state.objects):
        raise Mistake(f"there is no object {number}", *path)
    if kind == t.EXNREF and number >= len(state.exceptions):
        raise Mistake(f"there is no exception {number}", *path)
    if kind == t.ANYREF and number > MOST_NUMBER:
        raise Mistake(f"{number} is neither null nor a number of 31 bits", *path)


def numbers_of(elements: bytes) -> array[int]:
    """Return the numbers in a table's elements, each of 4 bytes, little endian."""
    numbers = array("I", elements)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


_KEPT: Final = Record(
    KeptState, _check_kept, low=_U64, high=_U64, stack=_U64, neighbour=Maybe(_U32), noted=Maybe(Bytes())
)

_CALL: Final = Record(
    CallRecord,
    _check_call,
    export=Text(),
    function=Text(),
    arguments=Items(Row(_ARGUMENTS, _BITS)),
    frames=Bytes(),
    mode=Choice({mode: mode for mode in MODES}),
    waited=_U64,
    stack=_U64,
    stack_pointer=_U64,
    bottom=_U64,
    resting_pointer=_U64,
    kept=Maybe(_KEPT),
)

_STACKS: Final = Record(
    StacksState,
    size=_U64,
    stacks=Items(_U64),
    spare=Items(_U64),
    surplus=Items(_U64),
    limits=Items(_U64),
    main=Maybe(_U32),
    home=Maybe(_U64),
    settled=Flag(),
    unclaimed=_U64,
    held=Items(_U64),
    late=Items(_U64),
)

_WASI: Final = Record(
    WasiState,
    arguments=Items(Text()),
    environment=Pairs(),
    folders=Items(Row(Text(), Text(), Flag())),
    descriptors=Keyed(
        Record(
            Descriptor,
            number=_U32,
            kind=Choice({kind: kind for kind in _DESCRIPTORS}),
            path=Text(),
            below=Integer(-1, 0xFFFF_FFFF),
            lookup=_U32,
            flags=_U32,
            rights=_U64,
            inheriting=_U64,
            offset=_U64,
            identity=Items(_U64),
        ),
        "number",
    ),
    monotonic=_U64,
    highest=_U32,
)

_MODULE: Final = Record(
    ModuleIdentity,
    original=Digest(),
    instrumented=Digest(),
    contract=Integer(1, 0xFFFF),
    imports=Items(Text()),
    options=_Options(),
    path=Text(),
)

# The bulk of tables comes first, since it changes least, and that of calls last.
STATE: Final = Record(
    State,
    _check_state,
    apart={"embedded": None},
    module=_MODULE,
    memories=Keyed(
        Record(
            MemoryState,
            _check_memory,
            apart={"runs": ()},
            index=_U32,
            size=Integer(0, _LARGEST_MEMORY),
            page_size=Integer(1, 1 << 16),
            initial=Items(Row(_CHUNKS, _CHUNKS)),
        ),
        "index",
    ),
    globals=Keyed(Record(GlobalState, _check_global, index=_U32, type=_TYPES, bits=_BITS), "index"),
    tables=Keyed(Record(TableState, _check_table, index=_U32, type=_REFERENCES, elements=Bytes()), "index"),
    dropped_data=Items(_U32),
    dropped_elements=Items(_U32),
    objects=Items(Bytes()),
    exceptions=Items(Record(ExceptionState, _check_exception, tag=_U32, values=Items(Row(_NUMBERS, _BITS)))),
    calls=Numbered(_CALL),
    area=Maybe(Row(_U64, _U64)),
    stacks=_STACKS,
    wasi=Maybe(_WASI),
)
