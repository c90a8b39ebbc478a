"""Liveness: which locals a rewinding frame needs, that is, which are read before they are written from some point on.

Backward passes over the structured code, with sets of locals as bits of an integer: they are small in nearly every
function and then cost one machine word. What is live at the head of a loop is only known after its body; passes repeat
until the heads no longer change, rarely more than three times. Inside a try body everything that its handlers read
stays live, since any call may throw. Where a function is so large that the sets would blow up, every local that is
read at all counts as live: correct, and linear.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.analysis.body import Body, label_of_cast
from caesura.analysis.code_table import CodeTable
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.indices import InstructionIndex, LocalIndex
from caesura.wasm.instructions import (
    CODES,
    EFFECTS,
    FLOW_BRANCH,
    FLOW_BRANCH_IF,
    FLOW_BRANCH_ON,
    FLOW_BRANCH_TABLE,
    FLOW_DELEGATE,
    FLOW_ELSE,
    FLOW_END,
    FLOW_NEXT,
    FLOW_RAISE,
    FLOW_RETURN,
    FLOW_TRY,
    FLOWS,
    LOCAL,
    POPS,
)
from caesura.wasm.leb128 import read_u32

# What an instruction does to liveness: the table's flow, or, behind these, a look at a local.
_IGNORED: Final = FLOW_NEXT
_GET: Final = 100
_SET: Final = 101


def _role(code: int) -> int:
    if EFFECTS[code] != LOCAL:
        return FLOWS[code]
    return _GET if POPS[code] == 0 else _SET


_ROLES: Final = CodeTable([_role(code) for code in range(CODES)])


_MAXIMUM_PASSES: Final = 24
# Bits that all the sets of one pass may hold together.
_MAXIMUM_BITS: Final = 1 << 31


class Liveness(NamedTuple):
    """`landings` are the locals live at any landing point, `heads` those live at the head of each loop, ascending.

    `each_landing` has the locals live at each landing point, and `all_heads` those at the heads of all loops (those
    that have any), as bits; both are empty where all count as live everywhere.
    """

    landings: list[LocalIndex]
    each_landing: list[int]
    heads: dict[InstructionIndex, list[LocalIndex]]
    all_heads: dict[int, int]


def live_locals(
    data: bytes,
    body: Body,
    landings: list[InstructionIndex],
    leads: list[InstructionIndex],
    ignored: set[InstructionIndex],
    loops: set[InstructionIndex],
) -> Liveness:
    """Return what is live just before the instructions `landings` (ascending) and at the heads of some loops.

    From landing n straight-line code leads to the instruction `leads[n]`; the reads `ignored` in it do not count there.
    """
    roles = _ROLES.of(body)
    if body.local_count > 256 and len(roles) * body.local_count > _MAXIMUM_BITS:
        relevant = len(roles) - roles.count(_IGNORED)
        if relevant * body.local_count > _MAXIMUM_BITS:
            return _all_read(body, roles, loops)
    heads: dict[int, int] = {}
    openers: dict[int, InstructionIndex] = {end: start for start, end in body.ends.items()}
    for _ in range(_MAXIMUM_PASSES):
        liveness = _Pass(data, body, heads, openers, len(landings))
        liveness.run(roles, landings, leads, ignored)
        if not liveness.changed:
            count = body.local_count
            live = 0
            for mask in liveness.found:
                live |= mask
            live_at_heads = {loop: _bits(heads.get(loop, 0), count) for loop in loops}
            return Liveness(_bits(live, count), liveness.found, live_at_heads, heads)
    return _all_read(body, roles, loops)


def _bits(mask: int, count: int) -> list[LocalIndex]:
    return [LocalIndex(local) for local in range(count) if mask >> local & 1]


def _all_read(body: Body, roles: bytes, loops: set[InstructionIndex]) -> Liveness:
    read: set[LocalIndex] = set()
    for index in range(len(roles)):
        if roles[index] == _GET:
            read.add(LocalIndex(body.immediates[index]))
    everything = sorted(read)
    return Liveness(everything, [], dict.fromkeys(loops, everything), {})


class _Pass:
    """One backward pass.

    `heads` keeps, for each loop, what was live at its head in the pass before; `openers` maps the end of a construct
    to its start. `found` is what was live at each landing point.
    """

    def __init__(
        self, data: bytes, body: Body, heads: dict[int, int], openers: dict[int, InstructionIndex], landings: int
    ) -> None:
        self.found: list[int] = [0] * landings
        self._data = data
        self._body = body
        self._heads = heads
        self._openers = openers
        self.changed = False
        # For each open construct: its opening instruction, what is live at its label, behind its end, and in its
        # handlers or else arm; and what is live in the handlers around it.
        self._starts: list[InstructionIndex] = []
        self._labels: list[int] = [0]
        self._behind: list[int] = [0]
        self._arms: list[int] = [0]
        self._outer_handlers: list[int] = [0]
        self._handlers = 0

    def run(
        self,
        roles: bytes,
        landings: list[InstructionIndex],
        leads: list[InstructionIndex],
        ignored: set[InstructionIndex],
    ) -> None:
        """Walk through the body once."""
        body = self._body
        immediates = body.immediates
        openers = self._openers
        landing = len(landings) - 1
        call = landing
        live = 0
        landed = 0  # what is live for a frame that lands before the call that was passed last
        for index in range(len(roles) - 1, -1, -1):
            role = roles[index]
            if role == _IGNORED:
                continue
            while landing >= 0 and landings[landing] > index:
                if call == landing:
                    landed = live
                    call -= 1
                self.found[landing] = landed
                landing -= 1
            if call >= 0 and leads[call] > index:
                landed = live
                call -= 1
            if role == _GET:
                bit = 1 << immediates[index]
                live |= bit
                if index not in ignored:
                    landed |= bit
            elif role == _SET:
                bit = 1 << immediates[index]
                if landed & bit:
                    landed ^= bit
                    landed |= self._handlers
                if live & bit:
                    live ^= bit
                    live |= self._handlers
            elif role <= FLOW_TRY:
                live = self._open(index, live)
            elif role == FLOW_END or role == FLOW_DELEGATE:
                start = openers.get(index)
                live = 0 if start is None else self._end(start, live)
            elif role == FLOW_BRANCH_IF:
                live |= self._labels[-1 - immediates[index]]
            elif role == FLOW_BRANCH_ON:
                live |= self._labels[-1 - self._label(InstructionIndex(index))]
            elif role == FLOW_BRANCH:
                live = self._labels[-1 - immediates[index]] | self._handlers
            elif role == FLOW_RETURN or role == FLOW_RAISE:
                live = self._handlers
            elif role == FLOW_BRANCH_TABLE:
                live = self._table_targets(InstructionIndex(index)) | self._handlers
            elif role == FLOW_ELSE:
                self._arms[-1] = live
                live = self._behind[-1]
            else:
                self._arms[-1] |= live
                live = self._behind[-1]
                if body.handlers[self._starts[-1]] == index:
                    self._handlers = self._outer_handlers[-1] | self._arms[-1]
                live |= self._handlers
        while landing >= 0:
            self.found[landing] = live if call == landing else landed
            if call == landing:
                call -= 1
            landing -= 1

    def _end(self, start: InstructionIndex, live: int) -> int:
        code = self._body.codes[start]
        self._starts.append(start)
        self._behind.append(live)
        self._arms.append(live if code == op.IF else 0)
        self._outer_handlers.append(self._handlers)
        if code == op.LOOP:
            self._labels.append(self._heads.get(start, 0))
        else:
            self._labels.append(live)
        if code == op.TRY_TABLE:
            self._handlers |= self._catch_targets(start)
            live |= self._handlers
        return live

    def _open(self, index: int, live: int) -> int:
        code = self._body.codes[index]
        self._starts.pop()
        self._labels.pop()
        self._behind.pop()
        arm = self._arms.pop()
        self._handlers = self._outer_handlers.pop()
        if code == op.LOOP:
            if self._heads.get(index, 0) != live:
                self._heads[index] = live
                self.changed = True
        elif code == op.IF:
            live |= arm
        return live

    def _label(self, index: InstructionIndex) -> int:
        if self._body.codes[index] >= 0x100:
            return label_of_cast(self._data, self._body, index)
        return self._body.immediates[index]

    def _table_targets(self, index: InstructionIndex) -> int:
        count, position = read_u32(self._data, self._body.positions[index] + 1)
        live = 0
        seen: set[int] = set()
        for _ in range(count + 1):
            label, position = read_u32(self._data, position)
            if label not in seen:
                seen.add(label)
                live |= self._labels[-1 - label]
        return live

    def _catch_targets(self, start: InstructionIndex) -> int:
        """Return what is live at the targets of a try_table's clauses; the try_table's own label is on top."""
        position = skip_block_type(self._data, self._body.positions[start] + 1)
        count, position = read_u32(self._data, position)
        live = 0
        for _ in range(count):
            kind = self._data[position]
            position += 1
            if kind < 2:
                _, position = read_u32(self._data, position)
            label, position = read_u32(self._data, position)
            live |= self._labels[-2 - label]
        return live
