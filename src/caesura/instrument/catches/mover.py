"""Moves the bodies of catch clauses behind their old-form tries, so that no call site stands in a catch clause.

In a catch clause the exception lies on the engine's stack only: a frame cannot be restored there. So of

    (try $t (result i32)  BODY  (catch $e  HANDLER) (catch_all  CLEANUP  rethrow $t))

the clauses only keep what they have caught, and their bodies stand in blocks around the try:

    (block $t (result i32)
      (block $cleanup
        (block $handler (result i32)
          (try (result i32)  BODY
            (catch $e  br $handler)
            (catch $f  local.set $payload  br $cleanup)      ;; for each other tag of the module
            (catch_all  CLEANUP, where calls may not suspend  rethrow))
          br $t)
        HANDLER  br $t)
      CLEANUP  local.get $payload  throw $f)

A value that a clause has caught goes to its body on the operand stack, or in locals where there are several, or where a
`rethrow` throws them again. Only that needs to know what a `catch_all` has caught; one without it moves as it is. An
exception of another module's, or of JavaScript, can be thrown again only where it was caught. So the body of such a
`catch_all` stays as well, for these (see `foreign_handlers`); the tries in this copy stay what they are.

Clauses without call sites stay, and so does everything in them: the clauses around a call site move, and what it is
nested in moves with them. What is in these bodies is moved first in its turn. `delegate` to a try reaches its clauses
from its body, but not from its clauses; that is so for the new try, and for the block around it.

The walk has a list of steps of its own instead of recursion, since code may be nested deeper than a thread's stack.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, block_types
from caesura.analysis.code_table import CodeTable
from caesura.analysis.limits import check_body, check_locals
from caesura.instrument.catches.clauses import NO_TAG, Clause, clauses_with_sites
from caesura.instrument.catches.moved_body import MovedBody, MovedCode
from caesura.instrument.catches.moved_clauses import NO_LOCAL, MovedClause, is_passed, moved_clauses
from caesura.instrument.catches.open_labels import OpenLabels
from caesura.instrument.catches.reused_locals import ReusedLocals
from caesura.instrument.write import control_kinds
from caesura.instrument.write.control_kinds import CONTROLS
from caesura.instrument.write.declarations import declare_as_given
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.indices import ByteOffset, FunctionIndex, InstructionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.signatures import tag_params
from caesura.wasm.types import defaultable, encode_value_type, is_nullable, is_reference

# Steps: what is written next. Those behind the first have the instruction that opens the try, and perhaps the number of
# the clause or, for bodies, of the moved clause.
_CODE: Final = 0  # from one instruction up to another
_CLAUSE: Final = 1
_END_OF_STAYING: Final = 2
_END_OF_TRY: Final = 3
_MOVED: Final = 4
_END_OF_MOVED: Final = 5
_END_OF_ALL: Final = 6

_Step = tuple[int, int, int]

_CONTROLS: Final = CodeTable(CONTROLS)


class _Try:
    """A try that is being written, some of whose clauses may move.

    `end` is the height of the label that branches to the try go to, `blocks` those of the blocks that end before the
    bodies of the moved clauses, in the order of these; where nothing moves, `end` is the try's own.
    """

    def __init__(self, clauses: list[Clause], moved: list[MovedClause], end: int, blocks: list[int]) -> None:
        self.clauses: Final = clauses
        self.moved: Final = moved
        self.end: Final = end
        self.blocks: Final = blocks
        # The moved clauses, as numbers, by the instruction of each.
        self.number_of: Final = {moved[number].clause.start: number for number in range(len(moved))}


def move_bodies(module: Module, function: FunctionIndex, body: Body) -> MovedBody:
    """Return a function's body in which no catch clause contains call sites, but for foreign exceptions.

    `body` must have call sites in catch clauses. Raises MalformedModule, UnsupportedModule for a body that is too
    large then, and IndexError where the code is not valid.
    """
    return _Mover(module, body).run(module.body_starts[module.own_of(function)])


class _Mover:
    """Moves what has to move in one function."""

    def __init__(self, module: Module, body: Body) -> None:
        self._module = module
        self._data = module.data
        self._body = body
        self._tries = clauses_with_sites(body)
        self._controls = _CONTROLS.of(body)
        self._locals = ReusedLocals(body.local_count)
        self._labels = OpenLabels(module.data)
        self._out = MovedCode(module.data)
        self._steps: list[_Step] = []
        # The tries that are being written.
        self._open_tries: dict[int, _Try] = {}
        # How many clauses are open whose tries stay what they are.
        self._staying = 0
        self._has_foreign_handlers = False

    def run(self, start: ByteOffset) -> MovedBody:
        """Write the whole body; `start` is where it began."""
        body = self._body
        self._steps.append((_CODE, 0, len(body.codes) - 1))
        while self._steps:
            self._step(self._steps.pop())
            # The original's size counts only where it is beyond the limit itself.
            check_body(self._out.size, body.positions[-1] - start, start)
        self._out.write(c.END)
        types = self._locals.types
        check_locals(body.local_count + len(types), body.code_start)
        declarations = declare_as_given(self._data, body, (), [(defaultable(value_type), 1) for value_type in types])
        return self._out.finish(start, declarations, has_foreign_handlers=self._has_foreign_handlers)

    # Output.

    def _begin(self, code: bytes) -> int:
        """Write the start of a construct and return its label's height."""
        self._out.write(code)
        return self._labels.open()

    def _end(self) -> None:
        self._out.write(c.END)
        self._labels.close()

    def _branch(self, height: int) -> None:
        self._out.write(c.BR + encode_unsigned(self._labels.depth(height)))

    def _get(self, local: int, value_type: int) -> None:
        self._out.write(c.LOCAL_GET + encode_unsigned(local))
        if is_reference(value_type) and not is_nullable(value_type):
            self._out.write(c.REF_AS_NON_NULL)

    def _set(self, local: int) -> None:
        self._out.write(c.LOCAL_SET + encode_unsigned(local))

    # Steps.

    def _step(self, step: _Step) -> None:
        kind, first, second = step
        if kind == _CODE:
            self._write_code(first, second)
            return
        if kind == _END_OF_STAYING:
            self._staying -= 1
            return
        one = self._open_tries[first]
        if kind == _CLAUSE:
            self._write_clause(one, one.clauses[second])
        elif kind == _END_OF_TRY:
            self._labels.leave()
            self._end()
            if one.moved:
                self._branch(one.end)
        elif kind == _MOVED:
            self._begin_moved(one, one.moved[second])
        elif kind == _END_OF_MOVED:
            self._labels.leave()
            if second + 1 < len(one.moved):
                self._branch(one.end)
        else:
            self._finish(one)
            del self._open_tries[first]

    def _write_code(self, first: int, last: int) -> None:
        """Write the code from an instruction up to another, or up to the first try in it whose clauses move."""
        body = self._body
        positions = body.positions
        labels = self._labels
        self._out.go_to(positions[first])
        for index in range(first, last):
            control = self._controls[index]
            if not control:
                continue
            if control == control_kinds.OPENING:
                if index in self._tries and not self._staying:
                    self._out.copy_to(positions[index])
                    self._steps.append((_CODE, body.ends[InstructionIndex(index)] + 1, last))
                    self._open_try(index)
                    return
                if body.codes[index] == op.TRY_TABLE:
                    clauses = skip_block_type(self._data, positions[index] + 1)
                    self._out.replace(clauses, labels.catches(clauses), positions[index + 1])
                height = labels.open()
                labels.enter(height, height, None)
            elif control == control_kinds.END:
                labels.leave()
                labels.close()
            elif control == control_kinds.DELEGATE:
                labels.leave()
                labels.close()
                self._relabel(index, labels.of(body.immediates[index]).handler)
            elif control == control_kinds.BRANCH:
                self._write_branch(index)
            elif control == control_kinds.TABLE:
                table = positions[index] + 1
                self._out.replace(table, labels.targets(table), positions[index + 1])
            elif control == control_kinds.CAST:
                start = positions[index]
                self._out.replace(start, labels.cast(start, positions[index + 1]), positions[index + 1])
        self._out.copy_to(positions[last])

    def _open_try(self, index: int) -> None:
        """Write a try up to its body, and note what comes then."""
        body = self._body
        block_type = self._data[body.positions[index] + 1 : body.positions[index + 1]]
        clauses = self._tries[index]
        moved = moved_clauses(self._module, clauses, self._locals)
        blocks: list[int] = []
        outer = self._labels.next()
        if moved:
            self._begin(c.BLOCK + block_type)
            blocks = self._open_blocks(index, moved)
        handler = self._begin(bytes([op.TRY]) + block_type)
        one = _Try(clauses, moved, outer, blocks)
        self._open_tries[index] = one
        self._labels.enter(one.end, handler, None)
        self._steps.append((_END_OF_ALL, index, 0))
        for place in range(len(moved) - 1, -1, -1):
            clause = moved[place].clause
            self._steps.append((_END_OF_MOVED, index, place))
            self._steps.append((_CODE, clause.start + 1, clause.end))
            self._steps.append((_MOVED, index, place))
        self._steps.append((_END_OF_TRY, index, 0))
        for number in range(len(clauses) - 1, -1, -1):
            self._steps.append((_CLAUSE, index, number))
        self._steps.append((_CODE, index + 1, clauses[0].start))

    def _open_blocks(self, index: int, moved: list[MovedClause]) -> list[int]:
        """Write the blocks around a try; return the heights of those that end before moved bodies.

        The try's parameters pass through locals, since these blocks take none.
        """
        params, _ = block_types(self._module, self._body.immediates[index], self._body.positions[index] + 1)
        spilled = [self._locals.take(value_type) for value_type in params]
        for place in range(len(params) - 1, -1, -1):
            self._set(spilled[place])
        heights = [0] * len(moved)
        for place in range(len(moved) - 1, -1, -1):
            clause = moved[place].clause
            passed = clause.tag != NO_TAG and is_passed(self._module, clause, clause.tag)
            result = encode_value_type(tag_params(self._module, clause.tag)[0]) if passed else b"\x40"
            heights[place] = self._begin(c.BLOCK + result)
        for place in range(len(params)):
            self._get(spilled[place], params[place])
            self._locals.give_back(spilled[place])
        return heights

    def _write_clause(self, one: _Try, clause: Clause) -> None:
        """Write a clause of the new try; what stays of its body comes next."""
        body = self._body
        number = one.number_of.get(clause.start)
        if number is not None:
            for tag in range(len(one.moved[number].tags)):
                self._catch(one.moved[number], tag, one.blocks[number])
            if clause.tag != NO_TAG:
                return
        self._out.go_to(body.positions[clause.start])
        self._out.copy_to(body.positions[clause.start + 1])
        if number is not None and not clause.is_rethrown:
            self._branch(one.blocks[number])
            return
        self._has_foreign_handlers = self._has_foreign_handlers or clause.has_sites
        self._staying += 1
        self._steps.append((_END_OF_STAYING, clause.start, 0))
        self._steps.append((_CODE, clause.start + 1, clause.end))

    def _catch(self, moved: MovedClause, number: int, block: int) -> None:
        """Write a clause that keeps what it has caught, and leaves for the moved body by the label of a block."""
        self._out.write(bytes([op.CATCH]) + encode_unsigned(moved.tags[number]))
        if moved.payloads:
            payload = moved.payloads[number]
            for place in range(len(payload) - 1, -1, -1):
                self._set(payload[place])
        if moved.which != NO_LOCAL:
            self._out.write(c.CONST_I32 + encode_signed(number))
            self._set(moved.which)
        self._branch(block)

    def _begin_moved(self, one: _Try, moved: MovedClause) -> None:
        """Write what comes before a moved body: it has the payload on the operand stack."""
        self._end()
        if moved.clause.tag != NO_TAG and moved.payloads:
            self._get_payload(moved, 0)
        self._labels.enter(one.end, one.end, moved)

    def _get_payload(self, moved: MovedClause, number: int) -> None:
        types = tag_params(self._module, moved.tags[number])
        for place in range(len(types)):
            self._get(moved.payloads[number][place], types[place])

    def _finish(self, one: _Try) -> None:
        if one.moved:
            self._end()
        for moved in one.moved:
            moved.give_back(self._locals)

    # Instructions with labels.

    def _relabel(self, index: int, height: int) -> None:
        """Write an instruction whose only immediate is a label, unless it stays what it is."""
        depth = self._labels.depth(height)
        if depth != self._body.immediates[index]:
            self._replace(index, bytes([self._body.codes[index]]) + encode_unsigned(depth))

    def _replace(self, index: int, code: bytes) -> None:
        """Write other code in place of an instruction."""
        self._out.replace(self._body.positions[index], code, self._body.positions[index + 1])

    def _write_branch(self, index: int) -> None:
        label = self._labels.of(self._body.immediates[index])
        if self._body.codes[index] != op.RETHROW:
            self._relabel(index, label.branch)
        elif label.moved is None:
            self._relabel(index, label.handler)
        else:
            self._replace(index, b"")
            self._throw(label.moved)

    def _throw(self, moved: MovedClause) -> None:
        """Write what throws the exception again that a moved clause has caught."""
        for number in range(len(moved.tags)):
            is_last = number + 1 == len(moved.tags)
            if not is_last:
                is_this = c.LOCAL_GET + encode_unsigned(moved.which) + c.CONST_I32 + encode_signed(number) + c.I32_EQ
                self._out.write(is_this + c.IF_EMPTY)
            self._get_payload(moved, number)
            self._out.write(bytes([op.THROW]) + encode_unsigned(moved.tags[number]))
            if not is_last:
                self._out.write(c.END)
