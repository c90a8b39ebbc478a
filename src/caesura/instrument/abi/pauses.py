"""What pause points call to begin a suspension by themselves, and, when the call is resumed, to end it.

The function does what an import thunk does around its import, or a host of the plain ABI: where the guest is being
rewound, the state is normal from now on; else the host has said before where the frames shall begin, that the guest is
to go on, or that it is to trap. A call inside a handler of a foreign exception goes on as well, since nothing below it
on the stack can be unwound.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    CURRENT_OFFSET,
    PAUSE_OFFSET,
    PAUSE_REFUSED,
    PAUSE_REFUSED_FUNCTION,
    START_UNWIND,
    STATUS_OFFSET,
    STOP_REWIND,
    State,
    Status,
)
from caesura.instrument.abi.globals import NO_FLAG
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.stack_code import StackCode
from caesura.wasm import encoded as c
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64, encode_value_type

_EQ: Final = {True: b"\x46", False: b"\x51"}
_I32_AND: Final = b"\x71"
_I64_SHR_S: Final = b"\x87"
_I32_WRAP_I64: Final = b"\xa7"
_SIGN_BIT: Final = 63
_ADDRESS: Final = b"\0"


def pause_body(helpers: FrameHelpers, *, thunks: bool) -> bytes:
    """Return the body, without size field, of the function that pause points call."""
    return _Pause(helpers).body(thunks=thunks)


def may_pause(stack: StackCode, *, thunks: bool) -> bytes:
    """Return the code whose i32 is not 0 if that function would begin a suspension, or trap."""
    code = _place(stack, thunks=thunks)
    if stack.pointer == I32 and stack.foreign == NO_FLAG:
        return code
    code += (c.I32_EQZ if stack.pointer == I32 else c.I64_EQZ) + c.I32_EQZ
    if stack.foreign != NO_FLAG:
        code += c.GLOBAL_GET + encode_unsigned(stack.foreign) + c.I32_EQZ + _I32_AND
    return code


def may_pause_now(left: bytes, may_pause: bytes) -> bytes:
    """Return the code whose i32 is not 0 if so much is `left` to count that it is below zero, and `may_pause` is not 0.

    That is one condition without a branch, of bits: all are set where what is left is below zero.
    """
    return left + c.constant(I64, _SIGN_BIT) + _I64_SHR_S + _I32_WRAP_I64 + may_pause + _I32_AND


def _place(stack: StackCode, *, thunks: bool) -> bytes:
    """Return the code that gives what the host has said."""
    if thunks:
        return stack.data_get + c.load(stack.pointer, stack.memory, PAUSE_OFFSET)
    return c.GLOBAL_GET + encode_unsigned(stack.pause_data)


class _Pause:
    def __init__(self, helpers: FrameHelpers) -> None:
        self._stack = helpers.stack
        self._runtime = helpers.runtime
        self._references = helpers.references
        self._is_narrow = helpers.stack.pointer == I32

    def body(self, *, thunks: bool) -> bytes:
        resumed = self._resumed_by_thunks() if thunks else self._runtime_call(STOP_REWIND)
        code = self._stack.state_get + c.IF_EMPTY + resumed + c.RETURN + c.END
        if self._stack.foreign != NO_FLAG:
            code += c.GLOBAL_GET + encode_unsigned(self._stack.foreign) + c.IF_EMPTY + c.RETURN + c.END
        code += _place(self._stack, thunks=thunks)
        code += c.LOCAL_TEE + _ADDRESS + (c.I32_EQZ if self._is_narrow else c.I64_EQZ)
        code += c.IF_EMPTY + c.RETURN + c.END
        code += c.LOCAL_GET + _ADDRESS + c.constant(self._stack.pointer, PAUSE_REFUSED) + _EQ[self._is_narrow]
        code += c.IF_EMPTY + self._refused() + c.END
        code += self._begin_by_thunks() if thunks else c.LOCAL_GET + _ADDRESS + self._runtime_call(START_UNWIND)
        return b"\x01\x01" + encode_value_type(self._stack.pointer) + code + c.END

    def _refused(self) -> bytes:
        function = self._stack.functions.add(PAUSE_REFUSED_FUNCTION, (), (), [], c.UNREACHABLE)
        return c.CALL + encode_unsigned(function) + c.UNREACHABLE

    def _runtime_call(self, name: str) -> bytes:
        return c.CALL + encode_unsigned(dict(self._runtime.exports())[name])

    def _resumed_by_thunks(self) -> bytes:
        stops = self._references.stops() if self._references.has_runs() else b""
        return stops + self._set_state(State.NORMAL) + self._set_status(Status.RUN)

    def _begin_by_thunks(self) -> bytes:
        stack = self._stack
        code = stack.data_get + c.LOCAL_GET + _ADDRESS + c.store(stack.pointer, stack.memory, CURRENT_OFFSET)
        code += self._set_status(Status.PAUSED) + self._set_state(State.UNWINDING)
        return code + (self._references.unwinding_starts() if self._references.has_runs() else b"")

    def _set_state(self, state: int) -> bytes:
        return c.CONST_I32 + encode_signed(state) + self._stack.state_set

    def _set_status(self, status: int) -> bytes:
        constant = c.CONST_I32 + encode_signed(status)
        return self._stack.data_get + constant + c.store(I32, self._stack.memory, STATUS_OFFSET)
