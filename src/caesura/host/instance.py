"""One instance of a program, and what its calls share: exports, host functions, stacks, failures.

`Guest` is what users see; this is its inside, with everything that a `Call` needs at hand. An instance
belongs to the thread that made it: Wasmtime's stores must not be used from two threads at once, and a
suspended guest's host coroutines belong to one event loop anyway.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import wasmtime
from wasmtime._exportable import AsExtern

from caesura.abi import ENTRY_PREFIX, GET_STATE, State
from caesura.errors import UsageError
from caesura.host import native
from caesura.host.abi_functions import AbiFunction
from caesura.host.backtrace import cause_of, describe_frames, kind_of_trap
from caesura.host.call import NOWAIT, Call
from caesura.host.description import NONE, THUNKS, FunctionShape
from caesura.host.driving import give_up
from caesura.host.errors import STACK_OVERFLOW, GuestTrap, note_backtrace
from caesura.host.imports import PLAIN_FUNCTION, HostFunction
from caesura.host.interruption import Interruptions, watch
from caesura.host.lifetime import watch_lifetime
from caesura.host.memory import GuestMemory
from caesura.host.native_stack import check_recursion
from caesura.host.protocol import Protocol
from caesura.host.references import FunctionReference, References
from caesura.host.settings import GuestSettings
from caesura.host.setup import make_protocol, make_switch
from caesura.host.switching import StackSwitch
from caesura.host.threads import Owner, current_loop
from caesura.host.values import SLOT, Values
from caesura.host.whole_stack import WholeStack
from caesura.kinds import check_kind
from caesura.wasm import types as t
from caesura.wasm.module import MEMORY_KIND, TABLE_KIND

if TYPE_CHECKING:
    from caesura.host.guest import Guest
    from caesura.host.program import Program

# In Wasmtime's words, what the system answers where address space is limited.
_NO_ADDRESS_SPACE: Final = "mmap failed"

# In Wasmtime's words, what a module with more than it may have of something is told.
_TOO_MANY_MEMORIES: Final = "memory count too high"
_TOO_MANY_TABLES: Final = "table count too high"

# How many exports an error names.
_MOST_NAMES: Final = 20


class Export:
    """An exported function, ready to be called; `address` is that of its entry thunk, if it has one.

    `is_import` says that it is an import that the module exports again.
    """

    def __init__(
        self, name: str, shape: FunctionShape, function: wasmtime.Func, may_suspend: bool, is_import: bool
    ) -> None:
        self.name = name
        self.is_import = is_import
        self.may_suspend = may_suspend
        self.params = Values(shape.params)
        self.results = Values(shape.results)
        unsupported = self.params.unsupported or self.results.unsupported
        if unsupported:
            raise UsageError(f"export {name} has a value of type {t.type_name(unsupported)}, which Python cannot pass")
        self.slots = max(self.params.count, self.results.count)
        self.new_buffer: Callable[[], ctypes.Array[ctypes.c_char]] = ctypes.c_char * (SLOT * max(self.slots, 1))
        self._function = function  # keeps the structure at the address alive
        self.address = ctypes.addressof(function._func)


class _Start(Call):
    """Stands for a call while the module's start function runs: that one cannot be suspended."""

    __slots__ = ()

    def __init__(self, instance: Instance, outer: native.Running | None) -> None:
        self.instance = instance
        self.error = None
        self.arriving = None
        self.unwinding = False
        self.depth = outer.depth + 1 if outer is not None else 0
        self.interruptions_before = 0

    def suspend_coroutine(self, function: HostFunction, coroutine: Any, waited_for: Any) -> None:
        give_up(coroutine, waited_for)
        self.suspend_yielding(function, None)

    def suspend_yielding(self, function: HostFunction, value: Any) -> None:
        raise UsageError(
            f"host function {function.name} has to wait, but a module's start function cannot be suspended"
        )


