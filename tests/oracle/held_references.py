"""References as values like any other: locals, parameters, operands and results, wherever numbers can be.

They are made of numbers, and looked at by functions that make a number of one again; so what a call holds while it is
suspended shows. (`structures` has what reads and writes through references.)
"""

from __future__ import annotations

from typing import Final

from tests.oracle.encoder import signed, unsigned, value_type
from tests.oracle.instructions import DROP, END, GLOBAL_SET, LOCAL_GET, LOCAL_TEE, REF_FUNC, SELECT, SELECT_TYPED, THROW
from tests.oracle.pieces import Label
from tests.oracle.plan import ModulePlan
from tests.oracle.structures import Structures
from tests.oracle.world import (
    ANYREF,
    CELL_OR_NULL,
    EXNREF,
    EXTERNREF,
    FUNCREF,
    HEAPS,
    I32,
    NON_NULL,
    REF_ANY,
    REF_CELL,
    REF_EXTERN,
    STRUCTREF,
    TABLE_SIZE,
    is_reference,
)

# What may stand for a value of a type besides.
_SUBTYPES: Final = {
    ANYREF: (REF_ANY, CELL_OR_NULL, REF_CELL, STRUCTREF),
    REF_ANY: (REF_CELL,),
    STRUCTREF: (CELL_OR_NULL, REF_CELL),
    CELL_OR_NULL: (REF_CELL,),
    EXTERNREF: (REF_EXTERN,),
}

_REF_I31: Final = b"\xfb\x1c"
_TO_EXTERN: Final = b"\xfb\x1b"
_RETURN_IF_NULL: Final = (
    b"\x20\x00\xd1\x04\x40\x41\x7f\x0f\x0b"  # local.get 0; ref.is_null; if; i32.const -1; return; end
)


class HeldReferences(Structures):
    """Adds values of reference types, where the plan has them."""

    def reference(self, valtype: int, depth: int) -> None:
        """An expression that pushes one reference."""
        kind = self.decisions.below(12)
        if kind < 2:
            self.leaf(valtype)
        elif kind < 5:
            self.call_for(valtype, depth)
        elif kind == 5:
            self.value(valtype, depth - 1)
            self.op(LOCAL_TEE, self.local_of(valtype))
        elif kind == 6:
            self.overwritten(valtype, depth)
        elif kind == 7:
            self.value(valtype, depth - 1)
            self.value(valtype, depth - 1)
            self.value(I32, depth - 1)
            self.select(valtype)
        elif kind == 8:
            self.value(valtype, depth - 1)
            self.effect(depth - 1)
        elif kind == 9:
            self.construct((), (valtype,), depth - 1)
        elif kind == 10 and valtype in _SUBTYPES and self.plan.references:
            self.value(self.decisions.choose(_SUBTYPES[valtype]), depth - 1)
        else:
            self.make_reference(valtype, depth)

    def make_reference(self, valtype: int, depth: int) -> None:
        """A new reference of a type, from numbers."""
        if valtype == FUNCREF:
            if self.decisions.below(2) and self.plan.referable:
                self.op(REF_FUNC, self.decisions.choose(self.plan.referable))
            else:
                self.code += b"\x41" + signed(self.decisions.below(TABLE_SIZE)) + b"\x25\x00"  # table.get
        elif valtype == EXNREF:
            self._exception(depth)
        elif valtype in (STRUCTREF, CELL_OR_NULL, REF_CELL):
            self._cell(I32, depth)
        elif valtype in (EXTERNREF, REF_EXTERN):
            self.make_reference(REF_ANY, depth)
            self.code += _TO_EXTERN
        elif self.decisions.below(2):
            self._cell(I32, depth)
        else:
            self.value(I32, depth - 1)
            self.code += _REF_I31

    def _exception(self, depth: int) -> None:
        """A reference to an exception: the one thrown here, or one that came on the way to it."""
        self.code += b"\x02\x69"  # block (result exnref)
        self.labels.append(Label((EXNREF,), private=True))
        self.code += b"\x1f\x40\x01\x03\x00"  # try_table (catch_all_ref 0)
        self.labels.append(Label((), private=True))
        self.value(I32, depth - 1)
        self.op(THROW, 0)
        self.labels.pop()
        self.code += bytes((END, 0))  # end; unreachable
        self.labels.pop()
        self.code.append(END)

    def reference_leaf(self, valtype: int) -> None:
        """A reference without operands that cannot trap: of a local, or a simple one."""
        if self.decisions.below(3) and self.by_type[valtype]:
            self.op(LOCAL_GET, self.decisions.choose(self.by_type[valtype]))
            return
        self.code += self.simple(valtype)

    def simple(self, valtype: int) -> bytes:
        """The code of a reference that is always there."""
        if valtype not in NON_NULL:
            return b"\xd0" + HEAPS[valtype]
        small = b"\x41" + signed(self.decisions.byte()) + _REF_I31
        return {REF_ANY: small, REF_EXTERN: small + _TO_EXTERN, REF_CELL: b"\xfb\x01\x00"}[valtype]

    def select(self, valtype: int) -> None:
        """The select instruction for values of a type."""
        if is_reference(valtype):
            self.code += bytes((SELECT_TYPED, 1)) + value_type(valtype)
        else:
            self.code.append(SELECT)

    def number_of(self, valtype: int) -> None:
        """Make a number of the reference on the stack."""
        self.op(0x10, self.plan.looking[HEAPS_ABOVE[valtype]])

    def show(self, valtype: int) -> None:
        """Take a value off the stack; what a reference was is mostly kept in a global."""
        if is_reference(valtype) and self.decisions.below(4):
            self.number_of(valtype)
            self.op(GLOBAL_SET, self.decisions.choose(self.plan.globals_by_type[I32]))
        else:
            self.code.append(DROP)


