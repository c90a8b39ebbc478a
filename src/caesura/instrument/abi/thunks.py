"""Thunks: the second ABI, in which a suspension is one host call and a resumption one guest call.

Driving the plain ABI costs a host five calls into the guest for each suspension. Here the state changes inside the
module, and host and guest talk through a control block in memory (docs/abi.md has its layout). An import that may
suspend is called through an import thunk, which unwinds when the host wrote that it wants to, and which on resumption
takes the results from the block without calling the host. An export that may suspend gets an entry thunk as a second
export, which starts the rewinding, ends the unwinding, and switches the shadow stack. Some modules have tens of
thousands of exports, so that is done by two functions that the entry thunks share: one that is called first, and, for
each list of results, one that is called last and passes these through. Import thunks share in the same way what they
do before and behind the import, and, for each list of results, the reading of these. They look at the state themselves:
where it is normal, ordinary runs make one more call for each call of an import, not two. One body for each type, with a
`call_indirect` or a `br_table` to the import, was rejected: its branches would take what the thunks save.

Where modules are linked, an import may be another module's function, which unwinds and rewinds itself. So import thunks
look at the state after the call too, and leave a marker among the frames: whether the call itself was what suspended.
Telling it from the place where the frames begin was rejected: the other module's functions may have none.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    DATA_POINTER,
    MOST_RESULTS,
    RESULT_SIZE,
    RESULTS_OFFSET,
    SET_DATA_POINTER,
    STACK_POINTER,
    STACK_POINTER_OFFSET,
    STATUS_OFFSET,
    State,
    Status,
)
from caesura.analysis.stack_limits import find_stack_limits
from caesura.instrument.abi.dummies import Dummies
from caesura.instrument.abi.guard import CLEARING, KEEPING, Guard
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.stack_code import NOT_SHARED
from caesura.wasm import encoded as c
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import I32, type_name

# What an import thunk leaves among the frames where modules are linked: the suspension came from the host's
# function that it called, or from farther down, in another module.
_SUSPENDED_BY_HOST: Final = 1
_SUSPENDED_BELOW: Final = 0


class Thunks:
    """Generates the thunks of a module.

    `stack_pointer` is the shadow stack's global, or None; `guard` makes the functions through which others are called
    where lists leave out functions. With `is_linked` imports may be functions of other instances that suspend.
    """

    def __init__(
        self,
        module: Module,
        helpers: FrameHelpers,
        dummies: Dummies,
        stack_pointer: int | None,
        guard: Guard | None,
        *,
        is_linked: bool,
    ) -> None:
        stack = helpers.stack
        self._guard = guard
        self._dummies = dummies
        self._module = module
        self._is_linked = is_linked
        self._functions = stack.functions
        self._helpers = helpers
        self._references = helpers.references
        self._stack = stack
        # The field that exchanges it has the asyncify memory's pointer type; another one cannot be exchanged.
        can_exchange = stack_pointer is not None and module.globals[stack_pointer].type == stack.pointer
        self._stack_pointer = stack_pointer if can_exchange else None
        pointer = b"" if self._stack_pointer is None else encode_unsigned(self._stack_pointer)
        self._stack_get = c.GLOBAL_GET + pointer
        self._stack_set = c.GLOBAL_SET + pointer
        # The entry thunks by function, and the functions that they share, the last ones by the results passed through.
        self._entry_thunks: dict[int, int] = {}
        self._entering = NOT_SHARED
        self._leaving: dict[tuple[int, ...], int] = {}
        # What import thunks share: what is called before and behind the import, and what gives results, by their types.
        self._rejoining = NOT_SHARED
        self._parting = NOT_SHARED
        self._results: dict[tuple[int, ...], int] = {}

    def keep_references(self) -> None:
        """Let import thunks do what there is to do for references; it is known when all frames are."""
        if self._references.has_runs() and self._rejoining != NOT_SHARED:
            self._functions.replace(self._rejoining, self._rejoin_code())
            self._functions.replace(self._parting, self._part_code())

    def accessors(self) -> list[tuple[str, int]]:
        """Add the functions that read and set the control block's address; return (export name, function)."""
        stack = self._stack
        pointer = (stack.pointer,)
        reader = self._functions.add(DATA_POINTER, (), pointer, [], stack.data_get)
        writer = self._functions.add(SET_DATA_POINTER, pointer, (), [], c.LOCAL_GET + b"\0" + stack.data_set)
        return [(DATA_POINTER, reader), (SET_DATA_POINTER, writer)]

    def global_exports(self) -> list[tuple[str, int]]:
        """Return the globals that a host switches with the shadow stack, under their export names."""
        if self._stack_pointer is None:
            return []
        limits = find_stack_limits(self._module, self._stack_pointer)
        return [(STACK_POINTER, self._stack_pointer), *limits.exports()]

    def import_thunk(self, function: FunctionIndex, name: str) -> int:
        """Add the thunk of an imported function and return its index.

        Names of import thunks are all the same: with those of the imports they would be half of what thunks take.
        """
        definition = self._module.function_type(function)
        code = self._stack.state_get + c.IF_EMPTY + c.CALL + encode_unsigned(self._rejoin())
        if self._lie_in_block(definition.results):
            code += c.IF_EMPTY + self._take_results(definition.results) + c.RETURN + c.END
        else:  # the import is called again, but for while the guest unwinds
            zeros = self._dummies.values(definition.results)
            code += c.DROP + self._state_is(State.UNWINDING) + c.IF_EMPTY + zeros + c.RETURN + c.END
        called = function if self._guard is None else self._guard.function(function, KEEPING)
        code += c.END + self._call_with_arguments(function, called) + c.CALL + encode_unsigned(self._part())
        return self._functions.add_of_type("asyncify_import", self._module.function_types[function], [], code)

    def _lie_in_block(self, results: tuple[int, ...]) -> bool:
        """Tell whether results can lie in the control block: references cannot lie in memory."""
        return len(results) <= MOST_RESULTS and all(result in c.ZERO for result in results)

    def _rejoin(self) -> int:
        """Return what import thunks call where the state is not normal. It tells whether to return at once.

        That is so while the guest unwinds, and where the host put the results into the block. Otherwise the import is
        to be called: again, for the host, or to go on with the rewinding in another module.
        """
        if self._rejoining == NOT_SHARED:
            self._rejoining = self._functions.add("asyncify_rejoin", (), (I32,), [], self._rejoin_code())
        return self._rejoining

    def _rejoin_code(self) -> bytes:
        code = self._state_is(State.UNWINDING) + c.IF_EMPTY + c.CONST_I32 + b"\1" + c.RETURN + c.END
        if self._is_linked:
            code += self._pop_marker() + c.I32_EQZ + c.IF_EMPTY + c.CONST_I32 + b"\0" + c.RETURN + c.END
        if self._references.has_runs():
            code += self._references.stops()
        code += self._set_state(State.NORMAL)
        return code + (
            self._status() + c.CONST_I32 + encode_signed(Status.RESUME) + c.I32_EQ + self._set_status(Status.RUN)
        )

    def _part(self) -> int:
        """Return what import thunks call behind the import: it begins to unwind if the host asked for that."""
        if self._parting == NOT_SHARED:
            self._parting = self._functions.add("asyncify_part", (), (), [], self._part_code())
        return self._parting

    def _part_code(self) -> bytes:
        code = self._status() + c.CONST_I32 + encode_signed(Status.SUSPEND) + c.I32_EQ
        code += c.IF_EMPTY + self._stack.refuse_in_foreign() + self._stack.refuse_unsuspendable()
        code += self._stack.begin_recording()
        code += self._set_state(State.UNWINDING)
        if self._references.has_runs():
            code += self._references.unwinding_starts()
        if self._is_linked:
            below = self._stack.state_get + c.IF_EMPTY + self._push_marker(_SUSPENDED_BELOW) + c.ELSE
            code = below + code + self._push_marker(_SUSPENDED_BY_HOST) + c.END
        return code + c.END

    def _take_results(self, results: tuple[int, ...]) -> bytes:
        """Return the call of what gives results of these types: those in the block, or, while unwinding, zeros."""
        if not results:
            return b""
        if results not in self._results:
            code = self._state_is(State.UNWINDING) + c.IF_EMPTY + b"".join([c.zero(result) for result in results])
            code += c.RETURN + c.END + self._load_results(results)
            name = "_".join(["asyncify_results", *[type_name(result) for result in results]])
            self._results[results] = self._functions.add(name, (), results, [], code)
        return c.CALL + encode_unsigned(self._results[results])

    def _push_marker(self, marker: int) -> bytes:
        return c.CONST_I32 + encode_signed(marker) + c.CALL + encode_unsigned(self._helpers.push((I32,)))

    def _pop_marker(self) -> bytes:
        return c.CALL + encode_unsigned(self._helpers.pop((I32,)))

    def _load_results(self, types: tuple[int, ...]) -> bytes:
        code = b""
        for place in range(len(types)):
            offset = RESULTS_OFFSET + RESULT_SIZE * place
            code += self._stack.data_get + c.load(types[place], self._stack.memory, offset)
        return code

    def entry_thunk(self, function: FunctionIndex) -> int:
        """Return the thunk of an exported function, which is added at its first export.

        Entry thunks have the names of their exports.
        """
        if function not in self._entry_thunks:
            self._add_entry(function, self._entry(function))
        return self._entry_thunks[function]

    def entry_thunk_of_import(self, function: FunctionIndex, import_thunk: int, helpers: FrameHelpers) -> int:
        """Return the entry thunk of an import that the module exports again, given its import thunk."""
        if function not in self._entry_thunks:
            self._add_entry(function, self._entry_of_import(function, import_thunk, helpers))
        return self._entry_thunks[function]

    def _add_entry(self, function: FunctionIndex, code: bytes) -> None:
        type_index = self._module.function_types[function]
        self._entry_thunks[function] = self._functions.add_of_type("asyncify_entry", type_index, [], code)

    def _entry(self, function: FunctionIndex) -> bytes:
        """Return an entry thunk's code; the stack pointer that it saves stays below the arguments and the results."""
        leave = self._leave(self._module.function_type(function).results)
        called = function if self._guard is None else self._guard.function(function, CLEARING)
        return self._enter() + self._call_with_arguments(function, called) + leave

    def _entry_of_import(self, function: FunctionIndex, import_thunk: int, helpers: FrameHelpers) -> bytes:
        """Return the code of the entry thunk of an import that is exported again.

        Nothing else is on the stack then, so the entry thunk pushes a frame itself: hosts take a suspension without
        frames for one that was lost.
        """
        frame = (I32,)
        pop = self._state_is(State.REWINDING) + c.IF_EMPTY + c.CALL + encode_unsigned(helpers.pop(frame)) + c.DROP
        push = self._state_is(State.UNWINDING) + c.IF_EMPTY + c.CONST_I32 + b"\0"
        push += c.CALL + encode_unsigned(helpers.push(frame)) + c.END
        call = self._call_with_arguments(function, import_thunk)
        leave = self._leave(self._module.function_type(function).results)
        return self._enter() + pop + c.END + call + push + leave

    def _call_with_arguments(self, function: FunctionIndex, called: int) -> bytes:
        """Return the call of a function with the parameters of another one of the same type."""
        code = b""
        for place in range(len(self._module.function_type(function).params)):
            code += c.LOCAL_GET + encode_unsigned(place)
        return code + c.CALL + encode_unsigned(called)

    def _enter(self) -> bytes:
        """Return the call of what all entry thunks do first; with a shadow stack it gives the pointer to restore."""
        if self._entering == NOT_SHARED:
            code = self._switch_stack(0)
            code += self._status() + c.CONST_I32 + encode_signed(Status.RESUME) + c.I32_GE_U
            code += c.IF_EMPTY + self._set_state(State.REWINDING)
            if self._references.has_runs():
                code += self._references.rewinding_starts()
            code += c.END
            pointer = self._saved()
            code += c.LOCAL_GET + b"\0" if pointer else b""
            self._entering = self._functions.add("asyncify_enter", (), pointer, [*pointer, *pointer], code)
        return c.CALL + encode_unsigned(self._entering)

    def _leave(self, results: tuple[int, ...]) -> bytes:
        """Return the call of what all entry thunks with these results do last: it takes the pointer and the results."""
        pointer = self._saved()
        passed = results if pointer else ()
        if passed not in self._leaving:
            code = self._state_is(State.UNWINDING) + c.IF_EMPTY
            if self._references.has_runs():
                code += self._references.stops()
            code += self._set_state(State.NORMAL)
            code += self._leave_stack_pointer()
            code += c.ELSE + self._status() + c.CONST_I32 + encode_signed(Status.SUSPEND) + c.I32_EQ
            code += c.IF_EMPTY + self._set_status(Status.LOST) + c.END + c.END
            code += c.LOCAL_GET + b"\0" + self._stack_set if pointer else b""
            for place in range(len(passed)):
                code += c.LOCAL_GET + encode_unsigned(1 + place)
            name = "_".join(["asyncify_leave", *[type_name(value_type) for value_type in passed]])
            self._leaving[passed] = self._functions.add(name, (*pointer, *passed), passed, [], code)
        return c.CALL + encode_unsigned(self._leaving[passed])

    def _saved(self) -> tuple[int, ...]:
        """Return the types of what an entry thunk keeps while it runs: the shadow stack pointer, if there is one."""
        return () if self._stack_pointer is None else (self._stack.pointer,)

    def _switch_stack(self, saved: int) -> bytes:
        """Save the shadow stack pointer in a local and take the one in the control block, if there is one."""
        if self._stack_pointer is None:
            return b""
        stack = self._stack
        given = encode_unsigned(saved + 1)
        code = self._stack_get + c.LOCAL_SET + encode_unsigned(saved)
        code += stack.data_get + c.load(stack.pointer, stack.memory, STACK_POINTER_OFFSET) + c.LOCAL_SET + given
        code += c.LOCAL_GET + given + (c.I32_EQZ if stack.pointer == I32 else c.I64_EQZ) + c.I32_EQZ + c.IF_EMPTY
        code += c.LOCAL_GET + given + self._stack_set
        code += stack.data_get + c.constant(stack.pointer, 0)
        code += c.store(stack.pointer, stack.memory, STACK_POINTER_OFFSET)
        return code + c.END

    def _leave_stack_pointer(self) -> bytes:
        if self._stack_pointer is None:
            return b""
        stack = self._stack
        return stack.data_get + self._stack_get + c.store(stack.pointer, stack.memory, STACK_POINTER_OFFSET)

    def _state_is(self, state: int) -> bytes:
        return self._stack.state_get + c.CONST_I32 + encode_signed(state) + c.I32_EQ

    def _set_state(self, state: int) -> bytes:
        return c.CONST_I32 + encode_signed(state) + self._stack.state_set

    def _status(self) -> bytes:
        return self._stack.data_get + c.load(I32, self._stack.memory, STATUS_OFFSET)

    def _set_status(self, status: int) -> bytes:
        constant = c.CONST_I32 + encode_signed(status)
        return self._stack.data_get + constant + c.store(I32, self._stack.memory, STATUS_OFFSET)
