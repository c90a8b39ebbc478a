"""Values that nobody looks at: what a function returns while the guest unwinds, and what it is given in a rewind.

For numbers and vectors that is zero, and null for references that can be null. For others some value is made: the
caller drops it at once, but validation wants one. A small integer stands for what is above it, an array without
elements for arrays, a structure whose fields are such values for structures, a function that nobody calls for
functions, and an exception that was just thrown for exceptions. Results of types without any value are gone by now (see
`valueless`).

Rejected: functions that return null instead, called by such as have the original's type. These would need a value all
the same, where hosts call them, or tables hold them.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import InternalError
from caesura.instrument.abi.index_spaces import AddedFunctions
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.definitions import ARRAY_TYPE, FUNCTION_TYPE
from caesura.wasm.inhabited import Inhabited, held_structures
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from caesura.wasm.signatures import unpacked
from caesura.wasm.types import (
    ANY,
    ARRAY,
    EQ,
    EXN,
    EXTERN,
    FUNC,
    I31,
    STRUCT,
    encode_value_type,
    heap_name,
    heap_of,
    is_abstract,
    is_non_null,
    make_reference,
)

_SMALL_INTEGER: Final = b"\x41\x00\xfb\x1c"
_ABOVE_SMALL_INTEGERS: Final = (ANY, EQ, I31)
_TO_EXTERN: Final = b"\xfb\x1b"
_STRUCT_NEW: Final = b"\xfb\x00"
_STRUCT_NEW_DEFAULT: Final = b"\xfb\x01"
_ARRAY_NEW_FIXED: Final = b"\xfb\x08"
_EMPTY_STRUCT: Final = b"\x5f\x00"
_ARRAY_OF_BYTES: Final = b"\x5e\x78\x00"
_THROW: Final = b"\x08"
_TRY_CATCHING_ALL: Final = b"\x1f\x40\x01\x03\x00"
_TAG_ENTRY: Final = b"\x00"
_DECLARED_FUNCTION: Final = b"\x03\x00\x01"


class Dummies:
    """Returns this code, and adds the types, functions and tags that it uses to a module."""

    def __init__(self, module: Module, functions: AddedFunctions, edits: SectionEdits) -> None:
        self._module = module
        self._functions = functions
        self._edits = edits
        self._inhabited = Inhabited(module)
        # The code for each heap type that was asked for.
        self._known: dict[int, bytes] = {}

    def values(self, types: tuple[int, ...]) -> bytes:
        """Return the code that gives a value of each type; there must be values of all of them."""
        return b"".join([self._value(value_type) for value_type in types])

    def arguments(self, types: tuple[int, ...]) -> bytes:
        """Return the code that gives arguments of these types, for a function that ignores them.

        One that takes what has no value at all is never called.
        """
        return self.values(types) if self._inhabited.have_values(types) else c.UNREACHABLE

    def _value(self, value_type: int) -> bytes:
        if not is_non_null(value_type):
            return c.zero(value_type)
        assert self._inhabited.has_value(value_type), "results have values, and arguments were asked for theirs"
        self._make(heap_of(value_type))
        return self._known[heap_of(value_type)]

    def _make(self, heap: int) -> None:
        """Find the code for a heap type, that for the structures which one of it has to hold before."""
        pending = [heap]
        while pending:
            heap = pending[-1]
            held: list[int] = []
            if heap not in self._known and not is_abstract(heap):
                held = [one for one in held_structures(self._module, heap) if one not in self._known]
            if held:
                pending += reversed(held)
                continue
            pending.pop()
            if heap not in self._known:
                self._known[heap] = self._made(heap)

    def _made(self, heap: int) -> bytes:
        if not is_abstract(heap):
            definition = self._module.types[heap]
            if definition.kind == FUNCTION_TYPE:
                return self._function(heap)
            if definition.kind == ARRAY_TYPE:
                return _ARRAY_NEW_FIXED + encode_unsigned(heap) + b"\0"
            return self._structure(heap)
        if heap == FUNC:
            return self._function(self._functions.types.index_of((), ()))
        if heap == EXTERN:
            return _SMALL_INTEGER + _TO_EXTERN
        if heap == STRUCT:
            return _STRUCT_NEW_DEFAULT + encode_unsigned(self._functions.types.add(_EMPTY_STRUCT))
        if heap == ARRAY:
            return _ARRAY_NEW_FIXED + encode_unsigned(self._functions.types.add(_ARRAY_OF_BYTES)) + b"\0"
        if heap == EXN:
            return self._exception()
        if heap not in _ABOVE_SMALL_INTEGERS:
            raise InternalError(f"no value for the heap type {heap_name(heap)}")
        return _SMALL_INTEGER

    def _function(self, type_index: int) -> bytes:
        function = self._functions.add_of_type("asyncify_dummy", type_index, [], c.UNREACHABLE)
        self._edits.append(sec.ELEMENT, _DECLARED_FUNCTION + encode_unsigned(function))
        return c.REF_FUNC + encode_unsigned(function)

    def _structure(self, type_index: int) -> bytes:
        """Return the call of a function that makes a structure, so that what lies in it is written once."""
        fields = [unpacked(field) for field, _ in self._module.types[type_index].fields]
        if not any(is_non_null(field) for field in fields):
            return _STRUCT_NEW_DEFAULT + encode_unsigned(type_index)
        code = self.values(tuple(fields)) + _STRUCT_NEW + encode_unsigned(type_index)
        result = (make_reference(type_index, nullable=False),)
        function = self._functions.add(f"asyncify_dummy_{type_index}", (), result, [], code)
        return c.CALL + encode_unsigned(function)

    def _exception(self) -> bytes:
        tag = len(self._module.tags)
        self._edits.append(sec.TAG, _TAG_ENTRY + encode_unsigned(self._functions.types.index_of((), ())))
        caught = encode_value_type(make_reference(EXN, nullable=False))
        return c.BLOCK + caught + _TRY_CATCHING_ALL + _THROW + encode_unsigned(tag) + c.END + c.UNREACHABLE + c.END
