"""Setting an instance up: when its module is instantiated, its calls get a place for frames, and shadow stacks."""

from __future__ import annotations

from typing import Any, Final

import wasmtime

from caesura.abi import (
    CONTROL_BLOCK,
    DROP_REFERENCES,
    FUEL,
    RECORD_CHANGED,
    RECORDED,
    SET_DATA_POINTER,
    START_REWIND,
    START_UNWIND,
    STOP_REWIND,
    STOP_UNWIND,
)
from caesura.errors import UsageError
from caesura.host import native
from caesura.host.call import Call
from caesura.host.description import NONE, THUNKS
from caesura.host.errors import GuestTrap
from caesura.host.frames import FrameArea
from caesura.host.imports import PLAIN_FUNCTION
from caesura.host.instance import NO_THUNKS, Instance
from caesura.host.recorder import Recorder, note_unrecorded
from caesura.host.settings import LEAST_SHADOW_STACK, SHADOW_STACK_SIZE
from caesura.host.slices.slicing import Slicing
from caesura.host.stacks import ShadowStacks, StackLimits
from caesura.host.suspendable import NOWAIT
from caesura.host.switching import FIXED, NO_MALLOC, SINGLE_STACK, UNCLEAR, StackSwitch
from caesura.host.text import one_line
from caesura.host.unwinder import PlainUnwinder, ThunkUnwinder, Unwinder
from caesura.host.values import SLOT
from caesura.options import NO_PREEMPT, PREEMPT_FLAG
from caesura.recording.place import recording_path
from caesura.wasm import types as t

_MOST_BYTES: Final = 1 << 64

# The size of the area for frames in the guest's own memory, for modules that were instrumented elsewhere.
_AREA_SIZE: Final = 256 * 1024


def set_up(instance: Instance, exported: wasmtime.Instance) -> None:
    """Make the parts of an instance that Wasmtime has made. Raises UsageError where it cannot have them, GuestTrap."""
    instance.has_begun(exported)
    unwinder = None
    if can_suspend(instance):
        unwinder = make_unwinder(instance, instance.store.settings.stack_space)
    instance.can_be_called(unwinder, make_switch(instance, unwinder), make_slicing(instance, unwinder))
    instance.recorder = make_recorder(instance)


def make_recorder(instance: Instance) -> Recorder | None:
    """Return what writes down what an instance notes of its suspensions, if that is wanted and it does."""
    path = recording_path()
    if path is None:
        return None
    description = instance.description
    if not description.recorded:
        note_unrecorded(path, _why_unrecorded(instance))
        return None
    changed = instance.item(RECORD_CHANGED)
    assert isinstance(changed, wasmtime.Global), "exports have the kinds that the module says"
    cell = native.GlobalCell(instance.store.context, changed, wide=False)
    return Recorder(path, description.recorded, instance.abi_function(RECORDED), cell, instance.owner)


def _why_unrecorded(instance: Instance) -> str:
    if instance.description.preempt != NO_PREEMPT:
        return "the guest has pause points (time_slice, preempt): all that it can be paused in has to be instrumented"
    if instance.description.abi == NONE:
        return "nothing among the guest's imports can suspend it"
    return "the guest was instrumented without --record, elsewhere or before it was saved"


def can_suspend(instance: Instance) -> bool:
    """Tell whether an instance can be suspended, by a host function or at a pause point."""
    if instance.description.preempt != NO_PREEMPT:
        return True
    return instance.description.abi != NONE and any(item and item.kind != PLAIN_FUNCTION for item in instance.imports)


def make_slicing(instance: Instance, unwinder: Unwinder | None) -> Slicing | None:
    """Return what an instance with pause points has for its time slices; None if there are none.

    Raises UsageError for a time slice without pause points, and for a memory that may move while it is written to.
    """
    preempt = instance.description.preempt
    settings = instance.store.settings
    if preempt == NO_PREEMPT or unwinder is None:
        if settings.time_slice is not None:
            if instance.description.pauses_without_thunks:
                raise UsageError(f"no time slice can end: {NO_THUNKS}")
            raise UsageError(
                "the module has no pause points, so that no time slice can end: compile it with preempt='flag'; if it "
                "is instrumented already, give the original"
            )
        return None
    if preempt == PREEMPT_FLAG:
        _check_request_stays(instance)
        return Slicing(settings, instance.guest, unwinder.area, None)
    fuel = instance.item(FUEL)
    assert isinstance(fuel, wasmtime.Global), "exports have the kinds that the module says"
    return Slicing(settings, instance.guest, unwinder.area, native.GlobalCell(instance.store.context, fuel, wide=True))


