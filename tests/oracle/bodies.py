"""Function bodies, generated instruction by instruction on a typed operand stack.

Two manners are mixed. `sequence` works like a stack machine: it keeps the types on the operand stack of the current
block and takes steps (push, operate, call, branch, open a construct with parameters from the stack), so that operands
lie below whatever comes. `value` builds an expression of a wanted type recursively, with calls, blocks and side
effects at any depth. Everything is valid by construction, and terminates: loops count down a local of their own,
functions burn fuel from a global.

Grammar-driven trees alone were rejected: they never leave several values on the stack between statements, never use
block parameters, and never have dead code with operands out of nowhere, which is where a transformation breaks.
"""

from __future__ import annotations

from typing import Final

from tests.oracle.counted_loops import counted_loop
from tests.oracle.encoder import signed, unsigned, value_type
from tests.oracle.instructions import (
    BLOCK,
    BR,
    BR_TABLE,
    DROP,
    ELSE,
    END,
    GLOBAL_SET,
    IF,
    LEGACY_CATCH,
    LEGACY_CATCH_ALL,
    LEGACY_DELEGATE,
    LEGACY_RETHROW,
    LEGACY_TRY,
    LOCAL_GET,
    LOCAL_SET,
    LOOP,
    TRY_TABLE,
    UNREACHABLE,
)
from tests.oracle.pieces import Label
from tests.oracle.plan import Types
from tests.oracle.world import I32, is_reference
from tests.oracle.wrappers import Wrappers

MAXIMUM_LOOP_DEPTH: Final = 3


