"""Signatures of instructions: operand and result types, where the table gives them and where they take a rule.

`signature` answers for every instruction whose types follow from the module, the function's locals and the immediates.
Among the operands UNKNOWN is a value of any type and ANY_REFERENCE a reference of any type. Instructions whose result
follows from an operand (untyped select, ref.as_non_null, the conversions between any and extern) have an UNKNOWN result
here; those, and structured control and branches, are resolved by `stack_typing`, which has the operand stack.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import EMPTY_BLOCK
from caesura.wasm.definitions import ARRAY_TYPE, FUNCTION_TYPE, STRUCT_TYPE, TypeDefinition
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.types import ANY, EXTERN, I8, I16, I32, I64, is_nullable, make_reference, non_null

Signature = tuple[tuple[int, ...], tuple[int, ...]]

_NOTHING: Final[tuple[int, ...]] = ()


def _fixed_signatures() -> list[bool]:
    return [
        table.POPS[code] != table.VARIABLE
        and table.IMMEDIATES[code] != table.NO_INSTRUCTION
        and all(one > 0 for one in table.PARAMS[code] + table.RESULTS[code])
        for code in range(table.CODES)
    ]


# By code: the table alone gives the whole signature. (An instruction with a variable number of results has an
# UNKNOWN or a variable number of operands as well, so it is never among these.)
_FIXED: Final[list[bool]] = _fixed_signatures()


def signature(module: Module, local_types: list[int], code: int, immediates: list[int]) -> Signature:
    """Return the operand and result types of an instruction; raises MalformedModule for indices out of range."""
    if _FIXED[code]:
        return table.PARAMS[code], table.RESULTS[code]
    kind = table.IMMEDIATES[code]
    if kind == table.IMMEDIATE_LOCAL:
        return _local_signature(local_types, code, immediates[0])
    if kind == table.IMMEDIATE_MEMARG or kind == table.IMMEDIATE_MEMARG_LANE:
        return _with_address(code, memory_address_type(module, immediates[1]))
    if kind == table.IMMEDIATE_GLOBAL:
        _check(immediates[0], len(module.globals), "global")
        one = (module.globals[immediates[0]].type,)
        return (_NOTHING, one) if code == op.GLOBAL_GET else (one, _NOTHING)
    if table.EFFECTS[code] == table.CALL:
        return _call_signature(module, code, immediates)
    if 0x100 <= code < 0x200:
        return _gc_signature(module, code, immediates)
    if kind == table.IMMEDIATE_MEMORY:
        return _with_address(code, memory_address_type(module, immediates[0]))
    if kind == table.IMMEDIATE_DATA_MEMORY:
        return _with_address(code, memory_address_type(module, immediates[1]))
    if kind == table.IMMEDIATE_MEMORY_MEMORY:
        return _copy(memory_address_type(module, immediates[0]), memory_address_type(module, immediates[1]))
    if kind == table.IMMEDIATE_TABLE:
        return _table_signature(module, code, immediates[0])
    if kind == table.IMMEDIATE_ELEM_TABLE:
        return _with_address(code, table_address_type(module, immediates[1]))
    if kind == table.IMMEDIATE_TABLE_TABLE:
        return _copy(table_address_type(module, immediates[0]), table_address_type(module, immediates[1]))
    if code == op.REF_NULL:
        return _NOTHING, (make_reference(immediates[0], nullable=True),)
    if code == op.REF_FUNC:
        _check(immediates[0], len(module.function_types), "function")
        return _NOTHING, (make_reference(module.function_types[immediates[0]], nullable=False),)
    if code == op.THROW:
        return tag_params(module, immediates[0]), _NOTHING
    if code == op.SELECT_TYPED:
        if len(immediates) != 1:
            raise MalformedModule(f"select with {len(immediates)} types; expected one")
        return (immediates[0], immediates[0], I32), (immediates[0],)
    return table.PARAMS[code], table.RESULTS[code]


def converted(code: int, reference: int) -> int:
    """Return the type that a conversion of a reference gives: ref.as_non_null, any.convert_extern and its opposite."""
    if code == op.REF_AS_NON_NULL:
        return non_null(reference)
    target = ANY if code == op.ANY_CONVERT_EXTERN else EXTERN
    return make_reference(target, nullable=is_nullable(reference))


def left_by_cast(code: int, immediates: list[int]) -> int:
    """Return the type of the reference that a br_on_cast or br_on_cast_fail goes on with, not branching."""
    flags = immediates[0]
    if code == op.BR_ON_CAST:  # what the cast leaves over of the source type
        return make_reference(immediates[2], nullable=flags & 1 == 1 and flags & 2 == 0)
    return make_reference(immediates[3], nullable=flags & 2 == 2)


def block_signature(module: Module, block_type: int) -> Signature:
    """Return the parameter and result types of a block type as `decode.read_block_type` gives it."""
    if block_type == EMPTY_BLOCK:
        return _NOTHING, _NOTHING
    if block_type < 0:
        return _NOTHING, (-block_type,)
    definition = definition_of(module, block_type, FUNCTION_TYPE)
    return definition.params, definition.results


def tag_params(module: Module, tag: int) -> tuple[int, ...]:
    """Return the types of the values that an exception of a tag carries."""
    _check(tag, len(module.tags), "tag")
    return definition_of(module, module.tags[tag], FUNCTION_TYPE).params


def memory_address_type(module: Module, memory: int) -> int:
    """Return the type of a memory's addresses."""
    _check(memory, len(module.memories), "memory")
    return I64 if module.memories[memory].is64 else I32