class Instance:
    """An instance with its store. `imports` are the host functions by number."""

    def __init__(
        self,
        program: Program,
        guest: Guest,
        imports: list[HostFunction | None],
        wasi: wasmtime.WasiConfig | None,
        make_items: Callable[[wasmtime.Store], list[tuple[str, str, AsExtern]]],
        settings: GuestSettings,
        interruptions: Interruptions | None,
    ) -> None:
        self.native_stack_size = program.settings.native_stack_size
        native.native_stack().check_size(self.native_stack_size)
        check_recursion()
        if native.thread.call is not None:
            native.native_stack().check_position(native.thread.call.position, self.native_stack_size)
        guest._instance = self  # host functions get the guest already while its start function runs
        self._is_made = False
        self.program = program
        self.recursion_limit = settings.recursion_limit
        self.description = program.description
        self.guest: Guest | None = guest  # until it is closed: they refer to each other
        self.imports = imports
        self.suspended: set[Call] = set()
        self.abandoned: deque[Call] = deque()  # by other threads
        self.depth = 0  # entries of guest code on the thread's stack
        self.moving: Call | None = None  # the call that is entering or leaving the guest: nothing else can
        self.closed = False
        self._lifetime = watch_lifetime(self)
        self.trap = ctypes.c_void_p()
        self.trap_address = ctypes.addressof(self.trap)
        self.store = wasmtime.Store(program.engine)
        self._limit(settings, wasi is not None)
        self.interruptions: Interruptions | None = None
        if program.settings.interruptible:
            self.interruptions = interruptions or Interruptions()
            self.interruptions.attach(program.engine)
            if self.interruptions.count:
                raise GuestTrap("interrupted", ())
            watch(self.store)
        if wasi is not None:
            self.store.set_wasi(wasi)
        self.context = native.address_of(self.store._context())
        self.objects = References(self.context)
        self.protocol: Protocol | None = None
        self.memory: GuestMemory | None = None
        self.owner = Owner()
        self.loop = current_loop()
        self._exports: dict[str, Export] = {}
        self.stacks = StackSwitch(None, None)
        self._whole_stack: WholeStack | None = None
        if self.description.checked:
            self._whole_stack = WholeStack(self.store, program.module, self.description)
        self._items: dict[str, AsExtern] = {}
        self._exported = self._instantiate(make_items, settings)
        if self.description.memory:
            self.memory = GuestMemory(self.context, self.memory_item(self.description.memory), self.check)
        self._is_made = True
        self.stacks = make_switch(self, settings)
        if self.description.abi != NONE and any(item and item.kind != PLAIN_FUNCTION for item in imports):
            self.protocol = make_protocol(self, settings)
            if self.description.thunks_switch:
                self.stacks.area = self.protocol.area

    def is_in_its_thread(self) -> bool:
        """Tell whether the caller is on the thread that the guest belongs to."""
        return self.owner.is_here()

    def check(self) -> None:
        """Raise if the caller is in another process or thread, or the guest is closed."""
        self.owner.check()
        if self.abandoned and not self._lifetime.over:
            self.end_abandoned()
        if self.objects.dropped:
            self.objects.let_go()
        if self.closed or self._lifetime.over:
            raise UsageError("this guest is closed")
        if not self._is_made:
            raise UsageError("this guest cannot be used yet: its start function is running")

    def end_abandoned(self) -> None:
        """End the calls that other threads let go; does nothing in those."""
        while self.abandoned and self.moving is None and self.is_in_its_thread():
            self.abandoned.popleft().end()

    def release_if_unused(self) -> None:
        """Free everything that a closed guest holds, unless its code is running: its call will do it then."""
        if not self.closed or self.depth:
            return
        self.stacks = StackSwitch(None, None)
        self.protocol = None
        self.memory = None
        self.imports = []
        self._whole_stack = None
        self._exports.clear()
        self._items = {}
        self.store.close()
        self.guest = None
        self.objects.clear()

    def export(self, name: str) -> Export:
        """Return an exported function; raises UsageError where there is none."""
        found = self._exports.get(name) if isinstance(name, str) else None
        if found is None:
            self.check()
            check_kind("the name of an export", name, str)
            shape = self.description.functions.get(name)
            if shape is None:
                known = _listed(sorted(self.description.public_functions))
                raise UsageError(f"the guest exports no function '{name}' (exported: {known})")
            has_thunk = name in self.description.entries
            item = self.item(ENTRY_PREFIX + name if has_thunk else name)
            assert isinstance(item, wasmtime.Func), "exports have the kinds that the module says"
            may_suspend = has_thunk if self.description.abi == THUNKS else self.description.abi != NONE
            is_import = shape.index < self.description.imported_functions
            found = Export(name, shape, item, may_suspend, is_import)
            self._exports[name] = found
        return found

    def function_reference(self, name: str) -> FunctionReference:
        """Return a reference to an exported function; raises UsageError where there is none."""
        self.export(name)
        item = self.item(name)
        assert isinstance(item, wasmtime.Func), "exports have the kinds that the module says"
        return self.objects.function(item)

    def item(self, name: str) -> AsExtern:
        """Return an export of any kind, looked up when it is first asked for: modules can have 100,000."""
        found = self._items.get(name)
        if found is None:
            found = native.export_of(self.store, self._exported, name)
            self._items[name] = found
        return found

    def call_now(self, name: str, *arguments: int) -> Any:
        """Call an export of the guest's own that does not suspend."""
        return Call(self, self.export(name), arguments, NOWAIT).run()

    def has(self, name: str, params: tuple[int, ...], results: tuple[int, ...]) -> bool:
        """Tell whether there is an exported function of a name and type."""
        shape = self.description.functions.get(name)
        return shape is not None and shape.params == params and shape.results == results

    # Suspended calls

    def after_suspension(self, call: Call) -> None:
        """Keep a call that was suspended."""
        self.suspended.add(call)
        self.stacks.after_suspension(call)

    def forget(self, call: Call) -> None:
        """Drop a suspended call's frames."""
        self.suspended.discard(call)
        if self.protocol is not None and self.protocol.area.owner is call:
            self.protocol.area.owner = None
        call.frames = b""

    def check_stack(self, waiting: str) -> None:
        """Raise, naming it, if a function on the stack is not instrumented."""
        if self._whole_stack is not None:
            self._whole_stack.check(waiting)

    # Failures

    def fail(self, call: Call, error: int | None, trap: int | None) -> NoReturn:
        """Make the instance usable again after a failed entry and raise what happened."""
        failure = native.trap_from(trap) if trap else native.error_from(error or 0)
        raised, call.error = call.error, None
        unwinding = self._is_unwinding()
        try:
            self.repair(call)
        except GuestTrap as broken:
            if broken.kind != STACK_OVERFLOW or not self.depth:
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
        if isinstance(failure, wasmtime.Trap):
            raise GuestTrap(kind_of_trap(failure, self.description, unwinding), names)
        raise GuestTrap(cause_of(failure), names)  # one of Wasmtime's WASI functions refuses its arguments

    def repair(self, call: Call) -> None:
        """Make the state normal and put the shadow stack pointer back, after a call that did not return.

        Raises GuestTrap if the guest will not have it.
        """
        self.stacks.repair(call)
        if self.protocol is not None:
            self.protocol.repair()

    def _is_unwinding(self) -> bool:
        name = self.description.state_changes.get(GET_STATE)
        if name is None:
            return False
        return AbiFunction(self, name).result() not in (State.NORMAL, State.REWINDING, None)

    # Making an instance

    def _limit(self, settings: GuestSettings, has_helper: bool) -> None:
        """Set what the guest may take. `has_helper`: an instance of ours comes into its store, too (`forwarding`)."""
        instances = -1 if settings.instances is None else settings.instances + has_helper
        memories = self._remaining(MEMORY_KIND, settings.most_memories, "memories", "memory_limit")
        if memories >= 0 and self.description.has_own_asyncify_memory:
            memories += 1
        self.store.set_limits(
            memory_size=-1 if settings.memory_limit is None else settings.memory_limit,
            table_elements=-1 if settings.table_limit is None else settings.table_limit,
            instances=instances,
            tables=self._remaining(TABLE_KIND, settings.most_tables, "tables", "table_limit"),
            memories=memories,
        )

    def _remaining(self, kind: int, most: int | None, name: str, limit: str) -> int:
        """Return how many memories or tables the module may define, or -1; Wasmtime does not count imported ones.

        Raises UsageError if it imports too many already.
        """
        if most is None:
            return -1
        remaining = most - sum(item.kind == kind for item in self.description.imports)
        if remaining < 0:
            raise UsageError(f"the module cannot be instantiated: {_too_many(name, most, limit)}")
        return remaining

    def _instantiate(
        self, make_items: Callable[[wasmtime.Store], list[tuple[str, str, AsExtern]]], settings: GuestSettings
    ) -> wasmtime.Instance:
        thread = native.thread
        outer = thread.call
        start = _Start(self, outer)
        thread.call = start
        try:
            return self.program.instantiate(self.store, make_items(self.store))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as failure:
            names = describe_frames(failure, self.description)
            if start.error is not None:
                note_backtrace(start.error, names)
                raise start.error from None
            if isinstance(failure, wasmtime.Trap):
                raise GuestTrap(kind_of_trap(failure, self.description, False), names) from None
            if start.is_interrupted():
                raise GuestTrap(cause_of(failure), names) from None
            raise UsageError(f"the module cannot be instantiated: {self._why(failure, settings)}") from failure
        finally:
            thread.call = outer

    def _why(self, failure: wasmtime.WasmtimeError, settings: GuestSettings) -> str:
        """Return why there can be no instance, and what to do."""
        reason = str(failure)
        if _NO_ADDRESS_SPACE in reason:
            size = self.program.settings.memory_reservation
            return (
                f"there is no address space for its memories, each of which reserves {size:,} bytes: load it with a "
                f"smaller memory_reservation, or raise the limit of the process (ulimit -v): {cause_of(failure)}"
            )
        if _TOO_MANY_MEMORIES in reason and settings.most_memories is not None:
            return _too_many("memories", settings.most_memories, "memory_limit")
        if _TOO_MANY_TABLES in reason and settings.most_tables is not None:
            return _too_many("tables", settings.most_tables, "table_limit")
        given = {
            "memory_limit": settings.memory_limit,
            "table_limit": settings.table_limit,
            "instances": settings.instances,
        }
        limits = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
        return f"{reason} ({limits})" if limits else reason

    def guest_memory(self) -> wasmtime.Memory:
        """Return the guest's own memory."""
        if not self.description.memory:
            raise UsageError("the guest has no memory")
        return self.memory_item(self.description.memory)

    def memory_item(self, name: str) -> wasmtime.Memory:
        """Return an exported memory."""
        memory = self.item(name)
        assert isinstance(memory, wasmtime.Memory), "modules with shared memories are refused"
        return memory

    def locate(self, address: int, size: int) -> int:
        """Return the host's address of a range of the guest's memory, good until the guest runs again."""
        assert self.memory is not None, "who asks has looked"
        return self.memory._locate(address, size)


def _too_many(name: str, most: int, limit: str) -> str:
    """Return why a module has too many memories or tables, and what to do."""
    return (
        f"it has more {name} of its own than it may have, {most} (1 where {limit}, which bounds each, is given without "
        f"{name}): load it with {name}=N to allow N"
    )


def _listed(names: list[str]) -> str:
    """Return names as an error shows them: never pages of them."""
    shown = ", ".join(names[:_MOST_NAMES]) or "none"
    return f"{shown}, and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown
