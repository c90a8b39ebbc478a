"""LEB128 integers, the variable-length numbers of the binary format (WebAssembly specification, section 5.2.2).

Reading returns the value and the position behind it, and refuses what the specification refuses: more bytes than the
type allows, set bits beyond its width, and a number that the data cuts off. Hot loops elsewhere read one-byte numbers
in place and call here only for longer ones. A reader object holding a position was rejected: compiled by mypyc, a
tuple of two ints costs nothing, an attribute write does.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule

MOST_BYTES_OF_U32: Final = 5

_TRUNCATED: Final = "unexpected end of data inside a LEB128 number"


def read_u32(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned 32-bit number at `position` and the position behind it; raises MalformedModule."""
    return _read_unsigned(data, position, 32)


def read_u64(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned 64-bit number at `position` and the position behind it; raises MalformedModule."""
    return _read_unsigned(data, position, 64)


def _read_unsigned(data: bytes, position: int, width: int) -> tuple[int, int]:
    start = position
    size = len(data)
    value = 0
    shift = 0
    while True:
        if position >= size:
            raise MalformedModule(_TRUNCATED, start)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift >= width:
            raise MalformedModule(f"LEB128 number is longer than a u{width} can be", start)
    if value >> width:
        raise MalformedModule(f"LEB128 number does not fit a u{width}", start)
    return value, position


def read_s32(data: bytes, position: int) -> tuple[int, int]:
    """Return the signed 32-bit number at `position` and the position behind it; raises MalformedModule."""
    return _read_signed(data, position, 32)


def read_s33(data: bytes, position: int) -> tuple[int, int]:
    """Return the signed 33-bit number (block and heap types) at `position`; raises MalformedModule."""
    return _read_signed(data, position, 33)


def read_s64(data: bytes, position: int) -> tuple[int, int]:
    """Return the signed 64-bit number at `position` and the position behind it; raises MalformedModule."""
    return _read_signed(data, position, 64)


def _read_signed(data: bytes, position: int, width: int) -> tuple[int, int]:
    start = position
    size = len(data)
    value = 0
    shift = 0
    while True:
        if position >= size:
            raise MalformedModule(_TRUNCATED, start)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift >= width:
            raise MalformedModule(f"LEB128 number is longer than an s{width} can be", start)
    if byte & 0x40:
        value -= 1 << shift
    if value >= 1 << (width - 1) or value < -(1 << (width - 1)):
        raise MalformedModule(f"LEB128 number does not fit an s{width}", start)
    return value, position


def read_count(data: bytes, position: int, owner: str, items: str) -> tuple[int, int]:
    """Return how many items of at least a byte follow, and where; raises MalformedModule for more than can be there."""
    count, after = read_u32(data, position)
    if count > len(data) - after:
        raise MalformedModule(f"{owner} claims {count} {items}, more than the module has bytes left", position)
    return count, after


def encode_unsigned(value: int) -> bytes:
    """Return the shortest encoding of a non-negative number."""
    if value < 0x80:
        return _SHORT[value]
    if value < 0x4000:
        return (value & 0x7F | 0x80 | value >> 7 << 8).to_bytes(2, "little")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_padded(value: int, width: int) -> bytes:
    """Return a number in as many bytes as are given, where they are enough: so code does not move."""
    encoded = bytearray(encode_unsigned(value))
    while len(encoded) < width:
        encoded[-1] |= 0x80
        encoded.append(0)
    return bytes(encoded)


def encode_signed(value: int) -> bytes:
    """Return the shortest signed encoding of a number."""
    if -0x40 <= value <= 0x3F:
        return _SHORT[value & 0x7F]
    if -0x2000 <= value <= 0x1FFF:
        return (value & 0x7F | 0x80 | (value >> 7 & 0x7F) << 8).to_bytes(2, "little")
    out = bytearray()
    while value < -0x40 or value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def encode_vector(items: list[bytes]) -> bytes:
    """Return a vector: the number of items, then the items."""
    return encode_unsigned(len(items)) + b"".join(items)


def encode_name(name: str) -> bytes:
    """Return a name: its length in UTF-8 bytes, then the bytes."""
    raw = name.encode("utf-8", "surrogateescape")
    return encode_unsigned(len(raw)) + raw


_SHORT: Final = [bytes([value]) for value in range(0x80)]