def table_address_type(module: Module, index: int) -> int:
    """Return the type of a table's indices."""
    _check(index, len(module.tables), "table")
    return I64 if module.tables[index].limits.is64 else I32


def unpacked(storage_type: int) -> int:
    """Return the value type that a field's storage type is read as."""
    return I32 if storage_type == I8 or storage_type == I16 else storage_type


def definition_of(module: Module, index: int, kind: int) -> TypeDefinition:
    """Return the type of an index, which must be of the kind; raises MalformedModule."""
    _check(index, len(module.types), "type")
    definition = module.types[index]
    if definition.kind != kind:
        expected = "function" if kind == FUNCTION_TYPE else "struct" if kind == STRUCT_TYPE else "array"
        raise MalformedModule(f"type {index} is not {'an' if kind == ARRAY_TYPE else 'a'} {expected} type")
    return definition


def _check(index: int, count: int, what: str) -> None:
    if index >= count:
        raise MalformedModule(f"{what} index {index} is out of range; there are {count}")


def _with_address(code: int, address: int) -> Signature:
    params = tuple([address if one == table.ADDRESS else one for one in table.PARAMS[code]])
    results = tuple([address if one == table.ADDRESS else one for one in table.RESULTS[code]])
    return params, results


def _copy(target: int, source: int) -> Signature:
    length = I64 if target == I64 and source == I64 else I32
    return (target, source, length), _NOTHING


def _local_signature(local_types: list[int], code: int, index: int) -> Signature:
    _check(index, len(local_types), "local")
    one = (local_types[index],)
    if code == op.LOCAL_GET:
        return _NOTHING, one
    return one, (one if code == op.LOCAL_TEE else _NOTHING)


def _table_signature(module: Module, code: int, index: int) -> Signature:
    address = table_address_type(module, index)
    element = module.tables[index].element
    if code == op.TABLE_GET:
        return (address,), (element,)
    if code == op.TABLE_SET:
        return (address, element), _NOTHING
    if code == op.TABLE_GROW:
        return (element, address), (address,)
    if code == op.TABLE_FILL:
        return (address, element, address), _NOTHING
    return _NOTHING, (address,)  # table.size


def _call_signature(module: Module, code: int, immediates: list[int]) -> Signature:
    if code == op.CALL or code == op.RETURN_CALL:
        _check(immediates[0], len(module.function_types), "function")
        definition = module.function_type(FunctionIndex(immediates[0]))
        return definition.params, definition.results
    definition = definition_of(module, immediates[0], FUNCTION_TYPE)
    if code == op.CALL_REF or code == op.RETURN_CALL_REF:
        return (*definition.params, make_reference(immediates[0], nullable=True)), definition.results
    return (*definition.params, table_address_type(module, immediates[1])), definition.results


def _gc_signature(module: Module, code: int, immediates: list[int]) -> Signature:
    if op.STRUCT_NEW <= code <= op.STRUCT_SET:
        return _struct_signature(module, code, immediates)
    if op.ARRAY_NEW <= code <= op.ARRAY_INIT_ELEM:
        return _array_signature(module, code, immediates)
    if op.REF_CAST <= code <= op.REF_CAST_NULL:
        return table.PARAMS[code], (make_reference(immediates[0], nullable=code == op.REF_CAST_NULL),)
    return table.PARAMS[code], table.RESULTS[code]


def _struct_signature(module: Module, code: int, immediates: list[int]) -> Signature:
    index = immediates[0]
    fields = definition_of(module, index, STRUCT_TYPE).fields
    if code == op.STRUCT_NEW:
        return tuple([unpacked(field[0]) for field in fields]), (make_reference(index, nullable=False),)
    if code == op.STRUCT_NEW_DEFAULT:
        return _NOTHING, (make_reference(index, nullable=False),)
    _check(immediates[1], len(fields), "field")
    value = unpacked(fields[immediates[1]][0])
    reference = make_reference(index, nullable=True)
    if code == op.STRUCT_SET:
        return (reference, value), _NOTHING
    return (reference,), (value,)


def _array_signature(module: Module, code: int, immediates: list[int]) -> Signature:
    index = immediates[0]
    value = unpacked(definition_of(module, index, ARRAY_TYPE).fields[0][0])
    reference = make_reference(index, nullable=True)
    created = (make_reference(index, nullable=False),)
    if code == op.ARRAY_NEW:
        return (value, I32), created
    if code == op.ARRAY_NEW_FIXED:
        return (value,) * immediates[1], created
    if code == op.ARRAY_NEW_DEFAULT:
        return (I32,), created
    if code == op.ARRAY_NEW_DATA or code == op.ARRAY_NEW_ELEM:
        return (I32, I32), created
    if code == op.ARRAY_SET:
        return (reference, I32, value), _NOTHING
    if code == op.ARRAY_FILL:
        return (reference, I32, value, I32), _NOTHING
    if code == op.ARRAY_COPY:
        definition_of(module, immediates[1], ARRAY_TYPE)
        return (reference, I32, make_reference(immediates[1], nullable=True), I32, I32), _NOTHING
    if code == op.ARRAY_INIT_DATA or code == op.ARRAY_INIT_ELEM:
        return (reference, I32, I32, I32), _NOTHING
    return (reference, I32), (value,)  # array.get, array.get_s, array.get_u
