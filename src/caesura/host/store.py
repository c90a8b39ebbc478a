"""Wasmtime's store of a guest: there before the guest's instance, and what all that enters guest code shares.

What a guest may take is its store's business: Wasmtime holds the limits, and says in its own words which one was in the
way when there can be no instance.
"""

from __future__ import annotations

import ctypes
from typing import Final

import wasmtime

from caesura.abi import DROP_REFERENCES
from caesura.errors import UsageError
from caesura.host import native
from caesura.host.backtrace import cause_of
from caesura.host.errors import GuestTrap
from caesura.host.interruption import Interruptions, watch
from caesura.host.native_stack import check_recursion
from caesura.host.preview_1 import GROUPS
from caesura.host.program import LinkedProgram
from caesura.host.settings import GuestSettings
from caesura.wasm.external_kinds import MEMORY_KIND, TABLE_KIND

# What Wasmtime calls no limit.
_UNLIMITED: Final = -1

# The most tables that a module may have for the references in frames: one for each hierarchy of types.
_TABLES_OF_FRAMES: Final = 4

# In Wasmtime's words, what the system answers where address space is limited.
_NO_ADDRESS_SPACE: Final = "mmap failed"

# In Wasmtime's words, what a module with more than it may have of something is told.
_TOO_MANY_MEMORIES: Final = "memory count too high"
_TOO_MANY_TABLES: Final = "table count too high"


class GuestStore:
    """The store for one guest of a program.

    `context` is the C functions' name for it, and a trap arrives at `trap_address`. `depth` is how many entries of
    guest code are on the thread's stack; whoever enters counts. `interruptions` is there if the program looks for
    them.

    Raises UsageError for a thread that must not run the guest, and for a module that imports more than it may have;
    RecursionError where the stack has no room; GuestTrap if the guest was interrupted before.
    """

    __slots__ = (
        "context",
        "depth",
        "interruptions",
        "native_stack_size",
        "program",
        "recursion_limit",
        "settings",
        "trap",
        "trap_address",
        "wasmtime_store",
    )

    def __init__(
        self,
        program: LinkedProgram,
        settings: GuestSettings,
        wasi: wasmtime.WasiConfig | None,
        interruptions: Interruptions | None,
    ) -> None:
        self.native_stack_size = program.settings.native_stack_size
        native.native_stack().check_size(self.native_stack_size)
        check_recursion()
        if native.thread.call is not None:
            native.native_stack().check_position(native.thread.call.position, self.native_stack_size)
        self.program = program
        self.settings = settings
        self.recursion_limit = settings.recursion_limit
        self.depth = 0
        self.trap = ctypes.c_void_p()
        self.trap_address = ctypes.addressof(self.trap)
        self.wasmtime_store = wasmtime.Store(program.engine)
        self._set_limits(helpers=len(GROUPS) if wasi is not None else 0)
        self.interruptions: Interruptions | None = None
        if program.settings.interruptible:
            self.interruptions = interruptions or Interruptions()
            self.interruptions.attach(program.engine)
            self.check_interruptions()
            watch(self.wasmtime_store)
        if wasi is not None:
            self.wasmtime_store.set_wasi(wasi)
        self.context = native.address_of(self.wasmtime_store._context())

    def check_interruptions(self) -> None:
        """Raise GuestTrap if the guest was interrupted before it began."""
        if self.interruptions is not None and self.interruptions.count:
            raise GuestTrap("interrupted", ())

    def why_no_instance(self, failure: wasmtime.WasmtimeError) -> str:
        """Return why there can be no instance, and what to do."""
        reason = str(failure)
        settings = self.settings
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

    def _set_limits(self, *, helpers: int) -> None:
        """Set what the guest may take. So many instances of ours come into its store, too (`wasi.forwarding`)."""
        settings = self.settings
        self._check_shared(self.program.description.shared)
        memories = self._remaining(MEMORY_KIND, settings.most_memories, "memories", "memory_limit")
        if memories != _UNLIMITED and self.program.description.has_own_asyncify_memory:
            memories += 1
        tables = self._remaining(TABLE_KIND, settings.most_tables, "tables", "table_limit")
        if tables != _UNLIMITED and DROP_REFERENCES in self.program.description.functions:
            tables += _TABLES_OF_FRAMES
        if tables != _UNLIMITED:
            tables += self.program.description.added_tables
        self.wasmtime_store.set_limits(
            memory_size=_UNLIMITED if settings.memory_limit is None else settings.memory_limit,
            table_elements=_UNLIMITED if settings.table_limit is None else settings.table_limit,
            instances=_UNLIMITED if settings.instances is None else settings.instances + helpers,
            tables=tables,
            memories=memories,
        )

    def _check_shared(self, size: int) -> None:
        """Raise UsageError where a memory that threads share would break what was promised; it may grow to a size."""
        if not size:
            return
        if self.program.settings.interruptible:
            raise UsageError(
                "the module has a memory that is shared between threads, and code that waits for another thread cannot "
                "be interrupted: load it without interruptible"
            )
        limit = self.settings.memory_limit
        if limit is not None and size > limit:
            raise UsageError(
                f"the module has a memory that is shared between threads and may grow to {size:,} bytes, at any time: "
                f"with memory_limit={limit} it cannot be loaded"
            )

    def _remaining(self, kind: int, most: int | None, name: str, limit: str) -> int:
        """Return how many memories or tables the module may define; Wasmtime does not count imported ones.

        Raises UsageError if it imports too many already.
        """
        if most is None:
            return _UNLIMITED
        remaining = most - sum(item.kind == kind for item in self.program.description.imports)
        if remaining < 0:
            raise UsageError(f"the module cannot be instantiated: {_too_many(name, most, limit)}")
        return remaining


def _too_many(name: str, most: int, limit: str) -> str:
    """Return why a module has too many memories or tables, and what to do."""
    return (
        f"it has more {name} of its own than it may have, {most} (1 where {limit}, which bounds each, is given without "
        f"{name}): load it with {name}=N to allow N"
    )
