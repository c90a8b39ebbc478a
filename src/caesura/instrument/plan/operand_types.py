"""The types of operands, by what gave them: found from the code, and from what the planner's walk notes on the way.

The planner does not type all operands: only those that cross need types. What an instruction gives follows from its
immediates and the module (see `wasm.signatures`), but for a few where it follows from an operand: these are noted.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTIONS
from caesura.analysis.body import Body, block_types
from caesura.errors import InternalError, MalformedModule
from caesura.instrument.plan.plan import SLOT, Producer, instruction_of
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.immediates import instruction_name
from caesura.wasm.indices import FunctionIndex, InstructionIndex, LocalIndex
from caesura.wasm.instructions import RESULTS
from caesura.wasm.module import Module
from caesura.wasm.signatures import converted, left_by_cast, signature
from caesura.wasm.types import FUNCREF, heap_of, is_abstract, is_reference, non_null

_CALLS_REFERENCES: Final = (op.CALL_REF, op.RETURN_CALL_REF)


class OperandTypes:
    """What gives which type.

    The walk notes the types of what gives `several` values, the first operand of each untyped `select`, the types that
    a branch gives again if it is not taken, the types of references that conversions give, and the construct that an
    `end` or `else` belongs to.
    """

    def __init__(self, module: Module, body: Body) -> None:
        self._module = module
        self._body = body
        self.several: dict[InstructionIndex, tuple[int, ...]] = {}
        self._selected: dict[int, int] = {}
        self._branch_types: dict[InstructionIndex, tuple[int, ...]] = {}
        self._converted: dict[int, int] = {}
        self._openers: dict[InstructionIndex, InstructionIndex] = {}
        self._declares_function_types: bool | None = None

    def note_types(self, index: InstructionIndex, types: tuple[int, ...]) -> None:
        """Note what an instruction gives; only if that is more than one value is it looked up."""
        if len(types) > 1:
            self.several[index] = types

    def note_select(self, index: InstructionIndex, producer: int) -> None:
        """Note what gave the first operand of a `select`."""
        self._selected[index] = producer

    def note_conversion(self, index: InstructionIndex, producer: int) -> None:
        """Note what gave the operand of a conversion whose result has a type that depends on it."""
        self._converted[index] = converted(self._body.codes[index], self.type_of(producer))

    def behind_branch_on(self, index: InstructionIndex, carried: tuple[int, ...], producer: int) -> tuple[int, ...]:
        """Return what a branch by a reference gives if it is not taken; raises IndexError where the code is not valid.

        `carried` are the types that its label takes; `producer` gave the reference.
        """
        code = self._body.codes[index]
        if code == op.BR_ON_NULL:
            return (*carried, non_null(self.type_of(producer)))
        if not carried:
            raise IndexError
        if code == op.BR_ON_NON_NULL:
            return carried[:-1]
        return (*carried[:-1], left_by_cast(code, self._immediates(index)))

    def note_branch(self, index: InstructionIndex, types: tuple[int, ...]) -> None:
        """Note what a branch gives if it is not taken."""
        self._branch_types[index] = types
        self.note_types(index, types)

    def note_opener(self, index: InstructionIndex, construct: InstructionIndex) -> None:
        """Note the construct that an `end` or `else` belongs to."""
        self._openers[index] = construct

    def is_mutable_global(self, index: InstructionIndex) -> bool:
        """Tell whether a `global.get` reads a mutable global; raises MalformedModule."""
        number = self._body.immediates[index]
        if number >= len(self._module.globals):
            raise MalformedModule(f"global index {number} is out of range", self._body.positions[index])
        return self._module.globals[number].mutable

    def type_of(self, producer: int) -> int:
        """Return the type code of an operand; raises MalformedModule."""
        body = self._body
        while producer in self._selected:
            producer = self._selected[producer]
        index = instruction_of(Producer(producer))
        if index in self.several:
            return self.several[index][producer // SLOT]
        code = body.codes[index]
        action = ACTIONS[code]
        if action == actions.LOCAL_GET or action == actions.LOCAL_TEE:
            return body.local_type(LocalIndex(body.immediates[index]))
        if action == actions.GLOBAL_GET:
            return self._module.globals[body.immediates[index]].type
        if action == actions.CALL:
            return self._module.function_type(FunctionIndex(body.immediates[index])).results[0]
        if action == actions.CALL_INDIRECT or action == actions.CALL_REF:
            return self._module.types[body.immediates[index]].results[0]
        if action == actions.BR_IF or action == actions.BR_ON:
            return self._branch_types[index][0]
        if action == actions.CONVERSION or action == actions.NON_NULL:
            return self._converted[index]
        if action == actions.CONSTRUCT:
            return self._block_types(index)[0][0]
        if action == actions.END or action == actions.HANDLER:
            return self._block_types(self._openers[index])[1][0]
        if action == actions.ELSE:
            return self._block_types(self._openers[index])[0][0]
        if code == op.REF_FUNC and not self._has_function_types():
            return FUNCREF
        results = RESULTS[code]
        if not results:
            raise InternalError(f"no type for the value of {instruction_name(code)}")
        return results[0] if results[0] > 0 else self._by_immediates(index, code)

    def _has_function_types(self) -> bool:
        """Tell whether references to functions of one type are anything else here than references to functions.

        Where nothing is declared with such a type and nothing is called through one, the module need not run in an
        engine that knows them.
        """
        if self._declares_function_types is None:
            body = self._body
            declared = [definition.type for definition in self._module.globals]
            declared += [table.element for table in self._module.tables]
            for definition in self._module.types:
                declared += [*definition.params, *definition.results, *[field[0] for field in definition.fields]]
            declared += body.run_types
            for construct in body.ends:
                params, results = self._block_types(construct)
                declared += [*params, *results]
            concrete = [one for one in declared if is_reference(one) and not is_abstract(heap_of(one))]
            calls = [code for code in body.codes if code in _CALLS_REFERENCES]
            self._declares_function_types = len(concrete) + len(calls) > 0
        return self._declares_function_types

    def _by_immediates(self, index: InstructionIndex, code: int) -> int:
        try:
            return signature(self._module, [], code, self._immediates(index))[1][0]
        except MalformedModule as error:
            raise MalformedModule(error.reason, self._body.positions[index]) from None

    def _immediates(self, index: InstructionIndex) -> list[int]:
        data = self._module.data
        code, position = read_opcode(data, self._body.positions[index])
        return read_immediates(data, position, code)[0]

    def _block_types(self, construct: InstructionIndex) -> tuple[tuple[int, ...], tuple[int, ...]]:
        body = self._body
        return block_types(self._module, body.immediates[construct], body.positions[construct] + 1)
