"""Gives all functions of a module their new bodies: those that may suspend, and those that only get checks.

In small modules all functions are planned first, since how frames are moved depends on all of them; in large ones each
is written as soon as it is planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from caesura.analysis.guarded import LEFT_OUT
from caesura.analysis.limits import check_body
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.abi.foreign_handlers import ForeignHandlers
from caesura.instrument.abi.guard import CLEARING
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.kept_branches import KeptBranches
from caesura.instrument.abi.metadata import BRANCH_HINTS
from caesura.instrument.abi.pauses import may_pause
from caesura.instrument.abi.tail_dispatch import TailDispatch
from caesura.instrument.adding import Abi, Added
from caesura.instrument.facts import Facts
from caesura.instrument.frame_layouts import FrameLayouts
from caesura.instrument.frames.moving import MOVED_INLINE, Moves, move_in_chunks
from caesura.instrument.frames.pieces import SHARED, choose_moves
from caesura.instrument.given import Given
from caesura.instrument.planned_function import FunctionPlanner, PlannedFunction
from caesura.instrument.refusals import Refusals
from caesura.instrument.write.asserts import Asserter
from caesura.instrument.write.bodies import BodyWriter
from caesura.instrument.write.guarded_calls import GuardedCalls
from caesura.instrument.write.output import Output
from caesura.options import Options
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.moved import Moved

# Told the step, how many functions are done, and how many there are.
Progress = Callable[[str, int, int], None]

# Functions between two reports of progress.
_STRIDE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """`bodies` has the new body of every own function, without size field, empty where it stays as it is; `sites` at
    how many call sites each can be suspended, `saved` how many values its frame holds, and `merges` how many locals are
    live at its landing points; `other_bodies` has the bytes of the second body and the copy that were added for it.
    `helpers` are those that move the frames, `branches` says where
    conditional branches are in new bodies, and `moved`, by own index, where all instructions are in those that are as
    they were but for other functions that they call. `layouts` is the section that tells what frames hold, if it was
    asked for.
    """

    bodies: list[bytes]
    sites: list[int]
    saved: list[int]
    merges: list[int]
    other_bodies: list[int]
    helpers: FrameHelpers
    branches: KeptBranches
    moved: dict[int, Moved]
    layouts: bytes | None


class FunctionRewriter:
    """Rewrites the functions of a module, one after the other."""

    def __init__(
        self, given: Given, facts: Facts, options: Options, added: Added, abi: Abi, planner: FunctionPlanner
    ) -> None:
        self._given = given
        self._facts = facts
        self._options = options
        self._added = added
        self._abi = abi
        self._planner = planner
        self._is_for_size = options.optimize == "size"
        self._refusals = Refusals(given, facts.catches)
        has_hints = given.module.custom_section(BRANCH_HINTS) is not None
        self._branches = KeptBranches(set(facts.catches.functions), are_wanted=has_hints)
        self._guarded_calls: GuardedCalls | None = None
        if abi.guard is not None and facts.guarded is not None:
            self._guarded_calls = GuardedCalls(
                given.module,
                facts.graph,
                facts.guarded,
                abi.guard,
                keeps_padding=options.keep_padding,
                no_multivalue=options.no_multivalue,
            )
            if not self._is_for_size and not options.asserts:
                self._guarded_calls.add_copies(added.functions, given.names.names)
        self._moved: dict[int, Moved] = {}
        self._asserter = Asserter(
            given.module,
            abi.helpers.runtime,
            added.functions,
            given.names,
            facts.roles.suspension,
            given.renumbered.shift,
        )

    def run(self, moves: int, progress: Progress | None, *, shortens: bool) -> Rewritten:
        """Return the new bodies; raises UnsupportedModule, for all functions that are refused, and MalformedModule.

        `moves` says how frames are moved (see `frames.pieces`), `progress` is called now and then; `shortens`
        says that padded numbers become short in bodies that are added.
        """
        owns = self._given.module.own_functions()
        count = len(owns)
        planned: list[PlannedFunction | None] = []
        moves_of: dict[FunctionIndex, Moves] = {}
        helpers = self._abi.helpers
        if moves != SHARED:
            planned = [self._plan(own) for own in owns]
            moves_of, helpers = self._choose_moves(planned, moves)
        roles = self._facts.roles
        tail_dispatch = TailDispatch(
            self._given.module, helpers, self._added.dummies, roles.identified, roles.tail_calls, self._abi.recording
        )
        layouts = FrameLayouts(self._given, self._facts, tail_dispatch) if self._options.frame_layouts else None
        writer = self._writer(helpers, tail_dispatch, shortens=shortens)
        bodies: list[bytes] = []
        sites: list[int] = []
        saved: list[int] = []
        merges: list[int] = []
        for own in owns:
            if progress is not None and own % _STRIDE == 0:
                progress("instrumenting", own, count)
            one = planned[own] if planned else self._plan(own)
            sites.append(self._sites(own, one))
            saved.append(0 if one is None else len(one.frame.values))
            merges.append(0 if one is None else one.merges)
            if layouts is not None:
                self._note_layout(own, one, layouts)
            try:
                if one is not None:
                    body = writer.write(one, self._moves(one, moves_of))
                elif self._leaves(own):
                    function = self._given.module.function_of(own)
                    body = writer.write_leaving(function, self._facts.decoder.take(function))
                elif self._given.module.function_of(own) in self._facts.catches.functions:
                    function = self._given.module.function_of(own)
                    body = writer.write_other_calls(function, self._facts.decoder.take(function))
                else:
                    body = self._checked(own)
                bodies.append(body if self._guarded_calls is None else self._guard(own, body, self._guarded_calls))
            except UnsupportedModule as error:
                self._refusals.add(own, error)
            except (MalformedModule, IndexError, KeyError) as error:
                raise self._refusals.located(own, error) from None
        if progress is not None:
            progress("instrumenting", count, count)
        self._refusals.check()
        copies: dict[FunctionIndex, int] = {}
        if self._guarded_calls is not None:
            copies = self._guarded_calls.write_copies(self._added.functions, shortens=shortens)
        functions = [self._given.module.function_of(own) for own in owns]
        payload: bytes | None = None
        if layouts is not None:
            if self._abi.guard is not None:
                for entered, called in self._abi.guard.entered():
                    layouts.add_entered(entered, called)
            payload = layouts.payload(self._abi, self._options)
        return Rewritten(
            bodies=bodies,
            sites=sites,
            saved=saved,
            merges=merges,
            other_bodies=[writer.second_bodies.get(one, 0) + copies.get(one, 0) for one in functions],
            helpers=helpers,
            branches=self._branches,
            moved=self._moved,
            layouts=payload,
        )

    def _plan(self, own: OwnFunction) -> PlannedFunction | None:
        """Find out what the new body of a function needs; None where the function stays as it is, or is refused."""
        function = self._given.module.function_of(own)
        roles = self._facts.roles
        if function in roles.wrappers or not roles.suspension.instrumented[function]:
            return None
        try:
            return self._planner.plan(function)
        except UnsupportedModule as error:
            self._refusals.add(own, error)
            return None
        except (MalformedModule, IndexError, KeyError) as error:
            raise self._refusals.located(own, error) from None

    def _note_layout(self, own: OwnFunction, planned: PlannedFunction | None, layouts: FrameLayouts) -> None:
        """Note what a function's frames hold."""
        function = self._given.module.function_of(own)
        if planned is not None:
            layouts.add(planned)
        elif function in self._facts.roles.wrappers:
            layouts.add_wrapper(function, self._facts.roles.wrappers[function])
        elif self._facts.guarded is not None and function in self._facts.guarded.passing:
            layouts.add_wrapper(function, self._facts.graph.callees[own][0])
        elif self._leaves(own):
            layouts.add_leaving(function)

    def _sites(self, own: OwnFunction, planned: PlannedFunction | None) -> int:
        if planned is not None:
            return len(planned.plan.sites.calls)
        if self._leaves(own):
            return len(self._facts.decoder.look_at(self._given.module.function_of(own)).tail_calls)
        return 1 if self._given.module.function_of(own) in self._facts.roles.wrappers else 0

    def _leaves(self, own: OwnFunction) -> bool:
        """Tell whether a function that has no plan is rewritten so that it leaves for what took its place."""
        function = self._given.module.function_of(own)
        return function in self._facts.roles.tail_calls.leaving and function not in self._facts.roles.wrappers

    def _choose_moves(
        self, planned: list[PlannedFunction | None], moves: int
    ) -> tuple[dict[FunctionIndex, Moves], FrameHelpers]:
        """Return how functions move their frames, by function index, and the helpers that do."""
        framed = [one for one in planned if one is not None and one.frame.is_saved]
        chosen, helpers = choose_moves(
            [one.frame for one in framed],
            [one.calls_itself() for one in framed],
            self._abi.helpers,
            moves,
            is_for_size=self._is_for_size,
            no_multivalue=self._options.no_multivalue,
        )
        return {framed[place].function: chosen[place] for place in range(len(framed))}, helpers

    def _moves(self, planned: PlannedFunction, moves_of: dict[FunctionIndex, Moves]) -> Moves:
        if not planned.frame.is_saved:
            return MOVED_INLINE
        if planned.function in moves_of:
            return moves_of[planned.function]
        return move_in_chunks(planned.frame.shape, self._abi.helpers, is_for_size=self._is_for_size)

    def _writer(self, helpers: FrameHelpers, tail_dispatch: TailDispatch, *, shortens: bool) -> BodyWriter:
        module = self._given.module
        roles = self._facts.roles
        output = Output(
            module=self._facts.catches.module,
            functions=self._added.functions,
            dummies=self._added.dummies,
            helpers=helpers,
            tail_dispatch=tail_dispatch,
            import_thunks=self._abi.import_thunks,
            foreign_handlers=ForeignHandlers(module, helpers.stack, self._abi.import_thunks),
            branches=self._branches,
            guarded_calls=self._guarded_calls,
            references=self._abi.references,
            framing=self._given.framing,
            is_for_size=self._is_for_size,
            pause=self._given.pause,
            may_pause=may_pause(helpers.stack, thunks=self._options.thunks),
            looks_at_once=not self._options.thunks,
            recording=self._abi.recording,
        )
        referring = {module.function_of(own) for own in self._facts.graph.referring}
        names = self._added.names
        return BodyWriter(output, roles.entered, referring, self._given.names, names, shortens=shortens)

    def _guard(self, own: OwnFunction, body: bytes, guarded_calls: GuardedCalls) -> bytes:
        """Return a body, which is empty if it stays, with the calls that the guard wants; empty if it still stays."""
        module = self._given.module
        function = module.function_of(own)
        if not guarded_calls.may_concern(function):
            return body
        start = module.body_starts[own]
        try:
            redirected = guarded_calls.redirect(function, body or module.data[start : module.body_ends[own]])
        except MalformedModule as error:
            raise MalformedModule(error.reason, start) from None
        if not redirected.is_changed:
            return body
        check_body(len(redirected.code), module.body_ends[own] - start, start)
        if body:
            self._branches.move(function, redirected)
        else:
            self._moved[own] = redirected
        return redirected.code

    def _is_guarded(self, function: FunctionIndex) -> bool:
        """Tell whether the guard refuses a suspension below a function, or it passes one on as it is: then it stays as
        the guard wants it.
        """
        guard, guarded = self._abi.guard, self._facts.guarded
        if guard is None or guarded is None:
            return False
        refuses = guarded.kinds[function] == LEFT_OUT and not guard.does_nothing(CLEARING)
        return refuses or function in guarded.passing

    def _checked(self, own: OwnFunction) -> bytes:
        """Return the body of a function that has no new one, with the checks that options ask for; empty: it stays."""
        function = self._given.module.function_of(own)
        suspension = self._facts.roles.suspension
        if suspension.instrumented[function] or suspension.topmost[function] or suspension.bottommost[function]:
            return b""
        if self._options.asserts:
            return b"" if self._is_guarded(function) else self._asserter.rewrite(function)
        # By thunks it is the code behind the import that begins to unwind, and here there is none.
        checks_left_out = self._abi.helpers.runtime.guards and not self._options.thunks and self._abi.guard is None
        if checks_left_out and self._asserter.calls_suspending_import(self._facts.graph.callees[own]):
            return self._asserter.rewrite_left_out(function)
        return b""
