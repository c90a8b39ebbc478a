"""Text of constants and strings: floating-point numbers with every bit kept, strings escaped.

Finite numbers print in the shortest decimal form of a double. For an f32 that decimal, rounded to single precision,
is the same f32 again, because it lies within half a double's step of it.
"""

from __future__ import annotations

import struct
from typing import Final

_F32_QUIET: Final = 0x400000
_F64_QUIET: Final = 0x8000000000000


def f32_text(bits: int) -> str:
    """Return the text of an f32 given by its bits."""
    if bits & 0x7F800000 == 0x7F800000:
        return _special_text(bits >> 31, bits & 0x7FFFFF, _F32_QUIET)
    return repr(struct.unpack("<f", struct.pack("<I", bits))[0])


def f64_text(bits: int) -> str:
    """Return the text of an f64 given by its bits."""
    if bits & 0x7FF0000000000000 == 0x7FF0000000000000:
        return _special_text(bits >> 63, bits & 0xFFFFFFFFFFFFF, _F64_QUIET)
    return repr(struct.unpack("<d", struct.pack("<Q", bits))[0])


def _special_text(sign: int, payload: int, quiet: int) -> str:
    prefix = "-" if sign else ""
    if payload == 0:
        return prefix + "inf"
    if payload == quiet:
        return prefix + "nan"
    return f"{prefix}nan:0x{payload:x}"


def v128_text(bits: int) -> str:
    """Return the text of a v128 given as one number."""
    return "i32x4 " + " ".join([f"0x{bits >> shift & 0xFFFFFFFF:08x}" for shift in (0, 32, 64, 96)])


def lanes_text(bits: int) -> str:
    """Return the text of sixteen lane indices given as one number."""
    return " ".join([str(bits >> shift & 0xFF) for shift in range(0, 128, 8)])


def _escapes() -> dict[int, str]:
    escapes = {byte: f"\\{byte:02x}" for byte in range(0x100) if not 0x20 <= byte < 0x7F}
    escapes[ord('"')] = '\\"'
    escapes[ord("\\")] = "\\\\"
    return escapes


_ESCAPES: Final[dict[int, str]] = _escapes()


def string_text(data: bytes) -> str:
    """Return a quoted string literal of the bytes."""
    return '"' + data.decode("latin-1").translate(_ESCAPES) + '"'


def name_text(name: str) -> str:
    """Return a quoted string literal of a name."""
    return string_text(name.encode("utf-8", "surrogateescape"))
