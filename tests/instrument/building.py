"""Building modules for these tests byte by byte, where no text can say what is wanted, and looking at what comes out.

The text format chooses the shortest numbers, the usual order of custom sections and valid code; tests of the binary
format want the opposite. `Sections` cuts a module into (id, name, bytes) with a reader of its own, ten lines long, so
that what caesura copies is not judged by caesura's reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import wasmtime

from tests.support.engine import engine

HEADER = b"\0asm\x01\0\0\0"
NOTHING = b"\x60\0\0"
TO_I32 = b"\x60\0\x01\x7f"


def leb(value: int, width: int = 0) -> bytes:
    """Return an unsigned LEB128 number, of exactly `width` bytes if that is given."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < width:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def name(text: str) -> bytes:
    """Return a name: its length and its bytes."""
    return leb(len(text.encode())) + text.encode()


def vector(items: Sequence[bytes]) -> bytes:
    """Return a vector: the number of items, then the items."""
    return leb(len(items)) + b"".join(items)


def section(number: int, payload: bytes, width: int = 0) -> bytes:
    """Return a section, its size field padded to `width` bytes."""
    return bytes([number]) + leb(len(payload), width) + payload


def custom(title: str, payload: bytes, width: int = 0) -> bytes:
    """Return a custom section."""
    return section(0, name(title) + payload, width)


def module(*bodies: bytes, types: Sequence[bytes] = (NOTHING,), imported_type: int = 0) -> bytes:
    """Return a module that imports function 0 (env.f), has a memory, and these bodies, all of type 0, from index 1."""
    return (
        HEADER
        + section(1, vector(types))
        + section(2, vector([name("env") + name("f") + b"\0" + leb(imported_type)]))
        + section(3, vector([b"\0"] * len(bodies)))
        + section(5, b"\x01\0\x01")
        + section(10, vector([leb(len(body)) + body for body in bodies]))
    )


@dataclass(frozen=True)
class Part:
    """One section of a module: `raw` is all of it, id and size included."""

    number: int
    title: str
    raw: bytes
    payload: bytes


def parts(binary: bytes) -> list[Part]:
    """Return the sections of a module in order."""
    assert binary[:8] == HEADER
    found: list[Part] = []
    position = 8
    while position < len(binary):
        start = position
        size, position = number_at(binary, position + 1)
        end = position + size
        title = ""
        if binary[start] == 0:
            length, position = number_at(binary, position)
            title = binary[position : position + length].decode()
            position += length
        found.append(Part(binary[start], title, binary[start:end], binary[position:end]))
        position = end
    assert position == len(binary)
    return found


def number_at(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number at a position, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def part(binary: bytes, wanted: int | str) -> Part:
    """Return the section with an id, or the custom section with a name."""
    return next(item for item in parts(binary) if wanted in ((item.number or -1), item.title or -1))


def bodies(binary: bytes) -> list[bytes]:
    """Return the function bodies of a module, each with its size field."""
    payload = part(binary, 10).payload
    count, position = number_at(payload, 0)
    found: list[bytes] = []
    for _ in range(count):
        start = position
        size, position = number_at(payload, position)
        position += size
        found.append(payload[start:position])
    assert position == len(payload)
    return found


def is_valid(binary: bytes) -> bool:
    """Tell whether Wasmtime finds a module valid."""
    try:
        wasmtime.Module.validate(engine(), binary)
    except wasmtime.WasmtimeError:
        return False
    return True


def assert_valid(binary: bytes) -> None:
    """Raise Wasmtime's own complaint unless a module is valid."""
    wasmtime.Module.validate(engine(), binary)
