"""What a user may set for a guest, as data: each setting stands once, is checked once, and travels as one object.

There are two kinds, since they are decided at different times. `ProgramSettings` go into the compiled code: two
programs are the same only if these are equal. `GuestSettings` are each guest's own, and guests with different ones
share a program. `load` and its like have them as keywords in their signatures, where editors and `help` show them;
which of their parameters are settings, and whose, the fields' names say (`among`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from caesura.argument_kinds import check_fields, shown
from caesura.errors import UsageError
from caesura.host.description import CHOSEN_OPTIONS
from caesura.host.native_stack import NATIVE_STACK_SIZE
from caesura.host.warning import warn
from caesura.options import NO_PREEMPT, Options
from caesura.recording.place import RECORD_VARIABLE, recording_path

# Options are immutable, so all who give none can share these.
DEFAULT_OPTIONS: Final = Options()

# The size of further shadow stacks where nobody knows that of the guest's own, in bytes; and the smallest.
SHADOW_STACK_SIZE: Final = 64 * 1024
LEAST_SHADOW_STACK: Final = 256
RECURSION_LIMIT: Final = 100

# What a guest does that has to wait where it cannot be suspended, since a list leaves out a function on the stack.
REFUSE: Final = "error"
BLOCK: Final = "block"

# No program has a larger memory for its stacks, but for one with 64-bit addresses.
_MOST_SHADOW_STACK: Final = 1 << 32

_LEAST_NATIVE_STACK: Final = 1 << 14
_MOST_NATIVE_STACK: Final = 1 << 32

_PAGE_SIZE: Final = 1 << 16
_MOST_RESERVATION: Final = 1 << 32

# Seconds: a shorter slice would be gone before it is noticed, and a longer one is none. A slice of a guest with the
# least weight counts as if it had taken so much longer.
LEAST_TIME_SLICE: Final = 0.0005
MOST_TIME_SLICE: Final = 3600.0
LEAST_WEIGHT: Final = 0.001
MOST_WEIGHT: Final = 1e6

_ADDRESS_BITS: Final = 64

# The largest number that Wasmtime's limits take.
_MOST: Final = (1 << 63) - 1


class _Settings:
    @classmethod
    def among(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the settings among a function's parameters, by their names; the others have their defaults."""
        return cls(**{name: parameters[name] for name in cls.names() if name in parameters})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the settings."""
        return tuple(cls.__annotations__)


@dataclass(frozen=True, kw_only=True)
class ProgramSettings(_Settings):
    """How a module becomes a program.

    `options` are the transformation's. `cache` says whether compiled code is kept on the disk. The guests of an
    `interruptible` program can be stopped in mid-computation. `accept_instrumented` says whether modules are taken that
    say that they are instrumented already. `preempt` is what guests look at where they pause by themselves, as in the
    transformation's options. `memory_reservation` is bytes of address space for each memory, or None for the default
    (see `engines`). `native_stack_size` is bytes of the native stack that guest code may take.

    Raises UsageError for options that are the host's to choose, and for what no memory can reserve.
    """

    options: Options = DEFAULT_OPTIONS
    cache: bool = field(default=True, compare=False, repr=False)
    interruptible: bool = False
    accept_instrumented: bool = True
    preempt: str = NO_PREEMPT
    # `Recipe.engine` has what matters of these.
    memory_reservation: int | None = field(default=None, compare=False, repr=False)
    native_stack_size: int = field(default=NATIVE_STACK_SIZE, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.options.imports or self.options.ignore_imports:
            raise UsageError(
                "the coroutine functions among the imports are the import list: leave it out of the options"
            )
        if self.options.preempt != NO_PREEMPT:
            raise UsageError("preempt is a parameter of `load` and `compile`: leave it out of the options")
        chosen: dict[str, Any] = {**CHOSEN_OPTIONS, "preempt": self.preempt}
        replace(self.options, **chosen)  # which says what excludes it
        reservation = self.memory_reservation
        if reservation is not None and not _PAGE_SIZE <= reservation <= _MOST_RESERVATION:
            raise UsageError(
                f"memory_reservation is {reservation} bytes: expected {_PAGE_SIZE} to {_MOST_RESERVATION} (4 GiB)"
            )
        if not _LEAST_NATIVE_STACK <= self.native_stack_size <= _MOST_NATIVE_STACK:
            raise UsageError(
                f"native_stack_size is {self.native_stack_size} bytes: expected {_LEAST_NATIVE_STACK} to "
                f"{_MOST_NATIVE_STACK}"
            )


@dataclass(frozen=True, kw_only=True)
class GuestSettings(_Settings):
    """How one guest runs.

    `shadow_stack_size` is bytes, for each call of a compiled program that begins while another has not ended; None is
    as many as the program's own stack has. With `single_stack` such calls are refused; None is for programs that seem
    to need that. `stack_space` is a place (first address, address behind it) for the asyncify stack in a module that
    was instrumented elsewhere and has no `malloc`; the memory grows if it ends before. It may also be a number of
    bytes, by which the memory grows. `recursion_limit` is how many calls deep the guest and host functions may call
    each other.

    `memory_limit` is bytes, for each memory of the guest, the one with the asyncify stack too: it cannot begin larger,
    and growing beyond fails (`memory.grow` is -1). `memories` is how many memories of its own the guest may have,
    imported ones too: None is one where there is a `memory_limit`, which would bound nothing otherwise, and any number
    where there is none. `table_limit` is elements, for each table, and `tables` their number in the same way.
    `instances` is how many instances the guest may consist of: it is one itself. `suspended_calls` is how many of its
    calls may be suspended when another begins.

    `when_unsuspendable` is what happens where a host function has to wait below functions that a list leaves out: it is
    an "error", or the thread waits ("block").

    `time_slice` is seconds after which the guest is suspended when it computes, so that others have their turn; None
    is for ever. It needs pause points (`Options.preempt`). Guests that compute in one event loop share its time in
    proportion to their `weight`, and those of a higher `priority` come first.

    Raises UsageError for what no guest can have.
    """

    shadow_stack_size: int | None = None
    single_stack: bool | None = None
    stack_space: tuple[int, int] | int | None = None
    recursion_limit: int = RECURSION_LIMIT
    memory_limit: int | None = None
    table_limit: int | None = None
    memories: int | None = None
    tables: int | None = None
    instances: int | None = None
    suspended_calls: int | None = None
    when_unsuspendable: str = REFUSE
    time_slice: float | int | None = None
    weight: float | int = 1.0
    priority: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_slices()
        if self.when_unsuspendable not in (REFUSE, BLOCK):
            raise UsageError(f"when_unsuspendable is {self.when_unsuspendable!r}: expected '{REFUSE}' or '{BLOCK}'")
        for name, value in (
            ("memory_limit", self.memory_limit),
            ("table_limit", self.table_limit),
            ("memories", self.memories),
            ("tables", self.tables),
            ("instances", self.instances),
            ("suspended_calls", self.suspended_calls),
        ):
            if value is not None and not 0 <= value <= _MOST:
                raise UsageError(f"{name} is {value}: expected a number that is not negative, or None")
        size = self.shadow_stack_size
        if size is not None and not LEAST_SHADOW_STACK <= size <= _MOST_SHADOW_STACK:
            raise UsageError(
                f"shadow_stack_size is {size} bytes: expected at least {LEAST_SHADOW_STACK}, "
                f"at most {_MOST_SHADOW_STACK}"
            )
        space = self.stack_space
        if not (space is None or (space > 0 if isinstance(space, int) else _is_range(space))):
            raise UsageError(f"stack_space is {shown(space)}: expected (start, end), a number of bytes, or None")
        if self.recursion_limit < 0:
            raise UsageError(f"recursion_limit is {self.recursion_limit}: expected a number of calls, 0 or more")

    def _check_slices(self) -> None:
        time_slice, weight = self.time_slice, self.weight
        if time_slice is not None and not LEAST_TIME_SLICE <= time_slice <= MOST_TIME_SLICE:
            raise UsageError(
                f"time_slice is {time_slice}: expected seconds, {LEAST_TIME_SLICE} to {MOST_TIME_SLICE}, or None"
            )
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise UsageError(f"weight is {weight}: expected a number from {LEAST_WEIGHT} to {MOST_WEIGHT:g}")

    @property
    def most_memories(self) -> int | None:
        """How many memories of its own a guest may have; None is any number."""
        return _number_of(self.memories, self.memory_limit)

    @property
    def most_tables(self) -> int | None:
        """How many tables a guest may have; None is any number."""
        return _number_of(self.tables, self.table_limit)


def with_recording(settings: ProgramSettings) -> ProgramSettings:
    """Return settings with which guests note which functions are on the stack, where the environment asks for it."""
    if recording_path() is None or settings.options.record:
        return settings
    if settings.preempt != NO_PREEMPT:
        warn(
            f"{RECORD_VARIABLE} is set, but guests with pause points (time_slice, preempt) are not recorded: what they "
            "can be paused in needs no list",
            RuntimeWarning,
        )
        return settings
    return replace(settings, options=replace(settings.options, record=True))


def _number_of(given: int | None, limit_of_each: int | None) -> int | None:
    """Return how many of something there may be: one, if nobody says, where each has a limit."""
    return 1 if given is None and limit_of_each is not None else given


def _is_range(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(type(item) is int and item.bit_length() <= _ADDRESS_BITS for item in value)
    )
