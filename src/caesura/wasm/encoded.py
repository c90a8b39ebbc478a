"""Encoded instructions that the transformation writes, as bytes: the few it needs, not an assembler."""

from __future__ import annotations

from typing import Final

from caesura.wasm.instructions import CODE_BY_NAME
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import F32, F64, I32, I64, V128, encode_heap_type, heap_of

UNREACHABLE: Final = b"\x00"
BLOCK: Final = b"\x02"
BLOCK_EMPTY: Final = b"\x02\x40"
BLOCK_I32: Final = b"\x02\x7f"
EMPTY_LOOP: Final = b"\x03\x40\x0b"
LOOP_EMPTY: Final = b"\x03\x40"
IF: Final = b"\x04"
IF_EMPTY: Final = b"\x04\x40"
ELSE: Final = b"\x05"
END: Final = b"\x0b"
BR: Final = b"\x0c"
BR_IF: Final = b"\x0d"
BR_TABLE: Final = b"\x0e"
DELEGATE: Final = b"\x18"
RETURN: Final = b"\x0f"
CALL: Final = b"\x10"
RETURN_CALL: Final = b"\x12"
DROP: Final = b"\x1a"
SELECT: Final = b"\x1b"
LOCAL_GET: Final = b"\x20"
LOCAL_SET: Final = b"\x21"
LOCAL_TEE: Final = b"\x22"
GLOBAL_GET: Final = b"\x23"
GLOBAL_SET: Final = b"\x24"
CONST_I32: Final = b"\x41"
CONST_I64: Final = b"\x42"
I32_EQZ: Final = b"\x45"
I64_EQZ: Final = b"\x50"
I32_EQ: Final = b"\x46"
I32_NE: Final = b"\x47"
I32_LT_U: Final = b"\x49"
I32_GE_U: Final = b"\x4f"
I32_ADD: Final = b"\x6a"
I32_SUB: Final = b"\x6b"
TABLE_GET: Final = b"\x25"
TABLE_SET: Final = b"\x26"
TABLE_COPY: Final = b"\xfc\x0e"
TABLE_GROW: Final = b"\xfc\x0f"
TABLE_SIZE: Final = b"\xfc\x10"
TABLE_FILL: Final = b"\xfc\x11"
REF_IS_NULL: Final = b"\xd1"
REF_FUNC: Final = b"\xd2"
REF_AS_NON_NULL: Final = b"\xd4"

# Comparisons and their opposites, which hold just where these do not: of integers, and equality of floats.
_PAIRS: Final = [
    *[(f"{one}.eq", f"{one}.ne") for one in ("i32", "i64", "f32", "f64")],
    *[(f"{one}.lt_{sign}", f"{one}.ge_{sign}") for one in ("i32", "i64") for sign in "su"],
    *[(f"{one}.gt_{sign}", f"{one}.le_{sign}") for one in ("i32", "i64") for sign in "su"],
]
OPPOSITES: Final = {
    CODE_BY_NAME[one]: bytes([CODE_BY_NAME[other]]) for one, other in _PAIRS + [(other, one) for one, other in _PAIRS]
}

# The shortest code for a zero of each type.
ZERO: Final = {
    I32: b"\x41\x00",
    I64: b"\x42\x00",
    F32: b"\x41\x00\xb2",
    F64: b"\x41\x00\xb7",
    V128: b"\x41\x00\xfd\x0f",
}

# A zero of each number and vector type that is a constant expression.
_ZERO_CONSTANT: Final = {
    I32: b"\x41\x00",
    I64: b"\x42\x00",
    F32: b"\x43" + bytes(4),
    F64: b"\x44" + bytes(8),
    V128: b"\xfd\x0c" + bytes(16),
}

_SIZE: Final = {I32: 4, I64: 8, F32: 4, F64: 8, V128: 16}
_LOAD: Final = {I32: b"\x28", I64: b"\x29", F32: b"\x2a", F64: b"\x2b", V128: b"\xfd\x00"}
_STORE: Final = {I32: b"\x36", I64: b"\x37", F32: b"\x38", F64: b"\x39", V128: b"\xfd\x0b"}
_I32_ATOMIC_LOAD: Final = b"\xfe\x10"
_ALIGNMENT_LOG2: Final = 2  # the asyncify stack is a sequence of 4-byte words
_HAS_MEMORY: Final = 0x40


def zero(value_type: int) -> bytes:
    """Return the shortest code for a zero, or null of a nullable reference type."""
    if value_type in ZERO:
        return ZERO[value_type]
    return ref_null(heap_of(value_type))


def ref_null(heap: int) -> bytes:
    """Return the code for the null of a heap type."""
    return b"\xd0" + encode_heap_type(heap)


def ref_cast(heap: int, *, nullable: bool) -> bytes:
    """Return a cast to references of a heap type, null among them or not."""
    return (b"\xfb\x17" if nullable else b"\xfb\x16") + encode_heap_type(heap)


def zero_constant(value_type: int) -> bytes:
    """Return a constant expression for a zero, or null of a nullable reference type."""
    return _ZERO_CONSTANT[value_type] if value_type in _ZERO_CONSTANT else zero(value_type)


def constant(value_type: int, value: int) -> bytes:
    """Return an i32 or i64 constant."""
    return (CONST_I32 if value_type == I32 else CONST_I64) + encode_signed(value)


def unsigned_constant(value_type: int, value: int) -> bytes:
    """Return the i32 or i64 constant with the bits of an unsigned number, such as an address, which it must have."""
    bits = 32 if value_type == I32 else 64
    return constant(value_type, value - (1 << bits) if value >> (bits - 1) else value)


def value_size(value_type: int) -> int:
    """Return the bytes that a saved value of a number or vector type takes; all are multiples of 4."""
    return _SIZE[value_type]


def load(value_type: int, memory: int, offset: int) -> bytes:
    """Return a load of a whole value from a memory, its address being on the stack."""
    return _LOAD[value_type] + _memory_argument(memory, offset)


def atomic_load(memory: int, offset: int) -> bytes:
    """Return an atomic load of an i32 from a memory, its address being on the stack."""
    return _I32_ATOMIC_LOAD + _memory_argument(memory, offset)


def store(value_type: int, memory: int, offset: int) -> bytes:
    """Return a store of a whole value to a memory, address and value being on the stack."""
    return _STORE[value_type] + _memory_argument(memory, offset)


def _memory_argument(memory: int, offset: int) -> bytes:
    if memory == 0:
        return bytes([_ALIGNMENT_LOG2]) + encode_unsigned(offset)
    return bytes([_ALIGNMENT_LOG2 | _HAS_MEMORY]) + encode_unsigned(memory) + encode_unsigned(offset)
