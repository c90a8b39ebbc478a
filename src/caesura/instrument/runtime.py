"""The functions of the Asyncify ABI and the helpers that move frames, as generated code.

`asyncify_start_unwind` and its four sisters are what hosts call (docs/abi.md). `push` and `pop` are what instrumented
functions call: one pair for each shape of frame chunk, so that a function pays a `local.get` and a `local.set` for a
saved value instead of a store and a load. A chunk holds at most six values: with more, the helpers
for all their shapes cost more than the calls saved (SQLite and QuickJS are smallest at six and seven; whole frames
cost SQLite 14 KB more). A push checks the space first and traps, in a function whose name says why, before anything is
written. A pop that is called while unwinding returns zeros, so that an export called by the host in mid-unwind finds
call site 0 and leaves.

A pop returns several values, which tools without the multi-value feature refuse. For these, functions can load their
values themselves, from the address that `release` gives; that takes five bytes more for each, and is no faster.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.code import (
    CALL,
    CONST_I32,
    END,
    GLOBAL_GET,
    GLOBAL_SET,
    LOCAL_GET,
    LOCAL_SET,
    LOCAL_TEE,
    RETURN,
    UNREACHABLE,
    ZERO,
    constant,
    load,
    store,
    value_size,
)
from caesura.instrument.tables import FunctionTable
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64

NORMAL: Final = 0
UNWINDING: Final = 1
REWINDING: Final = 2
# An asyncify stack overflowed; the next stop traps too, since hosts report the error from there (Emscripten's does).
OVERFLOWED: Final = 3

CHUNK: Final = 6

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
    push that finds too little room grows the memory. With `loads_inline` functions load the values of their frames
    themselves.
    """

    def __init__(
        self,
        functions: FunctionTable,
        state: int,
        data: int,
        memory: int,
        pointer: int,
        grows: bool,
        loads_inline: bool,
    ) -> None:
        self.functions = functions
        self._grows = grows
        self.loads_inline = loads_inline
        self.memory = memory
        self.pointer = pointer
        self.state_get = GLOBAL_GET + encode_unsigned(state)
        self.state_set = GLOBAL_SET + encode_unsigned(state)
        self.data_get = GLOBAL_GET + encode_unsigned(data)
        self.data_set = GLOBAL_SET + encode_unsigned(data)
        self._pointer_size = 4 if pointer == I32 else 8
        self._pushes: dict[tuple[int, ...], int] = {}
        self._pops: dict[tuple[int, ...], int] = {}
        self._release = -1
        self._overflow = -1
        self._grow = -1
        self.start_unwind = self._transition(START_UNWIND, UNWINDING, True)
        self.stop_unwind = self._transition(STOP_UNWIND, NORMAL, False)
        self.start_rewind = self._transition(START_REWIND, REWINDING, True)
        self.stop_rewind = self._transition(STOP_REWIND, NORMAL, False)
        self.get_state = functions.add(GET_STATE, (), (I32,), [], self.state_get)

    def push(self, shape: tuple[int, ...]) -> int:
        """Return the index of the function that pushes a chunk of values of these types."""
        if shape not in self._pushes:
            self._pushes[shape] = self._push(shape)
        return self._pushes[shape]

    def pop(self, shape: tuple[int, ...]) -> int:
        """Return the index of the function that pops a chunk of values of these types and returns them."""
        if shape not in self._pops:
            self._pops[shape] = self._pop(shape)
        return self._pops[shape]

    def release(self) -> int:
        """Return the index of the function that frees the bytes of a frame and returns their address.

        While unwinding it does nothing and returns 0.
        """
        if self._release < 0:
            code = self.state_get + CONST_I32 + encode_signed(UNWINDING) + _I32_EQ + _IF
            code += self._pointer_constant(0) + RETURN + END
            code += self.data_get + self._load_current() + LOCAL_GET + b"\0" + _SUB[self.pointer]
            code += LOCAL_TEE + b"\0" + store(self.pointer, self.memory, 0) + LOCAL_GET + b"\0"
            self._release = self.functions.add("asyncify_release", (self.pointer,), (self.pointer,), [], code)
        return self._release

    def exports(self) -> list[tuple[str, int]]:
        """Return the functions to export, by name."""
        return [
            (START_UNWIND, self.start_unwind),
            (STOP_UNWIND, self.stop_unwind),
            (START_REWIND, self.start_rewind),
            (STOP_REWIND, self.stop_rewind),
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

    def _transition(self, name: str, state: int, sets_data: bool) -> int:
        code = b""
        if state == NORMAL:
            code += self.state_get + CONST_I32 + encode_signed(OVERFLOWED) + _I32_EQ
        code += CONST_I32 + encode_signed(state) + self.state_set
        if state == NORMAL:
            code += _IF + UNREACHABLE + END
        if sets_data:
            code += LOCAL_GET + b"\0" + self.data_set
        code += self._load_current() + self._load_end() + _GT_U[self.pointer]
        code += _IF + CALL + encode_unsigned(self._overflow_function()) + END
        return self.functions.add(name, (self.pointer,) if sets_data else (), (), [], code)

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
            code += store(I32, self.memory, self._pointer_size)
            self._grow = self.functions.add("asyncify_grow", (I32,), (), [], code)
        return self._grow

    def _push(self, shape: tuple[int, ...]) -> int:
        offsets, size = self.places(shape)
        place = LOCAL_GET + encode_unsigned(len(shape))
        room = self._pointer_constant(size)
        code = self._load_end() + self._load_current() + LOCAL_TEE + encode_unsigned(len(shape))
        code += _SUB[self.pointer] + room + _LT_U[self.pointer]
        if self._grows:
            code += _IF + room + CALL + encode_unsigned(self._grow_function()) + END
        else:
            code += _IF + CALL + encode_unsigned(self._overflow_function()) + END
        for index in range(len(shape)):
            code += place + LOCAL_GET + encode_unsigned(index) + store(shape[index], self.memory, offsets[index])
        code += self.data_get + place + room + _ADD[self.pointer] + store(self.pointer, self.memory, 0)
        return self.functions.add(f"asyncify_push_{_shape_name(shape)}", shape, (), [self.pointer], code)

    def _pop(self, shape: tuple[int, ...]) -> int:
        offsets, size = self.places(shape)
        place = LOCAL_GET + b"\0"
        code = self.state_get + CONST_I32 + encode_signed(UNWINDING) + _I32_EQ + _IF
        for value_type in shape:
            code += ZERO[value_type]
        code += RETURN + END
        code += self._load_current() + self._pointer_constant(size) + _SUB[self.pointer]
        code += LOCAL_SET + b"\0" + self.data_get + place + store(self.pointer, self.memory, 0)
        for index in range(len(shape)):
            code += place + load(shape[index], self.memory, offsets[index])
        return self.functions.add(f"asyncify_pop_{_shape_name(shape)}", (), shape, [self.pointer], code)

    def places(self, shape: tuple[int, ...]) -> tuple[list[int], int]:
        """Return the offset of each value in a chunk, and the chunk's size in bytes.

        Pointers are aligned, since conservative collectors scan the asyncify stack for them: values take whole 4-byte
        words, and with 64-bit addresses those of 8 bytes and more are 8-aligned.
        """
        offsets: list[int] = []
        end = 0
        for value_type in shape:
            size = value_size(value_type)
            if size >= self._pointer_size:
                end = -(-end // self._pointer_size) * self._pointer_size
            offsets.append(end)
            end += size
        return offsets, -(-end // self._pointer_size) * self._pointer_size

    def _load_current(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, 0)

    def _load_end(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, self._pointer_size)

    def _pointer_constant(self, value: int) -> bytes:
        return constant(self.pointer, value)


def chunks_of(values: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Cut the types of a frame's values (site index first, ordered by type) into the shapes of its chunks.

    Floats and vectors start a chunk of their own: frames with both are rare, and would need many shapes.
    """
    shapes: list[tuple[int, ...]] = []
    start = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or place - start == CHUNK or (values[place] < I64 <= values[place - 1]):
            shapes.append(values[start:place])
            start = place
    return shapes


_LETTERS: Final = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v"}


def _shape_name(shape: tuple[int, ...]) -> str:
    return "".join([_LETTERS[value_type] for value_type in shape])
