"""Values that pass through references: structs, arrays and casts, with calls between.

A reference stands on the operand stack, or is kept in a local, while calls suspend; what is read from it afterwards
must be what was put in, and what is written to it through one reference must be seen through another.
"""

from __future__ import annotations

from typing import Final

from tests.oracle.encoder import signed, unsigned
from tests.oracle.instructions import BR_ON_NON_NULL, BR_ON_NULL, DROP, ELSE, END, IF, LOCAL_GET, LOCAL_SET, SELECT
from tests.oracle.pieces import Label, Pieces
from tests.oracle.world import ALL_TYPES, ANYREF, I31REF, I32, STRUCTREF

# Types that modules begin with: a struct with a field of each type, and for each type an array.
CELL: Final = 0
ARRAYS: Final = {valtype: 1 + place for place, valtype in enumerate(ALL_TYPES)}
STRUCTURE_TYPES: Final = (
    b"\x5f" + unsigned(len(ALL_TYPES)) + b"".join(bytes((valtype, 1)) for valtype in ALL_TYPES),
    *[b"\x5e" + bytes((valtype, 1)) for valtype in ALL_TYPES],
)

_FIELDS: Final = {valtype: place for place, valtype in enumerate(ALL_TYPES)}
_CELL: Final = b"\x64\x00"
_CELL_OR_NULL: Final = b"\x63\x00"
_NEW_CELL: Final = b"\xfb\x00\x00"
_DEFAULT_CELL: Final = b"\xfb\x01\x00"
_NULL_CELL: Final = b"\xd0\x00"
_BLOCK: Final = b"\x02"
_REF_I31: Final = b"\xfb\x1c"
_I31_GET_S: Final = b"\xfb\x1d"
# Casts to the struct, of what a local keeps: a test, the cast itself.
_IS_CELL: Final = b"\xfb\x14\x00"
_TO_CELL: Final = b"\xfb\x16\x00"

_LONGEST: Final = 4


