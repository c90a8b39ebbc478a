"""Instantiating a guest's module: its start function runs, and may call host functions, but cannot be suspended."""

from __future__ import annotations

from collections.abc import Callable

import wasmtime
from wasmtime._exportable import AsExtern

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.backtrace import cause_of, describe_frames, kind_of_trap
from caesura.host.errors import GuestTrap, note_backtrace
from caesura.host.imports import give_up
from caesura.host.instance import Instance

# Makes what a module imports besides functions, in a store.
MakeItems = Callable[[wasmtime.Store], list[tuple[str, str, AsExtern]]]


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
        suspension = function.run(instance.guest, instance.objects, values)
        if suspension is None:
            return
        coroutine, waited_for = suspension
        if coroutine is not None:
            give_up(coroutine, waited_for)
        raise UsageError(
            f"host function {function.name} has to wait, but a module's start function cannot be suspended"
        )


def instantiate(instance: Instance, make_items: MakeItems) -> wasmtime.Instance:
    """Make the instance in its store. Raises UsageError if there can be none, and what the start function raises."""
    store = instance.store
    thread = native.thread
    outer = thread.call
    start = _Start(instance, outer)
    thread.call = start
    try:
        return store.program.instantiate(store.wasmtime_store, make_items(store.wasmtime_store))
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
