"""The guard: functions around calls, which say in a global whether the guest can be suspended behind them.

Where lists leave out functions that may be on the stack at a suspension, the global is not 0 while one of these is,
counted from where a host entered the guest last. `start_unwind` and import thunks trap then, in a function whose name
says why, before anything has changed; hosts look first. All that costs anything stands in functions that calls go
through: the global is set where control leaves what is left out, and put back when it returns. So instrumented
functions are as they would be, and what is left out gets other indices in its calls. To mark where control enters what
is left out was rejected: in PHP that are 8,000 functions, of which a few hundred call anything that suspends; and to
mark at the calls themselves: calls through tables are many, the functions that make them by type and table are few.

There are three kinds of such functions, which all put back what was there before:

* a *marking* one sets the global; what is left out calls what may suspend so. Behind the call it looks at the state
  besides: where modules share it, another one can unwind that knows nothing of this one's global. Then it traps, too;
* a *clearing* one makes it 0: what can be suspended is exported so, and what the guest's own scheduler calls is called
  so;
* a *keeping* one only puts it back: imports are called so, since a host may catch there what a marking function has let
  pass (Emscripten's `invoke_*` catch exceptions of C++).

Emscripten's `invoke_*` call functions out of the table, which belong to the call that they are in. Where they do so
through exports (`dynCall_*`), these must not begin anew. But an exception that has left the guest may have left the
global at 1, and then nothing else makes it 0 for what is called next, such as a callback through `dynCall_*`. So while
an `invoke_*` runs the global has a value of its own, if it is not 0, and exports make it 1 from this one, else 0. All
that can throw in there makes it 1 first, so no exception leaves that value behind.

Exceptions that the module itself can catch are let through by a handler that puts the global back, of the form that the
module uses; a module without any handlers gets none.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    ADDED_COPY,
    ADDED_ENTRY,
    ADDED_GUARD,
    ADDED_SECOND_BODY,
    GUARD_FUNCTION,
    GUARDED_ENTRY_FUNCTION,
    State,
)
from caesura.analysis.calls import NO_TABLE
from caesura.errors import MalformedModule
from caesura.instrument.abi.globals import NO_FLAG
from caesura.instrument.abi.stack_code import StackCode
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.signatures import table_address_type
from caesura.wasm.types import EXNREF, I32, encode_value_type, make_reference

# What a function does with the global before its call.
CLEARING: Final = 0
MARKING: Final = 1
KEEPING: Final = 2
ENTERING: Final = 3  # as CLEARING, but for what is called from inside `invoke_*`

# What the global is while one of Emscripten's `invoke_*` runs, where it is not 0.
_INVOKING: Final = 3

# In which form the module catches exceptions.
NO_HANDLERS: Final = 0
OLD_HANDLERS: Final = 1
NEW_HANDLERS: Final = 2

_NAMES: Final = {
    CLEARING: GUARDED_ENTRY_FUNCTION,
    MARKING: GUARD_FUNCTION,
    KEEPING: "asyncify_guarded_import",
    ENTERING: GUARDED_ENTRY_FUNCTION,
}

_INVOKES_MODULE: Final = "env"
_INVOKES_PREFIX: Final = "invoke_"

_CATCH_ALL_REF: Final = b"\x01\x03\x00"


class Guard:
    """Adds these functions to a module when they are asked for.

    `handlers` says how the module catches exceptions; `import_thunks` are the functions that stand for imports.
    """

    def __init__(self, module: Module, stack: StackCode, handlers: int) -> None:
        self._module = module
        self._stack = stack
        self._handlers = handlers
        self._global = encode_unsigned(stack.unsuspendable) if stack.unsuspendable != NO_FLAG else b""
        self.import_thunks: dict[int, int] = {}
        # Functions that were added, and the one that each has the code of: both are added in the order of the latter.
        self.second_bodies: dict[int, FunctionIndex] = {}
        self.copies: dict[int, FunctionIndex] = {}
        self._invokes: Final = {
            item.index
            for item in module.function_imports()
            if item.module == _INVOKES_MODULE and item.name.startswith(_INVOKES_PREFIX)
        }
        # By what they do, and what is called.
        self._of_functions: dict[tuple[int, int], int] = {}
        self._of_calls: dict[tuple[int, int, int, int], int] = {}

    def does_nothing(self, kind: int) -> bool:
        """Tell whether functions of a kind would do nothing, as there is no global."""
        return not self._global and kind != MARKING

    def function(self, called: FunctionIndex, kind: int) -> int:
        """Return the function through which another one is called."""
        if self.does_nothing(kind):
            return called
        if kind == ENTERING and not self._invokes:
            kind = CLEARING
        key = (kind, called)
        if key not in self._of_functions:
            module = self._module
            definition = module.function_type(called)
            target = called if kind == KEEPING else self.import_thunks.get(called, called)
            call = c.CALL + encode_unsigned(target)
            value = _INVOKING if target in self._invokes else 1
            count = len(definition.params)
            code = self.around(kind, call, count, definition.results, count, marking_with=value)
            type_index = module.function_types[called]
            self._of_functions[key] = self._stack.functions.add_of_type(_NAMES[kind], type_index, [I32], code)
        return self._of_functions[key]

    def kept(self, imported: FunctionIndex) -> int:
        """Return the function through which an import is called where nothing is to be marked: its thunk is one."""
        thunk = self.import_thunks.get(imported)
        return self.function(imported, KEEPING) if thunk is None else thunk

    def entered(self) -> list[tuple[int, FunctionIndex]]:
        """Return the functions through which others are called anew, and those, in ascending order."""
        pairs: list[tuple[int, FunctionIndex]] = []
        for (kind, called), function in self._of_functions.items():
            if kind in (CLEARING, ENTERING):
                pairs.append((function, FunctionIndex(called)))
        pairs.sort()
        return pairs

    def added(self) -> list[tuple[int, int, int]]:
        """Return the functions that were added and mean something on a stack, ascending: which, what (`ADDED_GUARD` and
        so on), and of which function it is, or 0.
        """
        found = [(function, ADDED_ENTRY, 0) for function, _ in self.entered()]
        for (kind, _), function in self._of_functions.items():
            if kind == MARKING:
                found.append((function, ADDED_GUARD, 0))
        for (kind, _, _, _), function in self._of_calls.items():
            found.append((function, ADDED_GUARD if kind == MARKING else ADDED_ENTRY, 0))
        for function, original in self.second_bodies.items():
            found.append((function, ADDED_SECOND_BODY, int(original)))
        for function, original in self.copies.items():
            found.append((function, ADDED_COPY, int(original)))
        found.sort()
        return found

    def indirect(self, table: int, type_index: int, kind: int) -> int:
        """Return the function through which a call through a table is made, or, with NO_TABLE, through a reference.

        Its last parameter is the index, or the reference.
        """
        return self._indirect(table, type_index, kind, op.CALL)

    def indirect_leaving(self, table: int, type_index: int) -> int:
        """Return the function that an instrumented one leaves for that makes such a call as a tail call.

        It marks, but where the global is set already it leaves itself: else guests that go on by tail calls, such as
        interpreters, would run out of stack.
        """
        return self._indirect(table, type_index, MARKING, op.RETURN_CALL)

    def leaving(self, table: int, type_index: int, leave: bytes) -> bytes:
        """Return the code that does the same in the function itself, given its tail call, which it makes where the
        global is set. Else it stays on the stack until what it calls returns, so that the stack tells that it is in the
        way. The block takes parameters.
        """
        params, results = self._indirect_shape(table, type_index)
        block = encode_signed(self._stack.functions.types.index_of(params, results))
        marking = c.CALL + encode_unsigned(self.indirect(table, type_index, MARKING))
        return c.GLOBAL_GET + self._global + c.IF + block + leave + c.ELSE + marking + c.END + c.RETURN

    def _indirect(self, table: int, type_index: int, kind: int, way: int) -> int:
        key = (kind, table, type_index, way)
        if key not in self._of_calls:
            self._of_calls[key] = self._add_indirect(table, type_index, kind, is_leaving=way == op.RETURN_CALL)
        return self._of_calls[key]

    def _add_indirect(self, table: int, type_index: int, kind: int, *, is_leaving: bool) -> int:
        params, results = self._indirect_shape(table, type_index)
        if table == NO_TABLE:
            rest = encode_unsigned(type_index)
            call, leave = bytes([op.CALL_REF]) + rest, bytes([op.RETURN_CALL_REF]) + rest
        else:
            rest = encode_unsigned(type_index) + encode_unsigned(table)
            call, leave = bytes([op.CALL_INDIRECT]) + rest, bytes([op.RETURN_CALL_INDIRECT]) + rest
        code = b""
        if is_leaving:
            code += c.GLOBAL_GET + self._global + c.IF_EMPTY + _arguments(len(params)) + leave + c.END
        code += self.around(kind, call, len(params), results, len(params))
        return self._stack.functions.add(_NAMES[kind], params, results, [I32], code)

    def _indirect_shape(self, table: int, type_index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return what such a call takes, the index or the reference last, and what it gives."""
        module = self._module
        if type_index >= len(module.types):
            raise MalformedModule(f"type index {type_index} is out of range")
        definition = module.types[type_index]
        reference = make_reference(type_index, nullable=True)
        last = reference if table == NO_TABLE else table_address_type(module, table)
        return (*definition.params, last), definition.results

    def around(
        self, kind: int, call: bytes, params: int, results: tuple[int, ...], saved: int, *, marking_with: int = 1
    ) -> bytes:
        """Return the code that makes a call with the function's parameters; a local of type i32 keeps the global.

        `marking_with` is what the global is meanwhile, where it is not 0.
        """
        inner = _arguments(params) + call
        check = self._check() if kind == MARKING else b""
        if not self._global:
            return inner + check
        local = encode_unsigned(saved)
        begin = self._begin(kind, local, marking_with)
        restore = c.LOCAL_GET + local + c.GLOBAL_SET + self._global
        if self._handlers == OLD_HANDLERS:
            inner = bytes([op.TRY]) + self._block_type(results) + inner
            inner += bytes([op.CATCH_ALL]) + restore + bytes([op.RETHROW]) + b"\0" + c.END
        elif self._handlers == NEW_HANDLERS:
            inner = c.BLOCK + encode_value_type(EXNREF) + bytes([op.TRY_TABLE]) + self._block_type(results)
            inner += _CATCH_ALL_REF + _arguments(params) + call + c.END
            return begin + inner + restore + check + c.RETURN + c.END + restore + bytes([op.THROW_REF])
        return begin + inner + restore + check

    def _begin(self, kind: int, local: bytes, marking_with: int) -> bytes:
        """Return the code that saves the global and sets it."""
        save = c.GLOBAL_GET + self._global + c.LOCAL_SET + local
        if kind == ENTERING:
            value = c.LOCAL_GET + local + c.CONST_I32 + encode_signed(_INVOKING) + c.I32_EQ
        elif kind != KEEPING:
            value = c.CONST_I32 + encode_signed(marking_with if kind == MARKING else 0)
        elif not self._invokes:
            return save
        else:
            value = c.CONST_I32 + encode_signed(marking_with) + c.CONST_I32 + b"\0" + c.LOCAL_GET + local
            value += bytes([op.SELECT])
        return save + value + c.GLOBAL_SET + self._global

    def prologue(self, function: FunctionIndex) -> bytes:
        """Return what a function that is left out does first if it makes tail calls.

        Such a call leaves no place to put the global back. So the function marks where it is entered, by calling
        itself, unless the global is set. It does so through a function that hosts are not told of: of what is left out,
        none calls another by name through any, so on a stack it tells one activation, which is there twice, from two.
        """
        if not self._global:
            return b""
        count = len(self._module.function_type(function).params)
        call = _arguments(count) + c.CALL + encode_unsigned(self._calling_itself(function))
        return c.GLOBAL_GET + self._global + c.I32_EQZ + c.IF_EMPTY + call + c.RETURN + c.END

    def _calling_itself(self, function: FunctionIndex) -> int:
        definition = self._module.function_type(function)
        count = len(definition.params)
        code = self.around(MARKING, c.CALL + encode_unsigned(function), count, definition.results, count)
        return self._stack.functions.add_of_type(GUARD_FUNCTION, self._module.function_types[function], [I32], code)

    def _check(self) -> bytes:
        """Return the code that traps if the guest unwinds behind a call."""
        stack = self._stack
        code = stack.state_get + c.CONST_I32 + encode_signed(State.UNWINDING) + c.I32_EQ
        return code + c.IF_EMPTY + c.CALL + encode_unsigned(stack.not_instrumented()) + c.END

    def _block_type(self, results: tuple[int, ...]) -> bytes:
        if not results:
            return b"\x40"
        if len(results) == 1:
            return encode_value_type(results[0])
        return encode_signed(self._stack.functions.types.index_of((), results))


def _arguments(count: int) -> bytes:
    return b"".join([c.LOCAL_GET + encode_unsigned(place) for place in range(count)])
