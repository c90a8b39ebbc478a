"""The code that reads and sets the two globals, and that moves values to and from the asyncify stack.

A push checks the space first and traps, in a function whose name says why, before anything is written. Where bytes
count more than the time of one more call, two functions that all pushes and pops share do that, and move the stack
pointer. What is written here serves the helpers of frames (`abi.helpers`) and functions that move their frames
themselves (`frames.moving`) alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.abi import FOREIGN_FUNCTION, NOT_INSTRUMENTED_FUNCTION, OVERFLOW_FUNCTION, State
from caesura.instrument.abi.chunks import Shape
from caesura.instrument.abi.globals import NO_FLAG
from caesura.instrument.abi.index_spaces import AddedFunctions
from caesura.wasm.encoded import (
    CALL,
    CONST_I32,
    DROP,
    END,
    GLOBAL_GET,
    GLOBAL_SET,
    I32_EQ,
    IF_EMPTY,
    LOCAL_GET,
    LOCAL_TEE,
    UNREACHABLE,
    constant,
    load,
    store,
)
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64

# In place of a shared function where there is none.
NOT_SHARED: Final = -1

_I32_SHL: Final = b"\x74"
_I32_SHR_U: Final = b"\x76"
_MEMORY_SIZE: Final = b"\x3f"
_MEMORY_GROW: Final = b"\x40"
_SUB: Final = {I32: b"\x6b", I64: b"\x7d"}
_ADD: Final = {I32: b"\x6a", I64: b"\x7c"}
_LT_U: Final = {I32: b"\x49", I64: b"\x54"}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the state and the asyncify stacks are.

    `state` and `data` are the indices of the two globals, `base` that of the one with the place where frames begin, or
    NO_BASE, `foreign` that of the flag of `foreign_handlers`, or NO_FLAG, `unsuspendable` that of the flag of `guard`,
    or NO_FLAG, `pause_data` that of the one that says where pauses go, or NO_PAUSE_DATA; `memory` is the memory with
    the asyncify stacks, `pointer` the type code of its addresses. With `grows` the asyncify stack is the last thing in
    its memory, and a push that finds too little room grows the memory.
    """

    state: int
    data: int
    base: int
    foreign: int
    unsuspendable: int
    pause_data: int
    memory: int
    pointer: int
    grows: bool