def _check_request_stays(instance: Instance) -> None:
    """Raise UsageError if the memory with the request may move when it grows: another thread writes there."""
    memory = instance.memory_item(instance.description.asyncify_memory)
    assert not isinstance(memory, wasmtime.SharedMemory), "the transformation's own memory is not shared"
    kind = memory.type(instance.store.wasmtime_store)
    reservation = instance.program.settings.memory_reservation
    if kind.limits.max is None or kind.limits.max * kind.page_size > reservation:
        raise UsageError(
            f"the memory for the asyncify stack may grow beyond the {reservation:,} bytes that memories reserve, and "
            "would move while the guest is asked to pause: choose a smaller Options(secondary_memory_maximum=...), or "
            "a larger memory_reservation"
        )


def make_switch(instance: Instance, unwinder: Unwinder | None) -> StackSwitch:
    """Return how an instance's shadow stacks are switched."""
    stack = instance.description.stack
    store = instance.store
    settings = store.settings
    area = unwinder.area if unwinder is not None and stack.thunks_switch else None
    single = settings.single_stack
    reason = SINGLE_STACK if single else ""
    if not stack.pointer:
        reason = reason or (UNCLEAR if stack.unclear and single is None else "")
        return StackSwitch(store, reason=reason)
    address = _address_type(wide=stack.wide)
    if instance.memory is None or not _has_malloc(instance, address) or not instance.has("free", (address,), ()):
        reason = reason or NO_MALLOC
    if single is None and stack.is_fixed:
        reason = reason or FIXED
    pointer = _cell(instance, stack.pointer)
    stacks = None if reason else _make_stacks(instance, settings.shadow_stack_size)
    return StackSwitch(store, pointer, stacks, reason=reason, low=stack.low, area=area)


def _make_stacks(instance: Instance, size: int | None) -> ShadowStacks:
    """Return stacks for further calls, of the given size or one that fits."""
    stack = instance.description.stack
    address_type = _address_type(wide=stack.wide)
    limits = StackLimits(
        [_cell(instance, name) for name in stack.lows],
        [_cell(instance, name) for name in stack.highs],
    )

    def find_size() -> int:
        own = stack.high - stack.low or limits.size() or SHADOW_STACK_SIZE
        return size or max(own, LEAST_SHADOW_STACK)

    return ShadowStacks(
        find_size,
        lambda size: _malloc(instance, size, address_type),
        lambda address: _call_now(instance, "free", address),
        instance.locate,
        limits if stack.lows or stack.highs else None,
        moves=instance.description.wide_memory or instance.program.settings.memories_move,
    )


def _cell(instance: Instance, name: str) -> native.GlobalCell:
    """Return an exported global, which is as wide as the stack pointer."""
    item = instance.item(name)
    assert isinstance(item, wasmtime.Global), "exports have the kinds that the module says"
    return native.GlobalCell(instance.store.context, item, wide=instance.description.stack.wide)


