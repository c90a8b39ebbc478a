"""Assertions: a function that is not instrumented and sees the state change around a call traps, by name.

Such a function is on the stack at a suspension that the options ruled out; without a check its caller would save a
frame for a call that went on running. Each function gets a helper of its own to trap in, so that the trap's backtrace
names the culprit in every engine; one shared helper would leave that to the reader.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, decode_body
from caesura.analysis.suspension import Suspension
from caesura.instrument import code as c
from caesura.instrument.limits import check_locals
from caesura.instrument.naming import FunctionNames
from caesura.instrument.runtime import Runtime
from caesura.instrument.tables import FunctionTable
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module

_CALLS: Final = (0x10, 0x11, 0x14)


class Asserter:
    """Adds the checks to functions that are not instrumented.

    A tail call needs none: the function's frame is gone. `shift` is what to add to a function's index to get the one
    in the file that was given.
    """

    def __init__(
        self,
        module: Module,
        runtime: Runtime,
        functions: FunctionTable,
        names: FunctionNames,
        suspension: Suspension,
        shift: int,
    ) -> None:
        self._module = module
        self._runtime = runtime
        self._functions = functions
        self._names = names
        self._suspension = suspension
        self._shift = shift

    def rewrite(self, function: int) -> bytes:
        """Return the body of a function with a check behind each call; empty where it makes no calls."""
        body = decode_body(self._module, function, self._suspension, True, True)
        if not any(code in _CALLS for code in body.codes):
            return b""
        check_locals(body.local_count + 1, body.code_start)
        data = self._module.data
        out = [encode_unsigned(body.declarations + 1), data[body.declarations_start : body.code_start], b"\x01\x7f"]
        state = encode_unsigned(body.local_count)
        out.append(self._runtime.state_get + c.LOCAL_SET + state)
        check = self._check(function, body)
        copied = body.code_start
        for index in range(len(body.codes)):
            if body.codes[index] in _CALLS:
                out.append(data[copied : body.positions[index + 1]])
                out.append(check)
                copied = body.positions[index + 1]
        out.append(data[copied : body.positions[-1]])
        return b"".join(out)

    def _check(self, function: int, body: Body) -> bytes:
        where = self._names.describe(function, function + self._shift)
        helper = self._functions.add(
            f"asyncify_assert: suspended below {where}, which is not instrumented",
            (),
            (),
            [],
            c.UNREACHABLE,
        )
        saved = c.LOCAL_GET + encode_unsigned(body.local_count)
        call = c.CALL + encode_unsigned(helper)
        return self._runtime.state_get + saved + c.I32_NE + c.IF_EMPTY + call + c.END
