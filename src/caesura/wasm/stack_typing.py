"""Stack typing: the types on the operand stack at every point of a function.

`StackTyper` follows the validation algorithm of the specification's appendix: it is fed one instruction after another
and keeps the operand stack and the open blocks in plain lists, so nesting costs no recursion. Behind a branch that is
always taken the stack is polymorphic: missing operands have the type UNKNOWN. It checks that operands are there and
that their types fit; whether locals that cannot be null have been set it takes on trust, for its purpose is to know
types, and a module that an engine accepts has that right.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import ANY_REFERENCE, UNKNOWN
from caesura.wasm.module import Module
from caesura.wasm.signatures import (
    block_signature,
    converted,
    left_by_cast,
    signature,
    tag_params,
)
from caesura.wasm.type_matching import are_subtypes, same_types
from caesura.wasm.types import (
    EXNREF,
    I32,
    is_reference,
    make_reference,
    non_null,
    type_name,
)

_FUNCTION: Final = -1


class StackTyper:
    """The operand stack of one function, from its start to the point it was stepped to.

    `stack` holds the type codes of the operands, the topmost last. The blocks around the point are parallel lists, the
    innermost last: `kinds` (code of the opening instruction, `catch`, `catch_all` or `else` behind one of those; -1
    for the function), `heights` (size of the stack at the block's start), `starts` and `ends` (types of the block's
    parameters and results), and `unreachable` (the rest of the block cannot be reached).
    """

    def __init__(self, module: Module, local_types: list[int], results: tuple[int, ...]) -> None:
        self.module = module
        self.local_types = local_types
        self.stack: list[int] = []
        self.kinds: list[int] = [_FUNCTION]
        self.heights: list[int] = [0]
        self.starts: list[tuple[int, ...]] = [()]
        self.ends: list[tuple[int, ...]] = [results]
        self.unreachable: list[bool] = [False]
        # What `type_matching.same_types` says, once a reference has met another type than its own.
        self._same: list[int] = []

    def step(self, code: int, immediates: list[int]) -> None:
        """Apply one instruction; raises MalformedModule without an offset."""
        effect = table.EFFECTS[code]
        if effect == table.CONTROL:
            self._control(code, immediates)
            return
        params, results = signature(self.module, self.local_types, code, immediates)
        if results and results[0] == UNKNOWN:
            self._polymorphic(code)
            return
        self._pop_all(params)
        self.stack.extend(results)
        if table.FLOWS[code] == table.FLOW_RETURN:
            self._leave()

    def label_types(self, depth: int) -> tuple[int, ...]:
        """Return the types of the values that a branch to a label carries."""
        place = len(self.kinds) - 1 - depth
        if place < 0:
            raise MalformedModule(f"label {depth} is out of range; there are {len(self.kinds)} around this place")
        return self.starts[place] if self.kinds[place] == op.LOOP else self.ends[place]

    def is_finished(self) -> bool:
        """Tell whether the function's own `end` has been reached."""
        return not self.kinds

    def _control(self, code: int, immediates: list[int]) -> None:
        if code == op.END or code == op.DELEGATE:
            self._end(code)
        elif code == op.BR_IF:
            self._pop(I32)
            self._refresh(self.label_types(immediates[0]))
        elif code == op.BLOCK or code == op.LOOP or code == op.TRY:
            self._open(code, immediates[0])
        elif code == op.IF:
            self._pop(I32)
            self._open(code, immediates[0])
        elif code == op.TRY_TABLE:
            self._check_catches(immediates)
            self._open(code, immediates[0])
        elif code == op.ELSE or code == op.CATCH or code == op.CATCH_ALL:
            self._next_arm(code, immediates)
        elif code == op.BR_ON_NULL:
            reference = self._pop(ANY_REFERENCE)
            self._refresh(self.label_types(immediates[0]))
            self.stack.append(reference if reference == UNKNOWN else non_null(reference))
        elif code == op.BR_ON_NON_NULL:
            reference = self._pop(ANY_REFERENCE)
            self._refresh(self._carried_below_reference(immediates[0]))
            if reference != UNKNOWN:
                self._check_fits(non_null(reference), self.label_types(immediates[0])[-1])
        elif code == op.BR_ON_CAST or code == op.BR_ON_CAST_FAIL:
            self._branch_on_cast(code, immediates)
        else:
            self._transfer(code, immediates)

    def _transfer(self, code: int, immediates: list[int]) -> None:
        """The control instructions that never continue behind themselves."""
        if code == op.BR:
            self._pop_all(self.label_types(immediates[0]))
        elif code == op.BR_TABLE:
            self._pop(I32)
            types = self.label_types(immediates[-1])
            for label in immediates:
                if len(self.label_types(label)) != len(types):
                    raise MalformedModule("labels of a br_table take different numbers of values")
            self._pop_all(types)
        elif code == op.RETURN:
            self._pop_all(self.ends[0])
        elif code == op.THROW:
            self._pop_all(tag_params(self.module, immediates[0]))
        elif code == op.THROW_REF:
            self._pop(EXNREF)
        elif code == op.RETHROW:
            self.label_types(immediates[0])
        self._leave()

    def _polymorphic(self, code: int) -> None:
        """The instructions whose result type follows from their operand's."""
        if code == op.SELECT:
            self._pop(I32)
            first = self._pop(UNKNOWN)
            second = self._pop(UNKNOWN)
            if first != UNKNOWN and second != UNKNOWN and first != second:
                raise MalformedModule(f"select between {type_name(second)} and {type_name(first)}")
            self.stack.append(second if first == UNKNOWN else first)
            return
        reference = self._pop(ANY_REFERENCE)
        self.stack.append(UNKNOWN if reference == UNKNOWN else converted(code, reference))

    def _branch_on_cast(self, code: int, immediates: list[int]) -> None:
        flags, label, heap, target = immediates
        source = make_reference(heap, nullable=flags & 1 == 1)
        self._check_fits(make_reference(target, nullable=flags & 2 == 2), source)
        self._pop(source)
        self._refresh(self._carried_below_reference(label))
        other = op.BR_ON_CAST_FAIL if code == op.BR_ON_CAST else op.BR_ON_CAST
        self._check_fits(left_by_cast(other, immediates), self.label_types(label)[-1])
        self.stack.append(left_by_cast(code, immediates))

    def _carried_below_reference(self, depth: int) -> tuple[int, ...]:
        types = self.label_types(depth)
        if not types:
            raise MalformedModule(f"label {depth} takes no reference")
        return types[:-1]

    def _check_catches(self, immediates: list[int]) -> None:
        for clause in range(1, len(immediates), 3):
            kind = immediates[clause]
            carried = len(tag_params(self.module, immediates[clause + 1])) if kind < 2 else 0
            carried += kind & 1
            if len(self.label_types(immediates[clause + 2])) != carried:
                raise MalformedModule("catch clause and its label differ in the number of values")

    def _open(self, kind: int, block_type: int) -> None:
        params, results = block_signature(self.module, block_type)
        self._pop_all(params)
        self.kinds.append(kind)
        self.heights.append(len(self.stack))
        self.starts.append(params)
        self.ends.append(results)
        self.unreachable.append(False)
        self.stack.extend(params)

    def _next_arm(self, code: int, immediates: list[int]) -> None:
        kind = self.kinds[-1]
        fits = kind == op.IF if code == op.ELSE else kind == op.TRY or kind == op.CATCH
        if not fits:
            raise MalformedModule(f"{table.NAMES[code]} outside of its block")
        self._close_arm()
        self.kinds[-1] = code
        self.unreachable[-1] = False
        if code == op.ELSE:
            self.stack.extend(self.starts[-1])
        elif code == op.CATCH:
            self.stack.extend(tag_params(self.module, immediates[0]))

    def _end(self, code: int) -> None:
        if code == op.DELEGATE and self.kinds[-1] != op.TRY:
            raise MalformedModule("delegate outside of its block")
        self._close_arm()
        self.kinds.pop()
        self.heights.pop()
        self.starts.pop()
        self.stack.extend(self.ends.pop())
        self.unreachable.pop()

    def _close_arm(self) -> None:
        self._pop_all(self.ends[-1])
        if len(self.stack) != self.heights[-1]:
            raise MalformedModule(f"{len(self.stack) - self.heights[-1]} operands too many at the end of a block")

    def _leave(self) -> None:
        del self.stack[self.heights[-1] :]
        self.unreachable[-1] = True

    def _refresh(self, types: tuple[int, ...]) -> None:
        self._pop_all(types)
        self.stack.extend(types)

    def _pop_all(self, types: tuple[int, ...]) -> None:
        for place in range(len(types) - 1, -1, -1):
            self._pop(types[place])

    def _pop(self, expected: int) -> int:
        if len(self.stack) == self.heights[-1]:
            if not self.unreachable[-1]:
                raise MalformedModule(f"operand stack is empty; expected {_expected(expected)}")
            return UNKNOWN
        actual = self.stack.pop()
        if actual == expected or actual == UNKNOWN or expected == UNKNOWN:
            return actual
        self._check_fits(actual, expected)
        return actual

    def _check_fits(self, actual: int, expected: int) -> None:
        """Raise MalformedModule if a value, whose type is known, is none of the type that is expected."""
        if is_reference(actual) and expected == ANY_REFERENCE:
            return
        if is_reference(actual) and is_reference(expected):
            if not self._same:
                self._same = same_types(self.module)
            if are_subtypes(self.module, self._same, (actual,), (expected,)):
                return
        if actual != expected:
            raise MalformedModule(f"operand is {type_name(actual)}; expected {_expected(expected)}")


def _expected(value_type: int) -> str:
    if value_type == UNKNOWN:
        return "a value"
    return "a reference" if value_type == ANY_REFERENCE else type_name(value_type)


def function_typer(module: Module, function: FunctionIndex) -> tuple[StackTyper, int]:
    """Return a typer at the start of a function that the module defines, and the offset of its first instruction."""
    definition = module.function_type(function)
    start = module.body_starts[function - module.imported_functions]
    own, position = read_locals(module.data, start)
    return StackTyper(module, list(definition.params) + own, definition.results), position


def check_function(module: Module, function: FunctionIndex) -> None:
    """Type a whole function that the module defines; raises MalformedModule where its types do not fit."""
    typer, position = function_typer(module, function)
    data = module.data
    end = module.body_ends[function - module.imported_functions]
    while position < end:
        if typer.is_finished():
            raise MalformedModule("code behind the end of the function", position)
        offset = position
        code, position = read_opcode(data, position)
        immediates, position = read_immediates(data, position, code)
        try:
            typer.step(code, immediates)
        except MalformedModule as error:
            raise MalformedModule(f"{table.NAMES[code]}: {error.reason}", offset) from None
    if position != end or not typer.is_finished():
        raise MalformedModule("function body does not stop where its size says", end)
