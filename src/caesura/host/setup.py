"""Finding in a new instance what its calls need: the ABI's functions, a place for frames, shadow stacks."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

import wasmtime

from caesura.abi import (
    CONTROL_BLOCK,
    FRAMES_OFFSET,
    SET_DATA_POINTER,
    START_REWIND,
    START_UNWIND,
    STOP_REWIND,
    STOP_UNWIND,
)
from caesura.errors import UsageError
from caesura.host import native
from caesura.host.abi_functions import AbiFunction
from caesura.host.description import THUNKS
from caesura.host.errors import GuestTrap
from caesura.host.frames import FrameArea
from caesura.host.memory import PAGE_SIZE
from caesura.host.protocol import Plain, Protocol, Thunks
from caesura.host.settings import LEAST_SHADOW_STACK, SHADOW_STACK_SIZE, GuestSettings
from caesura.host.stacks import ShadowStacks, StackLimits
from caesura.host.switching import FIXED, NO_MALLOC, SINGLE_STACK, UNCLEAR, StackSwitch
from caesura.host.text import one_line
from caesura.host.values import SLOT
from caesura.wasm import types as t

if TYPE_CHECKING:
    from caesura.host.instance import Instance

_MOST_PAGES: Final = 1 << 48

# The size of the area for frames in the guest's own memory, for modules that were instrumented elsewhere.
_AREA_SIZE: Final = 256 * 1024


def make_switch(instance: Instance, settings: GuestSettings) -> StackSwitch:
    """Return how an instance's shadow stacks are switched."""
    description = instance.description
    single = settings.single_stack
    reason = SINGLE_STACK if single else ""
    if not description.stack_pointer:
        return StackSwitch(reason=reason or (UNCLEAR if description.unclear_stack and single is None else ""))
    pointer = _cell(instance, description.stack_pointer)
    low = description.stack_low
    wide = description.wide_stack
    if instance.memory is None or not _has_malloc(instance, wide) or not instance.has("free", (_pointer(wide),), ()):
        reason = reason or NO_MALLOC
    if single is None and description.fixed_stack:
        reason = reason or FIXED
    if reason:
        return StackSwitch(pointer, reason=reason, low=low)
    limits = StackLimits(
        [_cell(instance, name) for name in description.stack_lows],
        [_cell(instance, name) for name in description.stack_highs],
    )

    def find_size() -> int:
        own = description.stack_high - low or limits.size() or SHADOW_STACK_SIZE
        return settings.shadow_stack_size or max(own, LEAST_SHADOW_STACK)

    stacks = ShadowStacks(
        find_size,
        lambda size: _malloc(instance, size, wide),
        lambda address: instance.call_now("free", address),
        instance.locate,
        description.wide_memory or instance.program.settings.memories_move,
    )
    has_limits = description.stack_lows or description.stack_highs
    return StackSwitch(pointer, stacks, limits=limits if has_limits else None, low=low)


def _cell(instance: Instance, name: str) -> native.GlobalCell:
    """Return an exported global, which is as wide as the stack pointer."""
    item = instance.item(name)
    assert isinstance(item, wasmtime.Global), "exports have the kinds that the module says"
    return native.GlobalCell(instance.context, item, instance.description.wide_stack)


def make_protocol(instance: Instance, settings: GuestSettings) -> Protocol:
    """Return how an instance is unwound and rewound."""
    description = instance.description
    if not description.asyncify_memory:
        raise UsageError("the module exports the Asyncify functions but no memory for the asyncify stack")
    memory = instance.memory_item(description.asyncify_memory)
    address = ctypes.addressof(memory._memory)
    has_own_memory = description.has_own_asyncify_memory
    if has_own_memory:
        start = CONTROL_BLOCK
        end = int(native.memory_size(instance.context, address))
    else:
        start, end = _find_space(instance, settings.stack_space)
    moves = description.wide or instance.program.settings.memories_move
    area = FrameArea(instance.context, memory, address, start, end, description.wide, has_own_memory, moves)
    changes = description.state_changes
    stop_unwind = AbiFunction(instance, changes[STOP_UNWIND])
    if description.abi == THUNKS:
        AbiFunction(instance, SET_DATA_POINTER, start)()
        return Thunks(area, stop_unwind)
    return Plain(
        area,
        stop_unwind,
        AbiFunction(instance, changes[START_UNWIND], start),
        AbiFunction(instance, changes[START_REWIND], start),
        AbiFunction(instance, changes[STOP_REWIND]),
    )


def _find_space(instance: Instance, stack_space: tuple[int, int] | int | None) -> tuple[int, int]:
    """Return where in the guest's own memory frames go."""
    memory = instance.memory
    if stack_space is not None:
        if memory is None:
            raise UsageError("the guest has no memory for a stack_space")
        size = len(memory)
        start, end = (size, size + stack_space) if isinstance(stack_space, int) else stack_space
        if not 0 < start < end - FRAMES_OFFSET or start % SLOT:
            raise UsageError(
                f"stack_space {stack_space} is no place for the asyncify stack: expected a size, or (start, end) in "
                f"the guest's memory, start a multiple of {SLOT}, and more than {FRAMES_OFFSET} bytes"
            )
        if end > size:
            _grow(instance, end, stack_space)
        return start, end
    wide = instance.description.wide
    if not _has_malloc(instance, wide):
        raise UsageError(
            "the module was instrumented elsewhere, with the asyncify stack in its own memory, and "
            "exports no malloc to get a place for it: name an unused part of its memory with "
            "stack_space=(start, end), or let it grow by stack_space=SIZE"
        )
    start = _malloc(instance, _AREA_SIZE + SLOT, wide)
    if start == 0:
        raise UsageError(f"the guest's malloc has no {_AREA_SIZE} bytes for the asyncify stack")
    start = -start // SLOT * -SLOT
    return start, start + _AREA_SIZE


def _grow(instance: Instance, end: int, stack_space: tuple[int, int] | int) -> None:
    """Let the guest's memory grow to an address."""
    memory = instance.guest_memory()
    pages = -(-end // PAGE_SIZE) - memory.size(instance.store)
    try:
        if pages > _MOST_PAGES:
            raise wasmtime.WasmtimeError("no memory has so many pages")
        memory.grow(instance.store, pages)
    except wasmtime.WasmtimeError as error:
        raise UsageError(
            f"the guest's memory cannot grow as stack_space={stack_space} wants it to: {one_line(error)}"
        ) from error


def _pointer(wide: bool) -> int:
    return t.I64 if wide else t.I32


def _has_malloc(instance: Instance, wide: bool) -> bool:
    return instance.has("malloc", (_pointer(wide),), (_pointer(wide),))


def _malloc(instance: Instance, size: int, wide: bool) -> int:
    """Return the address of so many bytes of the guest's memory, or 0. Raises GuestTrap if they lie elsewhere."""
    address = int(instance.call_now("malloc", size)) & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF)
    if address and (instance.memory is None or address + size > len(instance.memory)):
        raise GuestTrap(f"malloc returned {size} bytes at {address}, which is outside of the memory", ())
    return address
