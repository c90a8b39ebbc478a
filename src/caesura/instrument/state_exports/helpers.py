"""The functions that are added so that hosts can read what no export shows them, and set it.

* The bits of floats and vectors: JavaScript sees no payload of a NaN, and no vector.
* Whether a segment was dropped, which is as if it were empty: an instruction that begins at its second item traps then,
  also if it is to copy nothing. It needs a memory or a table to copy to. Where there is none, a table is added, or an
  array is made of the data.
* All functions that references can be made of, in a table, so that hosts can compare references with them.

Those for references of types that hosts cannot be shown are `held_references`'.

Counters in the guest's code that note each `data.drop` and `elem.drop` were rejected: they would change its functions.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    STATE_DROP_DATA,
    STATE_DROP_ELEMENTS,
    STATE_GET,
    STATE_GET_HIGH,
    STATE_LIST_FUNCTIONS,
    STATE_PROBE_DATA,
    STATE_PROBE_ELEMENTS,
    STATE_SET,
)
from caesura.instrument.abi.index_spaces import AddedFunctions, AddedTypes
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.hierarchies import top_of
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from caesura.wasm.segments import ElementSegment
from caesura.wasm.types import F32, F64, FUNCREF, I32, I64, V128, encode_value_type, make_reference

_REINTERPRET: Final = {F32: (I32, b"\xbc", b"\xbe"), F64: (I64, b"\xbd", b"\xbf")}
_LOW_LANE: Final = b"\xfd\x1d\x00"
_HIGH_LANE: Final = b"\xfd\x1d\x01"
_SPLAT: Final = b"\xfd\x12"
_REPLACE_HIGH: Final = b"\xfd\x1e\x01"
_MEMORY_INIT: Final = b"\xfc\x08"
_DATA_DROP: Final = b"\xfc\x09"
_TABLE_INIT: Final = b"\xfc\x0c"
_ELEM_DROP: Final = b"\xfc\x0d"
_ARRAY_NEW_DATA: Final = b"\xfb\x09"
_ARRAY_OF_BYTES: Final = b"\x5e\x78\x00"
_EMPTY_TABLE: Final = b"\0\0"

# How many functions one added function puts into the table: engines compile long ones slowly, and one on one core.
_LISTED_AT_ONCE: Final = 1000

# Stands for an index of what was not added.
_NONE: Final = -1

# What an instruction with a source and a size takes: nothing, from the second item on.
_SECOND_AND_NONE: Final = c.CONST_I32 + b"\x01" + c.CONST_I32 + b"\x00"


class Helpers:
    """Adds these functions to a module, and the tables that they need; `exports` are the functions, by name.

    `tables` is how many tables were added, `functions_table` the index of the one for functions once it is there.
    """

    def __init__(self, module: Module, segments: list[ElementSegment], edits: SectionEdits) -> None:
        self._module: Final = module
        self._segments: Final = segments
        self._edits: Final = edits
        self._types: Final = AddedTypes(module)
        self._functions: Final = AddedFunctions(module, self._types)
        self._helper_tables: Final[dict[int, int]] = {}
        self._bytes_type = _NONE
        self.exports: Final[list[tuple[str, int]]] = []
        self.tables = 0
        self.functions_table = _NONE

    def access_bits(self, index: int) -> None:
        """Add the functions that read and set the bits of a global that is a float or a vector."""
        number = encode_unsigned(index)
        get, put = c.GLOBAL_GET + number, c.GLOBAL_SET + number
        value_type = self._module.globals[index].type
        if value_type == V128:
            self.add(f"{STATE_GET}{index}", (), (I64,), get + _LOW_LANE)
            self.add(f"{STATE_GET_HIGH}{index}", (), (I64,), get + _HIGH_LANE)
            low, high = c.LOCAL_GET + b"\0", c.LOCAL_GET + b"\1"
            self.add(f"{STATE_SET}{index}", (I64, I64), (), low + _SPLAT + high + _REPLACE_HIGH + put)
        elif value_type in _REINTERPRET:
            bits, read, write = _REINTERPRET[value_type]
            self.add(f"{STATE_GET}{index}", (), (bits,), get + read)
            self.add(f"{STATE_SET}{index}", (bits,), (), c.LOCAL_GET + b"\0" + write + put)

    def probe_data(self, segment: int) -> None:
        """Add the functions that trap if a data segment was dropped, and that drop it."""
        number = encode_unsigned(segment)
        if self._module.memories:
            address = I64 if self._module.memories[0].is64 else I32
            probe = c.constant(address, 0) + _SECOND_AND_NONE + _MEMORY_INIT + number + b"\0"
        else:
            probe = _SECOND_AND_NONE + _ARRAY_NEW_DATA + self._array_type() + number + c.DROP
        self.add(f"{STATE_PROBE_DATA}{segment}", (), (), probe)
        self.add(f"{STATE_DROP_DATA}{segment}", (), (), _DATA_DROP + number)

    def probe_elements(self, segment: int) -> None:
        """Add the functions that trap if an element segment was dropped, and that drop it."""
        number = encode_unsigned(segment)
        table = self.table_for(top_of(self._module, self._segments[segment].type))
        probe = c.CONST_I32 + b"\0" + _SECOND_AND_NONE + _TABLE_INIT + number + encode_unsigned(table)
        self.add(f"{STATE_PROBE_ELEMENTS}{segment}", (), (), probe)
        self.add(f"{STATE_DROP_ELEMENTS}{segment}", (), (), _ELEM_DROP + number)

    def list_functions(self, functions: list[int]) -> None:
        """Add the table for functions, and the function that fills it, if that has not been done, with these.

        It traps where the table cannot grow. An element segment would take fewer bytes, but Wasmtime makes references
        of all its functions with every instance: 20 us with SQLite's 1,500, where an instance takes 12.
        """
        self.functions_table = self.table_for(top_of(self._module, FUNCREF))
        table = encode_unsigned(self.functions_table)
        put = c.LOCAL_GET + b"\0" + c.LOCAL_GET + b"\1" + c.TABLE_SET + table
        one = c.CALL + encode_unsigned(self._functions.add("asyncify_list_function", (I32, FUNCREF), (), [], put))
        null = c.ref_null(top_of(self._module, FUNCREF))
        count = c.CONST_I32 + encode_signed(len(functions))
        fill = null + count + c.TABLE_GROW + table + c.IF_EMPTY + c.UNREACHABLE + c.END
        for start in range(0, len(functions), _LISTED_AT_ONCE):
            fill += self._list_some(start, functions[start : start + _LISTED_AT_ONCE], one)
        code = c.TABLE_SIZE + table + c.I32_EQZ + c.IF_EMPTY + fill + c.END
        self.add(STATE_LIST_FUNCTIONS, (), (), code)

    def _list_some(self, start: int, functions: list[int], one: bytes) -> bytes:
        """Return the call of a function that puts functions into the table from a place on, each by the call `one`."""
        calls: list[bytes] = []
        for place in range(len(functions)):
            calls += [c.CONST_I32, encode_signed(start + place), c.REF_FUNC, encode_unsigned(functions[place]), one]
        some = self._functions.add("asyncify_list_functions", (), (), [], b"".join(calls))
        return c.CALL + encode_unsigned(some)

    def finish(self) -> None:
        """Note the functions and types that were added."""
        for definition in self._types.added:
            self._edits.append(sec.TYPE, definition)
        for type_index in self._functions.type_indices:
            self._edits.append(sec.FUNCTION, encode_unsigned(type_index))
        for body in self._functions.bodies:
            self._edits.append(sec.CODE, body)

    def counts(self) -> tuple[int, int]:
        """Return how many functions and types were added."""
        return len(self._functions.bodies), len(self._types.added)

    def add(
        self,
        name: str,
        params: tuple[int, ...],
        results: tuple[int, ...],
        code: bytes,
        local_types: tuple[int, ...] = (),
    ) -> None:
        """Add a function that is exported."""
        self.exports.append((name, self._functions.add(name, params, results, [*local_types], code)))

    def block_type(self, results: tuple[int, ...]) -> bytes:
        """Return the type of a block that takes nothing."""
        if len(results) == 1:
            return encode_value_type(results[0])
        return encode_signed(self._types.index_of((), results)) if results else b"\x40"

    def table_for(self, top: int) -> int:
        """Return the table that was added for a hierarchy of types, adding it if there is none."""
        if top not in self._helper_tables:
            element = encode_value_type(make_reference(top, nullable=True))
            self._edits.append(sec.TABLE, element + _EMPTY_TABLE)
            self._helper_tables[top] = len(self._module.tables) + self.tables
            self.tables += 1
        return self._helper_tables[top]

    def _array_type(self) -> bytes:
        """Return the index of a type of arrays of bytes."""
        if self._bytes_type == _NONE:
            self._bytes_type = self._types.add(_ARRAY_OF_BYTES)
        return encode_unsigned(self._bytes_type)
