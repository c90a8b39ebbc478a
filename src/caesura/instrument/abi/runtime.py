"""The functions of the Asyncify ABI as generated code, and the looks at the state that other code shares.

`asyncify_start_unwind` and its four sisters are what hosts call (docs/abi.md); both stops are one function under two
names.

A function that a host calls in mid-unwind must leave at once. In large modules the pops see to that: while unwinding
they return zeros, and call site 0 leaves. Elsewhere functions look themselves, where they can be called so.
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
    OWN_PREFIX,
    START_REWIND,
    START_UNWIND,
    STOP_REWIND,
    STOP_UNWIND,
    State,
)
from caesura.instrument.abi.chunks import Shape
from caesura.instrument.abi.globals import NO_BASE
from caesura.instrument.abi.references import References
from caesura.instrument.abi.stack_code import StackCode
from caesura.wasm.encoded import (
    CALL,
    CONST_I32,
    END,
    GLOBAL_GET,
    GLOBAL_SET,
    I32_EQ,
    I32_EQZ,
    IF_EMPTY,
    LOCAL_GET,
    UNREACHABLE,
)
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, I64

# One function of the ABI stands under two names.
_STOP: Final = "asyncify_stop"
_STOPPING: Final = (IMPORTED_STOP_UNWIND, IMPORTED_STOP_REWIND)

# In place of a function that has not been added.
_NONE: Final = -1

_I32_CTZ: Final = b"\x68"
_NE: Final = {I32: b"\x47", I64: b"\x52"}
_GT_U: Final = {I32: b"\x4b", I64: b"\x56"}


class Runtime:
    """Generates the ABI's functions into a function table.

    `stubs` has (import name, function) for the functions that stand for the module's imports of module `asyncify`. They
    are the ABI's functions themselves, or, where several stand for the same one, call it: `stub_bodies` has their
    bodies, without size field, by function.

    With `guards`, options may have left out a function that is on the stack at a suspension after all: then functions
    that it, or what it returns to, calls on the way trap. Without `overflows` nothing is ever pushed, so no stack
    overflows.
    """

    def __init__(
        self, stack: StackCode, stubs: list[tuple[str, FunctionIndex]], *, guards: bool, overflows: bool
    ) -> None:
        self.stack = stack
        self.guards = guards
        self._overflows = overflows
        # The trap of an overflow need not be repeated for who catches it on its way: a guest's own scheduler cannot.
        self._repeats_trap = overflows and not has_scheduler(stubs)
        self._refuse = _NONE
        self._unwinding = _NONE
        self._stubs = stubs
        self.stub_bodies: dict[FunctionIndex, bytes] = {}
        self._begin = self._begin_function()
        pointer = (stack.pointer,)
        self._start_unwind = self._add(START_UNWIND, pointer, (), self._start(State.UNWINDING))
        self._start_rewind = self._add(START_REWIND, pointer, (), self._start(State.REWINDING))
        self._stop = self._add(_STOP, (), (), self._stop_code())
        self._get_state = self._add(GET_STATE, (), (I32,), stack.state_get)
        self._forward_other_stubs()

    def keep(self, references: References) -> list[tuple[str, int]]:
        """Let the functions do what there is to do for references, and return what is exported for them, by name."""
        if not references.has_runs():
            return []
        self._replace(self._start_unwind, self._start(State.UNWINDING) + references.unwinding_starts())
        self._replace(self._start_rewind, self._start(State.REWINDING) + references.rewinding_starts())
        self._replace(self._stop, references.stops() + self._stop_code())
        return references.exports(self._begin)

    def exports(self) -> list[tuple[str, int]]:
        """Return the functions to export, by name."""
        return [
            (START_UNWIND, self._start_unwind),
            (STOP_UNWIND, self._stop),
            (START_REWIND, self._start_rewind),
            (STOP_REWIND, self._stop),
            (GET_STATE, self._get_state),
        ]

    def is_unwinding(self) -> bytes:
        """Return the code that tells whether the guest unwinds, the state not being normal, for who leaves then.

        A host may enter functions while the import runs that suspends. Nothing has been pushed by then, so who finds
        that something was is called by a function that should have left itself: it traps.
        """
        stack = self.stack
        if stack.base == NO_BASE:
            return self._state_is_odd()
        if self._unwinding == _NONE:
            code = stack.load_current + GLOBAL_GET + encode_unsigned(stack.base) + _NE[stack.pointer]
            code += IF_EMPTY + self.refuse_entry() + END + self._state_is_odd()
            self._unwinding = stack.functions.add("asyncify_is_unwinding", (), (I32,), [], code)
        return CALL + encode_unsigned(self._unwinding)

    def refuse_entry(self) -> bytes:
        """Return the code that traps if the guest unwinds, for who can only be entered by functions that leave then."""
        if not self.guards:
            return b""
        if self._refuse == _NONE:
            code = self._state_is_odd() + IF_EMPTY + self.trap_in_normal_state() + END
            self._refuse = self.stack.functions.add(ENTERED_FUNCTION, (), (), [], code)
        return CALL + encode_unsigned(self._refuse)

    def trap_in_normal_state(self) -> bytes:
        """Return the code that traps, after it has made the state normal: else hosts would take it for an overflow."""
        return CONST_I32 + encode_signed(State.NORMAL) + self.stack.state_set + UNREACHABLE

    def _state_is_odd(self) -> bytes:
        return self.stack.state_get + _I32_CTZ + I32_EQZ

    def _add(self, name: str, params: Shape, results: Shape, code: bytes) -> int:
        """Return the index of a function of the ABI: the first that stands for its import, or an added one."""
        for imported, stub in self._stubs:
            if f"{OWN_PREFIX}{imported}" == name or (name == _STOP and imported in _STOPPING):
                self.stub_bodies[stub] = b"\x00" + code + END
                return stub
        return self.stack.functions.add(name, params, results, [], code)

    def _replace(self, index: int, code: bytes) -> None:
        """Give a function of the ABI other code."""
        if FunctionIndex(index) in self.stub_bodies:
            self.stub_bodies[FunctionIndex(index)] = b"\x00" + code + END
        else:
            self.stack.functions.replace(index, code)

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
        stack = self.stack
        code = LOCAL_GET + b"\0" + stack.data_set
        if stack.base != NO_BASE:
            code += stack.load_current + GLOBAL_SET + encode_unsigned(stack.base)
        code += stack.load_current + stack.load_end + _GT_U[stack.pointer]
        code += IF_EMPTY + (CALL + encode_unsigned(stack.overflow()) if self._overflows else UNREACHABLE) + END
        return stack.functions.add("asyncify_begin", (stack.pointer,), (), [], code)

    def _start(self, state: int) -> bytes:
        code = b""
        if state == State.UNWINDING:
            code += self.stack.refuse_in_foreign() + self.stack.refuse_unsuspendable()
            code += self.stack.begin_recording()
        code += CONST_I32 + encode_signed(state) + self.stack.state_set
        return code + LOCAL_GET + b"\0" + CALL + encode_unsigned(self._begin)

    def _stop_code(self) -> bytes:
        """Return the code of the function that makes the state normal.

        It traps if the state was that of an overflow: hosts report the error from there (Emscripten's does).
        """
        stack = self.stack
        code = stack.state_get + CONST_I32 + encode_signed(State.OVERFLOWED) + I32_EQ if self._repeats_trap else b""
        code += CONST_I32 + encode_signed(State.NORMAL) + stack.state_set
        code += IF_EMPTY + UNREACHABLE + END if self._repeats_trap else b""
        return code + stack.data_get + CALL + encode_unsigned(self._begin)


def has_scheduler(stubs: list[tuple[str, FunctionIndex]]) -> bool:
    """Tell whether the guest itself rewinds, given its imports of module `asyncify`, and stops unwinding."""
    names = [name for name, _ in stubs]
    return IMPORTED_START_REWIND in names and IMPORTED_STOP_UNWIND in names