def make_unwinder(instance: Instance, stack_space: tuple[int, int] | int | None) -> Unwinder:
    """Return how an instance is unwound and rewound; `stack_space` is where its asyncify stack is to lie."""
    description = instance.description
    if not description.asyncify_memory:
        raise UsageError("the module exports the Asyncify functions but no memory for the asyncify stack")
    memory = native.MemoryCell(instance.store.context, instance.memory_item(description.asyncify_memory))
    has_own_memory = description.has_own_asyncify_memory
    if has_own_memory:
        start, end = CONTROL_BLOCK, memory.size()
    else:
        start, end = _find_space(instance, stack_space)
    area = FrameArea(
        memory,
        (start, end),
        wide=description.wide,
        grows=has_own_memory,
        moves=description.wide or instance.program.settings.memories_move,
        pauses=description.preempt != NO_PREEMPT,
    )
    changes = description.state_changes
    stop_unwind = instance.abi_function(changes[STOP_UNWIND])
    drop = instance.abi_function(DROP_REFERENCES, start) if DROP_REFERENCES in description.functions else None
    if description.abi == THUNKS:
        instance.abi_function(SET_DATA_POINTER, start)()
        return ThunkUnwinder(area, stop_unwind, drop)
    return PlainUnwinder(
        area,
        stop_unwind,
        drop,
        instance.abi_function(changes[START_UNWIND], start),
        instance.abi_function(changes[START_REWIND], start),
        instance.abi_function(changes[STOP_REWIND]),
    )


def _find_space(instance: Instance, stack_space: tuple[int, int] | int | None) -> tuple[int, int]:
    """Return where in the guest's own memory frames go."""
    memory = instance.memory
    if stack_space is not None:
        if memory is None:
            raise UsageError("the guest has no memory for a stack_space")
        size = len(memory)
        behind = -(-size // SLOT) * SLOT  # pages can have one byte
        start, end = (behind, behind + stack_space) if isinstance(stack_space, int) else stack_space
        block = instance.description.frames_offset
        if not 0 < start < end - block or start % SLOT:
            raise UsageError(
                f"stack_space {stack_space} is no place for the asyncify stack: expected a size, or (start, end) in "
                f"the guest's memory, start a multiple of {SLOT}, and more than {block} bytes"
            )
        if end > size:
            _grow(instance, end, stack_space)
        return start, end
    address_type = _address_type(wide=instance.description.wide)
    if not _has_malloc(instance, address_type):
        raise UsageError(
            "the module was instrumented elsewhere, with the asyncify stack in its own memory, and "
            "exports no malloc to get a place for it: name an unused part of its memory with "
            "stack_space=(start, end), or let it grow by stack_space=SIZE"
        )
    start = _malloc(instance, _AREA_SIZE + SLOT, address_type)
    if start == 0:
        raise UsageError(f"the guest's malloc has no {_AREA_SIZE} bytes for the asyncify stack")
    start = -start // SLOT * -SLOT
    return start, start + _AREA_SIZE


def _grow(instance: Instance, end: int, stack_space: tuple[int, int] | int) -> None:
    """Let the guest's memory grow to an address."""
    assert instance.memory is not None, "who asks has looked"
    memory = instance.memory.item
    store = instance.store.wasmtime_store
    page_size = (memory.type() if isinstance(memory, wasmtime.SharedMemory) else memory.type(store)).page_size
    pages = -((len(instance.memory) - end) // page_size)
    try:
        if pages > _MOST_BYTES // page_size:
            raise wasmtime.WasmtimeError("no memory has so many pages")
        if isinstance(memory, wasmtime.SharedMemory):
            memory.grow(pages)
        else:
            memory.grow(store, pages)
    except wasmtime.WasmtimeError as error:
        raise UsageError(
            f"the guest's memory cannot grow as stack_space={stack_space} wants it to: {one_line(error)}"
        ) from error


def _address_type(*, wide: bool) -> int:
    return t.I64 if wide else t.I32


def _has_malloc(instance: Instance, address_type: int) -> bool:
    return instance.has("malloc", (address_type,), (address_type,))


def _malloc(instance: Instance, size: int, address_type: int) -> int:
    """Return the address of so many bytes of the guest's memory, or 0. Raises GuestTrap if they lie elsewhere."""
    bits = 0xFFFF_FFFF_FFFF_FFFF if address_type == t.I64 else 0xFFFF_FFFF
    address = int(_call_now(instance, "malloc", size)) & bits
    if address and (instance.memory is None or address + size > len(instance.memory)):
        raise GuestTrap(f"malloc returned {size} bytes at {address}, which is outside of the memory", ())
    return address


def _call_now(instance: Instance, name: str, *arguments: int) -> Any:
    """Call an export of the guest's own that does not suspend."""
    return Call(instance, instance.export(name), arguments, NOWAIT).run()
