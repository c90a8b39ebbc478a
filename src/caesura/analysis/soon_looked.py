"""Where the code looks soon after the host has been called: there no look of its own is needed behind the call.

What comes back from the host must look whether to pause before it calls anything again (`unlooked_ways`). Mostly the
code does that anyway: an import that a loop calls is followed by a few instructions, and these by the loop's head. A
look behind the call would be a second one, and a call site in the loop's body: then the state is looked at in each
iteration, and engines keep values in memory. And most calls of imports in large programs report that an assertion has
failed, and are followed by a trap.

So all ways are followed, until each comes to the head of a loop that looks, or to a trap. Together they may have
MOST_INSTRUCTIONS. A way that comes to where another one has been is done with: no cycle is without a look. What takes
long, leaves the function or throws stops a way. If that stands in fewer loops than the call of the host, and behind it
in the code, the look stands before it, instead of behind the call, where that is one place.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.bulk import is_bulk
from caesura.analysis.path_lengths import read_branch
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction
from caesura.wasm.indices import ByteOffset

# Instructions on all ways together; to find out takes as long for each call of the host.
_MOST_INSTRUCTIONS: Final = 1_000

_NOWHERE: Final = -1


class SoonLooked:
    """Finds it out for places of one function, whose code begins and ends there; `looking` has the loops that look."""

    def __init__(self, data: bytes, start: int, end: int, looking: dict[ByteOffset, int]) -> None:
        self._data = data
        self._start = start
        self._end = end
        self._looking = looking
        # Places of instructions before which looks must stand.
        self.stops: set[int] = set()
        # Places that are known to be followed by looks.
        self._known: set[int] = set()
        # By where a construct's code begins: its opening code, where its first arm ends, and where it ends itself.
        self._codes: dict[int, int] = {}
        self._arms: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        # Places still to be gone on from, and the constructs that are open there, by where their code begins.
        self._pending: list[tuple[int, list[int]]] = []

    def looks(self, position: int, constructs: list[int]) -> bool:
        """Tell it for a place, where these constructs are open, the function first."""
        if position in self._known:
            return True
        if not self._ends:
            self._read_constructs()
        start = position
        loops = self._loops(constructs)
        seen: set[int] = set()
        stops: set[int] = set()
        self._pending = [(position, constructs.copy())]
        while self._pending:
            position, constructs = self._pending.pop()
            while position != _NOWHERE and position not in seen and position not in self._known:
                seen.add(position)
                if len(seen) > _MOST_INSTRUCTIONS:
                    return False
                code, immediates, behind = read_instruction(self._data, position)
                if self._goes_on(code, constructs):
                    position = self._next(code, immediates, behind, constructs)
                    if not constructs:  # a branch out of the function
                        return False
                    continue
                stops.add(position)
                is_behind = position >= start  # the others have been walked over
                if len(stops) > 1 or self._loops(constructs) >= loops or not is_behind:
                    return False
                position = _NOWHERE
        self.stops |= stops
        self._known |= seen
        return True

    def _loops(self, constructs: list[int]) -> int:
        return sum([self._codes[start] == op.LOOP for start in constructs])

    def _goes_on(self, code: int, constructs: list[int]) -> bool:
        """Tell whether an instruction takes no longer than others, and neither throws nor leaves the function."""
        if table.EFFECTS[code] == table.CALL or is_bulk(code):
            return False
        flow = table.FLOWS[code]
        if flow == table.FLOW_RETURN or flow == table.FLOW_RAISE:
            return code == op.UNREACHABLE
        return len(constructs) > 1 or flow != table.FLOW_END

    def _next(self, code: int, immediates: int, behind: int, constructs: list[int]) -> int:
        """Return where control goes on behind an instruction; note where else. No construct is left at a return."""
        flow = table.FLOWS[code]
        if flow == table.FLOW_NEXT:
            return behind
        if flow <= table.FLOW_TRY:
            if flow == table.FLOW_LOOP and behind in self._looking:
                return _NOWHERE
            if flow == table.FLOW_IF:
                self._note_other_arm(behind, constructs)
            constructs.append(behind)
            return behind
        if flow <= table.FLOW_END:  # of an arm, or the construct
            return self._ends[constructs.pop()]
        for label in read_branch(self._data, code, flow, immediates):
            self._note_branch(label, constructs)
        return _NOWHERE if flow >= table.FLOW_BRANCH or not constructs else behind

    def _note_other_arm(self, start: int, constructs: list[int]) -> None:
        """Go on later where the condition of an `if` does not hold."""
        arm = self._arms[start]
        if arm == self._ends[start]:
            self._pending.append((arm, constructs.copy()))
        else:
            self._pending.append((arm, [*constructs, start]))

    def _note_branch(self, label: int, constructs: list[int]) -> None:
        """Go on later where a branch goes; a branch that leaves the function leaves no constructs."""
        place = len(constructs) - 1 - label
        if place <= 0:
            constructs.clear()
            return
        start = constructs[place]
        if self._codes[start] != op.LOOP:
            self._pending.append((self._ends[start], constructs[:place]))
        elif start not in self._looking:
            self._pending.append((start, constructs[: place + 1]))

    def _read_constructs(self) -> None:
        """Find out where the function's constructs end."""
        self._codes[self._start] = op.BLOCK
        starts = [self._start]
        position = self._start
        while starts:
            code, _, position = read_instruction(self._data, position)
            flow = table.FLOWS[code]
            if table.FLOW_BLOCK <= flow <= table.FLOW_TRY:
                self._codes[position] = code
                starts.append(position)
            elif flow == table.FLOW_ELSE or flow == table.FLOW_CATCH:
                self._arms.setdefault(starts[-1], position)
            elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
                start = starts.pop()
                self._arms.setdefault(start, position)
                self._ends[start] = position
