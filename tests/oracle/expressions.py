"""Expressions of a wanted type, recursively: calls, constructs, loads and side effects at any depth."""

from __future__ import annotations

from tests.oracle.encoder import signed
from tests.oracle.held_references import HeldReferences
from tests.oracle.instructions import BR_IF, END, GLOBAL_GET, GLOBAL_SET, LOCAL_GET, LOCAL_SET, LOCAL_TEE
from tests.oracle.operators import LOADS, STORES, Operator
from tests.oracle.pieces import Label
from tests.oracle.world import I32, I64, is_reference


class Expressions(HeldReferences):
    """Adds expressions."""

    def value(self, valtype: int, depth: int) -> None:
        """An expression that pushes one value."""
        self.budget -= 1
        if depth <= 0 or self.budget <= 0 or self.decisions.exhausted:
            self.leaf(valtype)
            return
        if is_reference(valtype):
            self.reference(valtype, depth)
            return
        kind = self.decisions.below(26)
        if kind < 3:
            self.leaf(valtype)
        elif kind < 8:
            self.operate(self.decisions.choose(self.plan.operators[valtype]), depth)
        elif kind < 10:
            self.address(depth - 1)
            self.code += self.decisions.choose(LOADS[valtype])
            self.code += self.memory_argument()
        elif kind < 15:
            self.call_for(valtype, depth)
        elif kind == 15:
            self.value(valtype, depth - 1)
            self.op(LOCAL_TEE, self.local_of(valtype))
        elif kind == 16:
            self.overwritten(valtype, depth)
        elif kind == 17:
            self.value(valtype, depth - 1)
            self.value(valtype, depth - 1)
            self.value(I32, depth - 1)
            self.select(valtype)
        elif kind == 18:
            # An effect above an operand: code with the operand's value in it must not run twice.
            self.value(valtype, depth - 1)
            self.effect(depth - 1)
        elif kind == 19:
            self.chase(valtype)
        elif kind == 20:
            self.construct((), (valtype,), depth - 1)
        elif kind == 21:
            self.branch_carrying(valtype, depth)
        elif kind > 23 and valtype == I32 and self.plan.held:
            held = self.decisions.choose(self.plan.held)
            self.value(held, depth - 1)
            self.number_of(held)
        elif kind == 22 and valtype == I32 and self.plan.references and self.decisions.below(2):
            self.cast(depth)
        elif kind == 23 and self.plan.references and self.decisions.below(2):
            self.through_reference(valtype, depth)
        elif kind == 22 and self.plan.trapping[valtype] and self.decisions.chance(60):
            self.operate(self.decisions.choose(self.plan.trapping[valtype]), depth)
        else:
            self.call_for(valtype, depth)

    def operate(self, operator: Operator, depth: int) -> None:
        """An operator with its operands."""
        for param in operator.params:
            self.value(param, depth - 1)
        self.code += operator.code

    def effect(self, depth: int) -> None:
        """Something that leaves the operand stack as it is."""
        kind = self.decisions.below(4)
        if kind == 0:
            self.construct((), (), depth)
        elif kind == 1:
            # Done twice, it shows.
            target = self.decisions.choose(self.plan.globals_by_type[I32])
            self.op(GLOBAL_GET, target)
            self.code += b"\x41\x01\x6a"  # i32.const 1; i32.add
            self.op(GLOBAL_SET, target)
        elif kind == 2:
            target = self.decisions.choose(self.plan.globals_by_type[I64])
            self.value(I64, depth - 1)
            self.op(GLOBAL_GET, target)
            self.code.append(0x7D)  # i64.sub
            self.op(GLOBAL_SET, target)
        else:
            address = self.decisions.choose((8, 16, 64))
            self.address_of(address)
            self.value(I64, depth - 1)
            self.code += STORES[I64][0] + b"\x00\x00"

    def overwritten(self, valtype: int, depth: int) -> None:
        """A local's value, and the local is written afterwards: only the operand stack still has it."""
        local = self.local_of(valtype)
        self.op(LOCAL_GET, local)
        kind = self.decisions.below(5)
        if kind < 2:
            self.value(valtype, depth - 1)
            self.op(LOCAL_SET, local)
            return
        if kind == 4 and self.plan.legacy_exceptions:
            self.overwritten_when_caught(valtype, local, depth)
            return
        if kind == 2:
            self.code += b"\x02\x40"  # block
        else:
            self.leaf(I32)
            self.code += b"\x04\x40"  # if
        self.labels.append(Label(()))
        self.value(valtype, 0)
        self.op(LOCAL_SET, local)
        self.labels.pop()
        self.code.append(END)

    def overwritten_when_caught(self, valtype: int, local: int, depth: int) -> None:
        """Write a local in an old-form catch body, after a call that may throw."""
        self.code += b"\x06\x40"  # try
        self.labels.append(Label(()))
        self.call_for(valtype, depth)
        self.code += b"\x1a\x19"  # drop; catch_all
        self.leaf(valtype)
        self.op(LOCAL_SET, local)
        self.labels.pop()
        self.code.append(END)

    def chase(self, valtype: int) -> None:
        """A load through a pointer that is valid now; imports replace it by anything."""
        target = self.decisions.byte() & 0xF8
        if self.decisions.below(2):
            cell = self.plan.globals_by_type[I32][0]
            self.code += b"\x41" + signed(target)
            self.op(GLOBAL_SET, cell)
            self.op(GLOBAL_GET, cell)
        else:
            self.address_of(8)
            self.code += b"\x41" + signed(target) + STORES[I32][0] + b"\x00\x00"
            self.address_of(8)
            self.code += LOADS[I32][0] + b"\x00\x00"
        if self.plan.memory64:
            self.code.append(0xAD)
        self.code += LOADS[valtype][0] + self.memory_argument()

    def branch_carrying(self, valtype: int, depth: int) -> None:
        """`br_if` to a label that takes one such value: it consumes and reproduces it."""
        candidates = [i for i, label in enumerate(self.labels) if label.types == (valtype,) and not label.private]
        self.value(valtype, depth - 1)
        if candidates:
            self.conditional_branch(self.decisions.choose(candidates), depth - 1)

    def call_for(self, valtype: int, depth: int) -> None:
        """A call whose first result has the type; further results go to locals or nowhere."""
        callees = self.plan.callees(valtype, self.quiet > 0, self.function)
        if not callees:
            self.leaf(valtype)
            return
        callee = self.decisions.choose(callees)
        for param in callee.params:
            self.value(param, depth - 1)
        self.call(callee)
        for result in reversed(callee.results[1:]):
            if self.decisions.below(2):
                self.op(LOCAL_SET, self.local_of(result))
            else:
                self.show(result)

    def conditional_branch(self, target: int, depth: int) -> None:
        """`br_if`; the label's operands are on the stack and stay there."""
        label = self.labels[target]
        if label.counter >= 0:
            self.guard(label.counter)
            if self.decisions.below(3) == 0:
                self.value(I32, depth)
                self.code.append(0x71)
        else:
            self.value(I32, depth)
        self.op(BR_IF, self.depth_of(target))
