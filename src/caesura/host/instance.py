"""One instance of a program, and what its calls share: exports, host functions, stacks, failures.

`Guest` is what users see; this is its inside, with everything that a `Call` needs at hand. An instance belongs to the
thread that made it: Wasmtime's stores must not be used from two threads at once, and a suspended guest's host
coroutines belong to one event loop anyway.

It is there before its module's start function runs, since that may call host functions, which get the guest. `setup`
then makes its parts, one after the other, and nobody changes them until it is closed: that drops them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import wasmtime
from wasmtime._exportable import AsExtern

from caesura.abi import ENTRY_PREFIX, GET_STATE, UNSUSPENDABLE, State
from caesura.argument_kinds import check_kind
from caesura.errors import UsageError, printable
from caesura.host import native
from caesura.host.abi_functions import AbiFunction
from caesura.host.backtrace import cause_of, describe_frames, kind_of_trap, refused_below
from caesura.host.description import NONE, THUNKS
from caesura.host.errors import STACK_OVERFLOW, GuestTrap, note_backtrace
from caesura.host.exports import Export
from caesura.host.guard import Guard
from caesura.host.imports import HostFunction, close
from caesura.host.lifetime import watch_lifetime
from caesura.host.memory import GuestMemory
from caesura.host.recorder import Recorder
from caesura.host.references import FunctionReference, References
from caesura.host.settings import BLOCK
from caesura.host.slices.budget import Budget, check_fuel
from caesura.host.slices.slicing import Slicing
from caesura.host.state import CallState
from caesura.host.store import GuestStore
from caesura.host.switching import StackSwitch
from caesura.host.threads import Owner, current_loop
from caesura.host.unsuspendable import EntriesOf, Unsuspendable
from caesura.host.unwinder import Unwinder
from caesura.host.warning import warn
from caesura.host.whole_stack import functions_on_stack, missing_among, of_one_entry
from caesura.options import NO_PREEMPT, PREEMPT_FUEL
from caesura.recording.place import recording_path

if TYPE_CHECKING:
    from caesura.inspection.backtrace import Frame

# What is wrong with modules of which a description says that they pause without thunks.
NO_THUNKS: Final = (
    "the module was instrumented with pause points of the plain ABI, and Python pauses those of entry thunks only: "
    "instrument it with --thunks besides --preempt, or give the original"
)

# How many exports an error names.
_MOST_NAMES: Final = 20


class Instance:
    """An instance in its store. `imports` are the host functions by number, and `guest` is what they get.

    `moving` is the call that is entering or leaving the guest: nothing else can meanwhile. `abandoned` are calls that
    could not be ended where they were let go.
    """

    def __init__(self, store: GuestStore, guest: object, imports: list[HostFunction | None]) -> None:
        self.store = store
        self.program = store.program
        self.description = store.program.description
        self.guest: object = guest  # until it is closed: they refer to each other
        self.imports = imports
        self.objects = References(store.context)
        self.owner = Owner()
        self.loop = current_loop()
        self.suspended: dict[CallState, None] = {}  # a set, in the order in which they were suspended
        self.abandoned: list[CallState] = []  # a deque takes as much memory as all of this
        self.moving: CallState | None = None
        self.closed = False
        # Seconds, and those of the processor, that host functions have taken which a start function without slices is.
        self.started = self.started_cpu = 0.0
        # What looks into a suspended call, and at the original's functions; `guest` knows how.
        self.backtrace_of: Callable[[CallState], list[Frame]] = _no_backtrace
        self.entries_of: EntriesOf = _no_entries
        self._lifetime = watch_lifetime(self)
        # The parts that `setup` makes.
        self._exported: wasmtime.Instance | None = None
        self._exports: dict[str, Export] = {}
        self._items: dict[str, AsExtern] = {}
        self.memory: GuestMemory | None = None
        self.stacks = StackSwitch(store)
        self.unwinder: Unwinder | None = None
        self.slicing: Slicing | None = None
        self.recorder: Recorder | None = None
        limit = store.settings.suspended_calls
        self.most_suspended: Final = sys.maxsize if limit is None else limit
        self.guard: Guard | None = None
        self.blocks: Final = store.settings.when_unsuspendable == BLOCK
        if self.blocks and self.description.unguarded:
            raise UsageError(
                "when_unsuspendable='block' needs a module that tells when it cannot be suspended: instrument it "
                "without no_guard"
            )
        # The host functions of which it was said that the thread waits for them.
        self.told_to_block: Final[set[str]] = set()
        self._noted: Final[set[tuple[str, ...]]] = set()  # what was missing, in recordings

    def has_begun(self, exported: wasmtime.Instance) -> None:
        """Take what was instantiated: the start function has run, and the guest can be used."""
        self._exported = exported
        if self.description.memory:
            self.memory = GuestMemory(self.store.context, self.memory_item(self.description.memory), self.check)
        if self.description.guarded:
            item = self.item(UNSUSPENDABLE)
            assert isinstance(item, wasmtime.Global), "exports have the kinds that the module says"
            self.guard = Guard(self.store.context, item)

    def can_be_called(self, unwinder: Unwinder | None, stacks: StackSwitch, slicing: Slicing | None = None) -> None:
        """Take what is needed for calls that may suspend, or pause."""
        self.unwinder = unwinder
        self.stacks = stacks
        self.slicing = slicing

    def check_budget(self, budget: Budget) -> None:
        """Raise UsageError for a budget that the guest cannot keep."""
        check_kind("budget", budget, Budget)
        if self.slicing is None:
            if self.description.pauses_without_thunks:
                raise UsageError(f"no budget can end the guest's calls: {NO_THUNKS}")
            raise UsageError(
                "the guest cannot be paused, so no budget can end its calls: load it with time_slice=SECONDS, or "
                "preempt=..."
            )
        self.slicing.check_budget(budget)

    def check_first_budget(self, budget: Budget) -> None:
        """Raise UsageError for a budget that the guest cannot keep, before anything of it runs."""
        check_kind("budget", budget, Budget)
        if self.description.preempt == NO_PREEMPT:
            self.check_budget(budget)
        check_fuel(budget, counts=self.description.preempt == PREEMPT_FUEL)

    def check(self) -> None:
        """Raise if the caller is in another process or thread, or the guest is closed."""
        if not self.owner.is_here():
            self.owner.refuse()
        if self.abandoned:
            self.end_abandoned()
        if self.objects.dropped:
            self.objects.let_go()
        if self.closed or self._lifetime.over:
            raise UsageError("this guest is closed")
        if self._exported is None:
            raise UsageError("this guest cannot be used yet: its start function is running")

    # Exports

    def export(self, name: str) -> Export:
        """Return an exported function; raises UsageError where there is none."""
        found = self._exports.get(name) if isinstance(name, str) else None
        if found is None:
            self.check()
            check_kind("the name of an export", name, str)
            shape = self.description.functions.get(name)
            if shape is None:
                known = printable(_listed(sorted(self.description.public_functions)))
                raise UsageError(f"the guest exports no function '{printable(name)}' (exported: {known})")
            has_thunk = name in self.description.entries
            found = Export(
                name,
                shape,
                self.function_item(ENTRY_PREFIX + name if has_thunk else name),
                may_suspend=has_thunk if self.description.abi == THUNKS else self.description.abi != NONE,
                is_import=shape.index < self.description.imported_functions,
            )
            self._exports[name] = found
        return found

    def function_reference(self, name: str) -> FunctionReference:
        """Return a reference to an exported function; raises UsageError where there is none."""
        self.export(name)
        return self.objects.function(self.function_item(name))

    def item(self, name: str) -> AsExtern:
        """Return an export of any kind, looked up when it is first asked for: modules can have 100,000."""
        found = self._items.get(name)
        if found is None:
            found = self._items[name] = self.item_for_now(name)
        return found

    def item_for_now(self, name: str) -> AsExtern:
        """Return an export that is not needed again: nothing of it is kept."""
        assert self._exported is not None, "nothing is asked for before the guest has begun"
        return native.export_of(self.store.wasmtime_store, self._exported, name)

    def function_item(self, name: str) -> wasmtime.Func:
        """Return an exported function, as Wasmtime has it."""
        item = self.item(name)
        assert isinstance(item, wasmtime.Func), "exports have the kinds that the module says"
        return item

    def memory_item(self, name: str) -> native.Memory:
        """Return an exported memory."""
        memory = self.item(name)
        assert isinstance(memory, native.Memory), "exports have the kinds that the module says"
        return memory

    def guest_memory(self) -> native.Memory:
        """Return the guest's own memory."""
        if not self.description.memory:
            raise UsageError("the guest has no memory")
        return self.memory_item(self.description.memory)

    def has(self, name: str, params: tuple[int, ...], results: tuple[int, ...]) -> bool:
        """Tell whether there is an exported function of a name and type."""
        shape = self.description.functions.get(name)
        return shape is not None and shape.params == params and shape.results == results

    # The ends of calls and of the guest

    def end(self, call: CallState) -> None:
        """Give back everything that a call held; a suspended one is abandoned.

        A call that is let go by another thread, or while the guest is being entered or suspended (the garbage collector
        runs anywhere), waits until that is over.
        """
        coroutine = call.coroutine
        if self.moving is not None or not self.owner.is_here():
            self.abandoned.append(call)
            return
        if call.pending is not None and self.description.forgets_by_rewinding and not self.closed:
            with contextlib.suppress(Exception):  # nobody is left to see it
                call.give_up()
        if call.pending is not None:
            call.pending = None
            call.asked = ()
            self.suspended.pop(call, None)
            if self.unwinder is not None:
                self.unwinder.abandon(call)
            call.frames = b""
        if coroutine is not None:
            call.coroutine = None
            close(coroutine)
        self.stacks.release(call)
        if self.slicing is not None:
            self.slicing.has_stopped(call)
        call.task = None  # which refers to its exception, and that to the call
        if self.objects.dropped:
            self.objects.let_go()
        if self.closed:
            self.release_if_unused()

    def end_abandoned(self) -> None:
        """End the calls that other threads let go; does nothing in those."""
        while self.abandoned and self.moving is None and self.owner.is_here() and not self._lifetime.over:
            self.end(self.abandoned.pop(0))

    def release_if_unused(self) -> None:
        """Free everything that a closed guest holds, unless its code is running: its call will do it then."""
        if not self.closed or self.store.depth:
            return
        self._lifetime.has_ended()
        if self.recorder is not None:
            self.recorder.end()
        self.recorder = None
        self.stacks = StackSwitch(self.store)
        self.unwinder = None
        if self.slicing is not None:
            self.slicing.close()
        self.slicing = None
        self.memory = None
        self.imports = []
        self.guard = None
        self._exports.clear()
        self._items = {}
        self.store.wasmtime_store.close()
        self.guest = None
        self.objects.clear()

    # Failures

    def tell_of_blocking(self, call: CallState, waiting: str) -> None:
        """Warn, once for each host function, that the thread waits for it; what is missing is noted in a recording."""
        is_told = waiting in self.told_to_block
        if is_told and recording_path() is None:
            return
        found = self.find_missing(call, waiting)
        if not is_told:
            self.told_to_block.add(waiting)
            warn(f"the thread waits (when_unsuspendable='block'): host function {found.describe()}", RuntimeWarning)

    def find_missing(self, call: CallState, waiting: str) -> Unsuspendable:
        """Return what keeps a running call from being suspended in a host function, and note it."""
        description = self.description
        functions = functions_on_stack(self.store.wasmtime_store, self.program.module, description.imported_functions)
        name = call.export.name
        entered = description.entries[name] if name in description.entries else description.functions[name].index
        stack = functions if self.store.depth == 1 else of_one_entry(functions, entered, description)
        found = Unsuspendable(waiting, stack, missing_among(stack, description), description, self.entries_of)
        self._note(found)
        return found

    def _note(self, found: Unsuspendable) -> None:
        """Note what is missing in a recording, once."""
        if tuple(found.entries) not in self._noted:
            self._noted.add(tuple(found.entries))
            found.note()

    def fail(self, call: CallState, error: int | None, trap: int | None, waiting: str) -> NoReturn:
        """Make the instance usable again after a failed entry and raise what happened.

        `waiting` is what the guest was to be suspended for, in words.
        """
        failure = native.trap_from(trap) if trap else native.error_from(error or 0)
        raised, call.error = call.error, None
        unwinding = self._is_unwinding()
        try:
            self.repair(call)
        except GuestTrap as broken:
            if broken.kind != STACK_OVERFLOW or not self.store.depth:
                raise broken from raised
            # The call began where there was no room even for that, so it has changed nothing.
        names = describe_frames(failure, self.description)
        if raised is not None:
            if isinstance(raised, GuestTrap) and not raised.backtrace:
                raise GuestTrap(raised.kind, names)  # what a host function refused is where the guest called it
            note_backtrace(raised, names)
            try:
                raise raised
            finally:
                del raised  # or the exception would refer to itself, and to the guest, until the garbage collector runs
        refused = refused_below(failure, self.description)
        if refused is not None:
            refusal = self._refusal(waiting, refused[0], is_cut_off=refused[1])
            note_backtrace(refusal, names)
            raise refusal
        if isinstance(failure, wasmtime.Trap):
            raise GuestTrap(kind_of_trap(failure, self.description, unwinding=unwinding), names)
        raise GuestTrap(cause_of(failure), names)  # one of Wasmtime's WASI functions refuses its arguments

    def _refusal(self, waiting: str, stack: list[int], *, is_cut_off: bool) -> UsageError:
        """Return the error for a guest that has refused to be suspended, by itself or on its way, below functions on a
        stack.
        """
        description = self.description
        missing = missing_among(stack, description)
        found = Unsuspendable(waiting, stack, missing, description, self.entries_of, is_cut_off=is_cut_off)
        self._note(found)
        return UsageError(found.describe())

    def repair(self, call: CallState) -> None:
        """Make the state normal and put the shadow stack pointer back, after a call that did not return.

        Raises GuestTrap if the guest will not have it.
        """
        self.stacks.repair(call)
        if self.unwinder is not None:
            self.unwinder.repair()

    def abi_function(self, name: str, argument: int = 0, *, slots: int = 1) -> AbiFunction:
        """Return one of the ABI's functions, with its argument if it takes one, or with room for more."""
        return AbiFunction(self.store, name, self.function_item(name), argument, slots=slots)

    def _is_unwinding(self) -> bool:
        name = self.description.state_changes.get(GET_STATE)
        return name is not None and self.abi_function(name).result() not in (State.NORMAL, State.REWINDING, None)

    def locate(self, address: int, size: int) -> int:
        """Return the host's address of a range of the guest's memory, good until the guest runs again."""
        assert self.memory is not None, "who asks has looked"
        return self.memory._locate(address, size)


def _listed(names: list[str]) -> str:
    """Return names as an error shows them: never pages of them."""
    shown = ", ".join(names[:_MOST_NAMES]) or "none"
    return f"{shown}, and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown


def _no_entries(_: Sequence[int]) -> dict[int, str]:
    return {}


def _no_backtrace(_: CallState) -> list[Frame]:
    return []
