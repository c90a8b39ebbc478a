"""The functions by which a module that was made of a state goes on with its suspended calls, each once.

A host that knows the thunk ABI (docs/abi.md) puts a call's frames back, writes what its import returns into the control
block, and calls the entry thunk. Here the module does that itself: the frames are a passive data segment, which is
dropped when they are in place, so that a second time traps. What an import returns are the function's parameters; a
second function for each call lets the import be called again instead.

Calls on C stacks of their own run there, with the globals that hold a stack's limits set to it. Nobody pauses what
computes there: what was left of a budget becomes as much as there can be.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    ASYNCIFY_MEMORY,
    CONTROL_BLOCK,
    CURRENT_OFFSET,
    ENTRY_PREFIX,
    FRAMES_OFFSET,
    FUEL,
    MOST_RESULTS,
    PREEMPT_FRAMES_OFFSET,
    RESULT_SIZE,
    RESULTS_OFFSET,
    SET_DATA_POINTER,
    STACK_POINTER,
    STACK_POINTER_OFFSET,
    STATE_PREFIX,
    STATUS_OFFSET,
    Status,
)
from caesura.analysis.instrumented import preempt_of
from caesura.analysis.shadow_stack import find_shadow_stack
from caesura.analysis.stack_limits import find_stack_limits
from caesura.errors import SnapshotError
from caesura.options import MOST_FUEL, NO_PREEMPT, PREEMPT_FUEL
from caesura.snapshots.answering import Answering
from caesura.snapshots.neighbours import Neighbours
from caesura.snapshots.state import PAUSE_NAME, CallRecord, State
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.definitions import (
    FUNCTION_KIND,
    FUNCTION_TYPE,
    GLOBAL_KIND,
    MEMORY_KIND,
    TypeDefinition,
    encode_function_type,
)
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_name, encode_signed, encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32, I64, encode_value_type, is_nullable, is_number, type_name

RESUME: Final = "resume"
RESUME_CALL: Final = "resume_call"

_PAGE_LOG2: Final = 16
_ALIGNMENT: Final = 16
_MEMORY_INIT: Final = b"\xfc\x08"
_DATA_DROP: Final = b"\xfc\x09"
_MEMORY_SIZE: Final = b"\x3f"
_I32_SHL: Final = b"\x74"
_LT_U: Final = {I32: b"\x49", I64: b"\x54"}


class Resumption:
    """What goes on with the suspended calls of a state.

    Raises SnapshotError for calls that do not fit the module, and for what cannot be done without a host.
    """

    def __init__(self, module: Module, state: State) -> None:
        self._module: Final = module
        self._state: Final = state
        self._exports: Final = {(item.kind, item.name): item.index for item in module.exports}
        pointer = self._exports.get((GLOBAL_KIND, STACK_POINTER))
        if pointer is None:
            pointer = find_shadow_stack(module, instrumented=True).pointer
        self._pointer: Final = pointer
        limits = find_stack_limits(module, pointer)
        self._low: Final = limits.low
        self._high: Final = limits.high
        self._setter: Final = self._exports.get((FUNCTION_KIND, SET_DATA_POINTER))
        first = len(module.function_types) + 2 * len(state.calls)
        groups: list[list[FunctionIndex]] = []
        for place, call in enumerate(state.calls):
            imports = self._imports(call, place)
            if self._setter is None:
                if not imports:
                    raise SnapshotError(f"call {place} of the snapshot was paused in a module without thunks")
                if imports not in groups:
                    groups.append(imports)
        self.answering: Final = Answering(module, groups, first)
        self._preempt: Final = preempt_of(module)
        self._frames_offset: Final = FRAMES_OFFSET if self._preempt == NO_PREEMPT else PREEMPT_FRAMES_OFFSET
        own = self._exports.get((MEMORY_KIND, ASYNCIFY_MEMORY))
        self._has_own_memory: Final = own is not None
        self._memory: Final = own if own is not None else self._guest_memory()
        first_global = len(module.globals) + len(self.answering.globals())
        self._neighbours: Final = Neighbours(module, state, self._guest_memory(), first_global)
        if state.calls:
            self._check()

    def minimums(self) -> dict[int, int]:
        """Return how many pages the asyncify stack's memory needs, by index."""
        if not self._state.calls or not self._has_own_memory:
            return {}
        needed = CONTROL_BLOCK + self._frames_offset + max(len(call.frames) for call in self._state.calls)
        page = 1 << self._module.memories[self._memory].page_size_log2
        return {self._memory: -(-needed // page)}

    def values(self) -> dict[int, int]:
        """Return the globals that begin with something else than was saved, by index, and what that is."""
        values = self._resting_pointer()
        fuel = self._exports.get((GLOBAL_KIND, FUEL))
        return values if fuel is None or self._preempt != PREEMPT_FUEL else {**values, fuel: MOST_FUEL}

    def _resting_pointer(self) -> dict[int, int]:
        """Return where the shadow stack pointer rests while nothing runs, by the global's index, if it is elsewhere."""
        stacks, calls = self._state.stacks, self._state.calls
        saved = next((item.bits for item in self._state.globals if item.index == self._pointer), None)
        if stacks.settled or self._pointer is None or saved is None:
            return {}
        held = [call.kept.low for call in calls if call.kept is not None and not call.kept.stack]
        held += [calls[stacks.main].stack_pointer] if stacks.main is not None else []
        floor = min(held, default=stacks.home)
        if floor is None:
            return {}
        return {self._pointer: min(floor, saved) if stacks.unclaimed else floor}

    def data(self) -> list[bytes]:
        """Return the data segments: with the frames of each call, and with arguments on others' C stacks."""
        frames = [b"\x01" + encode_unsigned(len(call.frames)) + call.frames for call in self._state.calls]
        return frames + self._neighbours.data()

    def globals(self) -> list[bytes]:
        """Return the entries of the globals that are added."""
        return self.answering.globals() + self._neighbours.globals()

    def write(self, edits: SectionEdits, first_segment: int) -> list[bytes]:
        """Add the functions, and return their exports; `first_segment` is the index of the first call's frames."""
        module, calls = self._module, self._state.calls
        exports: list[bytes] = []
        taken = {item.name for item in module.exports}
        added = 0
        self.answering.write(edits)
        for place, call in enumerate(calls):
            for name, status in ((RESUME, Status.RESUME), (RESUME_CALL, Status.RESUME_CALL)):
                params, results, code = self._function(call, place, first_segment + place, status)
                kind = TypeDefinition(FUNCTION_TYPE, params, results)
                edits.append(sec.TYPE, encode_function_type(kind))
                edits.append(sec.FUNCTION, encode_unsigned(len(module.types) + added))
                edits.append(sec.CODE, encode_unsigned(len(code)) + code)
                index = encode_unsigned(len(module.function_types) + added)
                added += 1
                if f"{name}:{place}" in taken:
                    raise SnapshotError(f"the module exports {name}:{place} already, which is what goes on with a call")
                names = [f"{name}:{place}"]
                if len(calls) == 1 and name not in taken:
                    names.append(name)
                exports += [encode_name(name) + bytes([FUNCTION_KIND]) + index for name in names]
        self.answering.add_functions(edits)
        return exports

    def _check(self) -> None:
        stacks, calls = self._state.stacks, self._state.calls
        memory = self._module.memories[self._memory] if self._memory < len(self._module.memories) else None
        area = self._state.area
        if memory is None or memory.shared or (not self._has_own_memory and area is None):
            raise SnapshotError("the snapshot does not say where the asyncify stack lies")
        if area is not None and not self._has_own_memory:
            size = next((item.size for item in self._state.memories if item.index == self._memory), 0)
            if area[1] > size or area[0] + self._frames_offset > area[1] or area[0] % 4:
                raise SnapshotError(
                    f"the asyncify stack of the snapshot, {area}, does not lie in memory {self._memory}"
                )
        if stacks.main is not None and stacks.main >= len(calls):
            raise SnapshotError(f"the snapshot has no call {stacks.main}")

    def _guest_memory(self) -> int:
        """Return the memory that hosts put the asyncify stack in, where it is the guest's."""
        memories = [item for item in self._module.exports if item.kind == MEMORY_KIND]
        named = [item.index for item in memories if not item.name.startswith(STATE_PREFIX)]
        return self._exports.get((MEMORY_KIND, "memory"), named[0] if named else 0)

    def _function(
        self, call: CallRecord, place: int, segment: int, status: Status
    ) -> tuple[tuple[int, ...], tuple[int, ...], bytes]:
        """Return parameters, results and body of a function that goes on with a call."""
        where = f"call {place} of the snapshot ({call.export})"
        prefix = "" if self._setter is None else ENTRY_PREFIX
        entry = self._exports.get((FUNCTION_KIND, prefix + call.export))
        if entry is None:
            raise SnapshotError(f"{where} is of an export that cannot be suspended in this module")
        imports = self._imports(call, place)
        answer = self._module.function_type(imports[0]).results if imports else ()
        base, end = self._area(len(call.frames), where)
        kind = self._module.function_type(FunctionIndex(entry))
        params = answer if status == Status.RESUME and _lie_in_block(answer) else ()
        pointer = self._pointer_type()
        code = self._neighbours.before(place, segment - place + len(self._state.calls))
        code += c.unsigned_constant(pointer, base) + c.CONST_I32 + b"\0" + c.unsigned_constant(I32, len(call.frames))
        code += _MEMORY_INIT + encode_unsigned(segment) + encode_unsigned(self._memory)
        code += _DATA_DROP + encode_unsigned(segment)
        block = c.unsigned_constant(pointer, self._block())
        code += self._put(CURRENT_OFFSET, pointer, c.unsigned_constant(pointer, base + len(call.frames)))
        code += self._put(4 if pointer == I32 else 8, pointer, end)
        if self._setter is None:
            answers = status == Status.RESUME and _lie_in_block(answer)
            code += self.answering.answer(imports[0]) if answers else self.answering.call_again(imports[0])
            code += block + self.answering.start_rewind()
        else:
            code += block + c.CALL + encode_unsigned(self._setter)
            code += self._put(STACK_POINTER_OFFSET, pointer, c.unsigned_constant(pointer, 0))
            for number, value_type in enumerate(params):
                offset = RESULTS_OFFSET + RESULT_SIZE * number
                code += self._put(offset, value_type, c.LOCAL_GET + encode_unsigned(number))
            code += self._put(STATUS_OFFSET, I32, c.CONST_I32 + encode_signed(status))
        switch = _Switch(self._module, len(params))
        self._switch_stack(call, place, switch)
        code += switch.before
        for value_type in kind.params:
            if not is_number(value_type) and not is_nullable(value_type):
                raise SnapshotError(f"{where} takes a {type_name(value_type)}, of which there is no value to give")
            code += c.zero(value_type)
        code += c.CALL + encode_unsigned(entry) + switch.after
        ended = switch.ended + self._neighbours.ended(place)
        if ended:
            has_ended = block + c.load(I32, self._memory, STATUS_OFFSET) + c.I32_EQZ
            if self._setter is None:
                has_ended = self.answering.is_normal()
            code += has_ended + c.IF_EMPTY + ended + c.END
        return params, kind.results, encode_vector(switch.locals) + code + c.END

    def _switch_stack(self, call: CallRecord, place: int, switch: _Switch) -> None:
        """Let a call run where its C stack stands, and put pointer and limits back behind it."""
        stacks = self._state.stacks
        if call.stack:
            top = (call.stack + stacks.size) & -_ALIGNMENT
            for index in self._low:
                switch.to(index, self._constant(index, call.stack))
            for index in self._high:
                switch.to(index, self._constant(index, top))
        if self._pointer is None or not call.stack_pointer:
            return
        begin = self._constant(self._pointer, call.stack_pointer)
        if place == stacks.main:  # what was allocated below its frames stays
            current = c.GLOBAL_GET + encode_unsigned(self._pointer)
            less = current + begin + _LT_U[self._module.globals[self._pointer].type]
            begin = current + begin + less + c.SELECT
        switch.to(self._pointer, begin)
        is_held = any(one.kept is not None and not one.kept.stack for one in self._state.calls if one is not call)
        if place == stacks.main and stacks.home is not None and not stacks.unclaimed and not is_held:
            home = self._constant(self._pointer, stacks.home)
            switch.ended = home + c.GLOBAL_SET + encode_unsigned(self._pointer)

    def _constant(self, index: int, address: int) -> bytes:
        """Return the constant for an address, of a global's type."""
        value_type = self._module.globals[index].type
        bits = 64 if value_type == I64 else 32
        if address >> bits:
            raise SnapshotError(f"the snapshot has a C stack at {address}, which is no address")
        return c.unsigned_constant(value_type, address)

    def _imports(self, call: CallRecord, place: int) -> list[FunctionIndex]:
        """Return the import in which a call waits: the same function may be imported more than once. One that was
        paused waits in none.
        """
        if call.function == PAUSE_NAME and not call.arguments:
            return []
        where = f"call {place} of the snapshot ({call.export}) waits in {call.function}"
        takes = tuple(kind for kind, _ in call.arguments)
        found = [
            FunctionIndex(item.index)
            for item in self._module.function_imports()
            if f"{item.module}.{item.name}" == call.function
        ]
        found = [index for index in found if self._module.function_type(index).params == takes]
        if not found:
            raise SnapshotError(f"{where}, which is no import of this module with its arguments")
        if len({self._module.function_type(index).results for index in found}) > 1:
            raise SnapshotError(f"{where}, which the module imports with several types")
        return found

    def _area(self, size: int, where: str) -> tuple[int, bytes]:
        """Return where frames begin, and the code that gives the end of the asyncify stack."""
        area = self._state.area
        base = self._block() + self._frames_offset
        if size == 0 or (area is not None and not self._has_own_memory and base + size > area[1]):
            raise SnapshotError(f"{where} has {size} bytes of frames, which the asyncify stack has no room for")
        if area is not None and not self._has_own_memory:
            return base, c.unsigned_constant(self._pointer_type(), area[1])
        end = _MEMORY_SIZE + encode_unsigned(self._memory) + c.CONST_I32 + encode_signed(_PAGE_LOG2) + _I32_SHL
        return base, end

    def _block(self) -> int:
        return CONTROL_BLOCK if self._has_own_memory or self._state.area is None else self._state.area[0]

    def _pointer_type(self) -> int:
        return I64 if self._module.memories[self._memory].is64 else I32

    def _put(self, offset: int, value_type: int, value: bytes) -> bytes:
        """Return the code that writes a value into the control block."""
        return (
            c.unsigned_constant(self._pointer_type(), self._block()) + value + c.store(value_type, self._memory, offset)
        )


class _Switch:
    """Code that sets globals before a call, and sets them back behind it; `locals` keep what they were.

    `ended` is code for when the call has ended.
    """

    def __init__(self, module: Module, params: int) -> None:
        self._module = module
        self._params = params
        self.locals: list[bytes] = []
        self.before = b""
        self.after = b""
        self.ended = b""

    def to(self, index: int, value: bytes) -> None:
        """Set a global to a value, given by code."""
        number, local = encode_unsigned(index), encode_unsigned(self._params + len(self.locals))
        self.locals.append(b"\x01" + encode_value_type(self._module.globals[index].type))
        self.before += c.GLOBAL_GET + number + c.LOCAL_SET + local + value + c.GLOBAL_SET + number
        self.after += c.LOCAL_GET + local + c.GLOBAL_SET + number


def _lie_in_block(results: tuple[int, ...]) -> bool:
    """Tell whether an import's results can be given by the control block; else the import is called again."""
    return len(results) <= MOST_RESULTS and all(is_number(result) for result in results)
