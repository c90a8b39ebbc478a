"""Facts about the loops of a function: whether it is an interpreter, and where its resume body hands over.

In an interpreter's or parser's loop hundreds of landing points meet; engines then keep every local in a wide frame and
merge them all at each. Such functions are found by facts: a loop that holds call sites and directly contains a
`br_table` with many targets. The number of call sites alone was measured and rejected: it doubles large functions that
gain nothing. Control is handed from the resume body to the normal body at the heads of the function's large loops:
all loops would be too many entries (SQLite at 1.64 instead of 1.13), only the outermost one too few, since an
interpreter's loop often sits inside a restart loop. With few call sites and no switch it is the outermost ones, since
there the resume body is hardly slower than the normal one, which then need not look at anything in its inner loops. The
innermost loops without call sites are found here too, since functions with two bodies treat them specially (see
`frames.two_bodies`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.analysis.body import Body
from caesura.analysis.code_table import CodeTable
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex
from caesura.wasm.instructions import FLOW_BLOCK, FLOW_BRANCH_TABLE, FLOW_LOOP, FLOW_NEXT, FLOW_TRY, FLOWS
from caesura.wasm.leb128 import read_u32

# Call sites that make a loop large, and that are few in a function; distinct targets that make a br_table a switch.
_MANY_SITES: Final = 20
_FEW_SITES: Final = 8
MANY_TARGETS: Final = 16

# The flow of what is looked at besides call sites, FLOW_NEXT for all else.
_LOOKED_AT: Final = CodeTable(
    [flow if flow in (FLOW_LOOP, FLOW_TRY, FLOW_BRANCH_TABLE) else FLOW_NEXT for flow in FLOWS]
)

# The same for all constructs and switches.
_CONSTRUCTS_AND_SWITCHES: Final = CodeTable(
    [flow if FLOW_BLOCK <= flow <= FLOW_TRY or flow == FLOW_BRANCH_TABLE else FLOW_NEXT for flow in FLOWS]
)

# The parent of a loop that stands in no other.
_NO_LOOP: Final = -1


class _Loop:
    """A loop: where it starts, the loop around it (its place among all, or _NO_LOOP), whether it stands in a try, how
    many call sites it holds, and whether it directly contains a br_table with many targets.
    """

    def __init__(self, start: InstructionIndex, parent: int, *, in_try: bool) -> None:
        self.start = start
        self.parent = parent
        self.in_try = in_try
        self.sites = 0
        self.has_switch = False


class LoopFacts(NamedTuple):
    """How many call sites stand in loops, how many of them call through tables, and how many stand in one loop that
    directly contains a switch.
    """

    sites_in_loops: int
    calls_through_table_in_loops: int
    sites_around_switch: int


def loop_facts(data: bytes, body: Body) -> LoopFacts:
    """Return what the choice of functions with two bodies goes by."""
    loops = _loops(data, body)
    outermost = [loop for loop in loops if loop.parent == _NO_LOOP]
    around_switch = max([loop.sites for loop in loops if loop.has_switch], default=0)
    through_table = 0
    next_loop = 0
    for site in body.sites:
        while next_loop < len(outermost) and body.ends[outermost[next_loop].start] < site:
            next_loop += 1
        if next_loop < len(outermost) and outermost[next_loop].start < site and body.codes[site] == op.CALL_INDIRECT:
            through_table += 1
    return LoopFacts(sum(loop.sites for loop in outermost), through_table, around_switch)


def handoff_loops(data: bytes, body: Body) -> set[InstructionIndex]:
    """Return the loops at whose heads the resume body hands over to the normal body.

    There may be none; then it runs to the end. Loops with parameters or inside a try are never handed over to.
    """
    loops = _loops(data, body)
    if len(body.sites) <= _FEW_SITES and not any(loop.has_switch for loop in loops):
        return _outermost_large(body, loops)
    return _innermost_large(body, loops)


def _outermost_large(body: Body, loops: list[_Loop]) -> set[InstructionIndex]:
    """Return the large loops that stand in no other one."""
    chosen: set[InstructionIndex] = set()
    covered: set[int] = set()  # loops that are chosen, or stand in one that is
    for place in range(len(loops)):
        if loops[place].parent in covered:
            covered.add(place)
        elif _can_hand_over(body, loops[place]):
            chosen.add(loops[place].start)
            covered.add(place)
    return chosen


def _innermost_large(body: Body, loops: list[_Loop]) -> set[InstructionIndex]:
    """Return the large loops but those all of whose call sites stand in one inner loop that is chosen."""
    chosen: set[InstructionIndex] = set()
    covered: set[int] = set()
    for place in range(len(loops) - 1, -1, -1):
        loop = loops[place]
        if place not in covered:
            if not _can_hand_over(body, loop):
                continue
            chosen.add(loop.start)
        if loop.parent != _NO_LOOP and loops[loop.parent].sites == loop.sites:
            covered.add(loop.parent)
    return chosen


def _can_hand_over(body: Body, loop: _Loop) -> bool:
    is_large = loop.sites >= _MANY_SITES or 4 * loop.sites >= len(body.sites)
    has_parameters = body.immediates[loop.start] >= 0
    lands_inside = loop.start in body.with_sites  # and not before it, as for some pause points
    return lands_inside and is_large and not loop.in_try and not has_parameters


def innermost_loops(body: Body) -> set[InstructionIndex]:
    """Return the loops without call sites that contain no other loop."""
    looked_at = _LOOKED_AT.of(body)
    loops = [InstructionIndex(index) for index in range(len(looked_at)) if looked_at[index] == FLOW_LOOP]
    found: set[InstructionIndex] = set()
    for place in range(len(loops)):
        is_innermost = place + 1 == len(loops) or loops[place + 1] > body.ends[loops[place]]
        if is_innermost and loops[place] not in body.with_sites:
            found.add(loops[place])
    return found


def blocks_around_switches(data: bytes, body: Body) -> set[InstructionIndex]:
    """Return the blocks that stand around a switch, with nothing but blocks between: control enters all of them, one
    after the other, to come to any arm of the switch.
    """
    found: set[InstructionIndex] = set()
    opened: list[InstructionIndex] = []
    looked_at = _CONSTRUCTS_AND_SWITCHES.of(body)
    for place in range(len(looked_at)):
        flow = looked_at[place]
        if flow == FLOW_NEXT:
            continue
        index = InstructionIndex(place)
        while opened and body.ends[opened[-1]] < index:
            opened.pop()
        if flow != FLOW_BRANCH_TABLE:
            opened.append(index)
        elif _distinct_targets(data, body.positions[index] + 1) >= MANY_TARGETS:
            for around in reversed(opened):
                if body.codes[around] != op.BLOCK or around in found:
                    break
                found.add(around)
    return found


def _loops(data: bytes, body: Body) -> list[_Loop]:
    loops: list[_Loop] = []
    open_ends: list[int] = []  # ends of open loops and tries
    open_loops: list[int] = []  # the innermost loop inside each, as an index into `loops`, or _NO_LOOP
    open_tries: list[bool] = []
    next_site = 0
    looked_at = _LOOKED_AT.of(body)
    for index in range(len(looked_at)):
        flow = looked_at[index]
        is_site = next_site < len(body.sites) and body.sites[next_site] == index
        if flow == FLOW_NEXT and not is_site:
            continue
        while open_ends and open_ends[-1] < index:
            open_ends.pop()
            open_loops.pop()
            open_tries.pop()
        innermost = open_loops[-1] if open_loops else _NO_LOOP
        in_try = open_tries[-1] if open_tries else False
        if flow == FLOW_LOOP:
            loops.append(_Loop(InstructionIndex(index), innermost, in_try=in_try))
            open_ends.append(body.ends[InstructionIndex(index)])
            open_loops.append(len(loops) - 1)
            open_tries.append(in_try)
        elif flow == FLOW_TRY:
            open_ends.append(body.ends[InstructionIndex(index)])
            open_loops.append(innermost)
            open_tries.append(True)
        elif flow == FLOW_BRANCH_TABLE and innermost != _NO_LOOP:
            if _distinct_targets(data, body.positions[index] + 1) >= MANY_TARGETS:
                loops[innermost].has_switch = True
        elif is_site:
            next_site += 1
            if innermost != _NO_LOOP:
                loops[innermost].sites += 1
    for place in range(len(loops) - 1, -1, -1):
        if loops[place].parent != _NO_LOOP:
            loops[loops[place].parent].sites += loops[place].sites
    return loops


def _distinct_targets(data: bytes, position: int) -> int:
    count, position = read_u32(data, position)
    targets: set[int] = set()
    for _ in range(count + 1):
        target, position = read_u32(data, position)
        targets.add(target)
    return len(targets)
