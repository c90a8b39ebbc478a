"""The `name` section: read it, and extend it with the names of what was added to a module.

A custom section never makes a module invalid, so nothing here raises: what cannot be read has no names, and a
subsection that cannot be read stays as it is when others are extended. Subsections that get nothing new are copied
byte for byte, the unknown ones too. Layout: WebAssembly specification, appendix "Custom Sections", and the
extended-name-section proposal for labels, types, tables, memories, globals, segments, fields and tags.
"""

from __future__ import annotations

import contextlib
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32

MODULE_NAME: Final = 0
FUNCTION_NAMES: Final = 1
LOCAL_NAMES: Final = 2
LABEL_NAMES: Final = 3
TYPE_NAMES: Final = 4
TABLE_NAMES: Final = 5
MEMORY_NAMES: Final = 6
GLOBAL_NAMES: Final = 7
ELEMENT_NAMES: Final = 8
DATA_NAMES: Final = 9
FIELD_NAMES: Final = 10
TAG_NAMES: Final = 11

_INDIRECT: Final = (LOCAL_NAMES, LABEL_NAMES, FIELD_NAMES)


class Names:
    """The names that a name section gives.

    `maps[subsection]` maps indices to names. Locals, labels and fields are named per function or type: `inner` reads
    the names of one function when asked, because most are never looked at.
    """

    def __init__(self, payload: bytes) -> None:
        self.module = ""
        self.maps: list[dict[int, str]] = [{} for _ in range(TAG_NAMES + 1)]
        self._payload = payload
        self._inner: dict[int, dict[int, int]] = {LOCAL_NAMES: {}, LABEL_NAMES: {}, FIELD_NAMES: {}}
        for subsection, start, end in _split(payload):
            try:
                self._read(subsection, start, end)
            except MalformedModule:
                continue  # what came before the flaw is kept

    def has(self, subsection: int) -> bool:
        """Tell whether the section names any entity of an index space."""
        if subsection in _INDIRECT:
            return len(self._inner[subsection]) > 0
        return len(self.maps[subsection]) > 0

    def inner(self, subsection: int, outer: int) -> dict[int, str]:
        """Return the names of a function's locals or labels, or of a struct type's fields, by index."""
        names: dict[int, str] = {}
        if outer in self._inner[subsection]:
            _read_map(self._payload, self._inner[subsection][outer], len(self._payload), names)
        return names

    def _read(self, subsection: int, start: int, end: int) -> None:
        if subsection == MODULE_NAME:
            self.module, _ = _read_text(self._payload, start, end)
        elif subsection in _INDIRECT:
            starts = self._inner[subsection]
            count, position = read_u32(self._payload, start)
            for _ in range(count):
                outer, position = read_u32(self._payload, position)
                inner_start = position
                position = _read_map(self._payload, position, end, {})
                starts[outer] = inner_start
        elif subsection <= TAG_NAMES:
            _read_map(self._payload, start, end, self.maps[subsection])


class NewNames:
    """Names to add to a name section, by subsection."""

    def __init__(self) -> None:
        self.maps: dict[int, dict[int, str]] = {}
        # Functions that lose theirs.
        self.nameless: set[int] = set()
        self.inner: dict[int, dict[int, dict[int, str]]] = {}

    def add(self, subsection: int, index: int, name: str) -> None:
        """Name a function, global, memory or the like."""
        self.maps.setdefault(subsection, {})[index] = name

    def add_inner(self, subsection: int, outer: int, index: int, name: str) -> None:
        """Name a local of a function (or a label, or a field of a type)."""
        self.inner.setdefault(subsection, {}).setdefault(outer, {})[index] = name

    def subsections(self) -> list[int]:
        """Return the ids of the subsections that get names, in order."""
        functions = {FUNCTION_NAMES} if self.nameless else set()
        return sorted({*self.maps, *self.inner, *functions})


def extend_names(payload: bytes, new: NewNames) -> bytes:
    """Return a name section's payload with names added; an empty payload starts a new section.

    A new name replaces one that the section already gives to the same index. A payload that is no sequence of
    subsections is returned as it is.
    """
    parts = _split(payload)
    if (parts[-1][2] if parts else 0) != len(payload):
        return payload
    out: list[bytes] = []
    pending = new.subsections()
    position = 0
    for subsection, start, end in parts:
        while pending and pending[0] < subsection:
            out.append(_subsection(pending[0], _extend(pending[0], b"", new)))
            pending.pop(0)
        if pending and pending[0] == subsection:
            pending.pop(0)
            try:
                out.append(_subsection(subsection, _extend(subsection, payload[start:end], new)))
            except MalformedModule:
                out.append(payload[position:end])
        else:
            out.append(payload[position:end])
        position = end
    for subsection in pending:
        out.append(_subsection(subsection, _extend(subsection, b"", new)))
    return b"".join(out)


