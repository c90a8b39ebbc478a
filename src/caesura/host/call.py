"""One call of an export, from its start over its suspensions to its end.

A `Call` is what a coroutine is for Python: it knows the frames of the suspended guest, the shadow stack that
it runs on, and the host coroutine that it waits for. Nothing is scheduled here: `driving` runs a call on behalf
of whoever waits for it.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, NoReturn

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.driving import drive_asynchronously, drive_awaited, drive_iterated, give_up
from caesura.host.errors import ASYNCIFY_CORRUPTED, ASYNCIFY_OVERFLOW, GuestTrap
from caesura.host.frames import Corrupted
from caesura.host.imports import HostFunction
from caesura.host.interruption import arm
from caesura.host.native_stack import check_recursion
from caesura.host.protocol import Lost, Overflowed
from caesura.host.values import result_of

if TYPE_CHECKING:
    from caesura.host.instance import Export, Instance
    from caesura.host.kept_arguments import KeptArguments

# How a call may suspend.
NOWAIT: Final = "call_nowait"
AWAIT: Final = "call"
GENERATE: Final = "generate"
AGENERATE: Final = "agenerate"


class Call:
    """A call of an export. `mode` is NOWAIT, AWAIT, GENERATE or AGENERATE."""

    __slots__ = (
        "_arguments",
        "_buffer",
        "_buffer_address",
        "_export",
        "_mode",
        "answer",
        "arriving",
        "coroutine",
        "depth",
        "error",
        "failure",
        "frames",
        "instance",
        "interruptions_before",
        "is_prepared",
        "kept",
        "outer_stack",
        "packed",
        "pending",
        "position",
        "resting_pointer",
        "served",
        "stack",
        "stack_pointer",
        "task",
        "unwinding",
        "waited_for",
    )

    def __init__(self, instance: Instance, export: Export, arguments: tuple[Any, ...], mode: str) -> None:
        self.instance = instance
        self._export = export
        self._mode = mode
        self._buffer = export.new_buffer()
        self._buffer_address = ctypes.addressof(self._buffer)
        self._arguments: list[Any] | None = None
        if export.params.has_references:  # they would not stay good until the guest is entered
            instance.objects.collect()
            self._arguments = export.params.convert(arguments, "argument", export.name)
        else:
            export.params.write(self._buffer, 0, arguments, instance.objects, "argument", export.name)
        # The import at which the guest is suspended, and what it waits for.
        self.pending: HostFunction | None = None
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.waited_for: Any = None
        # What the import is to return, as an object and as bytes (None: a reference is among it), or to raise when the
        # guest is resumed.
        self.answer: Any = None
        self.packed: bytes | None = None
        self.failure: BaseException | None = None
        # The import that the guest must call while it rewinds; whether it is unwinding.
        self.arriving: HostFunction | None = None
        self.unwinding = False
        # An exception of a host function on its way through the guest.
        self.error: BaseException | None = None
        # Frames, where they are not in the guest; shadow stack (0: none of its own) and where its pointer stands; where
        # it stood, and the stack in use, when the guest was entered; the suspended call whose stack this one uses.
        self.frames = b""
        self.stack = 0
        self.stack_pointer = 0
        self.resting_pointer = 0
        self.outer_stack = 0
        self.is_prepared = False
        self.kept: KeptArguments | None = None  # what may be its arguments, on the guest's own stack
        self.served: Call | None = None
        self.task: asyncio.Task[Any] | None = None
        # How many calls of guests the innermost entry is inside of, and where the native stack stands in its import.
        self.depth = 0
        self.position = 0
        # How often the guest had been interrupted when the call began.
        self.interruptions_before = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        return drive_awaited(self)

    def generate(self) -> Generator[Any, Any, Any]:
        """Run the call as a generator of what yielding host functions return."""
        return drive_iterated(self)

    def agenerate(self) -> AsyncGenerator[Any, Any]:
        """Run the call as an asynchronous generator of what yielding host functions return."""
        return drive_asynchronously(self)

    def run(self) -> Any:
        """Run the call to its end; it must not suspend."""
        self._begin()
        try:
            self._check_depth()
            self._enter()
            return self.results()
        finally:
            self.end()

    def start(self) -> None:
        """Run the guest until the call returns or is suspended."""
        self.instance.check()  # a generator starts long after it was made
        self._check_depth()
        self._begin()
        if self._export.may_suspend:
            self.instance.stacks.take(self)
        self._enter()

    def _begin(self) -> None:
        interruptions = self.instance.interruptions
        if interruptions is not None:
            self.interruptions_before = interruptions.count

    def is_interrupted(self) -> bool:
        """Tell whether the guest was interrupted since the call began."""
        interruptions = self.instance.interruptions
        return interruptions is not None and interruptions.count != self.interruptions_before

    def resume(self) -> None:
        """Let the suspended guest go on, until the call returns or is suspended again."""
        instance = self.instance
        if instance.closed and self.failure is not None:
            self._raise_failure()
        function = self.pending
        assert function is not None, "only suspended calls are resumed"
        self.packed = None
        if self.failure is None and not function.results.has_references:
            try:
                self.packed = function.packed_result(self.answer)  # before anything changes: it may call the guest
            except Exception as error:
                self.failure = error
        instance.check()
        self._check_depth()
        instance.stacks.prepare_resumption(self)
        instance.suspended.discard(self)
        self.arriving = function
        self.pending = None
        self.coroutine = None
        self.waited_for = None
        assert instance.protocol is not None, "only a call with a protocol is suspended"
        if self._export.params.has_references:  # no number that was returned may pass for a reference
            ctypes.memset(self._buffer_address, 0, self._export.params.size)
        instance.moving = self
        try:
            instance.protocol.prepare_resume(self)
            self._enter()
        finally:
            instance.moving = None

    def results(self) -> Any:
        """Return what the export returned."""
        return result_of(self._export.results.read(self._buffer, 0, self.instance.objects))

    def end(self) -> None:
        """Give back everything that the call held; a suspended one is abandoned.

        A call that is let go by another thread, or while the guest is being entered or suspended (the garbage collector
        runs anywhere), waits until that is over.
        """
        coroutine = self.coroutine
        instance = self.instance
        if instance.moving is not None or not instance.is_in_its_thread():
            instance.abandoned.append(self)
            return
        if self.pending is not None:
            self.pending = None
            instance.forget(self)
        if coroutine is not None:
            self.coroutine = None
            coroutine.close()
        instance.stacks.release(self)
        self.task = None  # which refers to its exception, and that to us
        if instance.objects.dropped:
            instance.objects.let_go()
        if instance.closed:
            instance.release_if_unused()

    def is_of_import(self) -> bool:
        """Tell whether the export is an import that the module exports again: then nothing leaves frames."""
        return self._export.is_import

    def call_import(self, number: int, values: int) -> None:
        """Run the host function of an import, or return from it if the guest is rewinding."""
        function = self.instance.imports[number]
        assert function is not None, "Wasmtime's own functions do not come here"
        arriving = self.arriving
        if arriving is not None:
            self._arrive(function, arriving, values)
            return
        self.instance.moving = None
        if self.unwinding:
            self.unwinding = False
            raise UsageError(f"the guest calls {function.name} while it is being suspended: {_NOT_INSTRUMENTED}")
        function.run(self, values)

    def suspend_coroutine(self, function: HostFunction, coroutine: Coroutine[Any, Any, Any], waited_for: Any) -> None:
        """Suspend the guest until a host coroutine, which has begun to wait, ends."""
        try:
            if self._mode not in (AWAIT, AGENERATE):
                raise UsageError(
                    f"host function {function.name} has to wait, but {self._export.name} was called with "
                    f"`{self._mode}`: use `await guest.call`, or `guest.agenerate`"
                )
            self._suspend(function, coroutine, waited_for)
        except BaseException:
            self.coroutine = None
            give_up(coroutine, waited_for)
            raise

    def suspend_yielding(self, function: HostFunction, value: Any) -> None:
        """Suspend the guest until something is sent into the generator."""
        if self._mode not in (GENERATE, AGENERATE):
            raise UsageError(
                f"host function {function.name} yields, but {self._export.name} was called with "
                f"`{self._mode}`: use `guest.generate` or `guest.agenerate`"
            )
        self._suspend(function, None, value)

    def _suspend(self, function: HostFunction, coroutine: Coroutine[Any, Any, Any] | None, waited_for: Any) -> None:
        instance = self.instance
        instance.check_stack(function.name)
        if not self._export.may_suspend or instance.protocol is None:
            raise UsageError(
                f"host function {function.name} has to wait, but the guest is not instrumented for that: "
                f"{self._export.name} cannot be suspended"
            )
        instance.stacks.check_suspension(self)
        if self._mode == AGENERATE:  # each step may be another task's
            self.task = None if coroutine is None else _current_task()
        elif self.task is None and self._mode == AWAIT:
            self.task = _current_task()
        self.pending = function
        self.coroutine = coroutine
        self.waited_for = waited_for
        self.answer = None
        self.failure = None
        instance.moving = self
        instance.protocol.suspend(self)  # at the end: nothing may run between this and the return to the guest

    def _arrive(self, function: HostFunction, arriving: HostFunction, values: int) -> None:
        protocol = self.instance.protocol
        assert protocol is not None, "only a call with a protocol is suspended"
        self.arriving = None
        protocol.arrived(self)
        self.instance.moving = None
        if function is not arriving:
            raise UsageError(
                f"the guest was suspended in {arriving.name} but called {function.name} when it was resumed: "
                f"{_NOT_INSTRUMENTED}"
            )
        if self.failure is not None:
            self._raise_failure()
        if self.packed is not None:
            ctypes.memmove(values, self.packed, len(self.packed))
        else:
            function.write_result(self, values, self.answer)

    def _check_depth(self) -> None:
        """Raise RecursionError if guest code must not be entered here, before anything has changed."""
        check_recursion()
        outer = native.thread.call
        if outer is None:
            self.depth = 0
            return
        if not self.instance.depth:  # else Wasmtime goes on counting where it was entered first
            native.native_stack().check_position(outer.position, self.instance.native_stack_size)
        self.depth = outer.depth + 1
        if self.depth > self.instance.recursion_limit:
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

    def _enter(self) -> None:
        """Run guest code until it returns, is suspended, or fails."""
        instance = self.instance
        if instance.moving is not None and instance.moving is not self:
            raise UsageError("the guest is being entered or suspended: nothing else can run in it at this moment")
        if self._arguments is not None:
            self._write_arguments(self._arguments)
        instance.moving = self
        stacks = instance.stacks
        if stacks.pointer is not None:
            stacks.before_entry(self)
        if instance.interruptions is not None and self.is_interrupted():
            arm(instance.context)
        thread = native.thread
        outer = thread.call
        thread.call = self
        instance.depth += 1
        try:
            error = native.call_function(
                instance.context,
                self._export.address,
                self._buffer_address,
                self._export.slots,
                instance.trap_address,
            )
        finally:
            instance.depth -= 1
            thread.call = outer
            if stacks.current != self.outer_stack:
                stacks.after_entry(self)
            if not self.unwinding:
                instance.moving = None
            if instance.depth and instance.interruptions is not None:
                arm(instance.context)  # the outer call may be meant where this one was not
        trap = instance.trap.value
        try:
            if error or trap:
                instance.trap.value = None
                self._forget_suspension()
                instance.fail(self, error, trap)
            if instance.protocol is None or not self._export.may_suspend:
                if self.served is not None:
                    stacks.after_return(self)
            elif self._is_suspended(instance):
                instance.after_suspension(self)
            else:
                stacks.after_return(self)
        finally:
            instance.moving = None

    def _write_arguments(self, arguments: list[Any]) -> None:
        """Write arguments with references among them, which are good until the guest runs next."""
        self._arguments = None
        export = self._export
        objects = self.instance.objects
        export.params.write_converted(self._buffer, 0, arguments, objects, "argument", export.name)

    def _is_suspended(self, instance: Instance) -> bool:
        """Tell whether the guest returned because it was suspended."""
        assert instance.protocol is not None, "who asks has looked"
        try:
            return instance.protocol.is_suspended(self)
        except (Lost, Overflowed, Corrupted) as failure:
            self._forget_suspension()
            instance.repair(self)
            if not isinstance(failure, Lost):
                kind = ASYNCIFY_OVERFLOW if isinstance(failure, Overflowed) else ASYNCIFY_CORRUPTED
                raise GuestTrap(kind, ()) from None
            raise UsageError(
                f"{self._export.name} was to be suspended or resumed, but not all functions on its stack "
                f"took part: {_NOT_INSTRUMENTED}"
            ) from None

    def _forget_suspension(self) -> None:
        """Drop a suspension that failed on its way."""
        self.unwinding = False
        self.arriving = None
        self.pending = None
        if self.coroutine is not None:
            give_up(self.coroutine, self.waited_for)
            self.coroutine = None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # another loop than asyncio's


_NOT_INSTRUMENTED: Final = (
    "a function on the stack is not instrumented (because of an only-list, a remove-list, ignored indirect "
    "calls, or an import list that the module was instrumented with)"
)
