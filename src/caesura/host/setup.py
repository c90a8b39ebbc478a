"""Finding in a new instance what its calls need: the ABI's functions, a place for frames, shadow stacks."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

import wasmtime

from caesura.analysis.instrumented import START_REWIND, START_UNWIND, STOP_REWIND, STOP_UNWIND
from caesura.errors import InternalError, UsageError
from caesura.host import native
from caesura.host.description import THUNKS
from caesura.host.preparing import SET_DATA_POINTER
from caesura.host.protocol import Plain, Protocol, Thunks
from caesura.host.settings import GuestSettings
from caesura.host.stacks import FRAMES, FrameArea, ShadowStacks
from caesura.host.switching import StackSwitch
from caesura.host.values import SLOT
from caesura.wasm import types as t

if TYPE_CHECKING:
    from caesura.host.instance import Instance

# Where an asyncify memory of its own has its control block (docs/abi.md).
_CONTROL_BLOCK: Final = 16

# The size of the area for frames in the guest's own memory, for modules that were instrumented elsewhere.
_AREA_SIZE: Final = 256 * 1024


class _StateChange:
    """Calls one of the ABI's functions."""

    def __init__(self, instance: Instance, name: str, argument: int | None = None) -> None:
        function = instance.item(name)
        assert isinstance(function, wasmtime.Func)
        self._name = name
        self._function = function  # keeps the structure at the address alive
        self._buffer = ctypes.create_string_buffer((argument or 0).to_bytes(SLOT, "little"), SLOT)
        self._trap = instance.trap
        self._arguments = (
            instance.context,
            ctypes.addressof(function._func),
            ctypes.addressof(self._buffer),
            0 if argument is None else 1,
            instance.trap_address,
        )

    def __call__(self) -> None:
        if not self.attempt():
            raise InternalError(f"{self._name}, which should only change the guest's state, failed")

    def attempt(self) -> bool:
        """Call it and tell whether it succeeded."""
        error = native.call_function(*self._arguments)
        trap, self._trap.value = self._trap.value, None
        if error:
            native.error_from(error)
        if trap:
            native.trap_from(trap)
        return not error and not trap


def make_switch(instance: Instance, settings: GuestSettings) -> StackSwitch:
    """Return how an instance's shadow stacks are switched."""
    description = instance.description
    if not description.stack_pointer:
        return StackSwitch(None, None)
    item = instance.item(description.stack_pointer)
    assert isinstance(item, wasmtime.Global)
    wide = description.wide_stack
    pointer = native.GlobalCell(instance.context, item, wide)
    memory = instance.memory
    if memory is None or not _has_malloc(instance, wide) or not instance.has("free", (_pointer(wide),), ()):
        return StackSwitch(pointer, None)
    stacks = ShadowStacks(
        settings.shadow_stack_size,
        lambda size: _malloc(instance, size, wide),
        lambda address: instance.call_now("free", address),
        instance.locate,
        wide,
    )
    return StackSwitch(pointer, stacks)


def make_protocol(instance: Instance, settings: GuestSettings) -> Protocol:
    """Return how an instance is unwound and rewound."""
    description = instance.description
    if not description.asyncify_memory:
        raise UsageError("the module exports the Asyncify functions but no memory for the asyncify stack")
    memory = instance.memory_item(description.asyncify_memory)
    address = ctypes.addressof(memory._memory)
    if description.asyncify_memory != description.memory:
        start = _CONTROL_BLOCK
        end = int(native.memory_size(instance.context, address))
    else:
        start, end = _find_space(instance, settings.stack_space)
    area = FrameArea(instance.context, memory, address, start, end, description.wide)
    changes = description.state_changes
    stop_unwind = _StateChange(instance, changes[STOP_UNWIND])
    if description.abi == THUNKS:
        _StateChange(instance, SET_DATA_POINTER, start)()
        return Thunks(area, stop_unwind)
    return Plain(
        area,
        stop_unwind,
        _StateChange(instance, changes[START_UNWIND], start),
        _StateChange(instance, changes[START_REWIND], start),
        _StateChange(instance, changes[STOP_REWIND]),
    )


def _find_space(instance: Instance, stack_space: tuple[int, int] | None) -> tuple[int, int]:
    """Return where in the guest's own memory frames go."""
    memory = instance.memory
    if stack_space is not None:
        start, end = stack_space
        if memory is None or not 0 < start < end - FRAMES or end > len(memory) or start % SLOT:
            raise UsageError(
                f"stack_space {stack_space} is no place for the asyncify stack: expected (start, end) "
                f"within the guest's memory, start a multiple of {SLOT}, and more than {FRAMES} bytes"
            )
        return start, end
    wide = instance.description.wide
    if not _has_malloc(instance, wide):
        raise UsageError(
            "the module was instrumented elsewhere, with the asyncify stack in its own memory, and "
            "exports no malloc to get a place for it: name an unused part of its memory with "
            "stack_space=(start, end)"
        )
    start = _malloc(instance, _AREA_SIZE + SLOT, wide)
    if start == 0:
        raise UsageError(f"the guest's malloc has no {_AREA_SIZE} bytes for the asyncify stack")
    start = -start // SLOT * -SLOT
    return start, start + _AREA_SIZE


def _pointer(wide: bool) -> int:
    return t.I64 if wide else t.I32


def _has_malloc(instance: Instance, wide: bool) -> bool:
    return instance.has("malloc", (_pointer(wide),), (_pointer(wide),))


def _malloc(instance: Instance, size: int, wide: bool) -> int:
    return int(instance.call_now("malloc", size)) & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF)
