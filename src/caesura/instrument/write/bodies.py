"""One function's way through the transformation: decoded, planned, laid out; then written, as one body or as two.

These are two steps, since how frames are moved can depend on the frames of all functions (`frames.pieces`). In
large modules each function takes both steps at once, so that only one is held in memory.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.analysis.decoder import Decoder
from caesura.analysis.interpreters import handoff_loops
from caesura.analysis.limits import check_body
from caesura.analysis.liveness import Liveness, live_locals
from caesura.analysis.suspension import Suspension
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.abi.tables import FunctionTable, GlobalPool, TypeTable
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.late import arms, late_at_landings, late_handed_over
from caesura.instrument.frames.pads import Pads, group_by_live
from caesura.instrument.plan.checks import checked_late
from caesura.instrument.plan.grouping import GroupRule, group_sites
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.planner import plan_function
from caesura.instrument.plan.regions import Group, Layout, lay_out
from caesura.instrument.write.rewrite import Rewriter
from caesura.instrument.write.subject import Subject
from caesura.instrument.write.two_bodies import Handoff, NormalBody, ResumeBody, normal_layout, passed_values
from caesura.options import Options
from caesura.wasm import code as c
from caesura.wasm import opcodes as op
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import LOCAL_NAMES, NewNames
from caesura.wasm.renumber import redirect_in_code
from caesura.wasm.shortest import shorten_body
from caesura.wasm.types import I32

# Values that the two bodies of a function hand over, at all loops together; interpreters have some hundreds. Without a
# bound, nested loops with many locals would make the output quadratic.
_MAXIMUM_PASSED: Final = 4_000

# One place to unwind from, with nothing to zero.
_ONE_PAD: Final = Pads([], [], [])


# Constants from -64 to 63 take one byte. So from so many call sites on, the numbers in frames begin below 0; to make up
# for it, and to look whether to leave, takes nine bytes.
_MANY_SITES: Final = 75
_BIAS: Final = 63


class Prepared:
    """A function that is about to be written; with two bodies `handoff` and `normal` (its layout) are there.

    `arms` is the code of regions that set locals late, in the body that runs.
    """

    def __init__(
        self,
        subject: Subject,
        layout: Layout,
        handoff: Handoff | None,
        normal: Layout | None,
        arms: dict[int, bytes],
    ) -> None:
        self.subject = subject
        self.layout = layout
        self.arms = arms
        self.handoff = handoff
        self.normal = normal

    def calls_itself(self) -> bool:
        """Tell whether the function contains a call of itself, so that the stack may hold many of its frames."""
        body = self.subject.body
        for call in self.subject.plan.sites.calls:
            if body.codes[call] == op.CALL and body.immediates[call] == self.subject.function:
                return True
        return False


class Additions:
    """Where bodies put, and find, what is added to the module. `referring` are the functions that make references of
    imports, which are to become references of their thunks; `shortens` says that padded numbers become short.
    """

    def __init__(
        self,
        types: TypeTable,
        functions: FunctionTable,
        pool: GlobalPool,
        names: FunctionNames,
        new_names: NewNames,
        import_thunks: dict[int, int],
        referring: set[int],
        shortens: bool,
    ) -> None:
        self.types = types
        self.functions = functions
        self.pool = pool
        self.names = names
        self.new_names = new_names
        self.import_thunks = import_thunks
        self.referring = referring
        self.shortens = shortens


class BodyWriter:
    """Prepares and writes functions. `entered` tells for each whether it can be entered from outside."""

    def __init__(
        self,
        module: Module,
        options: Options,
        suspension: Suspension,
        entered: list[bool],
        two_bodies: set[int],
        decoder: Decoder,
        frameless: dict[int, int],
        additions: Additions,
        runtime: Runtime,
        group_rule: GroupRule,
    ) -> None:
        self._module = module
        self._options = options
        self._suspension = suspension
        self._exact = [not instrumented for instrumented in suspension.instrumented]
        self._all_exact = [True] * len(suspension.instrumented)
        self._entered = entered
        self._two_bodies = two_bodies
        self._decoder = decoder
        self._frameless = frameless
        self._additions = additions
        self._runtime = runtime
        self._group_rule = group_rule

    def prepare(self, function: int) -> Prepared | None:
        """Plan a function that may suspend; None where none of its call sites can be reached."""
        module = self._module
        body = self._decoder.take(function)
        if not body.sites:
            return None
        if function in self._frameless:
            return self._prepare_frameless(function, body)
        if function in self._two_bodies:
            prepared = self._prepare_two(function, body, handoff_loops(module.data, body))
            if prepared is not None:
                return prepared
        results = module.function_type(function).results
        plan = plan_function(module, body, results, self._exact)
        if not plan.sites.calls:
            return None
        sites = plan.sites
        liveness = live_locals(module.data, body, sites.landings, sites.calls, sites.ignored_reads, set())
        late_calls = checked_late(body, plan, liveness.each_landing)
        groups = group_sites(module, body, plan, liveness.each_landing, self._group_rule)
        layout = self._layout(function, body, plan, groups, False)
        frame = Frame(body, liveness.landings, plan.saved, layout.needs_site_local())
        frame.number_bias = _bias(plan)
        late: dict[int, bytes] = {}
        if self._options.optimize != "size":
            late = self._set_late(body, plan, layout, liveness, frame)
        subject = self._subject(function, body, plan, late_calls, layout, frame, _ONE_PAD)
        return Prepared(subject, layout, None, None, late)

    def _prepare_frameless(self, function: int, body: Body) -> Prepared | None:
        """Plan a function whose only call site is in tail position (see `analysis.tail_sites`).

        Nothing is restored: the landing point stands where what is run again can neither trap nor matter.
        """
        results = self._module.function_type(function).results
        plan = plan_function(self._module, body, results, self._all_exact, restores_nothing=True)
        if not plan.sites.calls:
            return None
        layout = self._layout(function, body, plan, [], False)
        frame = Frame(body, [], plan.saved, False)
        return Prepared(self._subject(function, body, plan, set(), layout, frame, _ONE_PAD), layout, None, None, {})

    def _set_late(self, body: Body, plan: Plan, layout: Layout, liveness: Liveness, frame: Frame) -> dict[int, bytes]:
        """Let loops set those locals of a function with one body that they should (see `late`); return the code."""
        late = late_at_landings(body, layout, liveness, plan)
        if late is None:
            return {}
        globals_ = self._additions.pool.indices([body.local_type(local) for local in late.late])
        carriers = dict(zip(late.late, globals_, strict=True))
        for local, carrier in carriers.items():
            keep = c.LOCAL_TEE + encode_unsigned(local) if local in late.early else b""
            frame.setters[local] = keep + c.GLOBAL_SET + encode_unsigned(carrier)
        return arms(late, carriers)

    def _prepare_two(self, function: int, body: Body, loops: set[int]) -> Prepared | None:
        """Plan a function with two bodies; None where one body serves better."""
        module = self._module
        definition = module.function_type(function)
        plan = plan_function(module, body, definition.results, self._exact, handoff_loops=loops)
        if not plan.sites.calls or (loops and not plan.constructs.below):  # the loops cannot be reached
            return None
        layout = self._layout(function, body, plan, [], True)
        sites = plan.sites
        liveness = live_locals(module.data, body, sites.landings, sites.calls, sites.ignored_reads, loops)
        if passed_values(plan, liveness) > _MAXIMUM_PASSED:
            return None
        late_calls = checked_late(body, plan, liveness.each_landing)
        normal = normal_layout(body, sorted(plan.constructs.below))
        frame = Frame(body, liveness.landings, plan.saved, layout.needs_site_local() or normal.dispatches())
        frame.number_bias = _bias(plan)
        handoff = Handoff(body, plan, liveness, frame, definition.results, self._additions.pool)
        late = late_handed_over(body, normal, liveness, plan, handoff.loops)
        late_arms: dict[int, bytes] = {}
        if late is not None:
            late_arms = arms(late, handoff.carriers)
            handoff.set_late(late)
        pads = group_by_live(liveness.each_landing, plan.saved.locals) if liveness.each_landing else _ONE_PAD
        subject = self._subject(function, body, plan, late_calls, layout, frame, pads)
        return Prepared(subject, layout, handoff, normal, late_arms)

    def _layout(self, function: int, body: Body, plan: Plan, groups: list[Group], has_two_bodies: bool) -> Layout:
        """Return where frames land in the body that pops them.

        Where pops may say by number 0 that the function is to leave, call sites are numbered from 1.
        """
        first = 1 if (self._entered[function] or has_two_bodies) and not _bias(plan) else 0
        constructs = plan.constructs
        return lay_out(body, constructs.reached, constructs.regions, plan.sites.landings, first, groups)

    def _subject(
        self,
        function: int,
        body: Body,
        plan: Plan,
        late_calls: set[int],
        layout: Layout,
        frame: Frame,
        pads: Pads,
    ) -> Subject:
        additions = self._additions
        if self._options.optimize != "size":
            frame.cut(self._runtime.pointer_size)
        if self._runtime.shares_release:
            frame.popped = []
        return Subject(
            self._module,
            function,
            body,
            plan,
            late_calls,
            layout.numbers,
            frame,
            pads,
            self._runtime,
            additions.types,
            additions.import_thunks,
            self._options.optimize == "size",
            function not in self._frameless,
        )

    def write(self, prepared: Prepared) -> bytes:
        """Return the new body of a function, without size field; a resume body is added to the module."""
        subject = prepared.subject
        function = subject.function
        if prepared.handoff is not None and prepared.normal is not None:
            code = self._write_two(prepared, prepared.handoff, prepared.normal)
        else:
            code = Rewriter(subject, prepared.layout, prepared.arms).run(self._entered[function])
        self._check_size(function, code)
        if self._additions.names.has_locals:
            for local, name in subject.frame.new_names():
                self._additions.new_names.add_inner(LOCAL_NAMES, function, local, name)
        return code

    def _check_size(self, function: int, body: bytes) -> None:
        own = function - self._module.imported_functions
        start = self._module.body_starts[own]
        check_body(len(body), self._module.body_ends[own] - start, start)

    def _write_two(self, prepared: Prepared, handoff: Handoff, normal: Layout) -> bytes:
        """Add the resume body of a function and return its normal body."""
        subject = prepared.subject
        additions = self._additions
        params = self._module.function_type(subject.function).params
        untargeted: set[int] = set()
        resume_body = b""
        for _ in range(2):
            resume = ResumeBody(subject, prepared.layout, {})
            resume_body = resume.write(handoff, params, untargeted)
            untargeted = resume.untargeted
        if additions.shortens:
            resume_body = shorten_body(resume_body).code
        if additions.import_thunks and subject.function in additions.referring:
            resume_body = redirect_in_code(resume_body, additions.import_thunks)
        self._check_size(subject.function, resume_body)
        name = f"asyncify_resume:{additions.names.names[subject.function]}"
        index = additions.functions.add_body(name, additions.types.index_of((), (I32,)), resume_body)
        return NormalBody(subject, normal, prepared.arms).write(handoff, index, self._entered[subject.function])


def _bias(plan: Plan) -> int:
    """Return what is to be added to the numbers in a function's frames."""
    return _BIAS if len(plan.sites.calls) >= _MANY_SITES else 0