def drop_labels(payload: bytes, functions: set[int]) -> bytes:
    """Return a name section's payload without the label names of some functions, whose labels are others now."""
    out: list[bytes] = []
    position = 0
    for subsection, start, end in _split(payload):
        if subsection != LABEL_NAMES:
            out.append(payload[position:end])
        else:
            with contextlib.suppress(MalformedModule):  # names that cannot be read would name the wrong things
                out.append(_subsection(subsection, _without(payload[start:end], functions)))
        position = end
    return b"".join(out) + payload[position:]


def _without(content: bytes, functions: set[int]) -> bytes:
    entries: dict[int, bytes] = {}
    count, position = read_u32(content, 0)
    for _ in range(count):
        start = position
        function, position = read_u32(content, position)
        position = _read_map(content, position, len(content), {})
        if function not in functions:
            entries[function] = content[start:position]
    return _join(entries)


def renumber_names(payload: bytes, functions: list[int], globals_: list[int]) -> bytes:
    """Return a name section's payload with functions and globals renumbered (`functions[old]` is the new index)."""
    out: list[bytes] = []
    position = 0
    for subsection, start, end in _split(payload):
        content = payload[start:end]
        try:
            if subsection == FUNCTION_NAMES:
                out.append(_subsection(subsection, _renumber_map(content, functions, is_indirect=False)))
            elif subsection == GLOBAL_NAMES:
                out.append(_subsection(subsection, _renumber_map(content, globals_, is_indirect=False)))
            elif subsection in (LOCAL_NAMES, LABEL_NAMES):
                out.append(_subsection(subsection, _renumber_map(content, functions, is_indirect=True)))
            else:
                out.append(payload[position:end])
        except MalformedModule:
            pass  # names that cannot be read would name the wrong things
        position = end
    return b"".join(out)


def _renumber_map(content: bytes, numbers: list[int], *, is_indirect: bool) -> bytes:
    entries: dict[int, bytes] = {}
    count, position = read_u32(content, 0)
    for _ in range(count):
        index, position = read_u32(content, position)
        start = position
        if is_indirect:
            position = _read_map(content, position, len(content), {})
        else:
            _, position = _read_text(content, position, len(content))
        if index < len(numbers):
            entries[numbers[index]] = encode_unsigned(numbers[index]) + content[start:position]
    return _join(entries)


def _split(payload: bytes) -> list[tuple[int, int, int]]:
    """Return (id, start, end) of the subsections, up to the first that does not fit."""
    parts: list[tuple[int, int, int]] = []
    position = 0
    while position < len(payload):
        try:
            size, start = read_u32(payload, position + 1)
        except MalformedModule:
            break
        if start + size > len(payload):
            break
        parts.append((payload[position], start, start + size))
        position = start + size
    return parts


def _read_text(payload: bytes, position: int, end: int) -> tuple[str, int]:
    length, start = read_u32(payload, position)
    if start + length > end:
        raise MalformedModule("name reaches beyond the end of its subsection", position)
    return payload[start : start + length].decode("utf-8", "replace"), start + length


def _read_map(payload: bytes, position: int, end: int, names: dict[int, str]) -> int:
    count, position = read_u32(payload, position)
    for _ in range(count):
        index, position = read_u32(payload, position)
        name, position = _read_text(payload, position, end)
        names[index] = name
    return position


def _subsection(subsection: int, content: bytes) -> bytes:
    return bytes([subsection]) + encode_unsigned(len(content)) + content


def _extend(subsection: int, content: bytes, new: NewNames) -> bytes:
    if subsection in new.inner:
        return _extend_indirect(content, new.inner[subsection])
    nameless = new.nameless if subsection == FUNCTION_NAMES else set()
    return _extend_map(content, new.maps.get(subsection, {}), nameless)


def _extend_map(content: bytes, names: dict[int, str], nameless: set[int]) -> bytes:
    entries: dict[int, bytes] = {}
    if content:
        count, position = read_u32(content, 0)
        for _ in range(count):
            start = position
            index, position = read_u32(content, position)
            _, position = _read_text(content, position, len(content))
            if index not in nameless:
                entries[index] = content[start:position]
    for index, name in names.items():
        entries[index] = encode_unsigned(index) + encode_name(name)
    return _join(entries)


def _extend_indirect(content: bytes, names: dict[int, dict[int, str]]) -> bytes:
    entries: dict[int, bytes] = {}
    inner: dict[int, bytes] = {}
    if content:
        count, position = read_u32(content, 0)
        for _ in range(count):
            start = position
            outer, position = read_u32(content, position)
            inner_start = position
            position = _read_map(content, position, len(content), {})
            entries[outer] = content[start:position]
            if outer in names:
                inner[outer] = content[inner_start:position]
    for outer, added in names.items():
        entries[outer] = encode_unsigned(outer) + _extend_map(inner.get(outer, b""), added, set())
    return _join(entries)


def _join(entries: dict[int, bytes]) -> bytes:
    return encode_unsigned(len(entries)) + b"".join([entries[index] for index in sorted(entries)])
