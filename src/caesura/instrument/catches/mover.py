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
from caesura.instrument.write import control_kinds
from caesura.instrument.write.control_kinds import CONTROLS
from caesura.instrument.write.declarations import declare_as_given
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.indices import ByteOffset, FunctionIndex, InstructionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.pieces import join_pieces
from caesura.wasm.signatures import tag_params
from caesura.wasm.types import I32, defaultable, encode_value_type, is_nullable, is_reference, nullable

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

# In place of a local where none is needed.
_NO_LOCAL: Final = -1


class MovedBody:
    """A body with locals and code, and the runs of it that are the original's bytes.

    `has_foreign_handlers` tells whether call sites are left in catch clauses, for foreign exceptions. Run n begins at
    `starts[n]` in `code`, at `origins[n]` in the file, and has `lengths[n]` bytes.
    """

    def __init__(
        self, code: bytes, starts: list[int], origins: list[int], lengths: list[int], *, has_foreign_handlers: bool
    ) -> None:
        self.code: Final = code
        self.has_foreign_handlers: Final = has_foreign_handlers
        self._starts: Final = starts
        self._origins: Final = origins
        self._lengths: Final = lengths

    def original_offset(self, place: int) -> ByteOffset:
        """Return where in the file a byte of the body comes from, or what stands just before it."""
        low = 0
        high = len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            if self._starts[middle] <= place:
                low = middle
            else:
                high = middle
        return ByteOffset(self._origins[low] + min(place - self._starts[low], self._lengths[low]))


class _Moved:
    """A clause whose body moves.

    `height` is the label of the block that ends before it. `tags` are those of the exceptions that come here, none for
    a `catch_all` without `rethrow`; `payloads` the locals that hold what each carries, if they do, and `which` the
    local that says which tag it was.
    """

    def __init__(self, clause: Clause, tags: list[int]) -> None:
        self.clause: Final = clause
        self.tags: Final = tags
        self.payloads: list[list[int]] = []
        self.which = _NO_LOCAL
        self.height = 0


class _Try:
    """A try some of whose clauses move.

    `moved_from` gives the moved clauses by the instruction of each. `end` is the label that branches to the try go to,
    `handler` the one of the new try.
    """

    def __init__(self, clauses: list[Clause], moved: list[_Moved]) -> None:
        self.clauses: Final = clauses
        self.moved: Final = moved
        self.moved_from: Final = {one.clause.start: one for one in moved}
        self.end = 0
        self.handler = 0


class _Label:
    """An open construct of the original: the label that branches to it go to, the one for `delegate` and `rethrow`, and
    the moved clause whose body this is, if it is one.
    """

    def __init__(self, branch: int, handler: int, moved: _Moved | None) -> None:
        self.branch: Final = branch
        self.handler: Final = handler
        self.moved: Final = moved


