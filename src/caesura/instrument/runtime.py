"""The functions of the Asyncify ABI and the helpers that move frames, as generated code.

`asyncify_start_unwind` and its four sisters are what hosts call (docs/abi.md); both stops are one function under two
names. `push` and `pop` are what instrumented functions call to move a frame or a piece of it (`instrument.moving`): one
pair for each shape of a piece, so that a function pays a `local.get` and a `local.set` for a saved value instead of a
store and a load. A push checks the space first and traps, in a function whose name says why, before anything is
written.

A function that a host calls in mid-unwind must leave at once. In large modules the pops see to that: while unwinding
they return zeros, and call site 0 leaves. Elsewhere functions look themselves, where they can be called so.

A pop returns several values, which tools without the multi-value feature refuse. For these, functions in large modules
load their values themselves, from the address that `release` gives; that takes five bytes more for each, and is no
faster.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.chunks import Shape, chunk_places
from caesura.instrument.code import (
    CALL,
    CONST_I32,
    END,
    GLOBAL_GET,
    GLOBAL_SET,
    LOCAL_GET,
    LOCAL_TEE,
    RETURN,
    UNREACHABLE,
    ZERO,
    constant,
    load,
    store,
)
from caesura.instrument.tables import FunctionTable
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64

NORMAL: Final = 0
UNWINDING: Final = 1
REWINDING: Final = 2
# An asyncify stack overflowed; the next stop traps too, since hosts report the error from there (Emscripten's does).
OVERFLOWED: Final = 3

START_UNWIND: Final = "asyncify_start_unwind"
STOP_UNWIND: Final = "asyncify_stop_unwind"
START_REWIND: Final = "asyncify_start_rewind"
STOP_REWIND: Final = "asyncify_stop_rewind"
GET_STATE: Final = "asyncify_get_state"

_IF: Final = b"\x04\x40"
_I32_EQ: Final = b"\x46"
_I32_SHL: Final = b"\x74"
_I32_SHR_U: Final = b"\x76"
_MEMORY_SIZE: Final = b"\x3f"
_MEMORY_GROW: Final = b"\x40"
_SUB: Final = {I32: b"\x6b", I64: b"\x7d"}
_ADD: Final = {I32: b"\x6a", I64: b"\x7c"}
_LT_U: Final = {I32: b"\x49", I64: b"\x54"}
_GT_U: Final = {I32: b"\x4b", I64: b"\x56"}


class Runtime:
    """Generates the ABI functions and the frame helpers into a function table.

    `state` and `data` are the indices of the two globals, `memory` that of the memory with the asyncify stacks,
    `pointer` the type code of its addresses. With `grows` the asyncify stack is the last thing in its memory, and a
    push that finds too little room grows the memory. With `shares_release` functions load the values of their frames
    themselves, from the address that a shared function gives. With `pops_check` they need not look at the state before
    they pop a frame, since pops return zeros while unwinding.
    """

    def __init__(
        self,
        functions: FunctionTable,
        state: int,
        data: int,
        memory: int,
        pointer: int,
        grows: bool,
        shares_release: bool,
        pops_check: bool,
    ) -> None:
        self.functions = functions
        self.grows = grows
        self.shares_release = shares_release
        self.pops_check = pops_check
        self.memory = memory
        self.pointer = pointer
        self.state_get = GLOBAL_GET + encode_unsigned(state)
        self.state_set = GLOBAL_SET + encode_unsigned(state)
        self.data_get = GLOBAL_GET + encode_unsigned(data)
        self.data_set = GLOBAL_SET + encode_unsigned(data)
        self.pointer_size = 4 if pointer == I32 else 8
        self._pushes: dict[Shape, int] = {}
        self._pops: dict[Shape, int] = {}
        self._release = -1
        self._overflow = -1
        self._grow = -1
        self._begin = self._begin_function()
        self.start_unwind = self._start(START_UNWIND, UNWINDING)
        self.start_rewind = self._start(START_REWIND, REWINDING)
        self.stop = self._stop()
        self.get_state = functions.add(GET_STATE, (), (I32,), [], self.state_get)

    def push(self, piece: Shape) -> int:
        """Return the index of the function that pushes values of these types."""
        if piece not in self._pushes:
            name = f"asyncify_push_{_shape_name(piece)}"
            self._pushes[piece] = self.functions.add(name, piece, (), [self.pointer], self.push_code(piece))
        return self._pushes[piece]

    def pop(self, piece: Shape) -> int:
        """Return the index of the function that pops values of these types and returns them."""
        if piece not in self._pops:
            name = f"asyncify_pop_{_shape_name(piece)}"
            self._pops[piece] = self.functions.add(name, (), piece, [self.pointer], self.pop_code(piece))
        return self._pops[piece]

    def release(self) -> int:
        """Return the index of the function that frees the bytes of a frame and returns their address."""
        if self._release < 0:
            code = self.data_get + self._load_current() + LOCAL_GET + b"\0" + _SUB[self.pointer]
            code += LOCAL_TEE + b"\0" + store(self.pointer, self.memory, 0) + LOCAL_GET + b"\0"
            self._release = self.functions.add("asyncify_release", (self.pointer,), (self.pointer,), [], code)
        return self._release

    def exports(self) -> list[tuple[str, int]]:
        """Return the functions to export, by name."""
        return [
            (START_UNWIND, self.start_unwind),
            (STOP_UNWIND, self.stop),
            (START_REWIND, self.start_rewind),
            (STOP_REWIND, self.stop),
            (GET_STATE, self.get_state),
        ]

    def forwarding_body(self, name: str) -> bytes:
        """Return the body of a function that stands for the import `asyncify.name`: it calls the real one."""
        code = b"\x00"
        if name in ("start_unwind", "start_rewind"):
            code += LOCAL_GET + b"\0"
        for exported, index in self.exports():
            if exported == f"asyncify_{name}":
                code += CALL + encode_unsigned(index)
        return code + END

    def _begin_function(self) -> int:
        """Add the function that sets the pointer to the data structure, and traps where that is in disorder."""
        code = LOCAL_GET + b"\0" + self.data_set
        code += self._load_current() + self._load_end() + _GT_U[self.pointer]
        code += _IF + CALL + encode_unsigned(self._overflow_function()) + END
        return self.functions.add("asyncify_begin", (self.pointer,), (), [], code)

    def _start(self, name: str, state: int) -> int:
        code = CONST_I32 + encode_signed(state) + self.state_set
        code += LOCAL_GET + b"\0" + CALL + encode_unsigned(self._begin)
        return self.functions.add(name, (self.pointer,), (), [], code)

    def _stop(self) -> int:
        """Add the function that makes the state normal. It traps if the state was that of an overflow."""
        code = self.state_get + CONST_I32 + encode_signed(OVERFLOWED) + _I32_EQ
        code += CONST_I32 + encode_signed(NORMAL) + self.state_set
        code += _IF + UNREACHABLE + END
        code += self.data_get + CALL + encode_unsigned(self._begin)
        return self.functions.add("asyncify_stop", (), (), [], code)

    def _overflow_function(self) -> int:
        if self._overflow < 0:
            code = CONST_I32 + encode_signed(OVERFLOWED) + self.state_set + UNREACHABLE
            self._overflow = self.functions.add("asyncify_stack_overflow", (), (), [], code)
        return self._overflow

    def _grow_function(self) -> int:
        """Return the function that makes room for a number of bytes at the end of the memory, or traps.

        The memory doubles where it may, else it grows by what is needed.
        """
        if self._grow < 0:
            memory = encode_unsigned(self.memory)
            size = _MEMORY_SIZE + memory
            try_grow = _MEMORY_GROW + memory + CONST_I32 + encode_signed(-1) + _I32_EQ + _IF
            needed = LOCAL_GET + b"\0" + CONST_I32 + encode_signed(16) + _I32_SHR_U + CONST_I32 + b"\x01" + _ADD[I32]
            code = size + try_grow + needed + try_grow + CALL + encode_unsigned(self._overflow_function()) + END + END
            code += self.data_get + size + CONST_I32 + encode_signed(16) + _I32_SHL
            code += store(I32, self.memory, self.pointer_size)
            self._grow = self.functions.add("asyncify_grow", (I32,), (), [], code)
        return self._grow

    def push_code(self, piece: Shape) -> bytes:
        """Return the code of the function that pushes a piece."""
        offsets, size = chunk_places(piece, self.pointer_size)
        address = encode_unsigned(len(piece))
        code = self.take_room(address, size)
        for place in range(len(piece)):
            code += LOCAL_GET + address + LOCAL_GET + encode_unsigned(place)
            code += store(piece[place], self.memory, offsets[place])
        return code + self.end_push(address, size)

    def pop_code(self, piece: Shape) -> bytes:
        """Return the code of the function that pops a piece."""
        offsets, size = chunk_places(piece, self.pointer_size)
        code = b""
        if self.pops_check:
            code += self.is_unwinding() + _IF
            for value_type in piece:
                code += ZERO[value_type]
            code += RETURN + END
        code += self.take_back(b"\0", size)
        for place in range(len(piece)):
            code += LOCAL_GET + b"\0" + load(piece[place], self.memory, offsets[place])
        return code

    # Code that both helpers and functions use; `address` is the encoded index of a local.

    def is_unwinding(self) -> bytes:
        """Return the code that tells whether the guest unwinds."""
        return self.state_get + CONST_I32 + encode_signed(UNWINDING) + _I32_EQ

    def take_room(self, address: bytes, size: int) -> bytes:
        """Return the code that makes sure of room for some bytes, and sets the local to their address."""
        room = self.constant(size)
        code = self._load_end() + self._load_current() + LOCAL_TEE + address
        code += _SUB[self.pointer] + room + _LT_U[self.pointer] + _IF
        if self.grows:
            return code + room + CALL + encode_unsigned(self._grow_function()) + END
        # What follows says that the call does not return: else engines keep the frame's values through it, in room that
        # every activation of the function has to have.
        return code + CALL + encode_unsigned(self._overflow_function()) + UNREACHABLE + END

    def end_push(self, address: bytes, size: int) -> bytes:
        """Return the code that makes some bytes, whose address is in the local, part of the stack."""
        code = self.data_get + LOCAL_GET + address + self.constant(size) + _ADD[self.pointer]
        return code + store(self.pointer, self.memory, 0)

    def take_back(self, address: bytes, size: int) -> bytes:
        """Return the code that takes the last bytes off the stack, and sets the local to their address."""
        code = self.data_get + self._load_current() + self.constant(size) + _SUB[self.pointer]
        return code + LOCAL_TEE + address + store(self.pointer, self.memory, 0)

    def constant(self, value: int) -> bytes:
        """Return a constant with the width of a pointer."""
        return constant(self.pointer, value)

    def _load_current(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, 0)

    def _load_end(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, self.pointer_size)


_LETTERS: Final = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v"}


def _shape_name(shape: Shape) -> str:
    return "".join([_LETTERS[value_type] for value_type in shape])
