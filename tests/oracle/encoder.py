"""A small encoder of WebAssembly modules: just what the generator needs, and independent of `caesura.wasm`.

Independent on purpose: a generator that wrote its modules with the code under test would share its mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable


def unsigned(value: int) -> bytes:
    """A number as unsigned LEB128."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """A number as signed LEB128."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def name(text: str) -> bytes:
    """A name: its length in bytes and its UTF-8."""
    data = text.encode()
    return unsigned(len(data)) + data


def vector(items: Iterable[bytes]) -> bytes:
    """A vector of encoded items."""
    listed = list(items)
    return unsigned(len(listed)) + b"".join(listed)


def section(number: int, payload: bytes) -> bytes:
    """A section with its number and size."""
    return bytes((number,)) + unsigned(len(payload)) + payload


def value_type(valtype: int) -> bytes:
    """A value type: its byte, or, for larger numbers, a reference to what the low byte says, null or not."""
    if valtype < 0x100:
        return bytes((valtype,))
    return (b"\x63" if valtype >= 0x300 else b"\x64") + bytes((valtype & 0xFF,))


def value_types(types: tuple[int, ...]) -> bytes:
    """A vector of value types."""
    return vector(value_type(one) for one in types)


def function_type(params: tuple[int, ...], results: tuple[int, ...]) -> bytes:
    """A function type."""
    return b"\x60" + value_types(params) + value_types(results)


def limits(minimum: int, maximum: int, is_64: bool) -> bytes:
    """The limits of a memory."""
    return bytes((5 if is_64 else 1,)) + unsigned(minimum) + unsigned(maximum)
