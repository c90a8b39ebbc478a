"""The outer form of a saved state: a header, a checksum, and sections, each of which says how it is compressed.

What is in the sections is for others (`format`). Here is what has to be known before a byte of them can be believed:
whether this is a saved state at all, of which version, whether it is as it was written, and how long each part is.
Sections are as WebAssembly's own, a byte and a length in LEB128, since whoever handles these files can read those.

A table of sections with offsets was rejected: it says what the sections themselves say, and the two could differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from caesura.errors import SnapshotError

MAGIC: Final = b"\0caesura"
VERSION: Final = 2

# The versions that are read. What 2 has more is which chunks are as the module itself makes them.
_KNOWN: Final = (1, VERSION)

_VERSION_SIZE: Final = 4
_DIGEST_SIZE: Final = 32
_DIGEST: Final = len(MAGIC) + _VERSION_SIZE
HEADER_SIZE: Final = _DIGEST + _DIGEST_SIZE

# Kinds of sections, in the order in which they stand.
BASE: Final = 1
DOCUMENT: Final = 2
BULK: Final = 3
PAGES: Final = 4
MODULE: Final = 5
SECTION_NAMES: Final = {BASE: "base", DOCUMENT: "document", BULK: "bulk", PAGES: "pages", MODULE: "module"}

# The most bytes that a number below 2 ** 63 takes in LEB128.
_LONGEST_NUMBER: Final = 9


@dataclass(frozen=True)
class Section:
    """A section: its kind, how its content is compressed (`compression`), how long it is, and the compressed bytes.

    `offset` is where these bytes begin in the file.
    """

    kind: int
    codec: int
    size: int
    stored: bytes | memoryview
    offset: int = 0


def write(sections: Iterable[Section]) -> bytes:
    """Return the file with these sections, which are in the order of their kinds."""
    pieces: list[bytes | memoryview] = []
    digest = hashlib.sha256()
    for section in sections:
        head = bytes((section.kind, section.codec)) + _number(len(section.stored)) + _number(section.size)
        for piece in (head, section.stored):
            digest.update(piece)
            pieces.append(piece)
    return b"".join((MAGIC, VERSION.to_bytes(_VERSION_SIZE, "little"), digest.digest(), *pieces))


def read(data: bytes) -> dict[int, Section]:
    """Return the sections of a file by their kinds. Raises SnapshotError, before all if the checksum is wrong."""
    _check_header(data)
    view = memoryview(data)
    if hashlib.sha256(view[HEADER_SIZE:]).digest() != data[_DIGEST:HEADER_SIZE]:
        raise SnapshotError(
            "the saved state is damaged: its checksum differs from what it holds; parts are missing or changed"
        )
    sections: dict[int, Section] = {}
    position, last = HEADER_SIZE, 0
    while position < len(data):
        section = _read_section(data, view, position)
        if section.kind <= last:
            raise damaged(f"the section {SECTION_NAMES[section.kind]} stands twice or too late", position)
        sections[section.kind] = section
        last = section.kind
        position = section.offset + len(section.stored)
    return sections


def version_of(data: bytes) -> int:
    """Return the version of the format that a file says it has."""
    return int.from_bytes(data[len(MAGIC) : _DIGEST], "little")


def damaged(reason: str, offset: int) -> SnapshotError:
    """Return the error for what is wrong at an offset in the file."""
    return SnapshotError(f"the saved state is damaged at byte offset {offset} (0x{offset:x}): {reason}")


def _check_header(data: bytes) -> None:
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise SnapshotError("this is not a saved state of caesura: it does not begin with the bytes that those do")
    if len(data) < HEADER_SIZE:
        raise SnapshotError(f"the saved state is damaged: it ends after {len(data)} bytes, within its header")
    version = version_of(data)
    if version not in _KNOWN:
        raise SnapshotError(
            f"the saved state is of version {version} of the format; this version of caesura reads the versions "
            f"{' and '.join(map(str, _KNOWN))}"
        )


def _read_section(data: bytes, view: memoryview, position: int) -> Section:
    if position + 2 > len(data):
        raise damaged("the file ends within the head of a section", position)
    kind, codec = data[position], data[position + 1]
    if kind not in SECTION_NAMES:
        raise damaged(f"a section of kind {kind}, which version {version_of(data)} does not have", position)
    length, after = _read_number(data, position + 2)
    size, after = _read_number(data, after)
    if length > len(data) - after:
        raise damaged(
            f"the section {SECTION_NAMES[kind]} has {length} bytes, and {len(data) - after} are left", position
        )
    if not size:
        raise damaged(f"the section {SECTION_NAMES[kind]} is empty", position)
    return Section(kind, codec, size, view[after : after + length], after)


def _number(value: int) -> bytes:
    """Return a number in LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    """Return the number below 2 ** 63 in LEB128 at a position, and the position behind it."""
    value = 0
    for index in range(_LONGEST_NUMBER):
        if position + index >= len(data):
            raise damaged("the file ends within a number", position)
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if not byte and index:
                break
            return value, position + index + 1
    raise damaged("a number is not in the shortest form of LEB128, or too large", position)