class _Locals:
    """The locals that are added; they are used again where they are free."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._free: dict[int, list[int]] = {}
        self.types: list[int] = []

    def take(self, value_type: int) -> int:
        """Return a local for values of a type. Those without a default value are held as nullable ones."""
        held = nullable(value_type) if is_reference(value_type) else value_type
        if self._free.get(held):
            return self._free[held].pop()
        self.types.append(held)
        return self._first + len(self.types) - 1

    def give_back(self, local: int) -> None:
        """Say that nobody reads a local any more."""
        self._free.setdefault(self.types[local - self._first], []).append(local)


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
        self._locals = _Locals(body.local_count)
        self._steps: list[_Step] = []
        # The tries that are being written.
        self._open_tries: dict[int, _Try] = {}
        # How many clauses are open whose tries stay what they are.
        self._staying = 0
        self._has_foreign_handlers = False
        self._labels: list[_Label] = [_Label(0, 0, None)]
        # How many labels are open in the new code.
        self._height = 1
        self._out: list[bytes] = []
        self._size = 0
        self._copied = 0
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._lengths: list[int] = []

    def run(self, start: ByteOffset) -> MovedBody:
        """Write the whole body; `start` is where it began."""
        body = self._body
        self._steps.append((_CODE, 0, len(body.codes) - 1))
        while self._steps:
            self._step(self._steps.pop())
            # The original's size counts only where it is beyond the limit itself.
            check_body(self._size, body.positions[-1] - start, start)
        self._write(c.END)
        types = self._locals.types
        check_locals(body.local_count + len(types), body.code_start)
        declarations = declare_as_given(self._data, body, (), [(defaultable(value_type), 1) for value_type in types])
        starts = [0] + [place + len(declarations) for place in self._starts]
        return MovedBody(
            declarations + join_pieces(self._out),
            starts,
            [start, *self._origins],
            [0, *self._lengths],
            has_foreign_handlers=self._has_foreign_handlers,
        )

    # Output.

    def _write(self, code: bytes) -> None:
        self._out.append(code)
        self._size += len(code)

    def _flush(self, position: int) -> None:
        """Copy the code up to a position."""
        if position > self._copied:
            self._starts.append(self._size)
            self._origins.append(self._copied)
            self._lengths.append(position - self._copied)
            self._write(self._data[self._copied : position])
        self._copied = position

    def _begin(self, code: bytes) -> int:
        """Write the start of a construct and return its label's height."""
        self._write(code)
        self._height += 1
        return self._height - 1

    def _end(self) -> None:
        self._write(c.END)
        self._height -= 1

    def _depth(self, height: int) -> int:
        return self._height - 1 - height

    def _branch(self, height: int) -> None:
        self._write(c.BR + encode_unsigned(self._depth(height)))

    def _get(self, local: int, value_type: int) -> None:
        self._write(c.LOCAL_GET + encode_unsigned(local))
        if is_reference(value_type) and not is_nullable(value_type):
            self._write(bytes([op.REF_AS_NON_NULL]))

    def _set(self, local: int) -> None:
        self._write(c.LOCAL_SET + encode_unsigned(local))

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
            self._labels.pop()
            self._end()
            if one.moved:
                self._branch(one.end)
        elif kind == _MOVED:
            self._begin_moved(one, one.moved[second])
        elif kind == _END_OF_MOVED:
            self._labels.pop()
            if second + 1 < len(one.moved):
                self._branch(one.end)
        else:
            self._finish(one)
            del self._open_tries[first]

    def _write_code(self, first: int, last: int) -> None:
        """Write the code from an instruction up to another, or up to the first try in it whose clauses move."""
        body = self._body
        codes = body.codes
        positions = body.positions
        self._copied = positions[first]
        for index in range(first, last):
            control = self._controls[index]
            if not control:
                continue
            if control == control_kinds.OPENING:
                if index in self._tries and not self._staying:
                    self._flush(positions[index])
                    self._steps.append((_CODE, body.ends[InstructionIndex(index)] + 1, last))
                    self._open_try(index)
                    return
                if codes[index] == op.TRY_TABLE:
                    self._write_try_table(index)
                self._labels.append(_Label(self._height, self._height, None))
                self._height += 1
            elif control == control_kinds.END:
                self._labels.pop()
                self._height -= 1
            elif control == control_kinds.DELEGATE:
                self._labels.pop()
                self._height -= 1
                self._relabel(index, self._labels[-1 - body.immediates[index]].handler)
            elif control == control_kinds.BRANCH:
                self._write_branch(index)
            elif control == control_kinds.TABLE:
                self._write_table(index)
            elif control == control_kinds.CAST:
                self._write_cast(index)
        self._flush(positions[last])

    def _open_try(self, index: int) -> None:
        """Write a try up to its body, and note what comes then."""
        body = self._body
        block_type = self._data[body.positions[index] + 1 : body.positions[index + 1]]
        clauses = self._tries[index]
        one = _Try(clauses, self._moved(clauses))
        self._open_tries[index] = one
        if one.moved:
            self._open_blocks(index, one, block_type)
        one.handler = self._begin(bytes([op.TRY]) + block_type)
        if not one.moved:
            one.end = one.handler
        self._labels.append(_Label(one.end, one.handler, None))
        self._steps.append((_END_OF_ALL, index, 0))
        for place in range(len(one.moved) - 1, -1, -1):
            clause = one.moved[place].clause
            self._steps.append((_END_OF_MOVED, index, place))
            self._steps.append((_CODE, clause.start + 1, clause.end))
            self._steps.append((_MOVED, index, place))
        self._steps.append((_END_OF_TRY, index, 0))
        for number in range(len(clauses) - 1, -1, -1):
            self._steps.append((_CLAUSE, index, number))
        self._steps.append((_CODE, index + 1, clauses[0].start))

    def _moved(self, clauses: list[Clause]) -> list[_Moved]:
        """Return the clauses of a try that move, with the locals that hold what they have caught."""
        moved: list[_Moved] = []
        for clause in clauses:
            if not clause.has_sites:
                continue
            if clause.tag == NO_TAG and clause.is_rethrown:
                caught = {other.tag for other in clauses}
                one = _Moved(clause, [tag for tag in range(len(self._module.tags)) if tag not in caught])
                if not one.tags:
                    continue  # only foreign exceptions come here
            else:
                one = _Moved(clause, [] if clause.tag == NO_TAG else [clause.tag])
            self._take_locals(one)
            moved.append(one)
        return moved

    def _take_locals(self, moved: _Moved) -> None:
        """Give a moved clause its locals. The payloads of several tags share them."""
        taken: dict[int, list[int]] = {}
        for tag in moved.tags:
            if self._is_passed(moved, tag):
                continue
            used: dict[int, int] = {}
            payload: list[int] = []
            for value_type in tag_params(self._module, tag):
                place = used.get(value_type, 0)
                used[value_type] = place + 1
                locals_ = taken.setdefault(value_type, [])
                if place == len(locals_):
                    locals_.append(self._locals.take(value_type))
                payload.append(locals_[place])
            moved.payloads.append(payload)
        if len(moved.tags) > 1:
            moved.which = self._locals.take(I32)

    def _is_passed(self, moved: _Moved, tag: int) -> bool:
        """Tell whether the only value of a tag is passed to the clause's body on the operand stack."""
        return not moved.clause.is_rethrown and len(tag_params(self._module, tag)) == 1

    def _open_blocks(self, index: int, one: _Try, block_type: bytes) -> None:
        """Write the blocks around a try. Its parameters pass through locals, since the inner blocks take none."""
        params, _ = block_types(self._module, self._body.immediates[index], self._body.positions[index] + 1)
        one.end = self._begin(c.BLOCK + block_type)
        spilled = [self._locals.take(value_type) for value_type in params]
        for place in range(len(params) - 1, -1, -1):
            self._set(spilled[place])
        for place in range(len(one.moved) - 1, -1, -1):
            moved = one.moved[place]
            passed = moved.clause.tag != NO_TAG and self._is_passed(moved, moved.clause.tag)
            result = encode_value_type(tag_params(self._module, moved.clause.tag)[0]) if passed else b"\x40"
            moved.height = self._begin(c.BLOCK + result)
        for place in range(len(params)):
            self._get(spilled[place], params[place])
            self._locals.give_back(spilled[place])

    def _write_clause(self, one: _Try, clause: Clause) -> None:
        """Write a clause of the new try; what stays of its body comes next."""
        body = self._body
        moved = one.moved_from.get(clause.start)
        if moved is not None:
            for number in range(len(moved.tags)):
                self._catch(moved, number)
            if clause.tag != NO_TAG:
                return
        start = body.positions[clause.start]
        self._copied = start
        self._flush(body.positions[clause.start + 1])
        if moved is not None and not clause.is_rethrown:
            self._branch(moved.height)
            return
        self._has_foreign_handlers = self._has_foreign_handlers or clause.has_sites
        self._staying += 1
        self._steps.append((_END_OF_STAYING, clause.start, 0))
        self._steps.append((_CODE, clause.start + 1, clause.end))

    def _catch(self, moved: _Moved, number: int) -> None:
        """Write a clause that keeps what it has caught, and leaves for the moved body."""
        self._write(bytes([op.CATCH]) + encode_unsigned(moved.tags[number]))
        if moved.payloads:
            payload = moved.payloads[number]
            for place in range(len(payload) - 1, -1, -1):
                self._set(payload[place])
        if moved.which != _NO_LOCAL:
            self._write(c.CONST_I32 + encode_signed(number))
            self._set(moved.which)
        self._branch(moved.height)

    def _begin_moved(self, one: _Try, moved: _Moved) -> None:
        """Write what comes before a moved body: it has the payload on the operand stack."""
        self._end()
        if moved.clause.tag != NO_TAG and moved.payloads:
            self._get_payload(moved, 0)
        self._labels.append(_Label(one.end, one.end, moved))

    def _get_payload(self, moved: _Moved, number: int) -> None:
        types = tag_params(self._module, moved.tags[number])
        for place in range(len(types)):
            self._get(moved.payloads[number][place], types[place])

    def _finish(self, one: _Try) -> None:
        if one.moved:
            self._end()
        for moved in one.moved:
            for local in sorted({local for payload in moved.payloads for local in payload}):
                self._locals.give_back(local)
            if moved.which != _NO_LOCAL:
                self._locals.give_back(moved.which)

    # Instructions with labels.

    def _relabel(self, index: int, height: int) -> None:
        """Write an instruction whose only immediate is a label, unless it stays what it is."""
        if self._depth(height) != self._body.immediates[index]:
            self._replace(index, bytes([self._body.codes[index]]) + encode_unsigned(self._depth(height)))

    def _replace(self, index: int, code: bytes) -> None:
        """Write other code in place of an instruction."""
        self._flush(self._body.positions[index])
        self._write(code)
        self._copied = self._body.positions[index + 1]

    def _write_branch(self, index: int) -> None:
        label = self._labels[-1 - self._body.immediates[index]]
        if self._body.codes[index] != op.RETHROW:
            self._relabel(index, label.branch)
        elif label.moved is None:
            self._relabel(index, label.handler)
        else:
            self._replace(index, b"")
            self._throw(label.moved)

    def _throw(self, moved: _Moved) -> None:
        """Write what throws the exception again that a moved clause has caught."""
        for number in range(len(moved.tags)):
            is_last = number + 1 == len(moved.tags)
            if not is_last:
                self._write(c.LOCAL_GET + encode_unsigned(moved.which) + c.CONST_I32 + encode_signed(number) + c.I32_EQ)
                self._write(c.IF_EMPTY)
            self._get_payload(moved, number)
            self._write(bytes([op.THROW]) + encode_unsigned(moved.tags[number]))
            if not is_last:
                self._write(c.END)

    def _write_table(self, index: int) -> None:
        position = self._body.positions[index] + 1
        count, position = read_u32(self._data, position)
        parts = [c.BR_TABLE + encode_unsigned(count)]
        for _ in range(count + 1):
            label, position = read_u32(self._data, position)
            parts.append(encode_unsigned(self._depth(self._labels[-1 - label].branch)))
        self._replace(index, b"".join(parts))

    def _write_cast(self, index: int) -> None:
        """Write a br_on_cast or br_on_cast_fail: opcode, flags, label, two heap types."""
        start = self._body.positions[index]
        _, flags = read_u32(self._data, start + 1)
        label, rest = read_u32(self._data, flags + 1)
        new = encode_unsigned(self._depth(self._labels[-1 - label].branch))
        end = self._body.positions[index + 1]
        self._replace(index, self._data[start : flags + 1] + new + self._data[rest:end])

    def _write_try_table(self, index: int) -> None:
        """Write a try_table, whose own label is not open yet."""
        start = self._body.positions[index]
        position = skip_block_type(self._data, start + 1)
        parts = [self._data[start:position]]
        count, position = read_u32(self._data, position)
        parts.append(encode_unsigned(count))
        for _ in range(count):
            clause = position
            position += 1
            if self._data[clause] < 2:
                _, position = read_u32(self._data, position)
            parts.append(self._data[clause:position])
            label, position = read_u32(self._data, position)
            parts.append(encode_unsigned(self._depth(self._labels[-1 - label].branch)))
        self._replace(index, b"".join(parts))
