"""What a call may take: seconds of the processor, or fuel. When it is used up, the call is suspended, not destroyed.

Processor time is that of the thread while the guest has it, with what host functions do for it without waiting, and
with what the host does to pause and resume it. Fuel is
what the guest's own code counts (docs/abi.md), so that it does not depend on the machine. Calls of the same guest from
host functions are charged to the call that called these: the budget in force is a context variable, which tasks inherit
that a host function starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from time import thread_time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from caesura.argument_kinds import check_fields
from caesura.errors import CaesuraError, UsageError
from caesura.options import MOST_FUEL

if TYPE_CHECKING:
    from caesura.host.slices.slicing import Slicing

_T = TypeVar("_T")

# Seconds of processor time that are not worth another turn.
_NOTHING: Final = 0.0002

# So many errors that an error was raised from, or for, are looked at.
_MOST_ERRORS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a call may take: `cpu`, seconds of the processor, and `fuel`, units that the guest's code counts.

    Raises UsageError for what is no number above zero, and for a budget that bounds nothing.
    """

    cpu: int | float | None = None
    fuel: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.cpu is not None and not 0 < self.cpu < math.inf:
            raise UsageError(f"cpu is {self.cpu}: expected seconds of the processor, more than 0")
        if self.fuel is not None and not 0 < self.fuel <= MOST_FUEL:
            raise UsageError(f"fuel is {self.fuel}: expected a number of units from 1 to {MOST_FUEL}")
        if self.cpu is None and self.fuel is None:
            raise UsageError("a budget has cpu=SECONDS, or fuel=UNITS, or both")


def check_fuel(budget: Budget, *, counts: bool) -> None:
    """Raise UsageError for a budget of fuel of a guest that does not count any."""
    if budget.fuel is not None and not counts:
        raise UsageError(
            "the guest counts no fuel: load or compile it with preempt='fuel', or give the budget in seconds of "
            "the processor (cpu=)"
        )


class UsedUp(CaesuraError):
    """A budget is used up: what is known of BudgetExhausted where calls are made."""

    def leave(self, call: object, function: str) -> None:
        """Note that the error leaves a host function of a call, which ends by it."""
        raise NotImplementedError


def used_up_in(error: BaseException) -> list[UsedUp]:
    """Return the errors of this kind in what was raised: itself, what it was raised from or for, those of a group."""
    found: list[UsedUp] = []
    errors: list[BaseException | None] = [error]
    for one in errors:
        if one is None or any(one is other for other in found):
            continue
        if isinstance(one, UsedUp):
            found.append(one)
        if len(errors) < _MOST_ERRORS:
            errors += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
    return found


class Allowance:
    """What is left of a call's budget. `outer` is that of the call whose host function made the call, or None."""

    __slots__ = ("_began", "_counts_cpu", "_entries", "budget", "cpu", "fuel", "outer", "slicing")

    def __init__(self, budget: Budget, slicing: Slicing, outer: Allowance | None) -> None:
        self.slicing = slicing  # whose calls are charged
        self.outer = outer
        self._entries = 0  # how many entries of the guest are on the stack that are charged
        self._began = 0.0
        self.renew(budget)

    def renew(self, budget: Budget | None) -> None:
        """Take another budget from now on, or none."""
        self.budget = budget
        self.cpu = math.inf if budget is None or budget.cpu is None else budget.cpu
        self.fuel = MOST_FUEL if budget is None or budget.fuel is None else budget.fuel
        self._counts_cpu = self.cpu < math.inf

    def enter(self) -> None:
        """The guest is entered: processor time counts from now on."""
        if self._counts_cpu:
            self._settle()
        self._entries += 1
        if self.outer is not None:
            self.outer.enter()

    def leave(self) -> None:
        """The guest has returned."""
        if self._counts_cpu:
            self._settle()
        self._entries -= 1
        if self.outer is not None:
            self.outer.leave()

    def _settle(self) -> None:
        """Take the processor time since the guest was entered, or since this was done: what a host function has called
        may run no longer than what is left now.
        """
        now = thread_time()
        if self._entries:
            self.cpu -= now - self._began
        self._began = now

    def charge(self, fuel: int) -> None:
        """Take fuel that the guest has used."""
        self.fuel -= fuel
        if self.outer is not None:
            self.outer.charge(fuel)

    def charge_cpu(self, seconds: float) -> None:
        """Take processor time that the host has used for the guest."""
        self.cpu -= seconds
        if self.outer is not None:
            self.outer.charge_cpu(seconds)

    @property
    def least_cpu(self) -> float:
        """Seconds that the guest may run now, by this budget and those around it."""
        return self.cpu if self.outer is None else min(self.cpu, self.outer.least_cpu)

    @property
    def least_fuel(self) -> int:
        """Fuel that the guest may use now, by this budget and those around it."""
        return self.fuel if self.outer is None else min(self.fuel, self.outer.least_fuel)

    def exhausted(self) -> Allowance | None:
        """Return this, or the budget around it, that is used up; None if none is."""
        if self.cpu <= _NOTHING or self.fuel < 0:
            return self
        return None if self.outer is None else self.outer.exhausted()

    def __str__(self) -> str:
        budget = self.budget
        if budget is None:
            return "none"
        parts = [] if budget.cpu is None else [f"{budget.cpu:g} s of processor time"]
        return " and ".join(parts if budget.fuel is None else [*parts, f"{budget.fuel:,} units of fuel"])

    def within(self, step: Callable[..., _T], *arguments: Any) -> _T:
        """Let a host function of the call run, whose calls of the guest are charged, too."""
        before = in_force.set(self)
        try:
            return step(*arguments)
        finally:
            in_force.reset(before)


# The budget of the call whose host function is running.
in_force: Final[ContextVar[Allowance | None]] = ContextVar("caesura_budget", default=None)


class Exhausted:
    """What a call that is paused yields where the budget is used up of a call whose host function awaits it.

    `catcher` stands for the call that is handed out then, with those that are `inside` of it, innermost first;
    `is_handed` says that it was.
    """

    __slots__ = ("catcher", "inside", "is_handed")

    def __init__(self, catcher: object, paused: Any) -> None:
        self.catcher = catcher
        self.inside = [paused]  # calls
        self.is_handed = False
