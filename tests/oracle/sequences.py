"""Code in the manner of a stack machine: operands stay on the stack below whatever comes next, and code may be dead."""

from __future__ import annotations

from tests.oracle.encoder import signed, unsigned
from tests.oracle.expressions import Expressions
from tests.oracle.instructions import (
    BR,
    BR_ON_NULL,
    BR_TABLE,
    CALL,
    DROP,
    END,
    GLOBAL_SET,
    LEGACY_RETHROW,
    LOCAL_SET,
    LOCAL_TEE,
    NOP,
    RETURN,
    SELECT,
    THROW,
    UNREACHABLE,
)
from tests.oracle.operators import STORES
from tests.oracle.pieces import Label
from tests.oracle.plan import Types
from tests.oracle.world import ALL_TYPES, I32, I64, TABLE_SIZE


class Sequences(Expressions):
    """Adds sequences."""

    def sequence(self, given: Types, results: Types, steps: int, depth: int) -> None:
        """Code from the given operands to the results, inside the innermost label."""
        decisions = self.decisions
        stack = list(given)
        dead = False
        for _ in range(steps):
            if self.budget <= 0 or decisions.exhausted:
                break
            self.budget -= 1
            kind = decisions.below(42)
            if kind == 0:
                break
            if kind < 5:
                valtype = decisions.choose(self.plan.value_types)
                self.value(valtype, depth)
                stack.append(valtype)
            elif kind < 9:
                operator = decisions.choose(self.plan.operators[decisions.choose(ALL_TYPES)])
                self.want(stack, operator.params, depth, dead)
                self.code += operator.code
                stack.append(operator.result)
            elif kind < 13:
                self.assign(stack, depth, dead)
            elif kind == 13:
                if stack:
                    self.show(stack.pop())
                elif dead:
                    self.code.append(DROP)
            elif kind < 20:
                callees = self.plan.any_callees(self.quiet > 0, self.function)
                if callees:
                    callee = decisions.choose(callees)
                    self.want(stack, callee.params, depth, dead)
                    self.call(callee)
                    stack.extend(callee.results)
            elif kind < 22:
                self.store(depth)
            elif kind == 22:
                self.global_set(stack, depth, dead)
            elif kind < 32:
                params, block_results = self.signature(stack)
                self.construct(params, block_results, depth - 1)
                del stack[len(stack) - len(params) :]
                stack.extend(block_results)
            elif kind < 35:
                target = decisions.choose([i for i, label in enumerate(self.labels) if not label.private])
                types = self.labels[target].types
                self.want(stack, types, depth, dead)
                self.conditional_branch(target, depth - 1)
                stack.extend(types)
            elif kind == 35:
                valtype = stack[-1] if stack else decisions.choose(self.plan.value_types)
                self.want(stack, (valtype, valtype, I32), depth, dead)
                self.select(valtype)
                stack.append(valtype)
            elif kind == 36:
                self.conditional_throw(depth)
            elif kind == 37 and not dead and decisions.chance(90):
                self.leave(stack, depth)
                dead = True
                stack.clear()
            elif kind == 38:
                self.rarity(stack, depth, dead)
            elif kind > 39:
                self.conditional_tail_call(depth)
            else:
                self.value(I32, depth)
                stack.append(I32)
        if not dead and decisions.chance(24):
            self.leave(stack, depth)
            dead = True
            stack.clear()
        self.settle(stack, results, dead)

    def want(self, stack: list[int], types: Types, depth: int, dead: bool) -> None:
        """Make the top of the stack have these types, and take them off the list."""
        size = len(types)
        if stack[len(stack) - size :] == list(types) and len(stack) >= size:
            del stack[len(stack) - size :]
            return
        if dead:
            known = len(stack)
            if known < size and tuple(stack) == types[size - known :] and self.decisions.below(2):
                stack.clear()
                return
        for have in range(min(len(stack), size - 1), -1, -1):
            if tuple(stack[len(stack) - have :]) == types[:have]:
                break
        for valtype in types[have:]:
            self.value(valtype, depth - 1)
        del stack[len(stack) - have :]

    def settle(self, stack: list[int], results: Types, dead: bool) -> None:
        """Turn what is on the stack into the results."""
        keep = 0
        while keep < len(results) and keep < len(stack) and stack[keep] == results[keep]:
            keep += 1
        for valtype in reversed(stack[keep:]):
            self.show(valtype)
        if dead and keep == 0 and self.decisions.below(2):
            return
        for valtype in results[keep:]:
            self.value(valtype, 2)

    def signature(self, stack: list[int]) -> tuple[Types, Types]:
        """Parameters, taken from the top of the stack, and results of a construct."""
        decisions = self.decisions
        count = min(len(stack), decisions.choose((0, 0, 0, 1, 1, 2, 3)))
        params = tuple(stack[len(stack) - count :])
        results = tuple(decisions.choose(self.plan.value_types) for _ in range(decisions.choose((0, 0, 0, 1, 1, 2, 3))))
        return params, params if decisions.below(4) == 3 else results

    def assign(self, stack: list[int], depth: int, dead: bool) -> None:
        """`local.set` or `local.tee` of the top of the stack, or of a new value."""
        valtype = stack[-1] if stack and self.decisions.below(3) else self.decisions.choose(self.plan.value_types)
        self.want(stack, (valtype,), depth, dead)
        local = self.local_of(valtype)
        if self.decisions.below(4) == 3:
            self.op(LOCAL_TEE, local)
            stack.append(valtype)
        else:
            self.op(LOCAL_SET, local)

    def store(self, depth: int) -> None:
        """A store."""
        valtype = self.decisions.choose(ALL_TYPES)
        self.address(depth - 1)
        self.value(valtype, depth - 1)
        self.code += self.decisions.choose(STORES[valtype])
        self.code += self.memory_argument()

    def global_set(self, stack: list[int], depth: int, dead: bool) -> None:
        """An assignment to a global."""
        valtype = self.decisions.choose(ALL_TYPES)
        self.want(stack, (valtype,), depth, dead)
        self.op(GLOBAL_SET, self.decisions.choose(self.plan.globals_by_type[valtype]))

    def rarity(self, stack: list[int], depth: int, dead: bool) -> None:
        """`nop`, an operator with two results, `br_on_null`, a struct, bulk memory."""
        kind = self.decisions.below(8)
        if kind == 1:
            self.code.append(NOP)
        elif kind == 2 and self.plan.wide_arithmetic:
            self.want(stack, (I64, I64, I64, I64), depth, dead)
            self.code += b"\xfc\x13"  # i64.add128
            stack.extend((I64, I64))
        elif kind == 3 and self.plan.references:
            target = self.branch_target()
            types = self.labels[target].types
            self.want(stack, types, depth, dead)
            self.code += b"\x41" + signed(self.decisions.below(TABLE_SIZE)) + b"\x25\x00"  # table.get
            self.op(BR_ON_NULL, self.depth_of(target))
            self.code.append(DROP)
            stack.extend(types)
        elif kind > 5 and self.plan.references:
            self.change_reference(depth)
        else:
            self.bulk(depth)

    def bulk(self, depth: int) -> None:
        """`memory.fill` of a few bytes, or a use of `memory.grow`."""
        if self.decisions.below(4):
            self.address(depth - 1)
            self.value(I32, depth - 1)
            self.code += b"\x42\x05\xfc\x0b\x00" if self.plan.memory64 else b"\x41\x05\xfc\x0b\x00"
        else:
            self.code += b"\x42\x01\x40\x00\xa7" if self.plan.memory64 else b"\x41\x01\x40\x00"
            self.op(LOCAL_SET, self.local_of(I32))

    def conditional_throw(self, depth: int) -> None:
        """`if` a condition holds, `throw`, or, in an old-form clause, perhaps `rethrow`."""
        if not self.plan.throwing:
            return
        tag = self.decisions.below(len(self.plan.tags))
        caught = [i for i, label in enumerate(self.labels) if label.catching]
        self.value(I32, depth - 1)
        self.code += b"\x41\x07\x71\x45\x04\x40"  # i32.const 7; i32.and; i32.eqz; if
        self.labels.append(Label(()))
        if caught and self.decisions.below(2):
            self.op(LEGACY_RETHROW, self.depth_of(self.decisions.choose(caught)))
        else:
            for valtype in self.plan.tags[tag]:
                self.value(valtype, 1)
            self.throw(tag)
        self.labels.pop()
        self.code.append(END)

    def throw(self, tag: int) -> None:
        """`throw`, or a call of a function that does, and perhaps is suspended before, but never returns."""
        if self.plan.never and not self.quiet and self.function.may_suspend and self.decisions.below(2):
            self.called.add(self.plan.never[tag].index)
            self.op(CALL, self.plan.never[tag].index)
            self.code.append(UNREACHABLE)
        else:
            self.op(THROW, tag)

    def conditional_tail_call(self, depth: int) -> None:
        """`if` a condition holds, leave by a tail call."""
        callees = self.tail_callees()
        if not callees:
            return
        self.value(I32, depth - 1)
        self.code += b"\x41\x01\x71\x45\x04\x40"  # i32.const 1; i32.and; i32.eqz; if
        self.labels.append(Label(()))
        callee = self.decisions.choose(callees)
        for valtype in callee.params:
            self.value(valtype, depth - 1)
        self.call(callee, tail=True)
        self.labels.pop()
        self.code.append(END)

    def leave(self, stack: list[int], depth: int) -> None:
        """An unconditional exit from the sequence."""
        kind = self.decisions.below(11)
        callees = self.tail_callees() if kind > 7 else []
        if callees:
            callee = self.decisions.choose(callees)
            self.want(stack, callee.params, depth, dead=False)
            self.call(callee, tail=True)
        elif kind < 3:
            target = self.branch_target()
            self.want(stack, self.labels[target].types, depth, dead=False)
            self.op(BR, self.depth_of(target))
        elif kind == 3:
            self.want(stack, self.function.results, depth, dead=False)
            self.code.append(RETURN)
        elif kind < 6:
            self.multiway(stack, depth)
        elif kind == 6 and self.plan.throwing:
            tag = self.decisions.below(len(self.plan.tags))
            self.want(stack, self.plan.tags[tag], depth, dead=False)
            self.throw(tag)
        elif kind == 7 and self.decisions.chance(16):
            self.code.append(UNREACHABLE)
        else:
            rethrowable = [i for i, label in enumerate(self.labels) if label.catching]
            if rethrowable:
                self.op(LEGACY_RETHROW, self.depth_of(self.decisions.choose(rethrowable)))
            else:
                self.want(stack, self.function.results, depth, dead=False)
                self.code.append(RETURN)

    def multiway(self, stack: list[int], depth: int) -> None:
        """A `br_table` over labels that take the same types; back edges are guarded through the index."""
        default = self.branch_target()
        types = self.labels[default].types
        fitting = [i for i, label in enumerate(self.labels) if label.types == types and not label.private]
        targets = [self.decisions.choose(fitting) for _ in range(self.decisions.below(5))]
        self.want(stack, types, depth, dead=False)
        self.value(I32, depth - 1)
        if targets:
            self.code.append(0x41)
            self.code += signed(len(targets) + 1)
            self.code.append(0x70)
        for counter in sorted({self.labels[t].counter for t in targets} - {-1}):
            self.code.append(0x41)
            self.code += signed(len(targets))
            self.guard(counter)
            self.code.append(SELECT)
        self.code.append(BR_TABLE)
        self.code += unsigned(len(targets))
        for target in targets:
            self.code += unsigned(self.depth_of(target))
        self.code += unsigned(self.depth_of(default))
