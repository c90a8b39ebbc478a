"""What frames hold, told in a section for those who look into suspended calls (docs/abi.md, "Frame layouts").

Frames themselves tell nothing but the number of a call site and values. Which local each value is, and which call
instruction of the file that was given each number stands for, is known only while functions are planned. So it is
noted then, function by function, as the bytes of the section.

For calls through tables and references the section says where the index or the reference lies that tells which function
was called: who walks over frames, from the outermost inwards, must know whose frame comes next. Where that is computed
between the landing point and the call, it says that it is not known; then what fits the bytes must be tried. To leave
all that to such a search was rejected: dozens of functions of an interpreter have the same type and frames of the same
size.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    CALLS_FUNCTION,
    CALLS_REFERENCE,
    CALLS_TABLE,
    FRAMES_VERSION,
    HAS_DEAD_VALUES,
    HAS_FRAME,
    HAS_IDENTITY,
    LEAVES,
    SOURCE_CONSTANT,
    SOURCE_UNKNOWN,
    SOURCE_VALUE,
)
from caesura.analysis.actions import ACTIONS, LOCAL_GET, LOCAL_TEE
from caesura.analysis.body import Body
from caesura.analysis.calls import constant_index
from caesura.analysis.wrappers import call_at_end
from caesura.instrument.abi.chunks import chunk_places
from caesura.instrument.abi.tail_dispatch import TailDispatch
from caesura.instrument.adding import Abi, shares_globals
from caesura.instrument.facts import Facts
from caesura.instrument.frames.frame import Frame
from caesura.instrument.given import Given
from caesura.instrument.plan.plan import Moment, instruction_of
from caesura.instrument.planned_function import PlannedFunction
from caesura.options import Options
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex, InstructionIndex, LocalIndex, OwnFunction
from caesura.wasm.leb128 import encode_signed, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.pieces import join_pieces
from caesura.wasm.types import I32, encode_value_type, read_value_type

_CALL_KINDS: Final = {op.CALL: CALLS_FUNCTION, op.CALL_INDIRECT: CALLS_TABLE, op.CALL_REF: CALLS_REFERENCE}


class FrameLayouts:
    """Collects the records of functions, which must come in ascending order."""

    def __init__(self, given: Given, facts: Facts, tail_dispatch: TailDispatch) -> None:
        self._given: Final = given
        self._facts: Final = facts
        self._identities: Final = tail_dispatch
        self._out: list[bytes] = []
        self._count = 0
        self._behind = 0
        self._offset = 0

    def add(self, planned: PlannedFunction) -> None:
        """Note a function that is instrumented, with a frame or, if its only call site is a tail site, without."""
        frame = planned.frame
        roles = self._facts.roles
        function = planned.function
        if not frame.is_saved:
            self._begin(function, 0)
            self._add_sites(planned, [])
            return
        is_identified = function in self._identities.numbers
        leaves = function in roles.tail_calls.leaving
        has_dead = len(planned.live_at_sites) > 0
        kind = HAS_FRAME | (HAS_IDENTITY if is_identified else 0) | (LEAVES if leaves else 0)
        self._begin(function, kind | (HAS_DEAD_VALUES if has_dead else 0))
        if is_identified:
            self._out.append(encode_unsigned(self._identities.numbers[function]))
        self._out.append(encode_unsigned(self._original_locals(planned)))
        self._add_values(planned.body, frame)
        self._add_sites(planned, frame.values)
        if has_dead:
            self._add_live(planned)

    def add_wrapper(self, function: FunctionIndex, callee: FunctionIndex) -> None:
        """Note a frameless wrapper, or a function that a list leaves out and that is like one."""
        module = self._given.module
        own = module.own_of(function)
        leaves = function in self._facts.roles.tail_calls.leaving
        call = call_at_end(module, function, op.RETURN_CALL if leaves else op.CALL)
        assert call is not None, "it is a wrapper"
        self._begin(function, LEAVES if leaves else 0)
        self._out.append(encode_unsigned(1) + encode_signed(0))
        self._add_offset(own, call)
        self._out.append(encode_unsigned(callee << 2 | CALLS_FUNCTION))

    def add_entered(self, function: int, called: FunctionIndex) -> None:
        """Note a function that was added, by which a host enters another one."""
        self._begin(FunctionIndex(function), 0)
        self._out.append(encode_unsigned(1) + encode_signed(0) + encode_signed(0))
        self._out.append(encode_unsigned(called << 2 | CALLS_FUNCTION))

    def add_leaving(self, function: FunctionIndex) -> None:
        """Note a function without call sites that can leave by tail calls."""
        self._begin(function, LEAVES)
        self._out.append(encode_unsigned(0))

    def payload(self, abi: Abi, options: Options) -> bytes:
        """Return the section's payload."""
        given = self._given
        stack = abi.helpers.stack
        references = abi.helpers.references
        is_linked = options.thunks and (shares_globals(options) or options.linked)
        marker = chunk_places((I32,), stack.pointer_size)[1] if is_linked else 0
        tables = references.state_tables()
        numbers = [
            FRAMES_VERSION,
            stack.pointer_size,
            given.renumbered.shift,
            len(given.module.function_types) - given.added_functions(),
            marker,
            self._identities.first_identity,
            1 if references.has_runs() else 0,
            len(tables),
            *tables,
            self._count,
        ]
        return b"".join([encode_unsigned(number) for number in numbers]) + join_pieces(self._out)

    def _begin(self, function: FunctionIndex, kind: int) -> None:
        self._count += 1
        self._out.append(encode_unsigned(function - self._behind) + encode_unsigned(kind))
        self._behind = function + 1

    def _original_locals(self, planned: PlannedFunction) -> int:
        """Return how many locals, parameters among them, the function has in the file that was given."""
        module = self._given.translated.original
        own = planned.function - self._given.module.imported_functions
        if own >= len(module.body_starts):
            return planned.body.param_count
        return planned.body.param_count + _declared_locals(module, own)

    def _add_values(self, body: Body, frame: Frame) -> None:
        """Note what values a frame has: runs of the same type, and of each value which local it is."""
        runs: list[tuple[int, list[LocalIndex]]] = []
        for local in frame.values:
            value_type = frame.type_of(body, local)
            if not runs or runs[-1][0] != value_type or runs[-1][1][-1] > local:
                runs.append((value_type, []))
            runs[-1][1].append(local)
        self._out.append(encode_unsigned(len(runs)))
        for value_type, locals_ in runs:
            self._out.append(encode_value_type(value_type) + encode_unsigned(len(locals_)))
            behind = 0
            for local in locals_:
                self._out.append(encode_unsigned(local - behind))
                behind = local + 1

    def _add_sites(self, planned: PlannedFunction, values: list[LocalIndex]) -> None:
        """Note the call sites, in the order of their numbers."""
        calls = planned.plan.sites.calls
        numbers = planned.frame.layout.numbers
        order = _by_number(numbers)
        own = self._given.module.own_of(planned.function)
        first = numbers[order[0]] - planned.frame.number_bias
        self._out.append(encode_unsigned(len(calls)) + encode_signed(first))
        places = {values[place]: place for place in range(len(values))}
        for site in order:
            call = calls[site]
            self._add_offset(own, planned.body.positions[call])
            self._out.append(self._callee(planned, call, places))

    def _add_offset(self, own: OwnFunction, position: int) -> None:
        """Note where in the file that was given an instruction stands, counted from the one before."""
        function = self._given.module.function_of(own)
        offset, _ = self._given.place(own, self._facts.catches.original_offset(function, position))
        self._out.append(encode_signed(offset - self._offset))
        self._offset = offset

    def _callee(self, planned: PlannedFunction, call: InstructionIndex, places: dict[LocalIndex, int]) -> bytes:
        body = planned.body
        kind = _CALL_KINDS[body.codes[call]]
        target = encode_unsigned(body.immediates[call] << 2 | kind)
        if kind == CALLS_FUNCTION:
            return target
        if kind == CALLS_TABLE:
            data = self._facts.catches.module.data
            _, position = read_u32(data, body.positions[call] + 1)
            target += encode_unsigned(read_u32(data, position)[0])
        return target + self._source(planned, call, places)

    def _source(self, planned: PlannedFunction, call: InstructionIndex, places: dict[LocalIndex, int]) -> bytes:
        """Return where the operand of a call comes from that says what it calls."""
        body = planned.body
        crossing = planned.plan.crossing
        instruction = InstructionIndex(call - 1)
        producers = crossing.reads.get(Moment(2 * call)) or crossing.reads.get(Moment(2 * call - 1))
        local: LocalIndex | None = None
        if producers:
            producer = producers[-1]
            instruction = instruction_of(producer)
            if producer in crossing.temporaries:
                local = planned.frame.temporary(crossing.temporaries[producer])
        if local is None:
            code = body.codes[instruction]
            if code == op.I32_CONST:
                constant = constant_index(self._facts.catches.module.data, body.positions[instruction])
                return encode_unsigned(SOURCE_CONSTANT) + encode_unsigned(constant)
            if code == op.REF_FUNC:
                return encode_unsigned(SOURCE_CONSTANT) + encode_unsigned(body.immediates[instruction])
            elif ACTIONS[code] == LOCAL_GET or (producers and ACTIONS[code] == LOCAL_TEE):
                local = LocalIndex(body.immediates[instruction])
        if local is None or local not in places:
            return encode_unsigned(SOURCE_UNKNOWN)
        return encode_unsigned(SOURCE_VALUE + places[local])

    def _add_live(self, planned: PlannedFunction) -> None:
        """Note, for each call site, which values are those of the program there, as a bit for each."""
        values = planned.frame.values
        moved = planned.plan.saved.moved_locals
        for site in _by_number(planned.frame.layout.numbers):
            bits = bytearray((len(values) + 7) // 8)
            live = planned.live_at_sites[site]
            for place in range(len(values)):
                local = values[place]
                if local >= planned.body.local_count or local in moved or live >> local & 1:
                    bits[place >> 3] |= 1 << (place & 7)
            self._out.append(bytes(bits))


def _by_number(numbers: list[int]) -> list[int]:
    """Return the call sites in the order of their numbers."""
    pairs = [(numbers[site], site) for site in range(len(numbers))]
    pairs.sort()
    return [site for _, site in pairs]


def _declared_locals(module: Module, own: int) -> int:
    """Return how many locals the body of an own function declares."""
    data = module.data
    count = 0
    declarations, position = read_u32(data, module.body_starts[own])
    for _ in range(declarations):
        number, position = read_u32(data, position)
        _, position = read_value_type(data, position)
        count += number
    return count
