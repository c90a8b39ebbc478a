"""Calls in handlers of foreign exceptions: what they call may not suspend, and that is noticed before it unwinds.

A foreign exception is one that is of no tag of the module: JavaScript's, or one of another module's own tags. A
`catch_all` that throws it on can do so only from its own place on the engine's stack, so its body cannot be unwound.
Code that has moved behind its try is not concerned (see `catches.mover`): what is left in the clause is for these.

Its calls go through functions that set a flag for as long as the call takes, and put back what it was also when an
exception comes out of it. `start_unwind` and import thunks trap where the flag is set, before anything has changed. A
trap in the call leaves it set; so hosts can see and set it, under an exported name. To count the handlers at their
beginning and end instead was rejected: control leaves them by branches, returns and exceptions of any kind.

If anything unwinds all the same, because another module that shares the state began to, the function traps behind the
call.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.instrument.abi.stack_code import StackCode
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import TypeIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.signatures import table_address_type
from caesura.wasm.types import I32, encode_value_type, make_reference

# In place of a function, and of a table, where there is none.
_NONE: Final = -1

_CATCH_ALL: Final = bytes([op.CATCH_ALL])
_RETHROW: Final = bytes([op.RETHROW]) + b"\0"


class ForeignHandlers:
    """Adds the functions that make these calls. `import_thunks` are the functions that stand for imports."""

    def __init__(self, module: Module, stack: StackCode, import_thunks: dict[int, int]) -> None:
        self._module = module
        self._stack = stack
        self._import_thunks = import_thunks
        # By opcode, and function or type, and table.
        self._added: dict[tuple[int, int, int], int] = {}

    def call_instead(self, data: bytes, position: int) -> bytes:
        """Return the code that makes the call that stands at a position."""
        code = data[position]
        target, position = read_u32(data, position + 1)
        table = read_u32(data, position)[0] if code == op.CALL_INDIRECT else _NONE
        key = (code, target, table)
        if key not in self._added:
            self._added[key] = self._add(code, target, table)
        return c.CALL + encode_unsigned(self._added[key])

    def _add(self, code: int, target: int, table: int) -> int:
        module = self._module
        called = self._import_thunks.get(target, target) if code == op.CALL else target
        call = bytes([code]) + encode_unsigned(called)
        type_index = module.function_types[target] if code == op.CALL else TypeIndex(target)
        if type_index >= len(module.types):
            raise MalformedModule(f"type index {type_index} is out of range")
        definition = module.types[type_index]
        params = definition.params
        name = f"asyncify_foreign_call_{target}"
        if code == op.CALL_INDIRECT:
            params = (*params, table_address_type(module, table))
            call += encode_unsigned(table)
            name = f"asyncify_foreign_call_indirect_{target}_{table}"
        elif code == op.CALL_REF:
            params = (*params, make_reference(target, nullable=True))
            name = f"asyncify_foreign_call_ref_{target}"
        functions = self._stack.functions
        body = self._around(call, params, definition.results)
        if code == op.CALL:
            return functions.add_of_type(name, type_index, [I32], body)
        return functions.add(name, params, definition.results, [I32], body)

    def _around(self, call: bytes, params: tuple[int, ...], results: tuple[int, ...]) -> bytes:
        """Return the code of a function that makes a call with its parameters; its local keeps the flag."""
        stack = self._stack
        flag = encode_unsigned(stack.foreign)
        saved = encode_unsigned(len(params))
        restore = c.LOCAL_GET + saved + c.GLOBAL_SET + flag
        arguments = b"".join([c.LOCAL_GET + encode_unsigned(place) for place in range(len(params))])
        code = c.GLOBAL_GET + flag + c.LOCAL_SET + saved + c.CONST_I32 + b"\1" + c.GLOBAL_SET + flag
        code += bytes([op.TRY]) + self._block_type(results) + arguments + call
        code += _CATCH_ALL + restore + _RETHROW + c.END + restore
        return code + stack.state_get + c.IF_EMPTY + c.CALL + encode_unsigned(stack.suspended_in_foreign()) + c.END

    def _block_type(self, results: tuple[int, ...]) -> bytes:
        if not results:
            return b"\x40"
        if len(results) == 1:
            return encode_value_type(results[0])
        return encode_signed(self._stack.functions.types.index_of((), results))
