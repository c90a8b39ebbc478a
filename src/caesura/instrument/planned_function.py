"""All that is decided about one function before its new bodies are written: its plan, what is live, groups, numbers,
frame, and what two bodies hand over.

Here the files of `plan` and `frames` are called one after the other; `plan.planner` is the first of them, and `write`
begins where this ends. That is a step of its own, since how frames are moved can depend on the frames of all functions
(`frames.pieces`). In large modules each function is written as soon as it is planned, so that only one is held in
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.analysis.body import Body
from caesura.analysis.decoder import Decoder
from caesura.analysis.interpreters import handoff_loops
from caesura.analysis.liveness import Liveness, live_locals
from caesura.instrument.abi.index_spaces import GlobalPool
from caesura.instrument.frames.frame import Frame, number_bias
from caesura.instrument.frames.late_locals import NOTHING_LATE, LateCode, code_of, late_at_landings
from caesura.instrument.frames.two_bodies import Handoff, hand_over, normal_layout, passed_values, runs_to_end
from caesura.instrument.plan.grouping import GroupRule, group_sites
from caesura.instrument.plan.late_checks import checked_late
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.planner import plan_function
from caesura.instrument.plan.regions import Group, Layout, lay_out
from caesura.instrument.plan.roles import Roles
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex, InstructionIndex
from caesura.wasm.instructions import FLOW_TRY, FLOWS
from caesura.wasm.module import Module

# Values that the two bodies of a function hand over, at all loops together; interpreters have some hundreds. Without a
# bound, nested loops with many locals would make the output quadratic.
_MAXIMUM_PASSED: Final = 4_000


@dataclass(kw_only=True)
class PlannedFunction:
    """A function of which all is known that its new bodies are written from.

    `checked_late` are the calls that are checked behind the next instruction (see `plan.late_checks`); `handoff` is
    there for a function with two bodies, of which `runs_to_end` tells whether the second returns the results itself,
    and `live_at_sites` the locals that are live at each landing point of such a one, as bits, unless all count as live.
    `merges` counts the locals that are live at landing points, at each anew.
    Nobody changes it; it is not frozen since that makes compiled code take three times as long to make one, for each
    function.
    """

    function: FunctionIndex
    body: Body
    plan: Plan
    checked_late: set[int]
    frame: Frame
    handoff: Handoff | None
    live_at_sites: list[int]
    merges: int
    runs_to_end: bool = False

    def calls_itself(self) -> bool:
        """Tell whether the function contains a call of itself, so that the stack may hold many of its frames."""
        body = self.body
        for call in self.plan.sites.calls:
            if body.codes[call] == op.CALL and body.immediates[call] == self.function:
                return True
        return False


class FunctionPlanner:
    """Plans functions. Values that are handed over pass through the globals of `pool`."""

    def __init__(
        self,
        module: Module,
        decoder: Decoder,
        roles: Roles,
        pool: GlobalPool,
        group_rule: GroupRule,
        *,
        is_for_size: bool,
    ) -> None:
        instrumented = roles.suspension.instrumented
        self._module = module
        self._decoder = decoder
        self._roles = roles
        self._pool = pool
        self._group_rule = group_rule
        self._is_for_size = is_for_size
        self._exact = [not flag for flag in instrumented]
        self._all_exact = [True] * len(instrumented)

    def plan(self, function: FunctionIndex) -> PlannedFunction | None:
        """Plan a function that may suspend; None where none of its call sites can be reached."""
        body = self._decoder.take(function)
        if not body.sites:
            return None
        if function in self._roles.tails:
            return self._plan_frameless(function, body)
        if function in self._roles.two_bodies and not _leaves_try(body):
            planned = self._plan_two(function, body, handoff_loops(self._module.data, body))
            if planned is not None:
                return planned
        return self._plan_one(function, body)

    def _plan_one(self, function: FunctionIndex, body: Body) -> PlannedFunction | None:
        module = self._module
        plan = plan_function(module, body, module.function_type(function).results, self._exact)
        sites = plan.sites
        if not sites.calls:
            return None
        liveness = live_locals(module.data, body, sites.landings, sites.leads, sites.ignored_reads, set())
        late_calls = checked_late(body, plan, liveness.each_landing)
        groups = group_sites(module, body, plan, liveness.each_landing, self._group_rule)
        layout = self._layout(body, plan, groups, may_leave=self._roles.entered[function])
        late = NOTHING_LATE if self._is_for_size else self._late(body, plan, layout, liveness)
        has_site_local = layout.needs_site_local()
        frame = Frame(body, plan.saved, liveness.landings, layout, late, has_site_local=has_site_local)
        return PlannedFunction(
            function=function,
            body=body,
            plan=plan,
            checked_late=late_calls,
            frame=frame,
            handoff=None,
            live_at_sites=[],
            merges=_merges(liveness, len(sites.calls)),
        )

    def _plan_frameless(self, function: FunctionIndex, body: Body) -> PlannedFunction | None:
        """Plan a function whose only call site is in tail position (see `analysis.tail_sites`).

        Nothing is restored: the landing point stands where what is run again can neither trap nor matter.
        """
        results = self._module.function_type(function).results
        plan = plan_function(self._module, body, results, self._all_exact, restores_nothing=True)
        if not plan.sites.calls:
            return None
        if plan.crossing.non_null:  # they must be restored
            return self._plan_one(function, body)
        layout = self._layout(body, plan, [], may_leave=self._roles.entered[function])
        frame = Frame(body, plan.saved, None, layout, NOTHING_LATE, has_site_local=False)
        return PlannedFunction(
            function=function,
            body=body,
            plan=plan,
            checked_late=set(),
            frame=frame,
            handoff=None,
            live_at_sites=[],
            merges=0,
        )

    def _plan_two(self, function: FunctionIndex, body: Body, loops: set[InstructionIndex]) -> PlannedFunction | None:
        """Plan a function with two bodies; None where one body serves better."""
        module = self._module
        results = module.function_type(function).results
        plan = plan_function(module, body, results, self._exact, handoff_loops=loops)
        sites = plan.sites
        if not sites.calls or (loops and not plan.constructs.below):  # the loops cannot be reached
            return None
        to_end = runs_to_end(body, plan, results)
        layout = self._layout(body, plan, [], may_leave=not to_end)
        liveness = live_locals(module.data, body, sites.landings, sites.leads, sites.ignored_reads, loops)
        if passed_values(plan, liveness) > _MAXIMUM_PASSED:
            return None
        late_calls = checked_late(body, plan, liveness.each_landing)
        normal = normal_layout(body, sorted(plan.constructs.below))
        has_site_local = layout.needs_site_local() or normal.dispatches()
        frame = Frame(body, plan.saved, liveness.landings, layout, NOTHING_LATE, has_site_local=has_site_local)
        frame.widen_parameters()
        handoff = hand_over(body, plan, normal, liveness, frame, results, self._pool)
        return PlannedFunction(
            function=function,
            body=body,
            plan=plan,
            checked_late=late_calls,
            frame=frame,
            handoff=handoff,
            live_at_sites=liveness.each_landing,
            merges=_merges(liveness, len(sites.calls)),
            runs_to_end=to_end,
        )

    def _layout(self, body: Body, plan: Plan, groups: list[Group], *, may_leave: bool) -> Layout:
        """Return where frames land in the body that pops them.

        Where pops may say by number 0 that the function is to leave, call sites are numbered from 1.
        """
        first = 1 if may_leave and not number_bias(len(plan.sites.calls)) else 0
        constructs = plan.constructs
        return lay_out(body, constructs.reached, constructs.regions, plan.sites.landings, first, groups)

    def _late(self, body: Body, plan: Plan, layout: Layout, liveness: Liveness) -> LateCode:
        """Return the code with which loops set those locals of a function with one body that they should."""
        late = late_at_landings(body, layout, liveness, plan)
        if late is None:
            return NOTHING_LATE
        carriers = self._pool.indices([body.local_type(local) for local in late.locals])
        return code_of(late, dict(zip(late.locals, carriers, strict=True)))


def _merges(liveness: Liveness, sites: int) -> int:
    """Return how many locals are live at landing points, each counted where it is."""
    if not liveness.each_landing:
        return len(liveness.landings) * sites
    merges = 0
    for live in liveness.each_landing:
        merges += live.bit_count()
    return merges


def _leaves_try(body: Body) -> bool:
    """Tell whether a function contains tail calls, and a `try` that they may stand in."""
    has_tail_calls = len(body.tail_calls) > 0 or len(body.quiet_tail_calls) > 0
    return has_tail_calls and any(FLOWS[body.codes[construct]] == FLOW_TRY for construct in body.ends)
