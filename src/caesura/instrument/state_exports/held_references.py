"""The functions by which hosts reach references of types that they cannot be shown: how many places there are, which of
them hold something, all of them null again, one read, one written.

A global is a table of one element there, so that a host needs one way for both. Places are i32, also where a table's
have 64 bits. Functions are handed over as funcref, and get their own type back by a cast, which traps for what is of
another. Exceptions go through a table of one element that is added for this, since JavaScript has no values of their
type. Of structures, arrays and numbers of 31 bits, which are of one hierarchy, the numbers are handed over, and it is
told where there is something else.

An exception is taken to pieces by throwing it on: for each tag there is a function that tells whether the exception is
of that tag, and what it carries, as i64s. Another one throws a new one of such numbers and keeps what it catches. No
program can tell the new exception from the old one: WebAssembly does not compare them. There is none of the second kind
for tags that are imported, since they can be another one's next time, and for those that carry references.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    HELD_GLOBAL,
    HELD_TABLE,
    STATE_CLEAR,
    STATE_EXCEPTION,
    STATE_FETCH,
    STATE_FIND,
    STATE_MAKE_EXCEPTION,
    STATE_SIZE,
    STATE_STORE,
)
from caesura.instrument.state_exports.helpers import Helpers
from caesura.wasm import encoded as c
from caesura.wasm.definitions import TAG_KIND
from caesura.wasm.hierarchies import narrowed, top_of
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import (
    ANY,
    EQ,
    EXN,
    EXNREF,
    F32,
    F64,
    FUNC,
    FUNCREF,
    I31,
    I32,
    I64,
    V128,
    heap_of,
    is_nullable,
    is_number,
)

# Engines take functions with so many parameters or results.
_MOST_VALUES: Final = 1000

_FIRST: Final = c.LOCAL_GET + b"\0"
_SECOND: Final = c.LOCAL_GET + b"\1"
_TO_I64: Final = b"\xad"
_TO_I32: Final = b"\xa7"
_TRY_TABLE_EMPTY: Final = b"\x1f\x40"
_THROW: Final = b"\x08"
_THROW_REF: Final = b"\x0a"
_IF_I32: Final = b"\x04\x7f"
_ELSE: Final = b"\x05"
_REF_I31: Final = b"\xfb\x1c"
_IS_I31: Final = b"\xfb\x14\x6c"
_I31_GET_U: Final = b"\xfb\x1e"
_ZERO_PLACE: Final = c.CONST_I32 + b"\0"

# What makes an i64 of a number, and a number of an i64.
_TO_BITS: Final = {I32: _TO_I64, I64: b"", F32: b"\xbc" + _TO_I64, F64: b"\xbd"}
_OF_BITS: Final = {I32: _TO_I32, I64: b"", F32: _TO_I32 + b"\xbe", F64: b"\xbf"}
_LOW_LANE: Final = b"\xfd\x1d\x00"
_HIGH_LANE: Final = b"\xfd\x1d\x01"
_SPLAT: Final = b"\xfd\x12"
_REPLACE_HIGH: Final = b"\xfd\x1e\x01"


class Tag:
    """A tag: the types of what it carries, if its exceptions can be saved, else in words `why` not."""

    def __init__(self, types: tuple[int, ...], why: str) -> None:
        self.types: Final = types
        self.why: Final = why


def find_tags(module: Module) -> list[Tag]:
    """Return all tags of a module, by their indices."""
    imported = {item.index for item in module.imports if item.kind == TAG_KIND}
    tags: list[Tag] = []
    for index, type_index in enumerate(module.tags):
        types = module.types[type_index].params
        why = ""
        if index in imported:
            why = "is imported"
        elif not _are_numbers(types):
            why = "carries references"
        elif 1 + _slots(types) > _MOST_VALUES:
            why = f"carries {len(types)} values"
        tags.append(Tag(types, why))
    return tags


def _are_numbers(types: tuple[int, ...]) -> bool:
    for value_type in types:
        if not is_number(value_type):
            return False
    return True


def _slots(types: tuple[int, ...]) -> int:
    """Return how many i64s the values of these types are."""
    return len(types) + types.count(V128)


def add_held_table(module: Module, helpers: Helpers, index: int) -> None:
    """Add the functions for a table."""
    table = encode_unsigned(index)
    entry = module.tables[index]
    wide, element = entry.limits.is64, entry.element
    top = top_of(module, element)
    name = f"{HELD_TABLE}{index}"
    size = c.TABLE_SIZE + table + (_TO_I32 if wide else b"")
    place = _FIRST + (_TO_I64 if wide else b"")
    get = place + c.TABLE_GET + table
    helpers.add(f"{STATE_SIZE}{name}", (), (I32,), size)
    find = c.LOOP_EMPTY + _FIRST + size + c.I32_GE_U + c.IF_EMPTY + c.CONST_I32 + b"\x7f" + c.RETURN + c.END
    find += get + c.REF_IS_NULL + c.I32_EQZ + c.IF_EMPTY + _FIRST + c.RETURN + c.END
    find += _FIRST + c.CONST_I32 + b"\1" + c.I32_ADD + c.LOCAL_SET + b"\0" + c.BR + b"\0" + c.END + c.UNREACHABLE
    helpers.add(f"{STATE_FIND}{name}", (I32,), (I32,), find)
    one = c.constant(I64 if wide else I32, 1)
    failed = c.constant(I64 if wide else I32, -1) + (b"\x51" if wide else c.I32_EQ)
    if is_nullable(element):
        null = c.ref_null(heap_of(element))
        clear = c.constant(I64 if wide else I32, 0) + null + c.TABLE_SIZE + table + c.TABLE_FILL + table
        more = _FIRST + size + c.I32_SUB + (_TO_I64 if wide else b"")
        clear += null + more + c.TABLE_GROW + table + failed + c.I32_EQZ
        before = b""
    else:  # there is nothing to clear it with, and what is stored behind its end makes it longer
        clear = c.CONST_I32 + b"\1"
        grow = _given(module, helpers, element, top) + one + c.TABLE_GROW + table + failed
        grow += c.IF_EMPTY + c.UNREACHABLE + c.END
        before = _FIRST + size + c.I32_EQ + c.IF_EMPTY + grow + c.RETURN + c.END
    helpers.add(f"{STATE_CLEAR}{name}", (I32,), (I32,), clear)
    if top == FUNC:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (FUNCREF,), get)
        put = place + _given(module, helpers, element, top) + c.TABLE_SET + table
        helpers.add(f"{STATE_STORE}{name}", (I32, FUNCREF), (), before + put)
    elif top == EXN:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (), _to_scratch(helpers, get))
        put = place + _given(module, helpers, element, top) + c.TABLE_SET + table
        helpers.add(f"{STATE_STORE}{name}", (I32,), (), before + put)
    elif top == ANY:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (I32,), _number(get))
        put = place + _given(module, helpers, element, top) + c.TABLE_SET + table
        helpers.add(f"{STATE_STORE}{name}", (I32, I32), (), before + put)


def add_held_global(module: Module, helpers: Helpers, index: int) -> None:
    """Add the functions for a mutable global."""
    number = encode_unsigned(index)
    value_type = module.globals[index].type
    top = top_of(module, value_type)
    name = f"{HELD_GLOBAL}{index}"
    get = c.GLOBAL_GET + number
    helpers.add(f"{STATE_SIZE}{name}", (), (I32,), c.CONST_I32 + b"\1")
    find = c.CONST_I32 + b"\x7f" + c.CONST_I32 + b"\0" + get + c.REF_IS_NULL + _FIRST + b"\x72" + c.SELECT
    helpers.add(f"{STATE_FIND}{name}", (I32,), (I32,), find)
    clear = c.ref_null(heap_of(value_type)) + c.GLOBAL_SET + number if is_nullable(value_type) else b""
    helpers.add(f"{STATE_CLEAR}{name}", (I32,), (I32,), clear + c.CONST_I32 + b"\1")
    if top == FUNC:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (FUNCREF,), get)
        put = _given(module, helpers, value_type, top) + c.GLOBAL_SET + number
        helpers.add(f"{STATE_STORE}{name}", (I32, FUNCREF), (), put)
    elif top == EXN:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (), _to_scratch(helpers, get))
        put = _given(module, helpers, value_type, top) + c.GLOBAL_SET + number
        helpers.add(f"{STATE_STORE}{name}", (I32,), (), put)
    elif top == ANY:
        helpers.add(f"{STATE_FETCH}{name}", (I32,), (I32,), _number(get))
        put = _given(module, helpers, value_type, top) + c.GLOBAL_SET + number
        helpers.add(f"{STATE_STORE}{name}", (I32, I32), (), put)


def _given(module: Module, helpers: Helpers, value_type: int, top: int) -> bytes:
    """Return the code of the reference that is to be stored, of its own type; it traps for one of another."""
    if top == ANY:
        heap = heap_of(value_type)
        return _SECOND + _REF_I31 + (b"" if heap in (ANY, EQ, I31) else c.ref_cast(heap, nullable=False))
    return (_SECOND if top == FUNC else _scratch(helpers)) + narrowed(module, value_type)


def _number(get: bytes) -> bytes:
    """Return the code that gives a number of 31 bits, unsigned, and -1 for another reference."""
    number = get + c.ref_cast(I31, nullable=False) + _I31_GET_U
    return get + _IS_I31 + _IF_I32 + number + _ELSE + c.CONST_I32 + b"\x7f" + c.END


def add_exceptions(helpers: Helpers, tags: list[Tag]) -> None:
    """Add the functions that take exceptions to pieces, and put them together."""
    for number, tag in enumerate(tags):
        helpers.add(f"{STATE_EXCEPTION}{number}", (), _carried(tag), _told(helpers, number, tag), tag.types)
        if not tag.why:
            values = _carried(tag)[1:]
            helpers.add(f"{STATE_MAKE_EXCEPTION}{number}", values, (), _made(helpers, number, tag))


def _carried(tag: Tag) -> tuple[int, ...]:
    """Return the results of the function that takes an exception to pieces."""
    return (I32,) + (() if tag.why else (I64,) * _slots(tag.types))


def _told(helpers: Helpers, number: int, tag: Tag) -> bytes:
    """Return the code that throws the exception, and tells whether it is of this tag and what it carries."""
    code = c.BLOCK + helpers.block_type(tag.types) + c.BLOCK_EMPTY
    code += _TRY_TABLE_EMPTY + b"\2" + b"\0" + encode_unsigned(number) + b"\1" + b"\2\0"
    code += _scratch(helpers) + _THROW_REF + c.END + c.UNREACHABLE + c.END
    code += (c.CONST_I32 + b"\0") + (c.CONST_I64 + b"\0") * (len(_carried(tag)) - 1) + c.RETURN + c.END
    if tag.why:
        return code + c.DROP * len(tag.types) + c.CONST_I32 + b"\1"
    for place in range(len(tag.types) - 1, -1, -1):
        code += c.LOCAL_SET + encode_unsigned(place)
    code += c.CONST_I32 + b"\1"
    for place, value_type in enumerate(tag.types):
        value = c.LOCAL_GET + encode_unsigned(place)
        if value_type == V128:
            code += value + _LOW_LANE + value + _HIGH_LANE
        else:
            code += value + _TO_BITS[value_type]
    return code


def _made(helpers: Helpers, number: int, tag: Tag) -> bytes:
    """Return the code that throws an exception of this tag, and catches it."""
    code = b""
    place = 0
    for value_type in tag.types:
        low = c.LOCAL_GET + encode_unsigned(place)
        if value_type == V128:
            code += low + _SPLAT + c.LOCAL_GET + encode_unsigned(place + 1) + _REPLACE_HIGH
        else:
            code += low + _OF_BITS[value_type]
        place += 2 if value_type == V128 else 1
    caught = c.BLOCK + helpers.block_type((EXNREF,)) + _TRY_TABLE_EMPTY + b"\1" + b"\3\0"
    caught += code + _THROW + encode_unsigned(number) + c.END + c.UNREACHABLE + c.END
    return _to_scratch(helpers, caught)


def _scratch(helpers: Helpers) -> bytes:
    """Return the code that gives the exception that was fetched or made."""
    return _ZERO_PLACE + c.TABLE_GET + encode_unsigned(helpers.table_for(EXN))


def _to_scratch(helpers: Helpers, value: bytes) -> bytes:
    """Return the code that keeps an exception; it traps where the table cannot have an element."""
    table = encode_unsigned(helpers.table_for(EXN))
    grow = c.ref_null(EXN) + c.CONST_I32 + b"\1" + c.TABLE_GROW + table + c.DROP
    ready = c.TABLE_SIZE + table + c.I32_EQZ + c.IF_EMPTY + grow + c.END
    return ready + _ZERO_PLACE + value + c.TABLE_SET + table
