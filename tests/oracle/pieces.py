"""The small pieces of function bodies: single instructions, locals, addresses, calls, guards of back edges.

Everything here is stack-neutral or pushes one value; what chooses and nests pieces is built on top of this class in
`expressions`, `sequences` and `bodies`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tests.oracle.decisions import Decisions
from tests.oracle.encoder import signed, unsigned, value_type
from tests.oracle.instructions import (
    CALL,
    CALL_INDIRECT,
    CALL_REF,
    GLOBAL_GET,
    LOCAL_GET,
    LOCAL_SET,
    LOCAL_TEE,
    REF_FUNC,
    RETURN_CALL,
    RETURN_CALL_INDIRECT,
    RETURN_CALL_REF,
)
from tests.oracle.operators import INTERESTING, LOADS
from tests.oracle.plan import Callee, FunctionPlan, ModulePlan, Types
from tests.oracle.world import ALL_TYPES, F32, F64, I32, I64, NON_NULL, TABLE_SIZE, is_reference


class Label:
    """A branch target: the types it takes, and how it may be branched to."""

    __slots__ = ("catching", "counter", "private", "types")

    def __init__(self, types: Types, counter: int = -1, *, catching: bool = False, private: bool = False) -> None:
        self.types = types
        self.counter = counter
        """The local that a back edge has to count down, or -1 where a branch needs no guard."""
        self.catching = catching
        """Whether this is an old-form catch, which can be rethrown from."""
        self.private = private
        """Whether only who opened it branches to it."""


class Pieces(ABC):
    """The state of a body being generated, and its small pieces."""

    def __init__(self, plan: ModulePlan, function: FunctionPlan, decisions: Decisions) -> None:
        self.plan = plan
        self.function = function
        self.decisions = decisions
        self.code = bytearray()
        self.labels: list[Label] = [Label(function.results)]
        self.local_types: list[int] = list(function.params)
        self.by_type: dict[int, list[int]] = {t: [] for t in (*ALL_TYPES, *plan.held)}
        self.prologue = bytearray()
        """What gives locals a value that must have one."""
        for index, valtype in enumerate(function.params):
            self.by_type[valtype].append(index)
        self.budget = function.budget
        self.loop_depth = 0
        self.quiet = 0 if function.may_suspend else 1
        self.keeping = -1
        """The local that keeps a struct, or -1."""
        self.called: set[int] = set()
        self.calls_indirectly = False

    def burn_fuel(self) -> None:
        """Return at once when the fuel is used up."""
        code = self.code
        code += b"\x23\x00\x45\x04\x40"  # global.get fuel; i32.eqz; if
        for valtype in self.function.results:
            self.leaf(valtype)
        code += b"\x0f\x0b\x23\x00\x41\x01\x6b\x24\x00"  # return; end; fuel = fuel - 1

    def add_local(self, valtype: int, assignable: bool) -> int:
        """A new local. One that is not assignable is known only to who asked for it (loop counters)."""
        index = len(self.local_types)
        self.local_types.append(valtype)
        if assignable:
            self.by_type[valtype].append(index)
        if valtype in NON_NULL:
            self.prologue += self.simple(valtype)
            self.prologue.append(LOCAL_SET)
            self.prologue += unsigned(index)
        return index

    def op(self, opcode: int, index: int) -> None:
        """An instruction with one index."""
        self.code.append(opcode)
        self.code += unsigned(index)

    def constant(self, valtype: int) -> None:
        """A constant instruction."""
        decisions = self.decisions
        if valtype == I32:
            self.code.append(0x41)
            self.code += signed(decisions.byte() - 8 if decisions.byte() < 200 else (decisions.byte() - 128 << 24) + 77)
        elif valtype == I64:
            self.code.append(0x42)
            self.code += signed(decisions.byte() - 8 if decisions.byte() < 200 else (decisions.byte() - 128 << 56) + 77)
        else:
            self.code += b"\x43" if valtype == F32 else b"\x44" if valtype == F64 else b"\xfd\x0c"
            self.code += decisions.choose(INTERESTING[valtype])

    def leaf(self, valtype: int) -> None:
        """A value without operands."""
        if is_reference(valtype):
            self.reference_leaf(valtype)
            return
        kind = self.decisions.below(8)
        if kind >= 4 and self.by_type[valtype]:
            self.op(LOCAL_GET, self.decisions.choose(self.by_type[valtype]))
        elif kind == 1 and valtype == I32 and self.decisions.below(4) == 3:
            self.state_read()
        elif kind in (2, 3):
            self.op(GLOBAL_GET, self.decisions.choose(self.plan.globals_by_type[valtype]))
        else:
            self.constant(valtype)

    def state_read(self) -> None:
        """An i32 from the size of the memory or the table, or from a reference."""
        kind = self.decisions.below(3)
        if kind == 0:
            self.code += b"\x3f\x00\xa7" if self.plan.memory64 else b"\x3f\x00"
        elif kind == 1:
            self.code += b"\xfc\x10\x00"  # table.size
        else:
            self.code += b"\x41" + signed(self.decisions.below(TABLE_SIZE)) + b"\x25\x00\xd1"  # ref.is_null

    def block_type(self, params: Types, results: Types) -> bytes:
        """A block type, in its short form where there is one."""
        if not params and not results:
            return b"\x40"
        if not params and len(results) == 1:
            return value_type(results[0])
        return signed(self.plan.type_index(params, results))

    def address(self, depth: int) -> None:
        """An address in the small part of memory that imports write to as well."""
        if self.decisions.below(3) or depth <= 0:
            self.code.append(0x41)
            self.code += signed(self.decisions.byte() & 0xF8)
        else:
            self.value(I32, depth - 1)
            self.code += b"\x41\xf8\x01\x71"  # i32.const 0xF8; i32.and
        if self.plan.memory64:
            self.code.append(0xAD)

    def address_of(self, place: int) -> None:
        """A constant address."""
        self.code += b"\x42" if self.plan.memory64 else b"\x41"
        self.code += signed(place)

    def memory_argument(self) -> bytes:
        """Alignment 1 and an offset."""
        return b"\x00" + unsigned(self.decisions.choose((0, 0, 8, 3)))

    def local_of(self, valtype: int) -> int:
        """An assignable local, new if there is none."""
        candidates = self.by_type[valtype]
        return self.decisions.choose(candidates) if candidates else self.add_local(valtype, assignable=True)

    def call(self, callee: Callee, *, tail: bool = False) -> None:
        """The call instruction, or that of a tail call; the arguments are on the stack."""
        if callee.slots == 0:
            self.called.add(callee.target)
            if callee.by_reference and self.plan.references and self.decisions.below(6) == 5:
                self.op(REF_FUNC, callee.target)
                self.op(RETURN_CALL_REF if tail else CALL_REF, self.plan.type_index(callee.params, callee.results))
            else:
                self.op(RETURN_CALL if tail else CALL, callee.target)
        else:
            self.calls_indirectly = True
            self.table_index(callee)
            self.code.append(RETURN_CALL_INDIRECT if tail else CALL_INDIRECT)
            self.code += unsigned(self.plan.type_index(callee.params, callee.results)) + b"\x00"

    def tail_callees(self) -> list[Callee]:
        """What the function may leave by a tail call of: what it may call, and also in an old-form catch.

        It is left by then, so that nothing suspends there.
        """
        if not self.plan.tail_calls:
            return []
        callees = self.plan.any_callees(not self.function.may_suspend, self.function)
        return [callee for callee in callees if callee.results == self.function.results]

    def table_index(self, callee: Callee) -> None:
        """An index among the table's slots that hold functions of the callee's type."""
        if callee.slots == 1 or self.decisions.below(4) == 0:
            self.code.append(0x41)
            self.code += signed(callee.target + self.decisions.below(callee.slots))
            return
        if self.decisions.below(2):
            # From memory that imports write to.
            self.address_of(8)
            self.code += LOADS[I32][0] + b"\x00\x00"
        else:
            self.value(I32, 2)
        self.code.append(0x41)
        self.code += signed(callee.slots)
        self.code.append(0x70)  # i32.rem_u
        self.code.append(0x41)
        self.code += signed(callee.target)
        self.code.append(0x6A)

    def depth_of(self, target: int) -> int:
        """The relative depth of a label given by its position."""
        return len(self.labels) - 1 - target

    def guard(self, counter: int) -> None:
        """Count down, and push whether the count has not run out."""
        self.op(LOCAL_GET, counter)
        self.code += b"\x41\x01\x6b"
        self.op(LOCAL_TEE, counter)
        self.code += b"\x41\x00\x4a"

    def branch_target(self) -> int:
        """A label that can be branched to without a guard."""
        free = [i for i, label in enumerate(self.labels) if label.counter < 0 and not label.private]
        return self.decisions.choose(free)

    @abstractmethod
    def simple(self, valtype: int) -> bytes:
        """The code of a reference that is always there."""

    @abstractmethod
    def reference_leaf(self, valtype: int) -> None:
        """A reference without operands."""

    @abstractmethod
    def call_for(self, valtype: int, depth: int) -> None:
        """A call whose first result has the type."""

    @abstractmethod
    def effect(self, depth: int) -> None:
        """Something that leaves the operand stack as it is."""

    @abstractmethod
    def overwritten(self, valtype: int, depth: int) -> None:
        """A local's value, and the local is written afterwards."""

    @abstractmethod
    def value(self, valtype: int, depth: int) -> None:
        """An expression that pushes one value."""

    @abstractmethod
    def construct(self, params: Types, results: Types, depth: int) -> None:
        """A structured instruction with these parameters (on the stack) and results."""
