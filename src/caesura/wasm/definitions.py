"""The entries of a module's index spaces: what each declares, and how it is read.

Types, imports, tables, memories, globals and exports are small immutable records, as the specification has them
(section 5.5). The functions that read one take the module's bytes and a position, and return the position behind it
too; they know nothing of the other entries, so `module` checks indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.external_kinds import FUNCTION_KIND as FUNCTION_KIND
from caesura.wasm.external_kinds import GLOBAL_KIND as GLOBAL_KIND
from caesura.wasm.external_kinds import KIND_NAMES as KIND_NAMES
from caesura.wasm.external_kinds import MEMORY_KIND as MEMORY_KIND
from caesura.wasm.external_kinds import TABLE_KIND as TABLE_KIND
from caesura.wasm.external_kinds import TAG_KIND as TAG_KIND
from caesura.wasm.indices import TypeIndex
from caesura.wasm.leb128 import encode_unsigned, encode_vector, read_u32, read_u64
from caesura.wasm.types import encode_value_type, read_reference_type, read_storage_type, read_value_type

FUNCTION_TYPE: Final = 0x60
STRUCT_TYPE: Final = 0x5F
ARRAY_TYPE: Final = 0x5E

RECURSION_GROUP: Final = 0x4E
_SUBTYPE: Final = 0x50
_FINAL_SUBTYPE: Final = 0x4F


@dataclass(frozen=True)
class TypeDefinition:
    """One entry of the type index space.

    `kind` is FUNCTION_TYPE, STRUCT_TYPE or ARRAY_TYPE. A function type has `params` and `results` (type codes); a
    struct or array type has `fields` as (type code, mutable). `supertypes` and `final` come from `sub`.
    """

    kind: int
    params: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    fields: tuple[tuple[int, bool], ...] = ()
    supertypes: tuple[TypeIndex, ...] = ()
    final: bool = True


@dataclass(frozen=True)
class Limits:
    """Size limits of a table or memory; `maximum` is None where there is none, `page_size_log2` 16 for plain pages."""

    minimum: int
    maximum: int | None
    is64: bool
    shared: bool
    page_size_log2: int


@dataclass(frozen=True)
class Table:
    """A table: the type code of its elements, its limits, and where its initializer lies (0, 0: none)."""

    element: int
    limits: Limits
    init_start: int = 0
    init_end: int = 0


@dataclass(frozen=True)
class Global:
    """A global: its type code, mutability, and where its initializer lies (0, 0: imported)."""

    type: int
    mutable: bool
    init_start: int = 0
    init_end: int = 0


@dataclass(frozen=True)
class Import:
    """An import: module and name, its kind, and its index in the index space of that kind."""

    module: str
    name: str
    kind: int
    index: int


@dataclass(frozen=True)
class Export:
    """An export: its name, kind and index."""

    name: str
    kind: int
    index: int


def read_recursion_group(data: bytes, position: int) -> tuple[list[TypeDefinition], int]:
    """Return the types of a recursion group, a plain type being a group of one."""
    if data[position] != RECURSION_GROUP:
        definition, position = read_subtype(data, position)
        return [definition], position
    group: list[TypeDefinition] = []
    count, position = read_u32(data, position + 1)
    for _ in range(count):
        definition, position = read_subtype(data, position)
        group.append(definition)
    return group, position


def read_subtype(data: bytes, position: int) -> tuple[TypeDefinition, int]:
    """Return one type of a recursion group, or a plain one."""
    supertypes: list[TypeIndex] = []
    params: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    fields: list[tuple[int, bool]] = []
    final = True
    if read_byte(data, position) in (_SUBTYPE, _FINAL_SUBTYPE):
        final = data[position] == _FINAL_SUBTYPE
        count, position = read_u32(data, position + 1)
        for _ in range(count):
            index, position = read_u32(data, position)
            supertypes.append(TypeIndex(index))
    kind = read_byte(data, position)
    start = position
    position += 1
    if kind == FUNCTION_TYPE:
        params, position = _read_value_types(data, position)
        results, position = _read_value_types(data, position)
    elif kind == STRUCT_TYPE:
        count, position = read_u32(data, position)
        for _ in range(count):
            field, position = _read_field(data, position)
            fields.append(field)
    elif kind == ARRAY_TYPE:
        field, position = _read_field(data, position)
        fields.append(field)
    else:
        raise MalformedModule(f"unknown type form 0x{kind:02x}; expected func, struct or array", start)
    return TypeDefinition(kind, params, results, tuple(fields), tuple(supertypes), final), position


def encode_function_type(definition: TypeDefinition) -> bytes:
    """Return the encoding of a function type, with what it is a subtype of."""
    sub = b""
    if definition.supertypes or not definition.final:
        supertypes = encode_vector([encode_unsigned(index) for index in definition.supertypes])
        sub = bytes([_FINAL_SUBTYPE if definition.final else _SUBTYPE]) + supertypes
    params = encode_vector([encode_value_type(one) for one in definition.params])
    return sub + bytes([FUNCTION_TYPE]) + params + encode_vector([encode_value_type(one) for one in definition.results])


def _read_value_types(data: bytes, position: int) -> tuple[tuple[int, ...], int]:
    count, position = read_u32(data, position)
    types: list[int] = []
    for _ in range(count):
        value_type, position = read_value_type(data, position)
        types.append(value_type)
    return tuple(types), position


def _read_field(data: bytes, position: int) -> tuple[tuple[int, bool], int]:
    value_type, position = read_storage_type(data, position)
    return (value_type, read_byte(data, position) == 1), position + 1


def read_table_type(data: bytes, position: int) -> tuple[int, Limits, int]:
    """Return the type code of a table's elements, and its limits."""
    element, position = read_reference_type(data, position)
    limits, position = read_limits(data, position)
    return element, limits, position


def read_limits(data: bytes, position: int) -> tuple[Limits, int]:
    """Return the limits of a table or memory."""
    flags = read_byte(data, position)
    if flags > 0x0F:
        raise MalformedModule(f"unknown limits flags 0x{flags:02x}; expected 0x00 to 0x0f", position)
    minimum, position = read_u64(data, position + 1)
    maximum: int | None = None
    if flags & 1:
        maximum, position = read_u64(data, position)
    page_size_log2 = 16
    if flags & 8:
        page_size_log2, position = read_u32(data, position)
    return Limits(minimum, maximum, flags & 4 != 0, flags & 2 != 0, page_size_log2), position


def read_global_type(data: bytes, position: int) -> tuple[int, bool, int]:
    """Return the type code of a global, and whether it is mutable."""
    value_type, position = read_value_type(data, position)
    mutability = read_byte(data, position)
    if mutability > 3:
        raise MalformedModule(f"unknown mutability 0x{mutability:02x}; expected 0 or 1", position)
    return value_type, mutability & 1 == 1, position + 1


def read_byte(data: bytes, position: int) -> int:
    """Return a byte; raises MalformedModule behind the module's end."""
    if position >= len(data):
        raise MalformedModule("unexpected end of the module", len(data))
    return data[position]
