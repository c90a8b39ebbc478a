"""Functions whose result has no value: they never return, but while the guest unwinds they have to.

Languages with a type without values give such results to functions that always trap or throw: Dart's `Never` is
`(ref none)`. What such a function calls may suspend all the same. Then there is nothing to return, and no null either:

    (func $fail (result (ref none))  call $report  unreachable)       call $fail

So before anything looks at the module, such results become ones that can be null, in all function types of the module
at once, and each call that has one is followed by what engines cannot know any more, that it never comes back:

    (func $fail (result (ref null none))                              call $fail
      block (result (ref none))  call $report  unreachable  end)      unreachable

Bodies stand in a block of the old type, since values that are left behind a `br_if` have the label's types. A type that
has a supertype takes the supertype's result where that has values and cannot be null: what lies below it must be one,
too. A tail call of such a function where the caller's results do not fit any more becomes a call at the caller's end,
outside of all its tries, whose exceptions it must not meet. Such a function can be entered by tail calls only from its
own kind or once from another caller, so stacks stay flat.

Types change in their places, so that all that speaks of them (tables, references, casts, imports) still agrees. Other
modules that link functions or types of the same recursion group have to be instrumented, too. A function type that
differed from one with a nullable result only in this is now the same.

Rejected: to change only functions that may suspend, or only those that nothing refers to. What is called through a
reference has the type that the caller names, and two instrumented instances would have to agree on which are which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from caesura.analysis.limits import check_body, check_entries
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.instrument.copied_code import CopiedCode
from caesura.instrument.copied_module import CopiedModule, NewBody, write_copied
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.decode import read_block_type
from caesura.wasm.definitions import (
    FUNCTION_TYPE,
    RECURSION_GROUP,
    TypeDefinition,
    encode_function_type,
    read_subtype,
)
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import OwnFunction
from caesura.wasm.inhabited import Inhabited
from caesura.wasm.instructions import FLOW_BLOCK, FLOW_DELEGATE, FLOW_END, FLOW_TRY, FLOWS
from caesura.wasm.leb128 import encode_signed, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.signatures import table_address_type
from caesura.wasm.type_matching import are_subtypes, same_types
from caesura.wasm.types import encode_value_type, is_nullable, make_reference, nullable

_CALLS: Final = (op.CALL, op.CALL_INDIRECT, op.CALL_REF)
_TAIL_CALLS: Final = (op.RETURN_CALL, op.RETURN_CALL_INDIRECT, op.RETURN_CALL_REF)


def has_valueless_results(module: Module) -> bool:
    """Tell whether a function type of the module has a result without any value."""
    inhabited = Inhabited(module)
    return any(not inhabited.have_values(definition.results) for definition in module.types)


def give_results_values(module: Module) -> CopiedModule:
    """Return a module whose functions all have results of types with values; its code must be valid.

    Raises UnsupportedModule where a function or the module would be larger than engines allow.
    """
    changed = _changed_types(module)
    type_section = _type_section(module, changed)
    edits = SectionEdits()
    edits.replace[sec.TYPE] = type_section
    retyping = _Retyping(module, Module(write_sections(module.data, module.sections, edits)), changed)
    bodies: dict[int, NewBody] = {}
    for own in module.own_functions():
        body = retyping.body(own)
        if body is not None:
            bodies[own] = body
    edits = SectionEdits()
    edits.replace[sec.TYPE] = type_section
    check_entries(len(module.types) + len(retyping.types.added), len(module.types), "types")
    for definition in retyping.types.added:
        edits.append(sec.TYPE, definition)
    return write_copied(module, bodies, edits, [])


def _changed_types(module: Module) -> dict[int, TypeDefinition]:
    """Return the function types that change, as they are then."""
    inhabited = Inhabited(module)
    changed: dict[int, TypeDefinition] = {}
    for index in range(len(module.types)):
        definition = module.types[index]
        if definition.kind != FUNCTION_TYPE or inhabited.have_values(definition.results):
            continue
        above: tuple[int, ...] = ()
        if definition.supertypes:
            supertype = definition.supertypes[0]
            above = changed[supertype].results if supertype in changed else module.types[supertype].results
        results: list[int] = []
        for place in range(len(definition.results)):
            result = definition.results[place]
            if not inhabited.has_value(result):
                result = nullable(result) if not above or is_nullable(above[place]) else above[place]
            results.append(result)
        changed[index] = replace(definition, results=tuple(results))
    return changed


def _type_section(module: Module, changed: dict[int, TypeDefinition]) -> bytes:
    section = module.section(sec.TYPE)
    assert section is not None, "there is a type that changes"
    data = module.data
    out: list[bytes] = []
    copied = section.payload
    groups, position = read_u32(data, copied)
    index = 0
    for _ in range(groups):
        count = 1
        if data[position] == RECURSION_GROUP:
            count, position = read_u32(data, position + 1)
        for _ in range(count):
            end = read_subtype(data, position)[1]
            if index in changed:
                out += [data[copied:position], encode_function_type(changed[index])]
                copied = end
            position = end
            index += 1
    out.append(data[copied : section.end])
    return b"".join(out)


class _Retyping:
    """Writes functions anew that have, or use, types that change; `types` are those that are added for this."""

    def __init__(self, module: Module, retyped: Module, changed: dict[int, TypeDefinition]) -> None:
        self.types = AddedTypes(retyped)
        self._module = module
        self._retyped = retyped
        self._changed = changed
        self._same = same_types(retyped)

    def body(self, own: OwnFunction) -> NewBody | None:
        """Return the new body of a function, None if it stays."""
        function = f"function {self._module.function_of(own)}"
        try:
            return _RetypedFunction(self, self._module, own).write()
        except MalformedModule as error:
            raise MalformedModule(error.reason, error.offset, function) from None
        except UnsupportedModule as error:
            raise UnsupportedModule(error.reason, error.offset, function, error.kind) from None
        except (IndexError, KeyError):
            raise MalformedModule("this is not valid code", self._module.body_starts[own], function) from None

    def is_changed(self, type_index: int) -> bool:
        """Tell whether a type changes."""
        return type_index in self._changed

    def still_fits(self, called: int, caller: int) -> bool:
        """Tell whether a function of one type can still leave by a tail call of one of another."""
        results = self._retyped.types[called].results
        return are_subtypes(self._retyped, self._same, results, self._retyped.types[caller].results)

    def block_type(self, type_index: int) -> bytes:
        """Return a block type as the type was."""
        definition = self._module.types[type_index]
        return encode_signed(self.types.index_of(definition.params, definition.results))

    def result_type(self, results: tuple[int, ...]) -> bytes:
        """Return the type of a block without parameters."""
        if len(results) == 0:
            return c.BLOCK_EMPTY[1:]
        return encode_value_type(results[0]) if len(results) == 1 else encode_signed(self.types.index_of((), results))


class _RetypedFunction:
    def __init__(self, retyping: _Retyping, module: Module, own: OwnFunction) -> None:
        self._retyping = retyping
        self._module = module
        self._data: Final = module.data
        self._start: Final = module.body_starts[own]
        self._end: Final = module.body_ends[own]
        self._type: Final = module.function_types[module.function_of(own)]
        # What is replaced: from where, by what, up to where.
        self._edits: list[tuple[int, bytes, int]] = []
        # The calls at the function's end by their places there, and the types of their operands.
        self._last_calls: dict[bytes, int] = {}
        self._operands: list[tuple[int, ...]] = []

    def write(self) -> NewBody | None:
        code_start = skip_locals(self._data, self._start)
        self._read(code_start)
        is_wrapped = self._retyping.is_changed(self._type) or len(self._last_calls) > 0
        if not self._edits and not is_wrapped:
            return None
        out = CopiedCode(self._data, self._start, code_start)
        if is_wrapped:
            out.replace(code_start, self._opened(), code_start)
        for position, code, behind in self._edits:
            out.replace(position, code, behind)
        if is_wrapped:
            out.replace(self._end - 1, self._closed(), self._end - 1)
        body = out.finish(self._end, self._data[self._start : code_start])
        check_body(len(body), self._end - self._start, self._start)
        return NewBody(body, out.places)

    def _read(self, position: int) -> None:
        """Find what has to be replaced."""
        depth = 0
        while position < self._end:
            opcode = position
            code, immediates, position = read_instruction(self._data, opcode)
            flow = FLOWS[code]
            if code in _CALLS:
                if self._retyping.is_changed(self._called(code, immediates)):
                    self._edits.append((position, c.UNREACHABLE, position))
            elif code in _TAIL_CALLS:
                self._tail_call(code, opcode, immediates, position, depth)
            elif FLOW_BLOCK <= flow <= FLOW_TRY:
                depth += 1
                block_type, behind = read_block_type(self._data, immediates)
                if self._retyping.is_changed(block_type):
                    self._edits.append((immediates, self._retyping.block_type(block_type), behind))
            elif flow == FLOW_END or flow == FLOW_DELEGATE:
                depth -= 1

    def _called(self, code: int, immediates: int) -> int:
        """Return the type of what a call reaches."""
        index = read_u32(self._data, immediates)[0]
        return self._module.function_types[index] if code in (op.CALL, op.RETURN_CALL) else index

    def _tail_call(self, code: int, opcode: int, immediates: int, behind: int, depth: int) -> None:
        called = self._called(code, immediates)
        if not self._retyping.is_changed(called) or self._retyping.still_fits(called, self._type):
            return
        operands = self._module.types[called].params
        if code == op.RETURN_CALL_REF:
            operands = (*operands, make_reference(called, nullable=True))
        elif code == op.RETURN_CALL_INDIRECT:
            table = read_u32(self._data, read_u32(self._data, immediates)[1])[0]
            operands = (*operands, table_address_type(self._module, table))
        call = bytes([_CALLS[_TAIL_CALLS.index(code)]]) + self._data[immediates:behind]
        if call not in self._last_calls:
            self._last_calls[call] = len(self._operands)
            self._operands.append(operands)
        self._edits.append((opcode, c.BR + encode_unsigned(depth + 1 + self._last_calls[call]), behind))

    def _opened(self) -> bytes:
        """Return the heads of the blocks around the function's code: one for each call at the end, one for the code."""
        heads = [c.BLOCK + self._retyping.result_type(operands) for operands in self._operands]
        return b"".join(reversed(heads)) + c.BLOCK + self._retyping.result_type(self._module.types[self._type].results)

    def _closed(self) -> bytes:
        """Return the ends of these blocks, and the calls between them."""
        if not self._last_calls:
            return c.END
        return c.END + c.RETURN + b"".join([c.END + call + c.UNREACHABLE for call in self._last_calls])
