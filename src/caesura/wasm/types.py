"""Value types as small integers, and their binary encoding (WebAssembly specification, section 5.3).

A number or vector type is its byte (`I32` is 0x7F). A reference type packs its parts into one integer: the flag
`REFERENCE`, the heap type, and whether it is nullable. A heap type is a type index, or, for an abstract one, its byte
with the flag `ABSTRACT`. Integers compare, hash and store cheaply, also compiled; a class per type would cost an
allocation for every operand that stack typing looks at.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.leb128 import encode_signed, read_s33

I32: Final = 0x7F
I64: Final = 0x7E
F32: Final = 0x7D
F64: Final = 0x7C
V128: Final = 0x7B

# Packed types: only the fields of structs and arrays have them.
I8: Final = 0x78
I16: Final = 0x77

REFERENCE: Final = 1 << 40
ABSTRACT: Final = 1 << 32
_NULLABLE: Final = 2

# Abstract heap types.
FUNC: Final = ABSTRACT + 0x70
EXTERN: Final = ABSTRACT + 0x6F
ANY: Final = ABSTRACT + 0x6E
EQ: Final = ABSTRACT + 0x6D
I31: Final = ABSTRACT + 0x6C
STRUCT: Final = ABSTRACT + 0x6B
ARRAY: Final = ABSTRACT + 0x6A
EXN: Final = ABSTRACT + 0x69
NONE: Final = ABSTRACT + 0x71
NOEXTERN: Final = ABSTRACT + 0x72
NOFUNC: Final = ABSTRACT + 0x73
NOEXN: Final = ABSTRACT + 0x74

_NULLABLE_REFERENCE: Final = 0x63
_NON_NULL_REFERENCE: Final = 0x64

_ABSTRACT_NAMES: Final[dict[int, str]] = {
    0x70: "func",
    0x6F: "extern",
    0x6E: "any",
    0x6D: "eq",
    0x6C: "i31",
    0x6B: "struct",
    0x6A: "array",
    0x69: "exn",
    0x71: "none",
    0x72: "noextern",
    0x73: "nofunc",
    0x74: "noexn",
}

# Text names of the nullable references to abstract heap types that have a short form.
_SHORT_REFERENCES: Final[dict[int, str]] = {
    0x70: "funcref",
    0x6F: "externref",
    0x6E: "anyref",
    0x6D: "eqref",
    0x6C: "i31ref",
    0x6B: "structref",
    0x6A: "arrayref",
    0x69: "exnref",
    0x71: "nullref",
    0x72: "nullexternref",
    0x73: "nullfuncref",
    0x74: "nullexnref",
}

_PLAIN_NAMES: Final[dict[int, str]] = {
    I32: "i32",
    I64: "i64",
    F32: "f32",
    F64: "f64",
    V128: "v128",
    I8: "i8",
    I16: "i16",
}


def make_reference(heap: int, *, nullable: bool) -> int:
    """Return the reference type to a heap type."""
    return REFERENCE + (heap << 2) + (_NULLABLE if nullable else 0)


FUNCREF: Final[int] = make_reference(FUNC, nullable=True)
EXTERNREF: Final[int] = make_reference(EXTERN, nullable=True)
ANYREF: Final[int] = make_reference(ANY, nullable=True)
EQREF: Final[int] = make_reference(EQ, nullable=True)
I31REF: Final[int] = make_reference(I31, nullable=True)
ARRAYREF: Final[int] = make_reference(ARRAY, nullable=True)
EXNREF: Final[int] = make_reference(EXN, nullable=True)


def is_reference(value_type: int) -> bool:
    """Tell whether a type is a reference type."""
    return value_type >= REFERENCE


def is_number(value_type: int) -> bool:
    """Tell whether a type is one of numbers or vectors."""
    return V128 <= value_type <= I32


def is_nullable(value_type: int) -> bool:
    """Tell whether a reference type is nullable; False for other types."""
    return value_type >= REFERENCE and value_type & _NULLABLE != 0


def is_non_null(value_type: int) -> bool:
    """Tell whether a type is a reference type without null."""
    return value_type >= REFERENCE and value_type & _NULLABLE == 0


def heap_of(value_type: int) -> int:
    """Return the heap type of a reference type."""
    return (value_type - REFERENCE) >> 2


def is_abstract(heap: int) -> bool:
    """Tell whether a heap type is abstract, not a type index."""
    return heap >= ABSTRACT


def nullable(value_type: int) -> int:
    """Return a reference type with null allowed."""
    return value_type | _NULLABLE


def non_null(value_type: int) -> int:
    """Return a reference type with null excluded."""
    return value_type & ~_NULLABLE


def defaultable(value_type: int) -> int:
    """Return a type with null allowed, if it is a reference type: a type that locals have a value of from the start."""
    return nullable(value_type) if value_type >= REFERENCE else value_type


def read_heap_type(data: bytes, position: int) -> tuple[int, int]:
    """Return the heap type at `position` and the position behind it; raises MalformedModule."""
    if position >= len(data):
        raise MalformedModule("unexpected end of data; expected a heap type", position)
    byte = data[position]
    if byte in _ABSTRACT_NAMES:
        return ABSTRACT + byte, position + 1
    index, after = read_s33(data, position)
    if index < 0:
        raise MalformedModule(f"unknown heap type 0x{byte:02x}", position)
    return index, after


def read_value_type(data: bytes, position: int) -> tuple[int, int]:
    """Return the value type at `position` and the position behind it; raises MalformedModule."""
    value_type, after = read_storage_type(data, position)
    if value_type == I8 or value_type == I16:
        raise MalformedModule(f"{_PLAIN_NAMES[value_type]} is a type of fields only, not of values", position)
    return value_type, after


def read_storage_type(data: bytes, position: int) -> tuple[int, int]:
    """Return the type of a field, a value type or a packed one, at `position`, and the position behind it.

    Raises MalformedModule.
    """
    if position >= len(data):
        raise MalformedModule("unexpected end of data; expected a value type", position)
    byte = data[position]
    if byte in _PLAIN_NAMES:
        return byte, position + 1
    return _read_reference(data, position, "value")


def read_reference_type(data: bytes, position: int) -> tuple[int, int]:
    """Return the reference type at `position` and the position behind it; raises MalformedModule."""
    if position >= len(data):
        raise MalformedModule("unexpected end of data; expected a reference type", position)
    return _read_reference(data, position, "reference")


def _read_reference(data: bytes, position: int, expected: str) -> tuple[int, int]:
    byte = data[position]
    if byte in _ABSTRACT_NAMES:
        return make_reference(ABSTRACT + byte, nullable=True), position + 1
    if byte != _NULLABLE_REFERENCE and byte != _NON_NULL_REFERENCE:
        raise MalformedModule(f"unknown {expected} type 0x{byte:02x}", position)
    heap, after = read_heap_type(data, position + 1)
    return make_reference(heap, nullable=byte == _NULLABLE_REFERENCE), after


def encode_heap_type(heap: int) -> bytes:
    """Return the encoding of a heap type."""
    if heap >= ABSTRACT:
        return bytes([heap - ABSTRACT])
    return encode_signed(heap)


def encode_value_type(value_type: int) -> bytes:
    """Return the shortest encoding of a value type."""
    if value_type < REFERENCE:
        return bytes([value_type])
    heap = heap_of(value_type)
    if value_type & _NULLABLE == 0:
        return bytes([_NON_NULL_REFERENCE]) + encode_heap_type(heap)
    if heap >= ABSTRACT:
        return bytes([heap - ABSTRACT])
    return bytes([_NULLABLE_REFERENCE]) + encode_heap_type(heap)


def heap_name(heap: int) -> str:
    """Return the text form of a heap type."""
    return _ABSTRACT_NAMES[heap - ABSTRACT] if heap >= ABSTRACT else str(heap)


def type_name(value_type: int) -> str:
    """Return the text form of a value type, type indices as numbers."""
    if value_type < REFERENCE:
        return _PLAIN_NAMES[value_type]
    heap = heap_of(value_type)
    if value_type & _NULLABLE == 0:
        return f"(ref {heap_name(heap)})"
    if heap >= ABSTRACT:
        return _SHORT_REFERENCES[heap - ABSTRACT]
    return f"(ref null {heap})"
