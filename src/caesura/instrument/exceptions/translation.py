"""One function written anew: its old-form exceptions in the new form, the rest of the code as it was.

    try (type)                      block (type)                           end of the old try: branches to it come here
      body                            block (parameters -> of the tag)     end of the block: its handler
    catch $tag                          try_table (type) (catch $tag 0)
      handler                             body
    end                                 end
                                        br 1
                                      end
                                      handler
                                    end

There is one inner block for each catch clause, the first clause's innermost, and each ends where the clause's handler
begins. A clause that is rethrown from catches the exception's reference as well, which goes to a local; a `rethrow`
throws what is there. Handlers that do not stand in one another share a local.

A `try` with a `delegate` is a plain block if its exceptions go to its catcher anyway (see `constructs`). Else it is a
`try_table` that catches all, by reference, and branches to the end of a block around the catcher's whole body, where
the exception is thrown again: there nothing but the catcher is in the way. Copying the catcher's clauses instead was
rejected: more bytes where tries are nested, and the handlers would be in reach of branches from several depths.

Labels count the blocks between, so they change; a label's number of bytes may, too. Everything else is copied as it
is. Code that cannot be reached is translated like any other.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.limits import check_body, check_locals
from caesura.errors import MalformedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.instrument.copied_code import CopiedCode
from caesura.instrument.exceptions.constructs import CATCH_ALL, FUNCTION, Clause, Constructs
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_block_type
from caesura.wasm.immediates import read_instruction, skip_block_type, skip_locals
from caesura.wasm.indices import OwnFunction
from caesura.wasm.instructions import (
    FLOW_BLOCK,
    FLOW_BRANCH,
    FLOW_BRANCH_IF,
    FLOW_BRANCH_ON,
    FLOW_BRANCH_TABLE,
    FLOW_CATCH,
    FLOW_DELEGATE,
    FLOW_END,
    FLOW_NEXT,
    FLOW_TRY,
    FLOWS,
)
from caesura.wasm.leb128 import encode_signed, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.relabel import Relabeling
from caesura.wasm.signatures import block_signature, tag_params
from caesura.wasm.types import EXNREF, encode_value_type

_EMPTY_BLOCK_TYPE: Final = b"\x40"
_TRY_TABLE: Final = b"\x1f"
_THROW_REF: Final = b"\x0a"

# Clauses of a try_table: with a tag, or for all exceptions, and by reference.
_BY_REFERENCE: Final = 1
_FOR_ALL: Final = 2

# Stands for a clause where we are in the body.
_IN_BODY: Final = -1

# What catches all exceptions that go past it, but for the label.
_CATCH_ALL_REF: Final = b"\x01\x03"


class Translation(Relabeling):
    """The translation of one function; `run` makes it: `body`, without size field, and `places` of its instructions."""

    def __init__(self, module: Module, own: OwnFunction, constructs: Constructs, types: AddedTypes) -> None:
        super().__init__(module.data)
        self.body = b""
        self.is_multivalue = False
        self._module = module
        self._own = own
        self._start = module.body_starts[own]
        self._constructs = constructs
        self._types = types
        self._code_start = skip_locals(module.data, self._start)
        self._out = CopiedCode(module.data, self._start, self._code_start)
        self.places = self._out.places
        # How many constructs are open in the new code, the function included.
        self._height = 1
        # The constructs of the old code that are open; how many of the new are around each one's label; and which of
        # its clauses we are in.
        self._open: list[int] = [FUNCTION]
        self._labels: list[int] = [0]
        self._clauses: list[int] = [_IN_BODY]
        self._opened = 0
        # Where the exceptions land that a `delegate` sends to a construct, as labels.
        self._landings: dict[int, int] = {}
        # Locals with references: of the handlers that we are in, and how many there are.
        self._references: dict[int, int] = {}
        self._first_reference = _count_locals(module, own)
        self._most_references = 0
        # Whether control can go on to the instruction that comes next.
        self._goes_on = True

    def run(self) -> None:
        """Translate the function; raises MalformedModule, or UnsupportedModule where the new body is too large."""
        end = self._module.body_ends[self._own]
        if FUNCTION in self._constructs.landings:
            self._out.replace(self._code_start, c.BLOCK + encode_value_type(EXNREF), self._code_start)
            self._land(FUNCTION)
        position = self._code_start
        while position < end and self._open:
            opcode = position
            code, immediates, position = read_instruction(self._data, opcode)
            flow = FLOWS[code]
            if flow != FLOW_NEXT:
                try:
                    self._control(code, flow, opcode, immediates, position)
                except MalformedModule as error:
                    raise MalformedModule(error.reason, opcode) from None
            self._goes_on = flow < FLOW_BRANCH
        if position != end or self._open:
            raise MalformedModule("function body does not stop where its size says", end)
        self.body = self._out.finish(end, self._declarations())
        check_body(len(self.body), end - self._start, self._start)

    def _control(self, code: int, flow: int, opcode: int, immediates: int, behind: int) -> None:
        if flow == FLOW_TRY:
            if code == op.TRY:
                self._open_try(opcode, immediates, behind)
            else:
                self._open_try_table(immediates, behind)
        elif flow < FLOW_TRY and flow >= FLOW_BLOCK:
            self._enter(self._height)
            self._height += 1
        elif flow == FLOW_CATCH:
            self._next_clause(opcode, behind)
        elif flow == FLOW_DELEGATE:
            self._out.replace(opcode, c.END, behind)
            self._leave()
        elif flow == FLOW_END:
            self._end(opcode)
        elif flow == FLOW_BRANCH_TABLE:
            self._replace_labels(immediates, self.targets(immediates), behind)
        elif flow == FLOW_BRANCH or flow == FLOW_BRANCH_IF or flow == FLOW_BRANCH_ON:
            if code == op.BR_ON_CAST or code == op.BR_ON_CAST_FAIL:
                self._replace_labels(opcode, self.cast(opcode, behind), behind)
            else:
                label = self.label(read_u32(self._data, immediates)[0])
                self._replace_labels(immediates, encode_unsigned(label), behind)
        elif code == op.RETHROW:
            self._rethrow(read_u32(self._data, immediates)[0], opcode, behind)

    # Constructs.

    def _enter(self, label: int) -> int:
        """Note that a construct is open whose label is at some height; return its number."""
        self._opened += 1
        self._open.append(self._opened)
        self._labels.append(label)
        self._clauses.append(_IN_BODY)
        return self._opened

    def _leave(self) -> None:
        self._open.pop()
        self._height = self._labels.pop()
        self._clauses.pop()

    def _land(self, construct: int) -> None:
        """Note that the block is open in which the exceptions for a construct land."""
        self._landings[construct] = self._height
        self._height += 1

    def _open_try(self, opcode: int, immediates: int, behind: int) -> None:
        height = self._height
        construct = self._enter(height)
        if construct in self._constructs.clauses:
            self._open_with_clauses(construct, opcode, immediates, behind)
        elif construct in self._constructs.redirects:
            landing = self._landings[self._constructs.redirects[construct]]
            label = encode_unsigned(height - 1 - landing)
            self._out.replace(opcode, _TRY_TABLE + self._data[immediates:behind] + _CATCH_ALL_REF + label, behind)
            self._height += 1
        else:
            self._out.replace(opcode, c.BLOCK, opcode + 1)
            self._height += 1

    def _open_with_clauses(self, construct: int, opcode: int, immediates: int, behind: int) -> None:
        clauses = self._constructs.clauses[construct]
        block_type = self._data[immediates:behind]
        params = block_signature(self._module, read_block_type(self._data, immediates)[0])[0]
        out = [c.BLOCK, block_type]
        for place in range(len(clauses) - 1, -1, -1):
            out += [c.BLOCK, self._block_type(params, self._caught(clauses[place]))]
        table = [_encode_clause(clauses[place], place) for place in range(len(clauses))]
        out += [_TRY_TABLE, block_type, encode_vector(table)]
        if construct in self._constructs.landings:
            out += [c.BLOCK, self._block_type(params, (EXNREF,))]
        self._out.replace(opcode, b"".join(out), behind)
        self._height += len(clauses) + 2
        if construct in self._constructs.landings:
            self._land(construct)

    def _open_try_table(self, immediates: int, behind: int) -> None:
        clauses = skip_block_type(self._data, immediates)
        self._replace_labels(clauses, self.catches(clauses), behind)
        construct = self._enter(self._height)
        self._height += 1
        if construct in self._constructs.landings:
            params = block_signature(self._module, read_block_type(self._data, immediates)[0])[0]
            self._out.replace(behind, c.BLOCK + self._block_type(params, (EXNREF,)), behind)
            self._land(construct)

    def _next_clause(self, opcode: int, behind: int) -> None:
        construct = self._open[-1]
        clauses = self._constructs.clauses[construct]
        place = 0 if self._clauses[-1] == _IN_BODY else self._clauses[-1] + 1
        to_end = encode_unsigned(len(clauses) - place)  # the blocks of this clause and of those behind it
        code = b""
        if place > 0:
            if self._goes_on:
                code = c.BR + to_end
            self._leave_handler()
        elif construct in self._constructs.landings:
            if self._goes_on:
                code = c.BR + encode_unsigned(len(clauses) + 2)
            code += c.END + _THROW_REF + c.END + c.UNREACHABLE
        else:
            code = c.END + (c.BR + to_end if self._goes_on else c.UNREACHABLE)
        code += c.END
        self._clauses[-1] = place
        self._height = self._labels[-1] + len(clauses) - place
        if clauses[place].is_rethrown:
            local = self._first_reference + len(self._references)
            self._references[construct] = local
            self._most_references = max(self._most_references, len(self._references))
            code += c.LOCAL_SET + encode_unsigned(local)
        self._out.replace(opcode, code, behind)

    def _leave_handler(self) -> None:
        """Forget what was caught by the handler that we are in; those inside of it have forgotten theirs."""
        if self._open[-1] in self._references:
            del self._references[self._open[-1]]

    def _end(self, opcode: int) -> None:
        construct = self._open[-1]
        if self._clauses[-1] != _IN_BODY:
            self._leave_handler()
        elif construct in self._landings:
            code = b""
            if self._goes_on:
                code = c.RETURN if construct == FUNCTION else c.BR + encode_unsigned(1)
            self._out.replace(opcode, code + c.END + _THROW_REF, opcode)
        self._leave()

    def _rethrow(self, depth: int, opcode: int, behind: int) -> None:
        local = self._references[self._open[len(self._open) - 1 - depth]]
        self._out.replace(opcode, c.LOCAL_GET + encode_unsigned(local) + _THROW_REF, behind)

    # Types.

    def _caught(self, clause: Clause) -> tuple[int, ...]:
        """Return the types of what a clause gives its handler."""
        values = () if clause.tag == CATCH_ALL else tag_params(self._module, clause.tag)
        return (*values, EXNREF) if clause.is_rethrown else values

    def _block_type(self, params: tuple[int, ...], results: tuple[int, ...]) -> bytes:
        if not params and not results:
            return _EMPTY_BLOCK_TYPE
        if not params and len(results) == 1:
            return encode_value_type(results[0])
        self.is_multivalue = True
        return encode_signed(self._types.index_of(params, results))

    # Labels.

    def label(self, depth: int) -> int:
        """Return what a label of the old code, seen from here, is in the new."""
        place = len(self._open) - 1 - depth
        if place < 0:
            raise MalformedModule(f"label {depth} is out of range; there are {len(self._open)} around")
        return self._height - 1 - self._labels[place]

    def _replace_labels(self, position: int, code: bytes, behind: int) -> None:
        """Write code that differs in its labels, if at all, in place of what stands between two positions."""
        if self._data[position:behind] != code:
            self._out.replace(position, code, behind)

    def _declarations(self) -> bytes:
        """Return the declarations of locals, those for references behind the function's own."""
        data = self._data
        count, position = read_u32(data, self._start)
        if self._most_references == 0:
            return data[self._start : self._code_start]
        check_locals(self._first_reference + self._most_references, self._code_start)
        added = encode_unsigned(self._most_references) + encode_value_type(EXNREF)
        return encode_unsigned(count + 1) + data[position : self._code_start] + added


def _encode_clause(clause: Clause, label: int) -> bytes:
    kind = _BY_REFERENCE if clause.is_rethrown else 0
    if clause.tag == CATCH_ALL:
        return bytes([_FOR_ALL | kind]) + encode_unsigned(label)
    return bytes([kind]) + encode_unsigned(clause.tag) + encode_unsigned(label)


def _count_locals(module: Module, own: OwnFunction) -> int:
    """Return how many locals a function has, parameters included."""
    data = module.data
    total = len(module.function_type(module.function_of(own)).params)
    count, position = read_u32(data, module.body_starts[own])
    for _ in range(count):
        number, position = read_u32(data, position)
        total += number
        position = skip_block_type(data, position)  # a value type
    return total
