"""A guest: one instance of a module whose host functions may be coroutines.

    async def fetch(guest, url_ptr: int, url_len: int) -> int: ...

    guest = await caesura.load("app.wasm", imports={"env": {"fetch": fetch, "log": print}})
    answer = await guest.call("handle", 42)

There are four ways to call an export, told apart by who waits when the guest must: `call` (the task that
awaits it), `generate` (whoever iterates the generator), `agenerate` (both), `call_nowait` (nobody: it is an error). One
method that guesses was rejected; what it returns would depend on what the guest happens to do.

Any number of calls may be suspended in one guest, and resume in any order. A guest belongs to the thread that
loaded it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import wasmtime

from caesura.argument_kinds import check_hook, check_kind
from caesura.errors import UsageError
from caesura.host.call import Call
from caesura.host.connect import Connections
from caesura.host.description import Description
from caesura.host.driving import drive_asynchronously, drive_awaited, drive_iterated
from caesura.host.errors import GuestExit
from caesura.host.instance import Instance
from caesura.host.interruption import Interruptions
from caesura.host.linking import (
    Origin,
    instrumented_module,
)
from caesura.host.memory import GuestMemory
from caesura.host.pending import PendingCall, step
from caesura.host.program import LinkedProgram
from caesura.host.references import FunctionReference
from caesura.host.saving.capture import capture, check_savable
from caesura.host.saving.putting_back import SavedGuest, set_up_again
from caesura.host.saving.references import SaveObject
from caesura.host.settings import GuestSettings
from caesura.host.setup import set_up
from caesura.host.slices.budget import Allowance, Budget
from caesura.host.slices.stand_in import current_task
from caesura.host.slices.usage import Usage
from caesura.host.state import CallState
from caesura.host.store import GuestStore
from caesura.host.suspendable import AGENERATE, AWAIT, GENERATE, NOWAIT, START
from caesura.host.uncopied import Uncopied
from caesura.host.using import usage_of
from caesura.host.warning import warn
from caesura.host.wasi.wasi import Wasi
from caesura.wasm.types import type_name

if TYPE_CHECKING:
    from caesura.host.snapshot import Snapshot
    from caesura.inspection.backtrace import Frame

_START: Final = "_start"


class World(NamedTuple):
    """What surrounds one guest: its imports, what a WASI program sees, its settings, what can stop it, and its budget
    until it has begun.
    """

    connections: Connections
    wasi: Wasi | None
    settings: GuestSettings
    interruptions: Interruptions | None = None
    budget: Budget | None = None


class Guest(Uncopied):
    """An instance of a module. Made by `load`; `async with` closes it.

    It is there before its module is instantiated, since the start function's host functions get it.
    """

    _what = "a caesura guest"
    _instead_of_copy = "load another one (a compiled program is shared anyway)"
    _instead_of_pickle = "it runs in this process; load one where it is needed"

    def __init__(self, program: LinkedProgram, world: World, origin: Origin) -> None:
        description = program.description
        functions = world.connections.host_functions(description.imports, description.unsuspended, program.forwards)
        configuration = world.wasi.configuration() if world.wasi is not None else None
        store = GuestStore(program, world.settings, configuration, world.interruptions)
        self._instance = Instance(store, self, functions)
        self._instance.backtrace_of = partial(_backtrace_of, origin)
        self._instance.entries_of = partial(_entries_of, origin, description)
        self._origin = origin
        self._wasi: Wasi | None = None

    def _begin(self, exported: wasmtime.Instance, wasi: Wasi | None, saved: SavedGuest | None = None) -> None:
        """Take what Wasmtime has made of the module. Raises what `set_up` and `set_up_again` do, and UsageError for a
        used `wasi`.
        """
        if saved is None:
            set_up(self._instance, exported)
            if self._instance.slicing is not None:
                self._instance.slicing.has_started(self._instance.started)
        else:
            set_up_again(self._instance, exported, saved)
        if wasi is None:
            return
        if saved is None or saved.state.wasi is None:
            wasi.attach(self._instance)
        else:
            wasi.attach_again(self._instance, saved.state.wasi, saved.state.calls, saved.on_missing)
        self._wasi = wasi

    async def call(self, name: str, *arguments: Any, budget: Budget | None = None) -> Any:
        """Call an export; while a host coroutine waits the guest is suspended, and other tasks run.

        Returns None, the result, or a tuple of results; where a host function has no body (`EXTERNAL`), a PendingCall,
        and `await` of its `aresume` goes on. With a `budget`, a call that has used it up is suspended, and
        BudgetExhausted says so. Raises what a host function raises, GuestTrap, GuestExit, and UsageError for what does
        not fit: names, arguments, results of host functions, the thread.
        """
        instance = self._instance
        instance.check()
        return await drive_awaited(Call(instance, instance.export(name), arguments, AWAIT, budget))

    async def _call_within(self, allowance: Allowance | None, name: str, arguments: Sequence[Any] = ()) -> Any:
        """Call an export within what is left of a budget that it shares with other calls."""
        instance = self._instance
        instance.check()
        return await drive_awaited(Call(instance, instance.export(name), tuple(arguments), AWAIT, allowance))

    def call_nowait(self, name: str, *arguments: Any) -> Any:
        """Call an export that does not have to wait: it is an error if a host coroutine does.

        Returns and raises what `call` does.
        """
        instance = self._instance
        instance.check()
        return Call(instance, instance.export(name), arguments, NOWAIT).run()

    def generate(self, name: str, *arguments: Any, budget: Budget | None = None) -> Generator[Any, Any, Any]:
        """Call an export as a generator: it yields at host functions marked with `yielding`.

        What is sent into it is what the host function returns to the guest; what is thrown into it is raised
        there. The export's results are the generator's return value. Any thread may iterate it: in others than the
        guest's own, the guest's event loop runs each step. Raises what `call` does. A call that has used its `budget`
        up ends the generator with BudgetExhausted, and goes on as one that `start` began.
        """
        instance = self._instance
        instance.check()
        return drive_iterated(Call(instance, instance.export(name), arguments, GENERATE, budget))

    def agenerate(self, name: str, *arguments: Any, budget: Budget | None = None) -> AsyncGenerator[Any, Any]:
        """Call an export as an asynchronous generator: it yields at host functions marked with `yielding`, and waits
        where coroutine functions do.

        What is sent and thrown into it goes where `generate` says. What the export returns is dropped, since
        asynchronous generators have no return value. Raises what `call` does. A call that has used its `budget` up
        ends the generator with BudgetExhausted: `await` of its `aresume` goes on, to the next yield or the end.
        """
        instance = self._instance
        instance.check()
        return drive_asynchronously(Call(instance, instance.export(name), arguments, AGENERATE, budget))

    def start(self, name: str, *arguments: Any, budget: Budget | None = None) -> Any:
        """Call an export in steps, without an event loop: where a host function has no body (`EXTERNAL`), or yields,
        the guest is suspended, and this returns a PendingCall. Its `resume` returns the next one, or what the export
        returns. So it is at the end of a time slice.

        Raises what `call` does; a coroutine function among the host functions must not have to wait.
        """
        instance = self._instance
        instance.check()
        call = Call(instance, instance.export(name), arguments, START, budget)
        return step(call, call.start)

    async def run(self, *, budget: Budget | None = None) -> int:
        """Run the guest's program (a WASI command) and return its exit code, 0 to 2**32 - 1.

        A guest that was restored in the middle of it goes on there; so it does in the middle of its start function. A
        program that has used its `budget` up is suspended, and BudgetExhausted says so.
        """
        beginning = self._instance.description.beginning()
        held = [call for call in self.pending if call.export in (_START, *beginning) and call.is_held]
        try:
            if not held:
                step = await self.call(_START, budget=budget)
            else:
                step = await self._go_on(held[0], budget, lambda: (_START, []))
        except GuestExit as end:
            return end.code
        if isinstance(step, PendingCall):
            raise UsageError(
                f"the program waits in {step.function}, which has no body: answer with the `aresume` of the call in "
                "guest.pending, or use guest.start('_start')"
            )
        return 0

    async def _begin_within(self, allowance: Allowance | None, *, after: str = "") -> None:
        """Call what begins a guest, from behind one of these exports on, within a budget."""
        names = self._instance.description.beginning()
        for name in names[names.index(after) + 1 if after else 0 :]:
            await self._call_within(allowance, name)

    async def _go_on(
        self, call: PendingCall, budget: Budget | None, program: Callable[[], tuple[str, Sequence[Any]]]
    ) -> Any:
        """Let a call go on that was restored; if the guest was just beginning, let it begin and call its program, whose
        name and arguments are asked for then, within the same budget.
        """
        step = await call.within(budget)
        if isinstance(step, PendingCall) or call.export not in self._instance.description.beginning():
            return step
        allowance = call._call.allowance
        await self._begin_within(allowance, after=call.export)
        return await self._call_within(allowance, *program())

    def _allowance(self, budget: Budget | None) -> Allowance | None:
        """Return what calls may take that share a budget, less what the start function has taken of it already."""
        if budget is None:
            return None
        instance = self._instance
        instance.check_budget(budget)
        assert instance.slicing is not None, "else no budget can be kept"
        allowance = Allowance(budget, instance.slicing, None)
        allowance.charge_cpu(instance.started_cpu)
        return allowance

    @property
    def memory(self) -> GuestMemory:
        """The guest's memory."""
        memory = self._instance.memory
        if memory is None:
            self._instance.check()
            raise UsageError("the guest has no memory")
        return memory

    @property
    def usage(self) -> Usage:
        """What the guest has taken so far. Raises UsageError for a guest that has no pause points."""
        return usage_of(self._instance)

    @property
    def exports(self) -> tuple[str, ...]:
        """The names of the exported functions."""
        return self._instance.description.public_functions

    def parameters(self, name: str) -> tuple[str, ...]:
        """Return the types of an export's parameters, as in the text format."""
        return tuple(type_name(kind) for kind in self._instance.export(name).params.types)

    def function(self, name: str) -> FunctionReference:
        """Return a reference to an exported function, to be given to the guest where it wants a funcref."""
        instance = self._instance
        instance.check()
        return instance.function_reference(name)

    @property
    def suspended(self) -> int:
        """How many calls are suspended."""
        self._instance.end_abandoned()
        return len(self._instance.suspended)

    @property
    def pending(self) -> list[PendingCall]:
        """The calls that are suspended, in the order in which they were."""
        self._instance.check()
        return [PendingCall(call) for call in self._instance.suspended if isinstance(call, Call)]

    def snapshot(
        self, *, base: Snapshot | None = None, embed: bool = False, save_object: SaveObject | None = None
    ) -> Snapshot:
        """Return everything that the guest is, as data, while it waits; it goes on undisturbed.

        With `base`, an earlier snapshot, its bytes are what has changed since, and need that to be read. With `embed`,
        the instrumented module goes along, so that no other version of caesura instruments it otherwise; that takes as
        long as instrumenting it. `save_object` turns the Python objects that the guest holds references to into bytes.

        Raises UsageError while the guest's code is running, SnapshotError for what cannot be saved: memories that are
        shared with other threads, functions of others in tables, references of types that Python cannot hold, open
        files that have no name any more.
        """
        from caesura.host.snapshot import Snapshot  # which makes guests

        check_savable(self._instance)
        wasi = self._wasi.saved() if self._wasi is not None else None
        waited = self._wasi.waited if self._wasi is not None else None
        check_kind("base", base, Snapshot, NoneType)
        check_kind("embed", embed, bool)
        check_hook("save_object", save_object)
        before = None if base is None else base.state
        state, changes = capture(
            self._instance, path=self._origin.path, wasi=wasi, waited=waited, before=before, save_object=save_object
        )
        if embed:
            state = replace(state, embedded=instrumented_module(self._origin, self._instance.program))
        return Snapshot(state, base=base, changes=changes, module=self._origin.source)

    def interrupt(self) -> None:
        """Make guest code that is running trap with the kind "interrupted"; may be called from any thread.

        Only a guest that was loaded with `interruptible=True` can be interrupted. A call that is suspended traps
        when it is resumed. Calls that begin later are not concerned, and other guests neither.
        """
        interruptions = self._instance.store.interruptions
        if interruptions is None:
            raise UsageError("only a guest that was loaded with interruptible=True can be interrupted")
        interruptions.interrupt()

    def close(self) -> None:
        """Close the guest: suspended calls are abandoned, and the tasks that await them cancelled.

        Its memory is free at once; if a host function of the guest itself closes it, when that has returned.
        """
        if not self._instance.closed:
            self._instance.check()
            self._end()

    def _end(self) -> None:
        instance = self._instance
        if instance.closed:
            return
        tasks = {call.task for call in instance.suspended if call.task is not None}
        tasks = {task for task in tasks if not task.get_loop().is_closed()}
        instance.closed = True
        if self._wasi is not None:
            self._wasi.detach()
        # Host functions below a call that somebody has in his hands are no task's, which would end them.
        for call in [call for call in instance.suspended if call.is_held and call.coroutine is not None]:
            try:
                instance.end(call)
            except Exception as error:  # the guest is closed all the same
                warn(
                    f"the guest was closed, and a host function below its call of {call.export.shown} did not end: it "
                    f"fails, or awaits something, while it is ended ({error!r:.200})",
                    RuntimeWarning,
                )
        instance.release_if_unused()
        for task in tasks:
            task.cancel("the guest was closed")

    async def aclose(self) -> None:
        """Close the guest, and wait until the calls that were suspended have ended; those of other event loops end when
        these run.
        """
        own, loop = current_task(), asyncio._get_running_loop()
        tasks = {call.task for call in self._instance.suspended if call.task is not None and call.task is not own}
        tasks = {task for task in tasks if task.get_loop() is loop}
        self.close()
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Guest:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _entries_of(origin: Origin, description: Description, functions: Sequence[int]) -> dict[int, str]:
    from caesura.host.original import entries_of  # with the transformation, as below

    return entries_of(origin, description, functions)


def _backtrace_of(origin: Origin, call: CallState) -> list[Frame]:
    from caesura.host.backtraces import backtrace_of  # with the transformation, which other guests do without

    return backtrace_of(origin, call)
