"""Where the shadow stack pointer belongs while no guest code runs, and the arguments that have to stay above it.

While the call on the guest's own stack is suspended, the pointer rests below its frames. What others allocate there may
be arguments of a call that begins next, which gets a stack of its own: see `kept_arguments`. So may what host functions
get while their own calls run.

Who has put arguments there puts the pointer back when their call has ended (Emscripten's `ccall`), to where it was
before, whatever others have there by then. Only so far goes it up as nobody's frames or arguments are above it: that is
looked at when the guest has returned from whatever has moved it, before anything else can run or write. The rest is
made up for when the others have ended. To look for that when the next call begins was rejected: by then the bytes may
have been overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.kept_arguments import KeptArguments
from caesura.host.native import GlobalCell
from caesura.host.stacks import ShadowStacks
from caesura.host.state import CallState
from caesura.host.store import GuestStore
from caesura.snapshots.state import KeptState, StacksState

# Of how many calls that have ended it is known where the pointer was before their arguments.
_MOST_LATE: Final = 1000

_FULL: Final = (
    "the guest's own C stack is full: what was put there for calls that have not ended takes all of it; wait for some, "
    "or allocate arguments with malloc"
)
_TAKEN: Final = (
    "what was allocated on a C stack for a call that begins lies where the arguments of another are, which has not "
    "ended: allocate them with malloc"
)


class RestingPointer:
    """The shadow stack pointer of an instance, if it has one, between the calls that move it.

    `stacks` are those of the calls that do not run on the guest's own, whose lowest address is `low`.
    """

    def __init__(self, store: GuestStore, pointer: GlobalCell | None, stacks: ShadowStacks | None, low: int) -> None:
        self._store = store
        self._pointer = pointer
        self._stacks = stacks
        self._low = low
        self.main: CallState | None = None  # the call on the guest's own stack
        self.home: int | None = None  # the pointer without it, once it was suspended
        self.settled = True  # whether the pointer is where it belongs while no guest code runs
        self.kept: list[KeptArguments[CallState]] = []  # what calls on stacks of their own have on other stacks
        self.put: dict[CallState, int] = {}  # where it was before host functions allocated, by their running calls
        self.unclaimed = 0  # where the pointer was before what was allocated since a call began; 0: nothing was
        self._held: set[int] = set()  # the stacks of calls that have ended, where such things are
        self._late: list[int] = []  # where the pointer was before the arguments of calls that have ended since

    def saved(self, calls: Sequence[CallState]) -> StacksState:
        """Return what is known while no guest code runs; `calls` are those that are suspended, in the order of their
        records.
        """
        stacks = StacksState() if self._stacks is None else self._stacks.saved()
        return replace(
            stacks,
            main=None if self.main is None else calls.index(self.main),
            home=self.home,
            settled=self.settled,
            unclaimed=self.unclaimed,
            held=tuple(sorted(self._held)),
            late=tuple(self._late),
        )

    def put_back(self, state: StacksState, calls: Sequence[CallState], kept: Sequence[KeptState | None]) -> None:
        """Take what was known of a guest that was saved; `kept` is what each call has on another's stack.

        Raises UsageError for what is not in its memory, ValueError for what contradicts itself.
        """
        self.main = None if state.main is None else calls[state.main]
        self._check_addresses(state, calls)
        if self._stacks is not None:
            _check_use(state, calls, self.main)
            self._stacks.put_back(state)
        elif state.stacks or state.surplus or any(call.stack for call in calls) or any(kept):
            raise ValueError("stacks of a guest that has none")
        self.home = state.home
        self.settled = state.settled
        self.unclaimed = state.unclaimed
        self._held = {*state.held}
        self._late = list(state.late)
        for call, record in zip(calls, kept, strict=True):
            if record is None or self._stacks is None:
                continue
            self._stacks.locate(record.low, record.high - record.low)
            if record.stack and record.stack not in state.stacks:
                raise ValueError("arguments on a stack that is none")
            if record.noted is not None and len(record.noted) != record.high - record.low:
                raise ValueError("bytes of arguments that are not as many as these")
            neighbour = None if record.neighbour is None else calls[record.neighbour]
            call.kept = KeptArguments(
                self._stacks.locate, record.low, record.high, neighbour, record.stack, noted=record.noted
            )
            self.kept.append(call.kept)

    def keep_arguments(
        self, call: CallState, serving: tuple[CallState, int] | None, current: int, integers: Callable[[], list[int]]
    ) -> None:
        """See that what was allocated for a call that begins stays, where it is on the stack of another call.

        `serving` is the suspended call whose host function is running, if one is, and how deep in guest code it does;
        `current` is the stack in use, and `integers` returns the call's arguments, those that can be addresses.
        """
        pointer = self._pointer
        if pointer is None or self._stacks is None:
            return
        depth = self._store.depth
        neighbour: CallState | None
        if serving is not None and serving[1] == depth:
            neighbour = serving[0]
            stack, low, high = neighbour.stack, neighbour.stack_pointer, neighbour.bottom
            if stack == current:
                low = pointer.get()
        elif depth:
            neighbour = native.thread.call if isinstance(native.thread.call, CallState) else None
            stack, low = current, pointer.get()
            high = self.put.get(neighbour, low) if neighbour is not None else low
        else:
            neighbour, stack = self.main, 0
            if not self.settled:
                self.settle(pointer)
            low = pointer.get()
            floor = self._floor()
            high = low if floor is None else floor
        if not stack and not depth:
            self.unclaimed = 0
        if self.kept:  # others may have begun between the allocation of its arguments and this
            addresses = integers()
            for kept in self.kept:
                if any(kept.low <= address < kept.high for address in addresses):
                    kept.check()
                    low, high, neighbour, stack = min(low, kept.low), max(high, kept.high), kept.neighbour, kept.stack
        if low < high:
            if any(kept.is_away() and kept.low < high and low < kept.high for kept in self.kept):
                raise UsageError(_TAKEN)
            self._stacks.locate(low, high - low)  # raises if the guest is wrong about where that is
            call.kept = KeptArguments(self._stacks.locate, low, high, neighbour, stack)
            self.kept.append(call.kept)
            if not stack:
                self.raise_home(high)

    def after_others(self, call: CallState, running: CallState | None, integers: Callable[[], list[int]]) -> None:
        """Look at the pointer behind a call that has no stack to itself and has returned.

        `running` is the guest's call whose host function has made it, if that is so; `integers` returns its arguments.
        Raises UsageError if it has allocated more than there is, in a place that others count on.
        """
        pointer = self._pointer
        assert pointer is not None, "who calls this has looked"
        found, before = pointer.get(), call.resting_pointer
        if self.kept:
            self.put_arguments_back(call, running)
        elif found == before:
            return
        if not self.is_together(found, before):
            pointer.set(before)  # it was put back to where it was on another stack
            return
        if self._store.depth:
            if running is None:
                return
            if found < before:
                self.put.setdefault(running, before)
            elif found > self.put.get(running, before):
                pointer.set(before)
            return
        if found in self._late and integers() == [found] and not call.export.results.count:
            self._late.remove(found)
            if found < before:
                pointer.set(before)  # others have ended since, and it may stay where it was before those
                return
        floor = self._floor()
        if floor is None:
            return
        if found < before:
            if found < self._low:
                pointer.set(before)
                raise UsageError(_FULL)
            self.unclaimed = self.unclaimed or before
        elif found > floor:
            self.raise_home(found)
            pointer.set(min(before, floor) if self.unclaimed else floor)
        elif found >= self.unclaimed:
            self.unclaimed = 0

    def settle(self, pointer: GlobalCell) -> None:
        """Put the pointer to below what has to stay on the guest's own stack, or up if there is nothing any more."""
        self.settled = True
        floor = self._floor()
        if floor is not None:
            pointer.set(min(floor, pointer.get()) if self.unclaimed else floor)
        elif self.home is not None:
            pointer.set(min(self.home, pointer.get()) if self.unclaimed else self.home)
            self.home = None
            self.unclaimed = 0

    def raise_home(self, pointer: int) -> None:
        """The pointer was there without the calls that have something on the guest's own stack, or above."""
        self.home = pointer if self.home is None else max(self.home, pointer)

    def below_arguments(self, address: int, stack: int = 0) -> int:
        """Return an address on a stack, or the one below all that has to stay there if that is lower."""
        return min([address, *(kept.low for kept in self.kept if kept.stack == stack)]) if self.kept else address

    def put_arguments_back(self, call: CallState, running: CallState | None) -> None:
        """A call has ended on whose stack others have arguments; it may have been called by one that goes on there."""
        for kept in self.kept:
            if kept.neighbour is call:
                kept.put_back()
                kept.neighbour = running
                if running is not None:
                    kept.note()

    def is_together(self, one: int, other: int) -> bool:
        """Tell whether two addresses are on the same stack, as far as they are on such as were made for calls."""
        return self._stacks is None or one == other or self._stacks.find(one) == self._stacks.find(other)

    def forget_arguments(self, call: CallState) -> None:
        """A call has ended: what was allocated for it need not stay."""
        self.put.pop(call, None)
        if call.kept is not None:
            kept, call.kept = call.kept, None
            self.kept = [other for other in self.kept if other is not kept]  # a closed guest has none
            self.settled &= self.home is None
            if not kept.stack:
                self._late = [*self._late[-_MOST_LATE:], kept.high]
            if kept.stack in self._held:
                self._held.discard(kept.stack)
                self.give_back(kept.stack)

    def leave_own(self, call: CallState) -> None:
        """A call has ended that had no stack from the guest's `malloc`: it may be the one on the guest's own."""
        if self.main is call:
            self.main = None
            self.settled = self.home is None

    def give_back(self, stack: int) -> None:
        """Take a stack back, once nobody has arguments there."""
        if any(kept.stack == stack for kept in self.kept):
            self._held.add(stack)
        elif self._stacks is not None:
            self._stacks.give_back(stack)

    def _check_addresses(self, state: StacksState, calls: Sequence[CallState]) -> None:
        """Raise ValueError unless the addresses of a saved guest are as wide as those of this one."""
        bits = 64 if self._pointer is not None and self._pointer.wide else 32
        places = [place for call in calls for place in (call.stack_pointer, call.bottom, call.resting_pointer)]
        known = (state.size, state.home or 0, state.unclaimed, *state.surplus, *state.limits, *state.late, *places)
        if max(known) >> bits:
            raise ValueError(f"addresses of more than {bits} bits")

    def _floor(self) -> int | None:
        """Return the lowest address on the guest's own stack of what has to stay there; None: nothing has to."""
        if self.main is not None and self.main.stack_pointer:
            return self.below_arguments(self.main.stack_pointer)
        return min((kept.low for kept in self.kept if not kept.stack), default=None)


def _check_use(state: StacksState, calls: Sequence[CallState], main: CallState | None) -> None:
    """Raise ValueError unless each stack that there is serves one purpose, and each call has one."""
    used = [call.stack for call in calls if call.stack]
    idle = [*state.spare, *state.held]
    if main is not None and main.stack:
        raise ValueError("the call on the guest's own stack has another")
    if any(not call.stack and call is not main for call in calls):
        raise ValueError("a call on no stack")
    if len({*used, *idle}) < len(used) + len(idle) or not {*used, *idle} <= {*state.stacks}:
        raise ValueError("two calls on one stack, or one on none")