class BodyGenerator(Wrappers):
    """Generates the body of one function."""

    def generate(self) -> bytes:
        """The encoded body: locals and code."""
        decisions = self.decisions
        for _ in range(decisions.below(7)):
            self.add_local(decisions.choose(self.plan.value_types), assignable=True)
        if self.function.burns_fuel:
            self.burn_fuel()
        if self.function.interpreter:
            self.interpreter()
        if self.function.wrapper:
            self.wrapper()
        elif self.plan.throwing and decisions.below(4) == 3:
            self.guarded((), self.function.results, 4)
        else:
            self.sequence((), self.function.results, 1 + decisions.below(24), 4)
        self.tail_call_at_end()
        self.code.append(END)
        params = len(self.function.params)
        groups = b"".join(b"\x01" + value_type(t) for t in self.local_types[params:])
        body = unsigned(len(self.local_types) - params) + groups + bytes(self.prologue + self.code)
        return unsigned(len(body)) + body

    def tail_call_at_end(self) -> None:
        """Perhaps give other results: those of a tail call."""
        callees = self.tail_callees()
        if self.function.wrapper or not callees or self.decisions.below(3) < 2:
            return
        self.code += bytes((DROP,)) * len(self.function.results)
        callee = self.decisions.choose(callees)
        for valtype in callee.params:
            self.value(valtype, 2)
        self.call(callee, tail=True)

    def construct(self, params: Types, results: Types, depth: int) -> None:
        """A structured instruction with these parameters (on the stack) and results."""
        kind = self.decisions.below(16)
        if depth <= 0 or self.budget <= 0 or kind < 3:
            self.block(params, results, depth)
        elif kind < 6:
            self.if_else(params, results, depth)
        elif kind < 9 and self.loop_depth < MAXIMUM_LOOP_DEPTH:
            self.loop(params, results, depth)
        elif kind < 11:
            self.switch(params, results, depth)
        elif kind < 14 and self.plan.throwing:
            self.guarded(params, results, depth)
        else:
            self.block(params, results, depth)

    def inner_steps(self) -> int:
        """How many steps a sequence inside a construct takes."""
        return self.decisions.choose((1, 2, 3, 4, 6, 9, 14))

    def block(self, params: Types, results: Types, depth: int) -> None:
        """A block."""
        self.code.append(BLOCK)
        self.code += self.block_type(params, results)
        self.labels.append(Label(results))
        self.sequence(params, results, self.inner_steps(), depth)
        self.labels.pop()
        self.code.append(END)

    def if_else(self, params: Types, results: Types, depth: int) -> None:
        """An if, without an else where the types allow it."""
        self.value(I32, depth)
        if self.decisions.below(2):
            self.code += b"\x41\x01\x71"  # i32.const 1; i32.and: both arms are common
        self.code.append(IF)
        self.code += self.block_type(params, results)
        self.labels.append(Label(results))
        self.sequence(params, results, self.inner_steps(), depth)
        if params != results or self.decisions.below(2):
            self.code.append(ELSE)
            self.sequence(params, results, self.inner_steps(), depth)
        self.labels.pop()
        self.code.append(END)

    def loop(self, params: Types, results: Types, depth: int) -> None:
        """A loop that counts down at its back edges, or at its head."""
        decisions = self.decisions
        if self.plan.counting and not params and not results and decisions.below(3) == 2:
            counted_loop(self)
            return
        counter = self.add_local(I32, assignable=False)
        self.code.append(0x41)
        self.code += signed(1 + decisions.below(4))
        self.op(LOCAL_SET, counter)
        self.loop_depth += 1
        at_head = decisions.below(2)
        exit_target = self.branch_target()
        self.code.append(LOOP)
        self.code += self.block_type(params, results)
        if at_head:
            self.labels.append(Label(params))
            self.op(LOCAL_GET, counter)
            self.code += b"\x45\x04\x40"  # i32.eqz; if
            self.labels.append(Label(()))
            for valtype in self.labels[exit_target].types:
                self.leaf(valtype)
            self.op(BR, self.depth_of(exit_target))
            self.labels.pop()
            self.code.append(END)
            self.op(LOCAL_GET, counter)
            self.code += b"\x41\x01\x6b"
            self.op(LOCAL_SET, counter)
        else:
            self.labels.append(Label(params, counter))
        own = len(self.labels) - 1
        if decisions.below(2):
            self.sequence(params, results, self.inner_steps(), depth)
        else:
            # The usual shape: the body, then the back edge at its end.
            self.sequence(params, params, self.inner_steps(), depth)
            self.conditional_branch(own, depth - 1)
            self.sequence(params, results, decisions.below(3), depth)
        self.labels.pop()
        self.loop_depth -= 1
        self.code.append(END)

    def switch(self, params: Types, results: Types, depth: int, cases: int = 0) -> None:
        """Nested blocks, a `br_table` in the innermost, and a case behind each but the outermost."""
        decisions = self.decisions
        count = cases or 2 + decisions.below(3)
        carried = tuple(params)
        self.code.append(BLOCK)
        self.code += self.block_type(params, results)
        self.labels.append(Label(results))
        outermost = len(self.labels) - 1
        for _ in range(count):
            self.code.append(BLOCK)
            self.code += self.block_type(carried, carried)
            self.labels.append(Label(carried))
        self.value(I32, depth)
        self.code.append(0x41)
        self.code += signed(count)
        self.code.append(0x70)
        self.code.append(BR_TABLE)
        self.code += unsigned(count - 1)
        for index in range(count):
            self.code += unsigned(index)
        for index in range(count):
            self.labels.pop()
            self.code.append(END)
            if index == count - 1:
                break
            if decisions.below(3):
                self.sequence(carried, results, self.inner_steps() if not cases else 2, depth)
                self.op(BR, self.depth_of(outermost))
            else:
                self.sequence(carried, carried, self.inner_steps() if not cases else 2, depth)
        self.sequence(carried, results, self.inner_steps(), depth)
        self.labels.pop()
        self.code.append(END)

    def interpreter(self) -> None:
        """A loop around a large switch whose every case calls: the shape of interpreters."""
        decisions = self.decisions
        counter = self.add_local(I32, assignable=False)
        self.code += b"\x41\x0c"  # i32.const 12
        self.op(LOCAL_SET, counter)
        self.loop_depth += 1
        self.code += b"\x03\x40"
        self.labels.append(Label((), counter))
        cases = 17 + decisions.below(6)
        self.budget += 6 * cases
        self.switch((), (), 2, cases)
        self.conditional_branch(len(self.labels) - 1, 1)
        self.labels.pop()
        self.loop_depth -= 1
        self.code.append(END)

    def guarded(self, params: Types, results: Types, depth: int) -> None:
        """A construct that catches exceptions."""
        if self.plan.legacy_exceptions:
            self.legacy_try(params, results, depth)
        else:
            self.try_table(params, results, depth)

    def try_table(self, params: Types, results: Types, depth: int) -> None:
        """A `try_table`; each clause goes to a handler of its own or to a label that fits."""
        decisions = self.decisions
        clauses: list[tuple[int, Types, int]] = []  # tag or -1, payload, position of an outer label or -1
        for _ in range(1 + decisions.below(3)):
            tag = decisions.below(len(self.plan.tags) + 1) - 1
            payload = self.plan.tags[tag] if tag >= 0 else ()
            fitting = [
                i
                for i, label in enumerate(self.labels)
                if label.types == payload and label.counter < 0 and not label.private
            ]
            if fitting and decisions.below(3) == 0:
                clauses.append((tag, payload, decisions.choose(fitting)))
            else:
                clauses.append((tag, payload, -1))
        handlers = [payload for _, payload, target in clauses if target < 0]
        watched = self.watched()
        self.code.append(BLOCK)
        self.code += self.block_type(params, results)
        self.labels.append(Label(results))
        done = len(self.labels) - 1
        handler_positions = []
        for payload in reversed(handlers):
            self.code.append(BLOCK)
            self.code += self.block_type(params, payload)
            self.labels.append(Label(payload))
            handler_positions.append(len(self.labels) - 1)
        self.code.append(TRY_TABLE)
        self.code += self.block_type(params, results)
        self.code += unsigned(len(clauses))
        for tag, _, target in clauses:
            position = target if target >= 0 else handler_positions.pop()
            self.code += b"\x02" if tag < 0 else b"\x00" + unsigned(tag)
            self.code += unsigned(self.depth_of(position))
        self.labels.append(Label(results))
        self.watched_body(watched, depth)
        self.sequence(params, results, self.inner_steps(), depth)
        self.labels.pop()
        self.code.append(END)
        self.op(BR, self.depth_of(done))
        for payload in handlers:
            self.labels.pop()
            self.code.append(END)
            self.witness(watched)
            self.sequence(payload, results, self.inner_steps(), depth)
            self.op(BR, self.depth_of(done))
        if not handlers:
            self.code.append(UNREACHABLE)
        self.labels.pop()
        self.code.append(END)

    def watched(self) -> int:
        """A local that a try body writes between calls and its handlers show."""
        return self.local_of(self.decisions.choose(self.plan.value_types))

    def watched_body(self, local: int, depth: int) -> None:
        """At the head of a try body, write a local, call, and write it again or leave the body."""
        kind = self.decisions.below(4)
        if kind == 0:
            return
        valtype = self.local_types[local]
        self.value(valtype, 1)
        self.op(LOCAL_SET, local)
        self.call_for(valtype, depth)
        if kind < 3:
            self.op(LOCAL_SET, local)
        else:
            self.code.append(DROP)
            self.multiway([], 1)

    def witness(self, local: int) -> None:
        """At the head of a handler, show a local that may be live for the handler's sake only."""
        if self.decisions.below(4):
            self.op(LOCAL_GET, local)
            valtype = self.local_types[local]
            if is_reference(valtype):
                self.show(valtype)
            else:
                self.op(GLOBAL_SET, self.decisions.choose(self.plan.globals_by_type[valtype]))

    def legacy_try(self, params: Types, results: Types, depth: int) -> None:
        """An old-form `try`: clauses, one in four without calls that may suspend, or a `delegate`."""
        decisions = self.decisions
        watched = self.watched()
        self.code.append(LEGACY_TRY)
        self.code += self.block_type(params, results)
        self.labels.append(Label(results))
        self.watched_body(watched, depth)
        self.sequence(params, results, self.inner_steps(), depth)
        self.labels.pop()
        if decisions.below(5) == 4:
            self.op(LEGACY_DELEGATE, decisions.below(len(self.labels)))
            return
        tags = [decisions.below(len(self.plan.tags)) for _ in range(decisions.below(3))]
        self.labels.append(Label(results, catching=True))
        for tag in tags:
            self.op(LEGACY_CATCH, tag)
            self.clause(self.plan.tags[tag], results, watched, depth)
        if not tags or decisions.below(2):
            self.code.append(LEGACY_CATCH_ALL)
            self.clause((), results, watched, depth)
        self.labels.pop()
        self.code.append(END)

    def clause(self, payload: Types, results: Types, watched: int, depth: int) -> None:
        """The body of an old-form clause, perhaps with a `rethrow` at its end."""
        decisions = self.decisions
        quiet = decisions.below(4) == 0
        self.quiet += quiet
        self.witness(watched)
        if decisions.below(2):
            self.call_for(self.local_types[watched], depth)
            self.op(LOCAL_SET, watched)
        if decisions.below(4) == 3:
            self.sequence(payload, (), self.inner_steps(), depth)
            self.op(LEGACY_RETHROW, 0)
        else:
            self.sequence(payload, results, self.inner_steps(), depth)
        self.quiet -= quiet
