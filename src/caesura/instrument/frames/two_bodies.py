"""Two bodies for one function: one that runs, one that only resumes.

Where hundreds of landing points meet, the merges cost far more than the checks: 2.2 times the original's time instead
of 1.05, and native frames of 44 KB instead of half a KB. So an interpreter-like function gets

* a *normal body*, in the function's old place: it has the checks behind its call sites and saves frames, but only one
  landing point for each hand-off loop, at that loop's head. Behind the head it zeroes the saved locals that are dead
  there: otherwise engines keep them alive from iteration to iteration, only because some frame might save them.
* a *resume body*, a new function: it pops the frame, lands at the call site, and runs straight on. Where it comes to
  the head of a hand-off loop it puts the locals that live there into globals and returns; the normal body reads them
  back at once and goes on from that loop. It may suspend again before, with the same site numbers and frame layout.
  Where there is no such loop it runs to the function's end and returns what that returns, as a call in its place would.

Small loops without call sites get an empty loop at their head, in both bodies. Else V8 unrolls them, and behind an
unrolled loop it merges every local anew: all the saved ones, twenty times in SQLite's interpreter, which made its
native frame 12 KB instead of 700 bytes and the whole program 1.3 times slower than the original instead of 1.1.

Values do not pass through the asyncify stack (a foreign runtime may free it inside the innermost import), nor as
several results (V8 keeps their area in the caller's frame). Both bodies follow the same plan.
"""

from __future__ import annotations

from typing import NamedTuple

from caesura.analysis.body import Body
from caesura.analysis.liveness import Liveness
from caesura.instrument.abi.index_spaces import GlobalPool
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.late_locals import arms_of, late_handed_over
from caesura.instrument.frames.pads import ONE_PAD, Pads, group_by_live
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.regions import Layout, lay_out
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex, LocalIndex
from caesura.wasm.types import defaultable


class HandoffLoop(NamedTuple):
    """What is handed over at a hand-off loop, which begins with instruction `start`.

    The locals `passed` pass through globals. The normal body sets those in `entering` in its cold arm, and the others
    on the way to the loop (see `frames.late_locals`). `killed` are the saved locals that are dead at its head.
    """

    start: InstructionIndex
    passed: list[LocalIndex]
    entering: list[LocalIndex]
    killed: list[LocalIndex]


class Handoff(NamedTuple):
    """How a function goes on in its normal body when it was resumed.

    `loops` are the hand-off loops in code order; `carriers` the globals through which locals pass, by local, and
    `results` those for the function's results. `layout` says where in the normal body frames land, `arms` what sets
    locals on the way there, by region. `pads` is where the call sites of both bodies unwind to.
    """

    layout: Layout
    arms: dict[int, bytes]
    loops: list[HandoffLoop]
    carriers: dict[LocalIndex, int]
    results: list[int]
    pads: Pads


def hand_over(
    body: Body,
    plan: Plan,
    normal: Layout,
    liveness: Liveness,
    frame: Frame,
    result_types: tuple[int, ...],
    pool: GlobalPool,
) -> Handoff:
    """Return what the two bodies of a function hand over; `normal` says where frames land in its normal body."""
    starts = sorted(plan.constructs.below)
    passed = [_passed(plan, liveness, frame, start) for start in starts]
    everything = sorted(set().union(*passed))
    globals_ = pool.indices([defaultable(frame.type_of(body, local)) for local in everything])
    carriers = dict(zip(everything, globals_, strict=True))
    carried = () if runs_to_end(body, plan, result_types) else result_types
    results = pool.indices([defaultable(value_type) for value_type in carried])
    late = late_handed_over(body, normal, liveness, plan, starts)
    skipped: set[LocalIndex] = set() if late is None else set(late.locals) - late.early
    loops = [
        HandoffLoop(
            starts[place],
            sorted(passed[place]),
            sorted(passed[place] - skipped),
            [local for local in frame.values if local not in passed[place]],
        )
        for place in range(len(starts))
    ]
    arms = {} if late is None else arms_of(late, carriers)
    pads = group_by_live(liveness.each_landing, plan.saved.moved_locals) if liveness.each_landing else ONE_PAD
    return Handoff(normal, arms, loops, carriers, results, pads)


def runs_to_end(body: Body, plan: Plan, result_types: tuple[int, ...]) -> bool:
    """Tell whether the resume body of a function returns its results itself, and nothing passes through globals.

    It does where there is no hand-off loop, but for several results, and for tail calls, which leave another frame.
    """
    has_tail_calls = len(body.tail_calls) > 0 or len(body.quiet_tail_calls) > 0
    return not plan.constructs.below and len(result_types) <= 1 and not has_tail_calls


def _passed(plan: Plan, liveness: Liveness, frame: Frame, loop: InstructionIndex) -> set[LocalIndex]:
    """Return the locals with a value at the head of a hand-off loop."""
    temporaries, below = plan.constructs.below[loop]
    live: set[LocalIndex] = set(liveness.heads[loop])
    live.update(below)
    live.update([frame.temporary(number) for number in temporaries])
    return live


def passed_values(plan: Plan, liveness: Liveness) -> int:
    """Return how many values are handed over at all hand-off loops together."""
    return sum(len(liveness.heads[loop]) + len(temporaries) for loop, (temporaries, _) in plan.constructs.below.items())


def normal_layout(body: Body, handoff_loops: list[InstructionIndex]) -> Layout:
    """Return where the normal body lands frames: at the heads of the hand-off loops (ascending)."""
    around = _around(body, handoff_loops)
    regions = {construct for construct in around if body.codes[construct] == op.LOOP}
    return lay_out(body, around, regions, [InstructionIndex(loop + 1) for loop in handoff_loops], 1)


def _around(body: Body, loops: list[InstructionIndex]) -> list[InstructionIndex]:
    """Return the hand-off loops and all constructs around them, in code order."""
    chosen: set[InstructionIndex] = set()
    opened: list[InstructionIndex] = []
    next_loop = 0
    for construct in sorted(body.with_sites):
        while opened and body.ends[opened[-1]] < construct:
            opened.pop()
        opened.append(construct)
        if next_loop < len(loops) and loops[next_loop] == construct:
            next_loop += 1
            chosen.update(opened)
    return sorted(chosen)
