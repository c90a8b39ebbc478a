"""Sections: cut a module into its sections and put it together again.

A module is a header and a sequence of sections. Whatever is not replaced or extended is written back as the very
bytes that were read, its size field included, in its old place; a section that did not exist is inserted where the
specification's order wants it (section 5.5.2). Custom sections keep their neighbours, so `dylink.0` stays first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.pieces import join_pieces

CUSTOM: Final = 0
TYPE: Final = 1
IMPORT: Final = 2
FUNCTION: Final = 3
TABLE: Final = 4
MEMORY: Final = 5
GLOBAL: Final = 6
EXPORT: Final = 7
START: Final = 8
ELEMENT: Final = 9
CODE: Final = 10
DATA: Final = 11
DATA_COUNT: Final = 12
TAG: Final = 13

# How the names of custom sections begin that say something of instructions, by function and offset.
CODE_METADATA: Final = "metadata.code."

SECTION_NAMES: Final = [
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
]

# Place of each section id in the order of the specification; custom sections have none.
_ORDER: Final = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6]

MAGIC: Final = b"\0asm"
_VERSION: Final = b"\x01\0\0\0"
_COMPONENT_VERSION: Final = b"\x0d\0\x01\0"


@dataclass(frozen=True)
class Section:
    """One section: its id, where its bytes lie in the module, and the name of a custom section.

    `start` is the offset of the id byte, `payload` that of the content (of a custom section: behind its name),
    `end` that of the byte behind it.
    """

    id: int
    start: int
    payload: int
    end: int
    name: str


def read_sections(data: bytes) -> list[Section]:
    """Return the module's sections in order; raises MalformedModule for what is no sequence of sections."""
    _check_header(data)
    sections: list[Section] = []
    size = len(data)
    position = 8
    last_place = 0
    while position < size:
        start = position
        section_id = data[position]
        if section_id > TAG:
            raise MalformedModule(f"unknown section id {section_id}; expected a section (0 to {TAG})", start)
        length, payload = read_u32(data, position + 1)
        end = payload + length
        if end > size:
            raise MalformedModule(
                f"{SECTION_NAMES[section_id]} section of {length} bytes reaches beyond the end of the module", start
            )
        name = ""
        if section_id == CUSTOM:
            name, payload = read_name(data, payload, end)
        else:
            place = _ORDER[section_id]
            if place <= last_place:
                raise MalformedModule(f"{SECTION_NAMES[section_id]} section is repeated or out of order", start)
            last_place = place
        sections.append(Section(section_id, start, payload, end, name))
        position = end
    return sections


def _check_header(data: bytes) -> None:
    if data[:4] != MAGIC:
        raise MalformedModule("not a WebAssembly module: expected the magic bytes 00 61 73 6d", 0)
    if data[4:8] == _COMPONENT_VERSION:
        raise MalformedModule("this is a WebAssembly component; expected a core module", 4)
    if data[4:8] != _VERSION:
        raise MalformedModule("unknown binary version; expected 01 00 00 00", 4)


def read_name(data: bytes, position: int, end: int) -> tuple[str, int]:
    """Return the UTF-8 name at `position` and the position behind it; raises MalformedModule."""
    length, start = read_u32(data, position)
    if start + length > end:
        raise MalformedModule(f"name of {length} bytes reaches beyond the end of its section", position)
    try:
        return data[start : start + length].decode("utf-8"), start + length
    except UnicodeDecodeError:
        raise MalformedModule("name is not valid UTF-8", start) from None


def encode_section(section_id: int, payload: bytes) -> bytes:
    """Return a whole section with its id and size."""
    return bytes([section_id]) + encode_unsigned(len(payload)) + payload


def encode_custom(name: str, payload: bytes) -> bytes:
    """Return a whole custom section."""
    raw = name.encode("utf-8")
    return encode_section(CUSTOM, encode_unsigned(len(raw)) + raw + payload)


class SectionEdits:
    """What to change in a module's sections.

    `replace` maps a section id to a new payload, `pieces` to one in pieces, which are not copied until the module is
    put together; `custom` maps a custom section's name to a new payload (None drops it), which takes the place of all
    sections of that name; `append` adds entries to the end of a section that is a vector; `dropped` are the ids of
    sections that go.

    It collects what several steps have to add; whoever made it gives it to these, and in the end to `write_sections`,
    which makes the module of it. Until then nobody goes by what is in it: what steps need of one another they are given
    as results.
    """

    def __init__(self) -> None:
        self.replace: dict[int, bytes] = {}
        self.pieces: dict[int, list[bytes]] = {}
        self.custom: dict[str, bytes | None] = {}
        self.dropped: set[int] = set()
        self._entries: dict[int, list[bytes]] = {}

    def append(self, section_id: int, entry: bytes) -> None:
        """Add one encoded entry to the end of a vector section."""
        if section_id in self._entries:
            self._entries[section_id].append(entry)
        else:
            self._entries[section_id] = [entry]

    def section(self, section_id: int, data: bytes, start: int, end: int) -> list[bytes]:
        """Return the edited section, in pieces, whose original payload is data[start:end] (empty: there was none)."""
        pieces = self._payload(section_id, data, start, end)
        return [bytes([section_id]) + encode_unsigned(sum([len(piece) for piece in pieces])), *pieces]

    def _payload(self, section_id: int, data: bytes, start: int, end: int) -> list[bytes]:
        if section_id in self.pieces:
            return self.pieces[section_id]
        payload = self.replace[section_id] if section_id in self.replace else data[start:end]
        if section_id not in self._entries:
            return [payload]
        entries = self._entries[section_id]
        count, rest = read_u32(payload, 0) if payload else (0, 0)
        return [encode_unsigned(count + len(entries)), payload[rest:], *entries]

    def is_touched(self, section_id: int) -> bool:
        """Tell whether a section changes at all."""
        return section_id in self.replace or section_id in self.pieces or section_id in self._entries

    def new_ids(self) -> list[int]:
        """Return the ids of all changed sections in the order of the specification."""
        ids = [(_ORDER[section_id], section_id) for section_id in range(1, len(_ORDER)) if self.is_touched(section_id)]
        ids.sort()
        return [pair[1] for pair in ids]


def write_sections(data: bytes, sections: list[Section], edits: SectionEdits) -> bytes:
    """Return the module with the edits applied and everything else as it was."""
    out: list[bytes] = [data[:8]]
    pending = edits.new_ids()
    written_custom: set[str] = set()
    for section in sections:
        if section.id in edits.dropped:
            continue
        if section.id == CUSTOM:
            if section.name not in edits.custom:
                out.append(data[section.start : section.end])
                continue
            payload = edits.custom[section.name]
            if payload is not None and section.name not in written_custom:
                out.append(encode_custom(section.name, payload))
            written_custom.add(section.name)
            continue
        while pending and _ORDER[pending[0]] < _ORDER[section.id]:
            missing = pending.pop(0)
            out += edits.section(missing, b"", 0, 0)
        if pending and pending[0] == section.id:
            pending.pop(0)
            out += edits.section(section.id, data, section.payload, section.end)
        else:
            out.append(data[section.start : section.end])
    for missing in pending:
        out += edits.section(missing, b"", 0, 0)
    for name, payload in edits.custom.items():
        if name not in written_custom and payload is not None:
            out.append(encode_custom(name, payload))
    return join_pieces(out)
