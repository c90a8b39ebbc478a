"""One call of an export: what is done with its state (`state`) when it begins, waits, goes on and fails.

A `Call` is what a coroutine is for Python. Nothing is scheduled here: `driving` runs a call on behalf of whoever waits
for it. Nor does a call know how frames are moved or how stacks are switched: it asks its instance's parts for that, in
the one order in which everything is put back, whatever fails.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, NoReturn

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.blocking import run_to_its_end
from caesura.host.errors import ASYNCIFY_CORRUPTED, ASYNCIFY_OVERFLOW, GuestTrap
from caesura.host.exports import Export
from caesura.host.frames import Corrupted
from caesura.host.imports import COROUTINE_FUNCTION, PAUSE, HostFunction, Suspension, give_up
from caesura.host.instance import Instance
from caesura.host.interruption import arm
from caesura.host.native_stack import check_recursion
from caesura.host.slices.budget import Allowance, Budget, Exhausted, used_up_in
from caesura.host.slices.slicing import Slicing
from caesura.host.slices.stand_in import StandIn, current_task
from caesura.host.slices.thread import thread_state
from caesura.host.suspendable import AGENERATE, AWAIT, IN_STEPS, NOWAIT, START, WAITING, SuspendableCall
from caesura.host.switching import StackSwitch
from caesura.host.unwinder import Lost, Overflowed, Unwinder
from caesura.host.values import result_of
from caesura.wasm import types as t


class Call(SuspendableCall):
    """A call of an export, as `SuspendableCall` says.

    Of its `budget`, an Allowance is what other calls have left of one that they share with it.
    """

    __slots__ = (
        "_arguments",
        "_budget",
        "_buffer",
        "_buffer_address",
        "_interruptions_before",
        "_store",
        "allowance",
        "stand_in",
    )

    def __init__(
        self,
        instance: Instance,
        export: Export,
        arguments: tuple[Any, ...],
        mode: str,
        budget: Budget | Allowance | None = None,
    ) -> None:
        SuspendableCall.__init__(self, instance, export, mode)
        self._store = instance.store
        self._budget = budget
        self.allowance: Allowance | None = None  # what is left of it
        self.stand_in: StandIn | None = None  # the task that host functions of a call with an allowance see
        if budget is not None and not isinstance(budget, Allowance):
            instance.check_budget(budget)
        self._buffer = export.new_buffer()
        self._buffer_address = ctypes.addressof(self._buffer)
        self._interruptions_before = 0  # how often the guest had been interrupted when the call began
        self._arguments: list[Any] | None = None
        if export.params.has_references:  # they would not stay good until the guest is entered
            instance.objects.collect()
            self._arguments = export.params.convert(arguments, "argument", export.shown)
        else:
            export.params.write(self._buffer, 0, arguments, instance.objects, "argument", export.shown)

    def run(self) -> Any:
        """Run the call to its end; it must not suspend."""
        if self.instance.slicing is not None:
            self._begin_in_slices(self.instance.slicing)
        self._begin()
        try:
            self._check_depth()
            self._enter()
            return self.results()
        finally:
            self.instance.end(self)

    def start(self) -> None:
        """Run the guest until the call returns or is suspended. Who calls this has just looked (`Instance.check`)."""
        instance = self.instance
        self._check_depth()
        if instance.slicing is not None:
            self._begin_in_slices(instance.slicing)
        if len(instance.suspended) >= instance.most_suspended:
            raise UsageError(
                f"{instance.most_suspended} calls of the guest are suspended, as many as there may be: load it with a "
                "larger suspended_calls, or wait until one has ended"
            )
        self._begin()
        if self.export.may_suspend:
            instance.stacks.take(self, self._integers)
        self._enter()

    def resume(self) -> None:
        """Let the suspended guest go on, until the call returns or is suspended again."""
        instance = self.instance
        if instance.closed and self.failure is not None:
            self._raise_failure()
        function = self.pending
        unwinder = instance.unwinder
        slicing = instance.slicing
        assert function is not None, "only suspended calls are resumed"
        if slicing is not None:
            if slicing.paused:
                slicing.check_free(self)
            if function is PAUSE and self.failure is not None:  # no host function waits in which it could be raised
                instance.end(self)
                self._raise_failure()
        self.packed = None
        if self.failure is None and not function.results.has_references:
            try:
                self.packed = function.packed_result(self.answer)  # before anything changes: it may call the guest
            except Exception as error:
                self.failure = error
        instance.check()
        self._check_depth()
        instance.stacks.prepare_resumption(self)
        instance.suspended.pop(self, None)
        if slicing is not None:
            slicing.goes_on(self)
        self.pending = None
        self.asked = ()
        self.coroutine = None
        self.waited_for = None
        assert unwinder is not None, "only a call with an unwinder is suspended"
        if self.export.params.has_references:  # no number that was returned may pass for a reference
            ctypes.memset(self._buffer_address, 0, self.export.params.size)
        instance.moving = self
        try:
            if unwinder.prepare_resume(self):
                self.arriving = function
            self._enter(resumed=function)
        finally:
            instance.moving = None

    def give_up(self) -> None:
        """Rewind the suspended guest and let it trap where it arrives; raises what ends the call."""
        self.failure = _GivenUp()
        self.resume()

    def results(self) -> Any:
        """Return what the export returned."""
        return result_of(self.export.results.read(self._buffer, 0, self.instance.objects))

    def is_interrupted(self) -> bool:
        """Tell whether the guest was interrupted since the call began."""
        interruptions = self._store.interruptions
        return interruptions is not None and interruptions.count != self._interruptions_before

    def call_import(self, number: int, values: int) -> None:
        """Run the host function of an import, or return from it if the guest is rewinding."""
        instance = self.instance
        function = instance.imports[number]
        assert function is not None, "Wasmtime's own functions do not come here"
        arriving = self.arriving
        if arriving is not None:
            self._arrive(function, arriving, values)
            return
        instance.moving = None
        if self.unwinding:
            self.unwinding = False
            raise UsageError(f"the guest calls {function.shown} while it is being suspended: {_NOT_INSTRUMENTED}")
        if instance.blocks and self.must_block_in(function):
            self._block(function, values)
            return
        slicing = instance.slicing
        if slicing is None:
            suspension = function.run(instance.guest, instance.objects, values)
        else:
            suspension = self._run_in_slices(slicing, function, values)
            if suspension is None and slicing.paused:
                instance.check()
                slicing.check_free(self)  # the host function has begun what is paused now, and nobody drives it
        if suspension is not None:
            self._suspend(function, suspension)
        elif instance.stacks.resting.put:
            instance.stacks.resting.put.pop(self, None)  # what was allocated there is the guest's now

    def _run_in_slices(self, slicing: Slicing, function: HostFunction, values: int) -> Suspension | None:
        """Run a host function: its calls are charged to this call's budget, and its time is its own."""
        instance, allowance = self.instance, self.allowance
        stopped = None if self.may_pause else slicing.stop_clock()
        try:
            if allowance is None:
                return function.run(instance.guest, instance.objects, values)
            if function.kind != COROUTINE_FUNCTION:
                return allowance.within(function.run, instance.guest, instance.objects, values)
            stand_in = self.stand_in or self.new_stand_in()
            suspension = stand_in.run(allowance, function.run, instance.guest, instance.objects, values)
            if suspension is None:
                stand_in.has_ended()
            return suspension
        except BaseException as error:
            for used_up in used_up_in(error):
                used_up.leave(self, function.shown)
            raise
        finally:
            if stopped is not None:
                slicing.start_clock(stopped)
            else:
                slicing.look_at_clock()

    def new_stand_in(self) -> StandIn:
        """Make what stands for the task in what the coroutine functions of a call with an allowance see."""
        self.stand_in = StandIn(thread_state())
        return self.stand_in

    def let_go(self) -> None:
        """Note that no task drives the call any more: somebody gets it, or a call that awaits it, into his hands."""
        self.task = None
        if self.stand_in is not None:
            self.stand_in.let_go()

    def take(self) -> None:
        """Note that the running task drives the call from now on, if it is driven by tasks."""
        self.task = current_task() if self.mode != START else None

    def renew_budget(self, budget: Budget | None) -> None:
        """Take another budget, from now on; None keeps what is left, or none where a pause says that it is used up."""
        slicing, allowance = self.instance.slicing, self.allowance
        if budget is not None:
            self.instance.check_budget(budget)
        if allowance is not None and self.has_own_budget:
            # Where the call waits for something else, it goes on with what it has taken too much.
            if budget is not None or (self.is_paused and allowance.exhausted() is allowance):
                allowance.renew(budget)
        elif budget is not None and slicing is not None:
            self._budget = budget
            self.allowance = Allowance(budget, slicing, allowance)

    @property
    def is_paused(self) -> bool:
        """Whether the call goes on by itself, since no host function has to be called anew."""
        return self.pending is PAUSE or type(self.waited_for) is Exhausted

    @property
    def has_own_budget(self) -> bool:
        """Whether the call has a budget, besides that of the call whose host function made it."""
        return self._budget is not None

    def _begin_in_slices(self, slicing: Slicing) -> None:
        """Look whether the guest can run now, and what it may take. Raises UsageError while another call is paused."""
        if slicing.paused:
            slicing.check_free(self)
        self.allowance = slicing.allowance_of(self._budget)

    def _begin(self) -> None:
        interruptions = self._store.interruptions
        if interruptions is not None:
            self._interruptions_before = interruptions.count

    def _suspend(self, function: HostFunction, suspension: Suspension) -> None:
        """Suspend the guest until the host coroutine ends, or a yielding function's result has an answer."""
        coroutine, waited_for, arguments = suspension
        instance = self.instance
        try:
            unwinder = self.check_suspension(function, coroutine)
            if self.mode == AGENERATE:  # each step may be another task's
                self.task = None if coroutine is None else current_task()
            elif self.task is None and self.mode == AWAIT:
                self.task = current_task()
            self.pending = function
            self.asked = arguments
            self.coroutine = coroutine
            self.waited_for = waited_for
            self.answer = None
            self.failure = None
            instance.moving = self
            unwinder.start_unwind()  # at the end: nothing may run between this and the return to the guest
            self.unwinding = True
        except BaseException:
            if coroutine is not None:
                self.coroutine = None
                give_up(coroutine, waited_for)
            raise

    def _block(self, function: HostFunction, values: int) -> None:
        """Run a host function to its end while the guest's stack stays as it is."""
        instance = self.instance
        result = run_to_its_end(
            function.call(instance.guest, function.arguments(instance.objects, values)),
            lambda: instance.tell_of_blocking(self, function.shown),
        )
        function.write_result(instance.objects, values, result)

    def _arrive(self, function: HostFunction, arriving: HostFunction, values: int) -> None:
        """Return from the import at which the guest was suspended."""
        instance = self.instance
        assert instance.unwinder is not None, "only a call with an unwinder is suspended"
        self.arriving = None
        instance.unwinder.arrived()
        instance.moving = None
        if function is not arriving:
            raise UsageError(
                f"the guest was suspended in {arriving.shown} but called {function.shown} when it was resumed: "
                f"{_NOT_INSTRUMENTED}"
            )
        if self.failure is not None:
            self._raise_failure()
        if self.packed is not None:
            ctypes.memmove(values, self.packed, len(self.packed))
        else:
            function.write_result(instance.objects, values, self.answer)

    def _check_depth(self) -> None:
        """Raise RecursionError if guest code must not be entered here, before anything has changed."""
        check_recursion()
        outer = native.thread.call
        if outer is None:
            self.depth = 0
            return
        store = self._store
        if not store.depth:  # else Wasmtime goes on counting where it was entered first
            native.native_stack().check_position(outer.position, store.native_stack_size)
        self.depth = outer.depth + 1
        if self.depth > store.recursion_limit:
            raise RecursionError(
                f"a guest and host functions call each other {self.depth} deep: load it with a larger recursion_limit"
            )

    def _raise_failure(self) -> NoReturn:
        """Raise what the import is to raise, and keep no reference: an exception refers to all that it went through."""
        assert self.failure is not None
        try:
            raise self.failure
        finally:
            self.failure = None

    def _enter(self, *, resumed: HostFunction | None = None) -> None:
        """Run guest code until it returns, is suspended, or fails. `resumed` is where it was suspended before."""
        instance = self.instance
        if instance.moving is not None and instance.moving is not self:
            raise UsageError("the guest is being entered or suspended: nothing else can run in it at this moment")
        if self._arguments is not None:
            self._write_arguments(self._arguments)
        instance.moving = self
        stacks = instance.stacks
        if stacks.pointer is not None:
            stacks.before_entry(self)
        thread = native.thread
        outer = thread.call
        slicing = instance.slicing
        if slicing is not None:  # `can_wait` looks at the guard as it is for the outer call
            self.may_pause = outer is None or self.mode not in WAITING or (isinstance(outer, Call) and outer.can_wait())
        store = self._store
        guard = instance.guard
        guarded = 0 if guard is None or not store.depth else guard.begin()
        if store.interruptions is not None and self.is_interrupted():
            arm(store.context)
        self.below = outer
        thread.call = self
        store.depth += 1
        try:
            if slicing is None:
                error = native.call_function(
                    store.context,
                    self.export.address,
                    self._buffer_address,
                    self.export.slots,
                    store.trap_address,
                )
            else:
                error = self._call_in_slices(slicing, stacks, resumed)
        finally:
            store.depth -= 1
            thread.call = outer
            self.below = None
            if stacks.current != self.outer_stack:
                stacks.after_entry(self)
            if not self.unwinding:
                instance.moving = None
            if store.depth and store.interruptions is not None:
                arm(store.context)  # the outer call may be meant where this one was not
        trap = store.trap.value
        if guard is not None and (guarded or error or trap):
            guard.put_back(guarded)
        try:
            if error or trap:
                store.trap.value = None
                pending = self.pending
                waiting = "the guest" if pending is None or pending is PAUSE else pending.shown
                self._forget_suspension()
                instance.fail(self, error, trap, waiting)
            if instance.unwinder is None or not self.export.may_suspend:
                self._has_returned(stacks, outer)
            elif self._is_suspended(instance.unwinder):
                instance.suspended[self] = None
                if slicing is not None:
                    self._has_stopped_in(slicing)
                stacks.after_suspension(self)
                if instance.recorder is not None:
                    instance.recorder.after_suspension()
            else:
                self._has_returned(stacks, outer)
        finally:
            instance.moving = None

    def _call_in_slices(self, slicing: Slicing, stacks: StackSwitch, resumed: HostFunction | None) -> int | None:
        """Run guest code that pauses at the end of its time slice, if this call can be left there."""
        store = self._store
        if self.mode == NOWAIT or not self.export.may_suspend or not stacks.can_be_left(self):
            self.may_pause = False
        was_paused = resumed is PAUSE
        has_own_slice = was_paused or (resumed is not None and self.mode in IN_STEPS)
        entry = slicing.begin(self, self.allowance, has_own_slice=has_own_slice, was_paused=was_paused)
        try:
            error: int | None = native.call_function(
                store.context,
                self.export.address,
                self._buffer_address,
                self.export.slots,
                store.trap_address,
            )
        finally:
            slicing.end(entry)
        return error

    def _has_stopped_in(self, slicing: Slicing) -> None:
        """Note that the guest was suspended, in a host function or at a pause point."""
        slicing.suspensions += 1
        if self.pending is not PAUSE:
            slicing.has_stopped(self)
            return
        slicing.has_paused(self, self.allowance)
        self.answer = None
        if self.mode == AGENERATE or (self.mode == AWAIT and self.task is None):
            self.task = current_task()

    def _has_returned(self, stacks: StackSwitch, outer: object) -> None:
        if self.served is not None or self.stack or stacks.is_main(self):
            stacks.after_return(self)
        elif stacks.pointer is not None:
            running = outer if isinstance(outer, Call) and outer.instance is self.instance else None
            stacks.resting.after_others(self, running, self._integers)

    def _integers(self) -> list[int]:
        """Return the arguments that can be addresses, as the guest sees them."""
        params, written = self.export.params, self._arguments
        values = written if written is not None else params.read(self._buffer, 0, self.instance.objects)
        bits = {t.I32: 0xFFFF_FFFF, t.I64: 0xFFFF_FFFF_FFFF_FFFF}
        return [value & bits[kind] for kind, value in zip(params.types, values, strict=True) if kind in bits]

    def _write_arguments(self, arguments: list[Any]) -> None:
        """Write arguments with references among them, which are good until the guest runs next."""
        self._arguments = None
        export = self.export
        export.params.write_converted(self._buffer, 0, arguments, self.instance.objects, "argument", export.shown)

    def _is_suspended(self, unwinder: Unwinder) -> bool:
        """Tell whether the guest returned because it was suspended."""
        self.unwinding = False
        try:
            return unwinder.is_suspended(self)
        except (Lost, Overflowed, Corrupted) as failure:
            self._forget_suspension()
            self.instance.repair(self)
            if not isinstance(failure, Lost):
                kind = ASYNCIFY_OVERFLOW if isinstance(failure, Overflowed) else ASYNCIFY_CORRUPTED
                raise GuestTrap(kind, ()) from None
            raise UsageError(
                f"{self.export.shown} was to be suspended or resumed, but not all functions on its stack "
                f"took part: {_NOT_INSTRUMENTED}"
            ) from None

    def _forget_suspension(self) -> None:
        """Drop a suspension that failed on its way."""
        self.unwinding = False
        self.arriving = None
        self.pending = None
        self.asked = ()
        if self.coroutine is not None:
            give_up(self.coroutine, self.waited_for)
            self.coroutine = None


class _GivenUp(Exception):
    """What ends a call of which nobody wants to know."""


_NOT_INSTRUMENTED: Final = (
    "a function on the stack is not instrumented (because of an only-list, a remove-list, ignored indirect "
    "calls, or an import list that the module was instrumented with)"
)