class StackCode:
    """Returns this code, and adds the functions that it calls to a module's table.

    `address` is the encoded index of a local everywhere.
    """

    def __init__(self, functions: AddedFunctions, places: Places) -> None:
        self.functions = functions
        self.grows = places.grows
        self.base = places.base
        self.foreign = places.foreign
        self.unsuspendable = places.unsuspendable
        self.pause_data = places.pause_data
        self.memory = places.memory
        self.pointer = places.pointer
        self.pointer_size = 4 if places.pointer == I32 else 8
        self.state_get = GLOBAL_GET + encode_unsigned(places.state)
        self.state_set = GLOBAL_SET + encode_unsigned(places.state)
        self.data_get = GLOBAL_GET + encode_unsigned(places.data)
        self.data_set = GLOBAL_SET + encode_unsigned(places.data)
        self.load_current = self.data_get + load(places.pointer, places.memory, 0)
        self.load_end = self.data_get + load(places.pointer, places.memory, self.pointer_size)
        # The function that is called when an unwinding begins, with the option `record`.
        self.begin_record = NOT_SHARED
        # The functions that were added.
        self._release = NOT_SHARED
        self._room = NOT_SHARED
        self._overflow = NOT_SHARED
        self._suspended_in_foreign = NOT_SHARED
        self._not_instrumented = NOT_SHARED
        self._grow = NOT_SHARED

    def release(self) -> int:
        """Return the index of the function that frees the bytes of values and returns their address."""
        if self._release == NOT_SHARED:
            code = self.release_code()
            self._release = self.functions.add("asyncify_release", (self.pointer,), (self.pointer,), [], code)
        return self._release

    def release_code(self) -> bytes:
        """Return the code of the function that frees bytes."""
        return self._take_back(b"\0", LOCAL_GET + b"\0") + LOCAL_GET + b"\0"

    def room(self) -> int:
        """Return the index of the function that makes room for values and returns its address."""
        if self._room == NOT_SHARED:
            types = (self.pointer,)
            self._room = self.functions.add("asyncify_room", types, types, [self.pointer], self.room_code())
        return self._room

    def room_code(self) -> bytes:
        """Return the code of the function that makes room."""
        room = LOCAL_GET + b"\0"
        return self._check_room(b"\x01", room) + self._take_room(b"\x01", room) + LOCAL_GET + b"\x01"

    def overflow(self) -> int:
        """Return the index of the function that traps because an asyncify stack has no room."""
        if self._overflow == NOT_SHARED:
            code = CONST_I32 + encode_signed(State.OVERFLOWED) + self.state_set + UNREACHABLE
            self._overflow = self.functions.add(OVERFLOW_FUNCTION, (), (), [], code)
        return self._overflow

    def suspended_in_foreign(self) -> int:
        """Return the index of the function that traps because a handler of a foreign exception cannot be unwound.

        The state is normal then, whatever it was: else hosts would take it for an overflow.
        """
        if self._suspended_in_foreign == NOT_SHARED:
            code = CONST_I32 + encode_signed(State.NORMAL) + self.state_set + UNREACHABLE
            self._suspended_in_foreign = self.functions.add(FOREIGN_FUNCTION, (), (), [], code)
        return self._suspended_in_foreign

    def refuse_in_foreign(self) -> bytes:
        """Return the code that traps if a call in a handler of a foreign exception is on the stack."""
        if self.foreign == NO_FLAG:
            return b""
        code = GLOBAL_GET + encode_unsigned(self.foreign) + IF_EMPTY
        return code + CALL + encode_unsigned(self.suspended_in_foreign()) + END

    def begin_recording(self) -> bytes:
        """Return the code that begins to note which functions are on the stack, if that is wanted."""
        return b"" if self.begin_record == NOT_SHARED else CALL + encode_unsigned(self.begin_record)

    def not_instrumented(self) -> int:
        """Return the index of the function that traps because a function is on the stack that is not instrumented.

        The state is normal then, for the same reason.
        """
        if self._not_instrumented == NOT_SHARED:
            code = CONST_I32 + encode_signed(State.NORMAL) + self.state_set + UNREACHABLE
            self._not_instrumented = self.functions.add(NOT_INSTRUMENTED_FUNCTION, (), (), [], code)
        return self._not_instrumented

    def refuse_unsuspendable(self) -> bytes:
        """Return the code that traps if a function is on the stack that is not instrumented."""
        if self.unsuspendable == NO_FLAG:
            return b""
        code = GLOBAL_GET + encode_unsigned(self.unsuspendable) + IF_EMPTY
        return code + CALL + encode_unsigned(self.not_instrumented()) + END

    def push_values(
        self, types: Shape, offsets: list[int], size: int, address: bytes, values: list[bytes], room: int, rest: bytes
    ) -> bytes:
        """Return the code that pushes values, given their places in as many bytes and the code that gives each.

        Where there is none, `rest` stores the value, with the address in the local. `room` is the shared function that
        makes room for them, or NOT_SHARED.
        """
        end = b""
        if room != NOT_SHARED:
            code = self._constant(size) + CALL + encode_unsigned(room)
            code += LOCAL_TEE + address if len(types) > 1 else b""
        else:
            code = self._check_room(address, self._constant(size)) + LOCAL_GET + address
            end = self._take_room(address, self._constant(size))
        for place in range(len(types)):
            if values[place]:
                code += (LOCAL_GET + address if place else b"") + values[place]
                code += store(types[place], self.memory, offsets[place])
        return code + rest + end

    def address_of(self, address: bytes, offset: int) -> bytes:
        """Return the code that gives the address at an offset."""
        return LOCAL_GET + address + self._constant(offset) + _ADD[self.pointer]

    def pop_values(self, loads: list[bytes], size: int, address: bytes, release: int) -> bytes:
        """Return the code that pops values of as many bytes, given what loads each and puts it away.

        `release` is the shared function that frees their bytes, or NOT_SHARED.
        """
        if release != NOT_SHARED:
            code = self._constant(size) + CALL + encode_unsigned(release)
            code += LOCAL_TEE + address if len(loads) > 1 else b""
        else:
            code = self._take_back(address, self._constant(size)) + LOCAL_GET + address
        if not loads:
            return code + DROP
        return code + (LOCAL_GET + address).join(loads)

    def _grow_function(self) -> int:
        """Return the function that makes room for a number of bytes at the end of the memory, or traps.

        The memory doubles where it may, else it grows by what is needed.
        """
        if self._grow == NOT_SHARED:
            memory = encode_unsigned(self.memory)
            size = _MEMORY_SIZE + memory
            try_grow = _MEMORY_GROW + memory + CONST_I32 + encode_signed(-1) + I32_EQ + IF_EMPTY
            needed = LOCAL_GET + b"\0" + CONST_I32 + encode_signed(16) + _I32_SHR_U + CONST_I32 + b"\x01" + _ADD[I32]
            code = size + try_grow + needed + try_grow + CALL + encode_unsigned(self.overflow()) + END + END
            code += self.data_get + size + CONST_I32 + encode_signed(16) + _I32_SHL
            code += store(I32, self.memory, self.pointer_size)
            self._grow = self.functions.add("asyncify_grow", (I32,), (), [], code)
        return self._grow

    def _check_room(self, address: bytes, room: bytes) -> bytes:
        """Return the code that makes sure of room for some bytes, and sets the local to their address."""
        code = self.load_end + self.load_current + LOCAL_TEE + address
        code += _SUB[self.pointer] + room + _LT_U[self.pointer] + IF_EMPTY
        if self.grows:
            return code + room + CALL + encode_unsigned(self._grow_function()) + END
        # What follows says that the call does not return: else engines keep the frame's values through it, in room that
        # every activation of the function has to have.
        return code + CALL + encode_unsigned(self.overflow()) + UNREACHABLE + END

    def _take_room(self, address: bytes, room: bytes) -> bytes:
        """Return the code that makes some bytes, whose address is in the local, part of the stack."""
        return self.data_get + LOCAL_GET + address + room + _ADD[self.pointer] + store(self.pointer, self.memory, 0)

    def _take_back(self, address: bytes, room: bytes) -> bytes:
        """Return the code that takes the last bytes off the stack, and sets the local to their address."""
        code = self.data_get + self.load_current + room + _SUB[self.pointer]
        return code + LOCAL_TEE + address + store(self.pointer, self.memory, 0)

    def subtract(self, value: int) -> bytes:
        """Return the code that subtracts a constant from a pointer."""
        return self._constant(value) + _SUB[self.pointer]

    def _constant(self, value: int) -> bytes:
        """Return a constant with the width of a pointer."""
        return constant(self.pointer, value)
