"""The operators that generated code uses: bytes, operand types and result type.

Float arithmetic is nondeterministic where a NaN results, so it stands apart: an engine that can make NaNs canonical
gets all operators, another only those that keep or compare bits. Operators that can trap stand apart too, because a
program that traps early tests little.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.oracle.encoder import unsigned
from tests.oracle.world import ALL_TYPES, F32, F64, I32, I64, V128


class Operator(NamedTuple):
    """An instruction without immediates that depend on the module."""

    code: bytes
    params: tuple[int, ...]
    result: int


def _rows(first: int, last: int, params: tuple[int, ...], result: int) -> list[Operator]:
    return [Operator(bytes((code,)), params, result) for code in range(first, last + 1)]


def _simd(sub: int, params: tuple[int, ...], result: int, immediate: bytes = b"") -> Operator:
    return Operator(b"\xfd" + unsigned(sub) + immediate, params, result)


EXACT: Final = [
    *_rows(0x6A, 0x6C, (I32, I32), I32),  # add sub mul
    *_rows(0x71, 0x78, (I32, I32), I32),  # and or xor shl shr_s shr_u rotl rotr
    *_rows(0x46, 0x4F, (I32, I32), I32),  # comparisons
    Operator(b"\x45", (I32,), I32),
    *_rows(0x67, 0x69, (I32,), I32),  # clz ctz popcnt
    *_rows(0xC0, 0xC1, (I32,), I32),  # extend8_s extend16_s
    *_rows(0x7C, 0x7E, (I64, I64), I64),
    *_rows(0x83, 0x8A, (I64, I64), I64),
    *_rows(0x51, 0x5A, (I64, I64), I32),
    Operator(b"\x50", (I64,), I32),
    *_rows(0x79, 0x7B, (I64,), I64),
    *_rows(0xC2, 0xC4, (I64,), I64),
    Operator(b"\xa7", (I64,), I32),
    *_rows(0xAC, 0xAD, (I32,), I64),
    *_rows(0x5B, 0x60, (F32, F32), I32),
    *_rows(0x61, 0x66, (F64, F64), I32),
    Operator(b"\xbc", (F32,), I32),
    Operator(b"\xbd", (F64,), I64),
    Operator(b"\xbe", (I32,), F32),
    Operator(b"\xbf", (I64,), F64),
    *_rows(0x8B, 0x8C, (F32,), F32),  # abs neg
    *_rows(0x99, 0x9A, (F64,), F64),
    Operator(b"\x98", (F32, F32), F32),  # copysign
    Operator(b"\xa6", (F64, F64), F64),
    Operator(b"\xb2", (I32,), F32),  # convert
    Operator(b"\xb4", (I64,), F32),
    Operator(b"\xb7", (I32,), F64),
    Operator(b"\xb9", (I64,), F64),
    Operator(b"\xfc\x00", (F32,), I32),  # saturating truncation
    Operator(b"\xfc\x02", (F64,), I32),
    Operator(b"\xfc\x04", (F32,), I64),
    Operator(b"\xfc\x07", (F64,), I64),
    _simd(0x0F, (I32,), V128),  # splats
    _simd(0x11, (I32,), V128),
    _simd(0x12, (I64,), V128),
    _simd(0x13, (F32,), V128),
    _simd(0x14, (F64,), V128),
    _simd(0x0D, (V128, V128), V128, bytes((0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31))),
    _simd(0x4E, (V128, V128), V128),  # and
    _simd(0x51, (V128, V128), V128),  # xor
    _simd(0xAE, (V128, V128), V128),  # i32x4.add
    _simd(0xD1, (V128, V128), V128),  # i64x2.sub
    _simd(0x52, (V128, V128, V128), V128),  # bitselect
    _simd(0x53, (V128,), I32),  # any_true
    _simd(0x1B, (V128,), I32, b"\x02"),  # i32x4.extract_lane 2
    _simd(0x1D, (V128,), I64, b"\x01"),
    _simd(0x1F, (V128,), F32, b"\x03"),
    _simd(0x21, (V128,), F64, b"\x00"),
    _simd(0x1C, (V128, I32), V128, b"\x01"),  # i32x4.replace_lane 1
    _simd(0x22, (V128, F64), V128, b"\x01"),
]

ROUNDING: Final = [
    *_rows(0x92, 0x97, (F32, F32), F32),  # add sub mul div min max
    *_rows(0x8D, 0x91, (F32,), F32),  # ceil floor trunc nearest sqrt
    *_rows(0xA0, 0xA5, (F64, F64), F64),
    *_rows(0x9B, 0x9F, (F64,), F64),
    Operator(b"\xb6", (F64,), F32),
    Operator(b"\xbb", (F32,), F64),
    _simd(0xE4, (V128, V128), V128),  # f32x4.add
    _simd(0xF2, (V128, V128), V128),  # f64x2.mul
]

TRAPPING: Final = [
    *_rows(0x6D, 0x70, (I32, I32), I32),  # div rem
    *_rows(0x7F, 0x82, (I64, I64), I64),
    Operator(b"\xa8", (F32,), I32),  # truncation
    Operator(b"\xaa", (F64,), I32),
    Operator(b"\xae", (F32,), I64),
    Operator(b"\xb0", (F64,), I64),
]


def by_result(operators: list[Operator]) -> dict[int, list[Operator]]:
    """The operators that yield each type."""
    return {t: [o for o in operators if o.result == t] for t in ALL_TYPES}


LOADS: Final = {
    I32: (b"\x28", b"\x2d", b"\x2e"),
    I64: (b"\x29", b"\x31", b"\x34"),
    F32: (b"\x2a",),
    F64: (b"\x2b",),
    V128: (b"\xfd\x00", b"\xfd\x0a", b"\xfd\x5c"),
}
"""Loads by result type, without their memory arguments."""

STORES: Final = {
    I32: (b"\x36", b"\x3a", b"\x3b"),
    I64: (b"\x37", b"\x3e"),
    F32: (b"\x38",),
    F64: (b"\x39",),
    V128: (b"\xfd\x0b",),
}
"""Stores by operand type, without their memory arguments."""

INTERESTING: Final[dict[int, tuple[bytes, ...]]] = {
    F32: (
        bytes.fromhex("00000000"),
        bytes.fromhex("0000803f"),
        bytes.fromhex("000000c0"),
        bytes.fromhex("0100a07f"),
        bytes.fromhex("3412c0ff"),
        bytes.fromhex("000080ff"),
        bytes.fromhex("01000080"),
        bytes.fromhex("0000c07f"),
    ),
    F64: (
        bytes.fromhex("0000000000000000"),
        bytes.fromhex("000000000000f03f"),
        bytes.fromhex("0000000000000080"),
        bytes.fromhex("010000000000f47f"),
        bytes.fromhex("3412000000fcffff"),
        bytes.fromhex("000000000000f0ff"),
        bytes.fromhex("000000e0ffffef41"),
        bytes.fromhex("000000000000f87f"),
    ),
    V128: (
        bytes(16),
        bytes(range(16)),
        b"\x01\x00\xa0\x7f" * 4,
        b"\xff" * 16,
        bytes.fromhex("010000000000f47f") * 2,
    ),
}
"""Float and vector constants with their payloads: signalling and quiet NaNs, infinities, negative zero, denormals."""