class Structures(Pieces):
    """Adds values through references, where the plan has `references`."""

    def through_reference(self, valtype: int, depth: int) -> None:
        """A value that was a field or an element."""
        kind = self.decisions.below(7)
        if kind == 0:
            self._array(valtype, depth)
        elif kind == 1:
            self._on_null(valtype, depth)
        elif kind == 2:
            self._on_non_null(valtype, depth)
        elif kind < 5:
            self._kept_cell(valtype, depth)
        else:
            self._cell(valtype, depth)
            self._between(depth)
            self._field(valtype)

    def change_reference(self, depth: int) -> None:
        """Keep another struct in the local, or write a field of the one that is kept."""
        local = self._keeping()
        if self.decisions.below(2):
            self._cell(I32, depth)
            self.op(LOCAL_SET, local)
            return
        valtype = self.decisions.choose(ALL_TYPES)
        self.op(LOCAL_GET, local)
        self.code += _IS_CELL + bytes((IF,)) + b"\x40"
        self.labels.append(Label(()))
        self.op(LOCAL_GET, local)
        self.code += _TO_CELL
        self.value(valtype, depth - 1)
        self.code += b"\xfb\x05\x00" + unsigned(_FIELDS[valtype])  # struct.set
        self.labels.pop()
        self.code.append(END)

    def cast(self, depth: int) -> None:
        """An i32 through a reference to it, or to a struct: a cast branches out of a block, or fails to."""
        fails = self.decisions.below(2)
        self.code += _BLOCK + bytes((ANYREF if fails else I31REF,))
        self.labels.append(Label((ANYREF,), private=True))
        self._between(depth)
        self._either(bytes((ANYREF,)), _REF_I31, depth)
        if fails:
            self.code += b"\xfb\x19\x01\x00\x6e\x00"  # br_on_cast_fail 0 anyref (ref $cell)
            self._between(depth)
            self._field(I32)
        else:
            self.code += b"\xfb\x18\x03\x00\x6e\x6c"  # br_on_cast 0 anyref i31ref
            self._between(depth)
            self.code.append(DROP)
            self.value(I32, depth - 1)
        self.code += _REF_I31
        self.labels.pop()
        self.code.append(END)
        self._between(depth)
        if fails:
            self.code += b"\xfb\x17\x6c"  # ref.cast i31ref
        self.code += _I31_GET_S

    def _between(self, depth: int) -> None:
        """Perhaps something with calls, while a reference is on the stack."""
        if self.decisions.below(3):
            self.construct((), (), depth - 1)

    def _field(self, valtype: int) -> None:
        self.code += b"\xfb\x02\x00" + unsigned(_FIELDS[valtype])  # struct.get

    def _cell(self, valtype: int, depth: int) -> None:
        """A new struct; the field of this type may be anything, the others are simple in most cases."""
        for one in ALL_TYPES:
            if one == valtype or self.decisions.below(16) == 15:
                self.value(one, depth - 1)
            else:
                self.leaf(one)
        self.code += _NEW_CELL

    def _either(self, result: bytes, otherwise: bytes, depth: int) -> None:
        """A reference of a type: a new struct, or what this code makes of an i32."""
        self.value(I32, depth - 1)
        self.code += b"\x41\x01\x71" + bytes((IF,)) + result  # i32.const 1; i32.and; if
        self.labels.append(Label((ANYREF,), private=True))
        self._cell(I32, depth - 1)
        self.code.append(ELSE)
        self.value(I32, depth - 1)
        self.code += otherwise
        self.labels.pop()
        self.code.append(END)

    def _array(self, valtype: int, depth: int) -> None:
        """An element of a new array; its index is computed when the array is there."""
        count = 1 + self.decisions.below(_LONGEST)
        for _ in range(count):
            self.value(valtype, depth - 1)
        self.code += b"\xfb\x08" + unsigned(ARRAYS[valtype]) + unsigned(count)  # array.new_fixed
        self._between(depth)
        self.value(I32, depth - 1)
        self.code += b"\x41" + signed(count) + b"\x70"  # i32.const; i32.rem_u
        self.code += b"\xfb\x0b" + unsigned(ARRAYS[valtype])  # array.get

    def _on_null(self, valtype: int, depth: int) -> None:
        """A value that a branch carries if the reference above it is null; else one of it and a field."""
        self.code += _BLOCK + bytes((valtype,))
        self.labels.append(Label((valtype,)))
        self.value(valtype, depth - 1)
        self._either(_CELL_OR_NULL, bytes((DROP,)) + _NULL_CELL, depth - 1)
        self.op(BR_ON_NULL, 0)
        self._between(depth)
        self._field(valtype)
        self.value(I32, depth - 1)
        self.code.append(SELECT)
        self.labels.pop()
        self.code.append(END)

    def _on_non_null(self, valtype: int, depth: int) -> None:
        """A field of a struct that a branch carries, or of one that takes its place if it is null."""
        self.code += _BLOCK + _CELL
        self.labels.append(Label((ANYREF,), private=True))
        self._either(_CELL_OR_NULL, bytes((DROP,)) + _NULL_CELL, depth)
        self.op(BR_ON_NON_NULL, 0)
        self._between(depth)
        self.code += _DEFAULT_CELL
        self.labels.pop()
        self.code.append(END)
        self._between(depth)
        self._field(valtype)

    def _kept_cell(self, valtype: int, depth: int) -> None:
        """A field of the struct that a local keeps, or another value where it keeps none."""
        local = self._keeping()
        self.code += _BLOCK + bytes((valtype,))
        self.labels.append(Label((valtype,)))
        self.code += _BLOCK + bytes((STRUCTREF,))
        self.labels.append(Label((STRUCTREF,), private=True))
        self.op(LOCAL_GET, local)
        self._between(depth)
        self.code += b"\xfb\x19\x01\x00\x6b\x00"  # br_on_cast_fail 0 structref (ref $cell)
        self._between(depth)
        self._field(valtype)
        self.code += b"\x0c\x01"  # br 1
        self.labels.pop()
        self.code.append(END)
        self.code.append(DROP)
        self.value(valtype, depth - 1)
        self.labels.pop()
        self.code.append(END)

    def _keeping(self) -> int:
        """The local that keeps a struct, new if there is none."""
        if self.keeping < 0:
            self.keeping = self.add_local(STRUCTREF, assignable=False)
        return self.keeping
