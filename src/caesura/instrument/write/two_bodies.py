"""Two bodies for one function: one that runs, one that only resumes.

Where hundreds of landing points meet, the merges cost far more than the checks: 2.2 times the original's time instead
of 1.05, and native frames of 44 KB instead of half a KB. So an interpreter-like function gets

* a *normal body*, in the function's old place: it has the checks behind its call sites and saves frames, but only one
  landing point for each hand-off loop, at that loop's head. Behind the head it zeroes the saved locals that are dead
  there: otherwise engines keep them alive from iteration to iteration, only because some frame might save them.
* a *resume body*, a new function: it pops the frame, lands at the call site, and runs straight on. Where it comes to
  the head of a hand-off loop it puts the locals that live there into globals and returns; the normal body reads them
  back at once and goes on from that loop. It may suspend again before, with the same site numbers and frame layout.

Small loops without call sites get an empty loop at their head, in both bodies. Else V8 unrolls them, and behind an
unrolled loop it merges every local anew: all the saved ones, twenty times in SQLite's interpreter, which made its
native frame 12 KB instead of 700 bytes and the whole program 1.3 times slower than the original instead of 1.1.

Values do not pass through the asyncify stack (a foreign runtime may free it inside the innermost import), nor as
several results (V8 keeps their area in the caller's frame). Both bodies follow the same plan.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.analysis.interpreters import innermost_loops
from caesura.analysis.liveness import Liveness
from caesura.instrument.abi.tables import GlobalPool
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.late import Late, set_from
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.regions import Layout, lay_out
from caesura.instrument.write.declarations import declare
from caesura.instrument.write.dispatch import br_table
from caesura.instrument.write.labels import AT_HEAD
from caesura.instrument.write.rewrite import Rewriter
from caesura.wasm import code as c
from caesura.wasm import opcodes as op
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.pieces import join_pieces

# What the resume body returns: the function finished, it is unwinding again, or (from here on) it hands over.
_FINISHED: Final = 0
_UNWOUND: Final = 1
_HANDOFF: Final = 2


class Handoff:
    """What is handed over at each hand-off loop, and through which globals.

    `loops` are the hand-off loops in code order. At loop k the locals `locals[k]` pass through globals, which are their
    `carriers`; the normal body sets `entering[k]` of them in its cold arm, and the others on the way to the loop (see
    `late`). `killed[k]` are the saved locals that are dead at its head. `results` are the globals for the function's
    results. `not_unrolled` are the innermost loops without call sites.
    """

    def __init__(
        self, body: Body, plan: Plan, liveness: Liveness, frame: Frame, result_types: tuple[int, ...], pool: GlobalPool
    ) -> None:
        self.loops: list[int] = sorted(plan.constructs.below)
        self.locals: list[list[int]] = []
        self.killed: list[list[int]] = []
        for loop in self.loops:
            temporaries, below = plan.constructs.below[loop]
            live = set(liveness.heads[loop])
            live.update(below)
            live.update([frame.temporary(number) for number in temporaries])
            passed = sorted(live)
            self.locals.append(passed)
            self.killed.append([local for local in frame.values if local not in live])
        everything = sorted(set().union(*self.locals))
        globals_ = pool.indices([frame.type_of(body, local) for local in everything])
        self.carriers: dict[int, int] = dict(zip(everything, globals_, strict=True))
        self.entering: list[list[int]] = self.locals
        self.results: list[int] = pool.indices(list(result_types))
        self.not_unrolled: set[int] = innermost_loops(body)

    def set_late(self, late: Late) -> None:
        """Leave the late locals that no loop needs early to the heads of loops."""
        skipped = set(late.late) - late.early
        self.entering = [[local for local in passed if local not in skipped] for passed in self.locals]


def passed_values(plan: Plan, liveness: Liveness) -> int:
    """Return how many values are handed over at all hand-off loops together."""
    return sum(len(liveness.heads[loop]) + len(temporaries) for loop, (temporaries, _) in plan.constructs.below.items())


def normal_layout(body: Body, handoff_loops: list[int]) -> Layout:
    """Return where the normal body lands frames: at the heads of the hand-off loops (ascending)."""
    around = _around(body, handoff_loops)
    regions = {construct for construct in around if body.codes[construct] == op.LOOP}
    return lay_out(body, around, regions, [loop + 1 for loop in handoff_loops], 1)


def _around(body: Body, loops: list[int]) -> list[int]:
    """Return the hand-off loops and all constructs around them, in code order."""
    chosen: set[int] = set()
    opened: list[int] = []
    next_loop = 0
    for construct in sorted(body.with_sites):
        while opened and body.ends[opened[-1]] < construct:
            opened.pop()
        opened.append(construct)
        if next_loop < len(loops) and loops[next_loop] == construct:
            next_loop += 1
            chosen.update(opened)
    return sorted(chosen)


class ResumeBody(Rewriter):
    """Writes the body that only resumes."""

    def write(self, handoff: Handoff, params: tuple[int, ...], elided: set[int]) -> bytes:
        """Return the encoded body of a function without parameters that returns an i32.

        `params` are the types of the original's parameters, which are plain locals here. Most of a switch's blocks
        have nothing left that branches to them: write once, look at `untargeted`, and write again with these
        `elided`.
        """
        self._not_unrolled = handoff.not_unrolled
        labels = self._labels
        labels.elided = elided
        for place in range(len(handoff.loops) - 1, -1, -1):
            self._exits[handoff.loops[place]] = labels.begin(c.BLOCK_EMPTY)
        leave = labels.begin(c.BLOCK_EMPTY)
        finish = labels.begin(c.BLOCK + self._dispatcher.block_type(self._results))
        self._heights[0] = finish
        self._unwinding.open()
        self._dispatcher.open_function()
        head = labels.begin(c.BLOCK_EMPTY)
        self._dispatcher.pop_and_land(leave, head)
        labels.close(head)
        self._live = self._dispatcher.lands_at_head(self._layout.regions[0])
        if not self._live:
            self._out.append(c.UNREACHABLE)
        self._copy_code()
        if self._plan.ends_live and self._live:
            labels.branch(c.BR, finish)
        else:
            self._out.append(c.UNREACHABLE)
        self._unwinding.close()
        self._finish(_UNWOUND)
        labels.close(finish)
        for place in range(len(handoff.results) - 1, -1, -1):
            self._out.append(c.GLOBAL_SET + encode_unsigned(handoff.results[place]))
        self._finish(_FINISHED)
        labels.close(leave)
        self._finish(_UNWOUND)
        for place in range(len(handoff.loops)):
            labels.close(self._exits[handoff.loops[place]])
            for local in handoff.locals[place]:
                self._get(local)
                self._out.append(c.GLOBAL_SET + encode_unsigned(handoff.carriers[local]))
            self._finish(_HANDOFF + place)
        self._out.append(c.UNREACHABLE + c.END)
        self._frame.check_count(self._body)
        return declare(self._data, self._body, params, self._frame.new_runs()) + join_pieces(self._out)

    def _finish(self, status: int) -> None:
        self._out.append(c.CONST_I32 + encode_signed(status) + c.RETURN)

    def _return(self) -> None:
        self._labels.branch(c.BR, self._heights[0])

    def _open_hoisted(self, index: int, marks: bytes) -> None:
        if index not in self._exits:
            super()._open_hoisted(index, marks)
            return
        exit_height = self._exits[index]
        if self._live:
            self._flush(self._body.positions[index])
            self._labels.branch(c.BR, exit_height)
            self._live = False
        self._copied = self._body.positions[index + 1]
        self._heights.append(exit_height)
        self._closing.append(self._labels.blocks.get(index, AT_HEAD))


class NormalBody(Rewriter):
    """Writes the body that runs."""

    def write(self, handoff: Handoff, resume: int, is_entered_from_outside: bool) -> bytes:
        """Return the encoded body; `resume` is the function index of the resume body."""
        self._handoff = handoff
        self._not_unrolled = handoff.not_unrolled
        labels = self._labels
        leave = labels.begin(c.BLOCK_EMPTY) if self._results else 0
        self._unwinding.open()
        has_else = self._dispatcher.open_arm(self._layout.regions[0], self._runtime.state_get)
        if is_entered_from_outside or not self._runtime.guards:
            self._out.append(self._runtime.is_unwinding())
            labels.branch(c.BR_IF, leave)
        else:
            self._out.append(self._runtime.refuse_entry())
        self._resume(resume, leave, labels.innermost())
        self._dispatcher.close_arm(has_else)
        return self._code_and_tail(leave)

    def _resume(self, resume: int, leave: int, head: int) -> None:
        """Write the cold arm: let the resume body run, and go on where it hands over."""
        handoff = self._handoff
        labels = self._labels
        out = self._out
        places = len(handoff.loops)
        arms = [0] * places
        for place in range(places - 1, -1, -1):
            arms[place] = labels.begin(c.BLOCK_EMPTY)
        finished = labels.begin(c.BLOCK_EMPTY)
        out.append(c.CALL + encode_unsigned(resume))
        targets = [labels.depth(finished), labels.depth(leave)] + [labels.depth(arm) for arm in arms]
        out.append(br_table(self._frame, targets[:-1], targets[-1]))
        labels.close(finished)
        for carrier in handoff.results:
            out.append(c.GLOBAL_GET + encode_unsigned(carrier))
        out.append(c.RETURN)
        for place in range(places):
            labels.close(arms[place])
            for local in handoff.entering[place]:
                out.append(set_from(local, handoff.carriers[local]))
            number = self._layout.numbers[place]
            if self._layout.dispatches():
                out.append(c.CONST_I32 + encode_signed(number))
                self._set(self._frame.site_local())
            targets = self._dispatcher.targets(self._layout.regions[0], labels.depth(head))
            out.append(c.BR + encode_unsigned(targets[number - 1]))

    def _enter_region(self, index: int, region: int) -> None:
        super()._enter_region(index, region)
        if index not in self._handoff.loops:
            return
        for local in self._handoff.killed[self._handoff.loops.index(index)]:
            self._out.append(c.ZERO[self._frame.type_of(self._body, local)])
            self._set(local)
