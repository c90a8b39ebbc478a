"""The functions of the Asyncify ABI and the helpers that move frames, as generated code.

`asyncify_start_unwind` and its four sisters are what hosts call (docs/abi.md); both stops are one function under two
names. `push` and `pop` are what instrumented functions call to move a frame or a piece of it (`frames.moving`): one
pair for each shape of a piece, so that a function pays a `local.get` and a `local.set` for a saved value instead of a
store and a load. A push checks the space first and traps, in a function whose name says why, before anything is
written. Where bytes count more than the time of one more call, two functions that all of these share do that, and move
the stack pointer.

A function that a host calls in mid-unwind must leave at once. In large modules the pops see to that: while unwinding
they return zeros, and call site 0 leaves. Elsewhere functions look themselves, where they can be called so.

A pop returns several values, which tools without the multi-value feature refuse. For these, functions in large modules
load their values themselves, from the address that `release` gives; that takes five bytes more for each, and is no
faster.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    ENTERED_FUNCTION,
    GET_STATE,
    IMPORTED_START_REWIND,
    IMPORTED_START_UNWIND,
    IMPORTED_STOP_REWIND,
    IMPORTED_STOP_UNWIND,
    OVERFLOW_FUNCTION,
    OWN_PREFIX,
    START_REWIND,
    START_UNWIND,
    STOP_REWIND,
    STOP_UNWIND,
    State,
)
from caesura.instrument.abi.chunks import Shape, chunk_places
from caesura.instrument.abi.globals import NO_BASE
from caesura.instrument.abi.tables import FunctionTable
from caesura.wasm.code import (
    CALL,
    CONST_I32,
    DROP,
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
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64

# In place of a shared function where there is none.
NOT_SHARED: Final = -1

# One function of the ABI stands under two names.
_STOP: Final = "asyncify_stop"
_STOPPING: Final = (IMPORTED_STOP_UNWIND, IMPORTED_STOP_REWIND)

_IF: Final = b"\x04\x40"
_I32_EQZ: Final = b"\x45"
_I32_EQ: Final = b"\x46"
_I32_CTZ: Final = b"\x68"
_I32_SHL: Final = b"\x74"
_I32_SHR_U: Final = b"\x76"
_MEMORY_SIZE: Final = b"\x3f"
_MEMORY_GROW: Final = b"\x40"
_SUB: Final = {I32: b"\x6b", I64: b"\x7d"}
_ADD: Final = {I32: b"\x6a", I64: b"\x7c"}
_LT_U: Final = {I32: b"\x49", I64: b"\x54"}
_NE: Final = {I32: b"\x47", I64: b"\x52"}
_GT_U: Final = {I32: b"\x4b", I64: b"\x56"}


class Runtime:
    """Generates the ABI functions and the frame helpers into a function table.

    `state` and `data` are the indices of the two globals, `memory` that of the memory with the asyncify stacks,
    `pointer` the type code of its addresses. With `grows` the asyncify stack is the last thing in its memory, and a
    push that finds too little room grows the memory. With `shares_release` functions load the values of their frames
    themselves, from the address that a shared function gives. With `pops_check` they need not look at the state before
    they pop a frame, since pops return zeros while unwinding.

    With `guards`, options may have left out a function that is on the stack at a suspension after all: then functions
    that it, or what it returns to, calls on the way trap. `base` is the global with the place where frames begin, or
    NO_BASE. Without `overflows` nothing is ever pushed, so no stack overflows.

    `stubs` has (import name, function) for the functions that stand for the module's imports of module `asyncify`. They
    are the ABI's functions themselves, or, where several stand for the same one, call it: `stub_bodies` has their
    bodies, without size field, by function.
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
        stubs: list[tuple[str, int]],
        guards: bool,
        base: int,
        overflows: bool,
    ) -> None:
        self.guards = guards
        self._overflows = overflows
        # The trap of an overflow need not be repeated for who catches it on its way: a guest's own scheduler cannot.
        self._repeats_trap = overflows and not has_scheduler(stubs)
        self._base = base
        self._refuse = -1
        self._unwinding = -1
        self._stubs = stubs
        self.stub_bodies: dict[int, bytes] = {}
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
        # The functions by which pushes and pops get room and give it back; NOT_SHARED: their own code does it.
        self.push_room = NOT_SHARED
        self.pop_release = NOT_SHARED
        self._release = -1
        self._room = -1
        self._overflow = -1
        self._grow = -1
        self._begin = self._begin_function()
        self.start_unwind = self._start(START_UNWIND, State.UNWINDING)
        self.start_rewind = self._start(START_REWIND, State.REWINDING)
        self.stop = self._stop()
        self.get_state = self._add(GET_STATE, (), (I32,), self.state_get)
        self._forward_other_stubs()

    def push(self, piece: Shape) -> int:
        """Return the index of the function that pushes values of these types."""
        if piece not in self._pushes:
            name = f"asyncify_push_{_shape_name(piece)}"
            code = self.push_code(piece, self.push_room)
            self._pushes[piece] = self.functions.add(name, piece, (), self._locals_of(piece, self.push_room), code)
        return self._pushes[piece]

    def pop(self, piece: Shape) -> int:
        """Return the index of the function that pops values of these types and returns them."""
        if piece not in self._pops:
            name = f"asyncify_pop_{_shape_name(piece)}"
            code = self.pop_code(piece, self.pop_release)
            self._pops[piece] = self.functions.add(name, (), piece, self._locals_of(piece, self.pop_release), code)
        return self._pops[piece]

    def release(self) -> int:
        """Return the index of the function that frees the bytes of values and returns their address."""
        if self._release < 0:
            code = self.release_code()
            self._release = self.functions.add("asyncify_release", (self.pointer,), (self.pointer,), [], code)
        return self._release

    def release_code(self) -> bytes:
        """Return the code of the function that frees bytes."""
        return self._take_back(b"\0", LOCAL_GET + b"\0") + LOCAL_GET + b"\0"

    def room(self) -> int:
        """Return the index of the function that makes room for values and returns its address."""
        if self._room < 0:
            types = (self.pointer,)
            self._room = self.functions.add("asyncify_room", types, types, [self.pointer], self.room_code())
        return self._room

    def room_code(self) -> bytes:
        """Return the code of the function that makes room."""
        room = LOCAL_GET + b"\0"
        return self._check_room(b"\x01", room) + self._take_room(b"\x01", room) + LOCAL_GET + b"\x01"

    def exports(self) -> list[tuple[str, int]]:
        """Return the functions to export, by name."""
        return [
            (START_UNWIND, self.start_unwind),
            (STOP_UNWIND, self.stop),
            (START_REWIND, self.start_rewind),
            (STOP_REWIND, self.stop),
            (GET_STATE, self.get_state),
        ]

    def _add(self, name: str, params: Shape, results: Shape, code: bytes) -> int:
        """Return the index of a function of the ABI: the first that stands for its import, or an added one."""
        for imported, stub in self._stubs:
            if f"{OWN_PREFIX}{imported}" == name or (name == _STOP and imported in _STOPPING):
                self.stub_bodies[stub] = b"\x00" + code + END
                return stub
        return self.functions.add(name, params, results, [], code)

    def _forward_other_stubs(self) -> None:
        """Let the functions that stand for an import that another one stands for already call that one."""
        targets = dict(self.exports())
        for imported, stub in self._stubs:
            if stub not in self.stub_bodies:
                passed = LOCAL_GET + b"\0" if imported in (IMPORTED_START_UNWIND, IMPORTED_START_REWIND) else b""
                call = CALL + encode_unsigned(targets[f"{OWN_PREFIX}{imported}"])
                self.stub_bodies[stub] = b"\x00" + passed + call + END

    def _begin_function(self) -> int:
        """Add the function that sets the pointer to the data structure, and traps where that is in disorder."""
        code = LOCAL_GET + b"\0" + self.data_set
        if self._base != NO_BASE:
            code += self._load_current() + GLOBAL_SET + encode_unsigned(self._base)
        code += self._load_current() + self._load_end() + _GT_U[self.pointer]
        code += _IF + (CALL + encode_unsigned(self._overflow_function()) if self._overflows else UNREACHABLE) + END
        return self.functions.add("asyncify_begin", (self.pointer,), (), [], code)

    def _start(self, name: str, state: int) -> int:
        code = CONST_I32 + encode_signed(state) + self.state_set
        code += LOCAL_GET + b"\0" + CALL + encode_unsigned(self._begin)
        return self._add(name, (self.pointer,), (), code)

    def _stop(self) -> int:
        """Add the function that makes the state normal.

        It traps if the state was that of an overflow: hosts report the error from there (Emscripten's does).
        """
        code = self.state_get + CONST_I32 + encode_signed(State.OVERFLOWED) + _I32_EQ if self._repeats_trap else b""
        code += CONST_I32 + encode_signed(State.NORMAL) + self.state_set
        code += _IF + UNREACHABLE + END if self._repeats_trap else b""
        code += self.data_get + CALL + encode_unsigned(self._begin)
        return self._add(_STOP, (), (), code)

    def _overflow_function(self) -> int:
        if self._overflow < 0:
            code = CONST_I32 + encode_signed(State.OVERFLOWED) + self.state_set + UNREACHABLE
            self._overflow = self.functions.add(OVERFLOW_FUNCTION, (), (), [], code)
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

    def push_code(self, piece: Shape, room: int) -> bytes:
        """Return the code of the function that pushes a piece; `room` is the shared function that makes room."""
        offsets, size = chunk_places(piece, self.pointer_size)
        values = [LOCAL_GET + encode_unsigned(place) for place in range(len(piece))]
        return self.push_values(piece, offsets, size, encode_unsigned(len(piece)), values, room)

    def pop_code(self, piece: Shape, release: int) -> bytes:
        """Return the code of the function that pops a piece; `release` is the shared function that frees its bytes."""
        offsets, size = chunk_places(piece, self.pointer_size)
        code = b""
        if self.pops_check:
            code += self.is_unwinding() + _IF
            for value_type in piece:
                code += ZERO[value_type]
            code += RETURN + END
        loads = [load(piece[place], self.memory, offsets[place]) for place in range(len(piece))]
        return code + self.pop_values(loads, size, b"\0", release)

    def _locals_of(self, piece: Shape, shared: int) -> list[int]:
        """Return the types of the locals of a function that moves a piece: one for the address, if it is used again."""
        return [] if shared != NOT_SHARED and len(piece) == 1 else [self.pointer]

    # Code that both helpers and functions use; `address` is the encoded index of a local.

    def is_unwinding(self) -> bytes:
        """Return the code that tells whether the guest unwinds, the state not being normal, for who leaves then.

        A host may enter functions while the import runs that suspends. Nothing has been pushed by then, so who finds
        that something was is called by a function that should have left itself: it traps.
        """
        if self._base == NO_BASE:
            return self._state_is_odd()
        if self._unwinding < 0:
            code = self._load_current() + GLOBAL_GET + encode_unsigned(self._base) + _NE[self.pointer]
            code += _IF + self.refuse_entry() + END + self._state_is_odd()
            self._unwinding = self.functions.add("asyncify_is_unwinding", (), (I32,), [], code)
        return CALL + encode_unsigned(self._unwinding)

    def refuse_entry(self) -> bytes:
        """Return the code that traps if the guest unwinds, for who can only be entered by functions that leave then."""
        if not self.guards:
            return b""
        if self._refuse < 0:
            code = self._state_is_odd() + _IF + self.trap_in_normal_state() + END
            self._refuse = self.functions.add(ENTERED_FUNCTION, (), (), [], code)
        return CALL + encode_unsigned(self._refuse)

    def trap_in_normal_state(self) -> bytes:
        """Return the code that traps, after it has made the state normal: else hosts would take it for an overflow."""
        return CONST_I32 + encode_signed(State.NORMAL) + self.state_set + UNREACHABLE

    def _state_is_odd(self) -> bytes:
        return self.state_get + _I32_CTZ + _I32_EQZ

    def push_values(
        self, types: Shape, offsets: list[int], size: int, address: bytes, values: list[bytes], room: int
    ) -> bytes:
        """Return the code that pushes values, given their places in as many bytes and the code that gives each.

        `room` is the shared function that makes room for them, or NOT_SHARED.
        """
        end = b""
        if room != NOT_SHARED:
            code = self.constant(size) + CALL + encode_unsigned(room)
            code += LOCAL_TEE + address if len(types) > 1 else b""
        else:
            code = self._check_room(address, self.constant(size)) + LOCAL_GET + address
            end = self._take_room(address, self.constant(size))
        for place in range(len(types)):
            code += (LOCAL_GET + address if place else b"") + values[place]
            code += store(types[place], self.memory, offsets[place])
        return code + end

    def pop_values(self, loads: list[bytes], size: int, address: bytes, release: int) -> bytes:
        """Return the code that pops values of as many bytes, given what loads each and puts it away.

        `release` is the shared function that frees their bytes, or NOT_SHARED.
        """
        if release != NOT_SHARED:
            code = self.constant(size) + CALL + encode_unsigned(release)
            code += LOCAL_TEE + address if len(loads) > 1 else b""
        else:
            code = self._take_back(address, self.constant(size)) + LOCAL_GET + address
        if not loads:
            return code + DROP
        return code + (LOCAL_GET + address).join(loads)

    def _check_room(self, address: bytes, room: bytes) -> bytes:
        """Return the code that makes sure of room for some bytes, and sets the local to their address."""
        code = self._load_end() + self._load_current() + LOCAL_TEE + address
        code += _SUB[self.pointer] + room + _LT_U[self.pointer] + _IF
        if self.grows:
            return code + room + CALL + encode_unsigned(self._grow_function()) + END
        # What follows says that the call does not return: else engines keep the frame's values through it, in room that
        # every activation of the function has to have.
        return code + CALL + encode_unsigned(self._overflow_function()) + UNREACHABLE + END

    def _take_room(self, address: bytes, room: bytes) -> bytes:
        """Return the code that makes some bytes, whose address is in the local, part of the stack."""
        return self.data_get + LOCAL_GET + address + room + _ADD[self.pointer] + store(self.pointer, self.memory, 0)

    def _take_back(self, address: bytes, room: bytes) -> bytes:
        """Return the code that takes the last bytes off the stack, and sets the local to their address."""
        code = self.data_get + self._load_current() + room + _SUB[self.pointer]
        return code + LOCAL_TEE + address + store(self.pointer, self.memory, 0)

    def constant(self, value: int) -> bytes:
        """Return a constant with the width of a pointer."""
        return constant(self.pointer, value)

    def _load_current(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, 0)

    def _load_end(self) -> bytes:
        return self.data_get + load(self.pointer, self.memory, self.pointer_size)


def has_scheduler(stubs: list[tuple[str, int]]) -> bool:
    """Tell whether the guest itself rewinds, given its imports of module `asyncify`, and stops unwinding."""
    names = [name for name, _ in stubs]
    return IMPORTED_START_REWIND in names and IMPORTED_STOP_UNWIND in names


_LETTERS: Final = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v"}


def _shape_name(shape: Shape) -> str:
    return "".join([_LETTERS[value_type] for value_type in shape])