HEAPS_ABOVE: Final = {
    ANYREF: ANYREF,
    REF_ANY: ANYREF,
    STRUCTREF: ANYREF,
    CELL_OR_NULL: ANYREF,
    REF_CELL: ANYREF,
    EXTERNREF: EXTERNREF,
    REF_EXTERN: EXTERNREF,
    FUNCREF: FUNCREF,
    EXNREF: EXNREF,
}


def looking_functions(plan: ModulePlan) -> list[tuple[int, bytes]]:
    """The functions that make numbers of references: their types and bodies, in the order of `plan.looking`."""
    functions: list[tuple[int, bytes]] = []
    for valtype in plan.looking:
        code = b"\0" + _RETURN_IF_NULL
        if valtype == ANYREF:
            # i31.get_s of a small integer, the first field of a struct.
            code += b"\x20\x00\xfb\x14\x6c\x04\x40\x20\x00\xfb\x16\x6c\xfb\x1d\x0f\x0b"
            code += b"\x20\x00\xfb\x14\x00\x04\x40\x20\x00\xfb\x16\x00\xfb\x02\x00\x00\x0f\x0b\x41\x7e"
        elif valtype == EXTERNREF:
            code += b"\x20\x00\xfb\x1a\x10" + unsigned(plan.looking[ANYREF])
        elif valtype == EXNREF:
            # block; block (result i32); try_table (catch tag0 0) (catch_all 1); throw_ref; end; ...; end; return; end
            code += b"\x02\x40\x02\x7f\x1f\x40\x02\x00\x00\x00\x02\x01\x20\x00\x0a\x0b\x00\x0b\x0f\x0b\x41\x7d"
        elif plan.references:
            # Of which of some types it is.
            types = sorted({plan.type_index(f.params, f.results) for f in plan.functions[:4]})
            code += b"\x41\x00"
            for place, index in enumerate(types):
                code += b"\x20\x00\xfb\x14" + signed(index) + b"\x41" + signed(place) + b"\x74\x6a"
        else:
            code += b"\x41\x01"
        code += b"\x0b"
        functions.append((plan.type_index((valtype,), (I32,)), unsigned(len(code)) + code))
    return functions
