"""The suspended calls of a guest as records, and back.

A call that was put back is in nobody's hands: `PendingCall` drives it. Its export's arguments are zeros, since what a
rewound function works with comes from its frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from caesura.errors import SnapshotError, UsageError
from caesura.host.call import Call
from caesura.host.imports import PAUSE, HostFunction
from caesura.host.instance import Instance
from caesura.host.saving.references import ReferenceLoader, ReferenceSaver
from caesura.host.saving.values import bits_of, value_of
from caesura.host.state import CallState
from caesura.snapshots.state import CallRecord, KeptState, State
from caesura.wasm import types as t


def record_calls(
    instance: Instance, references: ReferenceSaver, waited: Callable[[CallState], int] | None
) -> tuple[CallRecord, ...]:
    """Return a record of each suspended call, in the order in which they were suspended.

    `waited` tells for how many nanoseconds a call has slept.
    """
    calls = list(instance.suspended)
    return tuple(_record(instance, call, calls, references, waited(call) if waited else 0) for call in calls)


def _record(
    instance: Instance, call: CallState, calls: Sequence[CallState], references: ReferenceSaver, waited: int
) -> CallRecord:
    function = call.pending
    unwinder = instance.unwinder
    assert isinstance(call, Call), "calls are"
    assert function is not None, "it is suspended"
    assert unwinder is not None, "it is suspended"
    what = f"an argument of {function.shown}"
    return CallRecord(
        export=call.export.name,
        function=function.name,
        arguments=tuple(
            (kind, bits_of(kind, value, lambda kind, value: references.save(kind, value, what)))
            for kind, value in zip(function.params.types, call.asked, strict=True)
        ),
        frames=unwinder.area.frames_of(call),
        mode=call.mode,
        waited=waited,
        stack=call.stack,
        stack_pointer=call.stack_pointer,
        bottom=call.bottom,
        resting_pointer=call.resting_pointer,
        kept=_kept(call, calls),
    )


def _kept(call: CallState, calls: Sequence[CallState]) -> KeptState | None:
    kept = call.kept
    if kept is None:
        return None
    neighbour = kept.neighbour
    return KeptState(
        low=kept.low,
        high=kept.high,
        stack=kept.stack,
        neighbour=calls.index(neighbour) if neighbour in calls and neighbour is not None else None,
        noted=kept.noted,
    )


def put_calls_back(instance: Instance, state: State, references: ReferenceLoader) -> None:
    """Make the suspended calls of a saved guest in a new instance. Raises SnapshotError for what does not fit it."""
    functions = {function.name: function for function in instance.imports if function is not None}
    if instance.slicing is not None:
        functions[PAUSE.name] = PAUSE
    calls: list[Call] = []
    for place, record in enumerate(state.calls):
        where = f"call {place} of the snapshot ({record.export})"
        if record.export not in instance.description.functions:
            raise SnapshotError(f"{where} is of an export that the module does not have")
        function = functions.get(record.function)
        if function is None:
            raise SnapshotError(f"{where} waits in {record.function}, which is no host function here")
        calls.append(_make_call(instance, record, function, where, references))
    try:
        instance.stacks.resting.put_back(state.stacks, calls, [record.kept for record in state.calls])
    except (ValueError, UsageError) as error:
        raise SnapshotError(f"the snapshot's C stacks are not those of the guest: {error}") from None
    for call in calls:
        instance.suspended[call] = None
        if call.pending is PAUSE and instance.slicing is not None:
            instance.slicing.paused[call] = None


def _make_call(
    instance: Instance, record: CallRecord, function: HostFunction, where: str, references: ReferenceLoader
) -> Call:
    unwinder = instance.unwinder
    export = instance.export(record.export)
    if unwinder is None or not export.may_suspend:
        raise SnapshotError(f"{where} cannot be suspended: the module was instrumented for other imports")
    types = tuple(kind for kind, _ in record.arguments)
    if types != function.params.types:
        raise SnapshotError(f"{where} has called {record.function} with other arguments than it takes: {types}")
    if (not record.frames and not export.is_import) or not unwinder.area.has_room(len(record.frames)):
        raise SnapshotError(
            f"{where} has {len(record.frames)} bytes of frames, which the asyncify stack has no room for"
        )
    if not {*export.params.types} <= {*_ZEROS}:
        raise SnapshotError(f"{where} is of an export that cannot be called from Python")
    call = Call(instance, export, tuple(_ZEROS[kind] for kind in export.params.types), record.mode)
    call.pending = function
    call.asked = tuple(value_of(kind, bits, references.load) for kind, bits in record.arguments)
    call.frames = record.frames
    call.stack = record.stack
    call.stack_pointer = record.stack_pointer
    call.bottom = record.bottom
    call.resting_pointer = record.resting_pointer
    call.is_held = True
    return call


_ZEROS: Final[dict[int, Any]] = {
    t.I32: 0,
    t.I64: 0,
    t.F32: 0.0,
    t.F64: 0.0,
    t.V128: bytes(16),
    t.EXTERNREF: None,
    t.FUNCREF: None,
}
