"""Assertions: a function that is not instrumented and sees the state change around a call traps, by name.

Such a function is on the stack at a suspension that the options ruled out; without a check its caller would save a
frame for a call that went on running. Each function gets a helper of its own to trap in, so that the trap's backtrace
names the culprit in every engine; one shared helper would leave that to the reader.

Where the guard refuses a suspension below a function (see `abi.guard`) there is nothing to find: it stays as it is.

Without assertions, those functions that call a suspending import themselves are checked all the same, behind these
calls and with one helper. Nothing else would notice them: no frame has been pushed when they go on, so that what they
call looks as if the host had called it from inside the import. With thunks there is nothing to check: it is the code
behind the import that begins to unwind.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import ASSERT_PREFIX, LEFT_OUT_FUNCTION
from caesura.analysis.body import Body, decode_body
from caesura.analysis.limits import check_locals
from caesura.analysis.suspension import Suspension
from caesura.instrument.abi.index_spaces import AddedFunctions
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.abi.runtime import Runtime
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import I32

_CALLS: Final = (op.CALL, 0x11, 0x14)


class Asserter:
    """Adds the checks to functions that are not instrumented.

    Behind a tail call there is no place for one. That of an import that may suspend becomes one of a function that
    calls the import and has the check; others need none, since what they return to goes on, and what that calls traps.
    `shift` is what to add to a function's index to get the one in the file that was given.
    """

    def __init__(
        self,
        module: Module,
        runtime: Runtime,
        functions: AddedFunctions,
        names: FunctionNames,
        suspension: Suspension,
        shift: int,
    ) -> None:
        self._module = module
        self._runtime = runtime
        self._state_get = runtime.stack.state_get
        self._functions = functions
        self._names = names
        self._suspension = suspension
        self._shift = shift
        self._left_out: int | None = None

    def rewrite(self, function: FunctionIndex) -> bytes:
        """Return the body of a function with a check behind each call; empty where it makes no calls."""
        body = self._decode(function)
        calls = [
            index
            for index in range(len(body.codes))
            if body.codes[index] in _CALLS or self._is_tail_call_of_import(body, index)
        ]
        return self._insert(body, calls, self._named_helper(function)) if calls else b""

    def rewrite_left_out(self, function: FunctionIndex) -> bytes:
        """Return the body of a function with a check behind each call of an import that may suspend."""
        body = self._decode(function)
        calls: list[int] = []
        for index in range(len(body.codes)):
            is_call = body.codes[index] == op.CALL and self._is_suspending_import(FunctionIndex(body.immediates[index]))
            if is_call or self._is_tail_call_of_import(body, index):
                calls.append(index)
        return self._insert(body, calls, self._shared_helper())

    def _decode(self, function: FunctionIndex) -> Body:
        return decode_body(self._module, function, self._suspension, ignore_catch_sites=True)

    def calls_suspending_import(self, callees: list[FunctionIndex]) -> bool:
        """Tell whether one of these functions is an import that may suspend."""
        for callee in callees:
            if self._is_suspending_import(callee):
                return True
        return False

    def _is_suspending_import(self, function: FunctionIndex) -> bool:
        return function < self._module.imported_functions and self._suspension.may_suspend(function)

    def _is_tail_call_of_import(self, body: Body, index: int) -> bool:
        """Tell whether an instruction is a tail call of an import that may suspend."""
        return body.codes[index] == op.RETURN_CALL and self._is_suspending_import(FunctionIndex(body.immediates[index]))

    def _insert(self, body: Body, calls: list[int], helper: int) -> bytes:
        """Return a body with a check behind some instructions: if the state has changed a helper is called."""
        check_locals(body.local_count + 1, body.code_start)
        data = self._module.data
        out = [encode_unsigned(body.declarations + 1), data[body.declarations_start : body.code_start], b"\x01\x7f"]
        state = encode_unsigned(body.local_count)
        out.append(self._state_get + c.LOCAL_SET + state)
        check = self._check(state, helper)
        copied = body.code_start
        for index in calls:
            if body.codes[index] == op.RETURN_CALL:
                checked = self._checked_import(FunctionIndex(body.immediates[index]), helper)
                out.append(data[copied : body.positions[index]] + c.RETURN_CALL + encode_unsigned(checked))
            else:
                out.append(data[copied : body.positions[index + 1]])
                out.append(check)
            copied = body.positions[index + 1]
        out.append(data[copied : body.positions[-1]])
        return b"".join(out)

    def _check(self, state: bytes, helper: int) -> bytes:
        """Return the code that calls a helper if the state is not the one in a local."""
        changed = self._state_get + c.LOCAL_GET + state + c.I32_NE
        return changed + c.IF_EMPTY + c.CALL + encode_unsigned(helper) + c.END

    def _checked_import(self, imported: FunctionIndex, helper: int) -> int:
        """Add a function that calls an import, with a check behind that."""
        params = len(self._module.function_type(imported).params)
        state = encode_unsigned(params)
        code = self._state_get + c.LOCAL_SET + state
        for place in range(params):
            code += c.LOCAL_GET + encode_unsigned(place)
        code += c.CALL + encode_unsigned(imported) + self._check(state, helper)
        return self._functions.add_of_type("asyncify_checked", self._module.function_types[imported], [I32], code)

    def _shared_helper(self) -> int:
        if self._left_out is None:
            code = self._runtime.trap_in_normal_state()
            self._left_out = self._functions.add(LEFT_OUT_FUNCTION, (), (), [], code)
        return self._left_out

    def _named_helper(self, function: FunctionIndex) -> int:
        where = self._names.describe(function, FunctionIndex(function + self._shift))
        return self._functions.add(
            f"{ASSERT_PREFIX}{where}, which is not instrumented",
            (),
            (),
            [],
            c.UNREACHABLE,
        )
