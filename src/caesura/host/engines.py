"""Wasmtime's engines: what compiled code must agree on with the process that runs it.

Two settings go into the code: whether loops look at the epoch, so that a guest can be interrupted, and how much address
space each memory reserves, which decides where bounds are checked. There is one engine for each pair of them, and all
guests with the same pair share it, interruptible ones too (see `interruption`). An engine for each interruptible guest
was rejected: each compiled its code anew.

The engines that run guests compile with one thread. Wasmtime's pool of threads for compiling does not survive a `fork`,
and whoever compiles after one would wait for ever; large modules are compiled in processes of their own, which use all
processors (see `workers`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cache as once
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from caesura.host.native import allow_shared_memories
from caesura.host.native_stack import NATIVE_STACK_SIZE

# With this much address space a 32-bit memory never moves, and code need not check bounds.
WHOLE_MEMORY: Final = 1 << 32

# What a memory reserves where address space is limited. And how much more it has when it had to move, which copies it:
# with little, a guest that grows page by page would spend its time on that. It is little where there is no more.
SMALL_RESERVATION: Final = 16 << 20
_GROWTH: Final = 1 << 30
_SMALL_GROWTH: Final = 64 << 20
_SMALL_GUARD: Final = 1 << 16


@dataclass(frozen=True)
class EngineSettings:
    """What an engine has of its own.

    `memory_reservation` is bytes of address space for each memory; it goes into the code, as `interruptible` does.
    `native_stack_size` is bytes of the native stack that guest code may take.
    """

    interruptible: bool
    memory_reservation: int
    native_stack_size: int = field(default=NATIVE_STACK_SIZE, repr=False)  # the cache has the same code for all

    @property
    def memories_move(self) -> bool:
        """Whether a 32-bit memory may lie elsewhere after it has grown."""
        return self.memory_reservation < WHOLE_MEMORY


def default_reservation() -> int:
    """Return how much address space a memory reserves where nobody says: little if the process may not have much."""
    return SMALL_RESERVATION if _address_space_is_limited() else WHOLE_MEMORY


def _address_space_is_limited() -> bool:
    if sys.platform == "win32":
        return False
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY


@once
def engine_of(settings: EngineSettings) -> wasmtime.Engine:
    """Return the engine for all guests with these settings."""
    return new_engine(settings, parallel=False)


def new_engine(settings: EngineSettings, *, parallel: bool) -> wasmtime.Engine:
    """Return a new engine; a `parallel` one compiles with all processors, and must not be used before a `fork`."""
    config = wasmtime.Config()
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    config.wasm_tail_call = True
    config.wasm_exceptions = True
    config.wasm_function_references = True
    config.wasm_gc = True
    config.wasm_threads = True
    config.wasm_custom_page_sizes = True
    config.wasm_wide_arithmetic = True
    allow_shared_memories(config)
    config.epoch_interruption = settings.interruptible
    config.parallel_compilation = parallel
    config.memory_reservation = settings.memory_reservation
    # Wasmtime wants these in order, although no guest runs on a stack of the second kind.
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), 2 * settings.native_stack_size)
    config.max_wasm_stack = settings.native_stack_size
    if settings.memories_move:
        config.memory_guard_size = _SMALL_GUARD
        config.memory_reservation_for_growth = _SMALL_GROWTH if _address_space_is_limited() else _GROWTH
    return wasmtime.Engine(config)
