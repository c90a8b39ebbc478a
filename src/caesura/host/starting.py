"""Instantiating a guest's module: its start function runs, and may call host functions, but cannot be suspended.

Where that may take long (`instantiation`), a thread makes the instance, while the guest's event loop runs on: Wasmtime
lets go of Python's lock. Nothing of the guest runs in that thread, since it belongs to another: the start function has
been taken from the engine (`drivable`), and is called when the thread is done. Nobody else has the guest meanwhile. Who
is cancelled waits until the thread is done, since a store must not be closed under it.

A guest whose state is restored has been started before: of it nothing is called.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from math import inf
from time import monotonic, thread_time
from typing import Any, TypeVar

import wasmtime

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.backtrace import cause_of, describe_frames, kind_of_trap
from caesura.host.connect import Connections
from caesura.host.errors import GuestTrap, note_backtrace
from caesura.host.fork_locks import inside
from caesura.host.imports import HostFunction, Suspension, give_up
from caesura.host.instance import Instance
from caesura.host.lanes import Lane, Waiter, outcome
from caesura.host.slices.thread import thread_state
from caesura.host.slices.turns import has_run
from caesura.options import NO_PREEMPT

_T = TypeVar("_T")


class _Start:
    """What stands where a call does (`native.Running`) while the module's start function runs."""

    __slots__ = ("_instance", "depth", "error", "position")

    def __init__(self, instance: Instance, outer: native.Running | None) -> None:
        self._instance = instance
        self.error: BaseException | None = None
        self.position = 0
        self.depth = outer.depth + 1 if outer is not None else 0

    def is_interrupted(self) -> bool:
        """Tell whether the guest was interrupted at all: who was before the start does not begin."""
        interruptions = self._instance.store.interruptions
        return interruptions is not None and interruptions.count != 0

    def call_import(self, number: int, values: int) -> None:
        """Run the host function of an import."""
        instance = self._instance
        function = instance.imports[number]
        assert function is not None, "Wasmtime's own functions do not come here"
        if instance.description.preempt == NO_PREEMPT:
            suspension = function.run(instance.guest, instance.objects, values)
        else:
            suspension = self._run_timed(function, values)
        if suspension is None:
            return
        coroutine, waited_for, _ = suspension
        if coroutine is not None:
            give_up(coroutine, waited_for)
        raise UsageError(
            f"host function {function.shown} has to wait, but a module's start function cannot be suspended"
        )

    def _run_timed(self, function: HostFunction, values: int) -> Suspension | None:
        """Run a host function that the engine's start function is, or calls: its time is the guest's, and a turn's."""
        instance, state = self._instance, thread_state()
        outer, spent = state.innermost, state.spent
        began, began_cpu = monotonic(), thread_time()
        try:
            return function.run(instance.guest, instance.objects, values)
        finally:
            taken = monotonic() - began
            instance.started += taken
            instance.started_cpu += thread_time() - began_cpu
            if outer is None:  # else it is among what that takes
                state.spent = spent  # what it has called of guests is among what it has taken
                time_slice = instance.store.settings.time_slice
                has_run(state, taken, inf if time_slice is None else time_slice)


def instantiate(instance: Instance, connections: Connections, *, starts: bool = True) -> wasmtime.Instance:
    """Make the instance in its store; with `starts=False` without calling the start function that hosts call.

    Raises UsageError if there can be none, and what the start function raises.
    """
    store = instance.store.wasmtime_store
    program = instance.store.program
    imports = instance.description.imports
    exported = _run(instance, lambda: program.instantiate(store, connections.items(imports, store)))
    if starts:
        _call_held_start(instance, exported)
    return exported


async def instantiate_in_thread(
    instance: Instance, connections: Connections, *, starts: bool = True
) -> wasmtime.Instance:
    """Do what `instantiate` does, while the event loop runs on. Raises the same, and CancelledError when it is over."""
    store = instance.store.wasmtime_store
    program = instance.store.program
    items = _run(instance, lambda: connections.items(instance.description.imports, store))

    start = _Start(instance, None)

    def work() -> wasmtime.Instance:
        native.thread.call = start  # what Wasmtime compiles to fill memories and tables looks for interruptions
        try:
            with inside.instantiating:
                return program.instantiate(store, items)
        finally:
            native.thread.call = None

    made = await _finished(instance, _instantiating, work)
    exported = _run(instance, made.result)
    instance.store.check_interruptions()
    if starts:
        _call_held_start(instance, exported)
    return exported


async def in_lane_of_guest(instance: Instance, lane: Lane, work: Callable[[], _T]) -> _T:
    """Let a thread do something with a guest that nobody else has; raises what that raises.

    Who is cancelled meanwhile raises CancelledError when it is over.
    """
    return (await _finished(instance, lane, work)).result()


async def _finished(instance: Instance, lane: Lane, work: Callable[[], _T]) -> asyncio.Future[_T]:
    """Let a thread do something with a guest, and return what it has come to when that is over."""
    waiter = Waiter[_T]()
    instance.store.depth += 1  # so that nobody closes the store
    lane.put(lambda: waiter.tell(*outcome(work)))
    try:
        await _end_of(waiter.future)
    finally:
        if waiter.future.done():  # else the loop has gone before, and the thread goes on
            instance.store.depth -= 1
    return waiter.future


async def _end_of(future: asyncio.Future[Any]) -> None:
    """Wait for a future, and do not cancel it: who is cancelled meanwhile raises CancelledError afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return
    future.exception()  # which nobody will look at
    try:
        raise cancelled
    finally:
        del cancelled  # it refers to this frame


def _call_held_start(instance: Instance, exported: wasmtime.Instance) -> None:
    """Call the start function where the engine does not."""
    name = instance.description.held_start
    if name:
        store = instance.store.wasmtime_store
        start = native.export_of(store, exported, name)
        assert isinstance(start, wasmtime.Func), "it was exported by `drivable`"
        _run(instance, lambda: start(store))


def _run(instance: Instance, step: Callable[[], _T]) -> _T:
    """Do a step in which the start function may run; raises what `instantiate` does."""
    store = instance.store
    thread = native.thread
    outer = thread.call
    start = _Start(instance, outer)
    thread.call = start
    try:
        return step()
    except (wasmtime.Trap, wasmtime.WasmtimeError) as failure:
        names = describe_frames(failure, instance.description)
        if start.error is not None:
            note_backtrace(start.error, names)
            raise start.error from None
        if isinstance(failure, wasmtime.Trap):
            raise GuestTrap(kind_of_trap(failure, instance.description, unwinding=False), names) from None
        if start.is_interrupted():
            raise GuestTrap(cause_of(failure), names) from None
        raise UsageError(f"the module cannot be instantiated: {store.why_no_instance(failure)}") from failure
    finally:
        thread.call = outer


_instantiating = Lane("instantiating", 1)


def _begin_anew() -> None:
    """Begin anew in a process that was forked."""
    global _instantiating
    _instantiating = Lane("instantiating", 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
