"""Switching between shadow stacks: which one a call runs on, and what the stack pointer is in between.

The first call that may suspend runs on the guest's own stack, as large as the program was linked with and where the
program expects it; while the call is suspended, the pointer stays below its frames, so that whatever else runs leaves
them alone. Calls that begin before it has ended get stacks of their own from the guest's `malloc`. Where the guest has
none, or must not have several stacks (`single_stack`), or nobody knows for certain where its stack is, they are
refused.

A call that cannot suspend runs on the stack that is in use; when a host function makes it while its own call is
suspended, on that call's. So what the guest's `stackAlloc` gives to a host function lies on the stack of the call that
will be resumed, and stays: each call is resumed with its pointer as it is then. What others get there, while the call
on the guest's own stack is suspended, may be arguments of a call that begins next: see `kept_arguments`. So may what
host functions get while their own calls run.

Who has put arguments there puts the pointer back when their call has ended (Emscripten's `ccall`), to where it was
before, whatever others have there by then. Only so far goes it up as nobody's frames or arguments are above it: that is
looked at when the guest has returned from whatever has moved it, before anything else can run or write. The rest is
made up for when the others have ended.

Entry thunks exchange the stack pointer themselves; for modules that were instrumented elsewhere the host does it. The
globals with the stack's limits, where a guest has such, are the host's business in both. All is nothing in guests
without a shadow stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.frames import FrameArea
from caesura.host.kept_arguments import KeptArguments
from caesura.host.native import GlobalCell
from caesura.host.stacks import ShadowStacks
from caesura.host.state import CallState
from caesura.host.store import GuestStore

NO_MALLOC: Final = "needs a stack of its own, and the guest exports no malloc and free to get one from"
SINGLE_STACK: Final = "needs a stack of its own, and the guest was loaded with single_stack=True"
FIXED: Final = (
    "needs a stack of its own, and the guest's code compares its stack pointer with the ends of its own stack "
    "(single_stack=False runs it on another all the same)"
)
UNCLEAR: Final = (
    "needs a stack of its own, and it is not certain which global is the guest's stack pointer: export it as "
    "__stack_pointer, or keep the module's names (single_stack=False runs it all the same)"
)


class StackSwitch:
    """The shadow stack pointer of an instance, if it has one, and the stacks for its calls.

    `stacks` are for further calls; where there are none, `reason` says why there is only the guest's own ("" if nobody
    needs one), whose lowest address is `low`. `area` is where entry thunks look for the pointer; None where the host
    has to exchange it. `serving` is the suspended call whose host function is running, and how deep in guest code it
    does.
    """

    def __init__(
        self,
        store: GuestStore,
        pointer: GlobalCell | None = None,
        stacks: ShadowStacks | None = None,
        *,
        reason: str = "",
        low: int = 0,
        area: FrameArea | None = None,
    ) -> None:
        self.serving: tuple[CallState, int] | None = None
        self.pointer = pointer
        self._store = store
        self._stacks = stacks
        self._reason = reason
        self._low = low
        self._area = area
        self._main: CallState | None = None  # the call on the guest's own stack
        self._home: int | None = None  # the pointer without it, once it was suspended
        self._kept: list[KeptArguments[CallState]] = []  # what calls on stacks of their own have on other stacks
        self._held: set[int] = set()  # the stacks of calls that have ended, where such things are
        self._unclaimed = 0  # where the pointer was before what was allocated since a call began; 0: nothing was
        self._late: list[int] = []  # where the pointer was before the arguments of calls that have ended since
        self.put: dict[CallState, int] = {}  # where it was before host functions allocated, by their running calls
        self._settled = True  # whether the pointer is where it belongs while no guest code runs
        self.current = 0  # the stack in use: 0 is the guest's own
        self._own_below = 0  # how often another came into use while guest code was running on the guest's own

    def is_main(self, call: CallState) -> bool:
        """Tell whether a call is the one on the guest's own stack."""
        return self._main is call

    def take(self, call: CallState, integers: Callable[[], list[int]]) -> None:
        """Give a call that may suspend a stack; `integers` returns its arguments, those that can be addresses."""
        if self._stacks is not None:
            self._keep_arguments(call, integers)
            if self._main is None and not self._store.depth:
                self._main = call
            else:
                call.stack = self._stacks.take()
                call.stack_pointer = self._stacks.top(call.stack)
        elif self._reason:
            if self._main is not None:
                raise UsageError(
                    "the guest has one stack in its memory and a call that uses it is not finished: a second "
                    f"call that may suspend {self._reason}"
                )
            self._main = call

    def release(self, call: CallState) -> None:
        """Take the stack of a call back.

        Nothing runs in the guest here: what ends a call may be the garbage collector, in any moment.
        """
        self.put.pop(call, None)
        if call.kept is not None:
            kept, call.kept = call.kept, None
            self._kept = [other for other in self._kept if other is not kept]  # a closed guest has none
            self._settled &= self._home is None
            if not kept.stack:
                self._late = [*self._late[-_MOST_LATE:], kept.high]
            if kept.stack in self._held:
                self._held.discard(kept.stack)
                self._give_back(kept.stack)
        if call.stack:
            stack, call.stack = call.stack, 0
            self._give_back(stack)
        elif self._main is call:
            self._main = None
            self._settled = self._home is None

    def check_suspension(self, call: CallState) -> None:
        """Raise if a call cannot be suspended because other guest code is on the same stack above it."""
        if self._main is call and self._stacks is None and self._store.depth > 1:
            raise UsageError(
                "a host function of the guest has called it again, on the only stack in its memory: to be "
                f"suspended there, the second call {self._reason}"
            )

    def prepare_resumption(self, call: CallState) -> None:
        """Find out where a call's stack stands.

        Raises UsageError if it cannot be resumed: other guest code is on the same stack below it, or it has none left.
        """
        depth = self._store.depth
        if depth and self._main is call and (not self.current or self._own_below):
            why = f"for that, each call {self._reason}" if self._reason else "resume it when that has returned"
            raise UsageError(
                "a host function of the guest resumes a call that was suspended before, above the host function's "
                f"caller on the guest's own stack: {why}"
            )
        pointer = self.pointer
        if pointer is None:
            return
        if not self._settled and not depth:
            self._settle(pointer)
        resting = call.resting_pointer = pointer.get()
        call.is_prepared = True
        if call.kept is not None:
            call.kept.check()
        if call.stack:
            self._check_stack(call)
        elif self._main is call:
            if not self.current and self._settled and resting < call.stack_pointer:
                call.stack_pointer = resting  # what was allocated below its frames stays
                self._unclaimed = 0
            if call.stack_pointer < self._low:
                raise UsageError(_OWN_OVERFLOW)

    def before_entry(self, call: CallState) -> None:
        """Switch to a call's stack; `after_entry` switches back, where `current` is then another than `outer_stack`."""
        pointer = self.pointer
        assert pointer is not None, "who calls this has looked"
        if call.is_prepared:
            call.is_prepared = False
        else:
            if not self._settled and not self._store.depth:
                self._settle(pointer)
            call.resting_pointer = pointer.get()
        for kept in self._kept:
            if kept.neighbour is call:
                kept.note()
        call.outer_stack = self.current
        begin = call.stack_pointer
        if begin:
            if call.stack != self.current:
                self._switch(call.stack)
            if begin != call.resting_pointer:
                if self._area is not None:
                    self._area.write_stack_pointer(begin)
                else:
                    pointer.set(begin)
        elif self.serving is not None and call is not self._main:
            self._use_stack_of(self.serving[0], self.serving[1], call, pointer)

    def after_entry(self, call: CallState) -> None:
        """The guest has returned in whatever way: switch back to the stack that was in use, but for its pointer."""
        before, self.current = self.current, call.outer_stack
        if not call.outer_stack and self._store.depth:
            self._own_below -= 1
        self._move_limits(before)
        if call.kept is not None:
            call.kept.follow()

    def after_suspension(self, call: CallState) -> None:
        """Note where a suspended call's stack stands, and switch back. Raises UsageError if it has used more."""
        pointer = self.pointer
        if pointer is None:
            return
        area = self._area
        found = call.stack_pointer = pointer.get() if area is None else area.take_stack_pointer()
        call.bottom = self.put.pop(call, found)
        for kept in self._kept:
            if kept.neighbour is call:
                kept.leave(found)
        if call.kept is not None and self._store.depth:
            call.kept.note()  # whoever runs on now may need the place
        if call.stack:
            if area is None:
                pointer.set(call.resting_pointer)
            self._check_stack(call)
            call.stack_pointer = self._below_arguments(found, call.stack)  # what is called meanwhile runs there
        elif self._main is call:
            if self.current:
                self._settled = False
                if area is None:
                    pointer.set(call.resting_pointer)
            elif area is not None and found != call.resting_pointer:
                pointer.set(found)
            if not call.outer_stack:
                self._raise_home(call.resting_pointer)
            if self._kept and not self.current:
                pointer.set(self._below_arguments(found))
            if found < self._low:
                raise UsageError(_OWN_OVERFLOW)

    def after_return(self, call: CallState) -> None:
        """Switch back from the stack of a call that returned."""
        pointer = self.pointer
        served, call.served = call.served, None
        if self._kept:
            self._put_arguments_back(call, served)
        if served is not None and pointer is not None:
            found = pointer.get()
            if found <= served.bottom and self._is_together(found, served.stack_pointer):
                served.stack_pointer = self._below_arguments(found, served.stack)
            pointer.set(call.resting_pointer)
        elif call is self._main and self._home is not None and not call.outer_stack:
            self._raise_home(call.resting_pointer)
        elif call.stack and pointer is not None:
            if self._area is None:
                pointer.set(call.resting_pointer)
            self._check_canary(call)

    def after_others(self, call: CallState, running: CallState | None, integers: Callable[[], list[int]]) -> None:
        """Look at the pointer behind a call that has no stack to itself and has returned.

        `running` is the guest's call whose host function has made it, if that is so; `integers` returns its arguments.
        Raises UsageError if it has allocated more than there is, in a place that others count on.
        """
        pointer = self.pointer
        assert pointer is not None, "who calls this has looked"
        found, before = pointer.get(), call.resting_pointer
        if self._kept:
            self._put_arguments_back(call, running)
        elif found == before:
            return
        if not self._is_together(found, before):
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
            self._unclaimed = self._unclaimed or before
        elif found > floor:
            self._raise_home(found)
            pointer.set(min(before, floor) if self._unclaimed else floor)
        elif found >= self._unclaimed:
            self._unclaimed = 0

    def repair(self, call: CallState) -> None:
        """Put the pointer back after a call that did not return."""
        call.served = None
        if self.pointer is not None:
            self.pointer.set(call.resting_pointer)
        if self._kept:
            self._put_arguments_back(call, None)

    def _settle(self, pointer: GlobalCell) -> None:
        """Put the pointer to below what has to stay on the guest's own stack, or up if there is nothing any more."""
        self._settled = True
        floor = self._floor()
        if floor is not None:
            pointer.set(min(floor, pointer.get()) if self._unclaimed else floor)
        elif self._home is not None:
            pointer.set(min(self._home, pointer.get()) if self._unclaimed else self._home)
            self._home = None
            self._unclaimed = 0

    def _raise_home(self, pointer: int) -> None:
        self._home = pointer if self._home is None else max(self._home, pointer)

    def _floor(self) -> int | None:
        """Return the lowest address on the guest's own stack of what has to stay there; None: nothing has to."""
        if self._main is not None and self._main.stack_pointer:
            return self._below_arguments(self._main.stack_pointer)
        return min((kept.low for kept in self._kept if not kept.stack), default=None)

    def _keep_arguments(self, call: CallState, integers: Callable[[], list[int]]) -> None:
        """See that what was allocated for a call that begins stays, where it is on the stack of another call."""
        pointer = self.pointer
        if pointer is None or self._stacks is None:
            return
        depth = self._store.depth
        neighbour: CallState | None
        if self.serving is not None and self.serving[1] == depth:
            neighbour = self.serving[0]
            stack, low, high = neighbour.stack, neighbour.stack_pointer, neighbour.bottom
            if stack == self.current:
                low = pointer.get()
        elif depth:
            neighbour = native.thread.call if isinstance(native.thread.call, CallState) else None
            stack, low = self.current, pointer.get()
            high = self.put.get(neighbour, low) if neighbour is not None else low
        else:
            neighbour, stack = self._main, 0
            if not self._settled:
                self._settle(pointer)
            low = pointer.get()
            floor = self._floor()
            high = low if floor is None else floor
        if not stack and not depth:
            self._unclaimed = 0
        if self._kept:  # others may have begun between the allocation of its arguments and this
            addresses = integers()
            for kept in self._kept:
                if any(kept.low <= address < kept.high for address in addresses):
                    kept.check()
                    low, high, neighbour, stack = min(low, kept.low), max(high, kept.high), kept.neighbour, kept.stack
        if low < high:
            if any(kept.is_away() and kept.low < high and low < kept.high for kept in self._kept):
                raise UsageError(_TAKEN)
            self._stacks.locate(low, high - low)  # raises if the guest is wrong about where that is
            call.kept = KeptArguments(self._stacks.locate, low, high, neighbour, stack)
            self._kept.append(call.kept)
            if not stack:
                self._raise_home(high)

    def _below_arguments(self, address: int, stack: int = 0) -> int:
        """Return an address on a stack, or the one below all that has to stay there if that is lower."""
        return min([address, *(kept.low for kept in self._kept if kept.stack == stack)]) if self._kept else address

    def _put_arguments_back(self, call: CallState, running: CallState | None) -> None:
        """A call has ended on whose stack others have arguments; it may have been called by one that goes on there."""
        for kept in self._kept:
            if kept.neighbour is call:
                kept.put_back()
                kept.neighbour = running
                if running is not None:
                    kept.note()

    def _is_together(self, one: int, other: int) -> bool:
        """Tell whether two addresses are on the same stack, as far as they are on such as were made for calls."""
        return self._stacks is None or one == other or self._stacks.find(one) == self._stacks.find(other)

    def _give_back(self, stack: int) -> None:
        """Take a stack back, once nobody has arguments there."""
        if any(kept.stack == stack for kept in self._kept):
            self._held.add(stack)
        elif self._stacks is not None:
            self._stacks.give_back(stack)

    def _use_stack_of(self, serving: CallState, depth: int, call: CallState, pointer: GlobalCell) -> None:
        """Let a call that a host function makes run on the stack of the suspended call that the function belongs to."""
        if self._store.depth == depth and serving.stack != self.current:
            call.served = serving
            self._switch(serving.stack)
            pointer.set(self._below_arguments(serving.stack_pointer, serving.stack))

    def _switch(self, stack: int) -> None:
        """Have another stack in use."""
        before, self.current = self.current, stack
        if not before and self._store.depth:
            self._own_below += 1
        self._move_limits(before)

    def _move_limits(self, before: int) -> None:
        """Put the limits of the stack in use into the guest's globals."""
        if self._stacks is not None and self._stacks.limits is not None:
            limits = self._stacks.limits
            if not before:
                limits.keep()
            if self.current:
                limits.set(self.current, self._stacks.top(self.current))
            else:
                limits.restore()

    def _check_stack(self, call: CallState) -> None:
        """Raise if a call has used more than its stack from malloc."""
        if call.stack_pointer < call.stack:
            raise UsageError(_OVERFLOW)
        self._check_canary(call)

    def _check_canary(self, call: CallState) -> None:
        if self._stacks is not None and self._stacks.overflowed(call.stack):
            raise UsageError(_OVERFLOW)


_FULL: Final = (
    "the guest's own C stack is full: what was put there for calls that have not ended takes all of it; wait for some, "
    "or allocate arguments with malloc"
)
# Of how many calls that have ended it is known where the pointer was before their arguments.
_MOST_LATE: Final = 1000

_TAKEN: Final = (
    "what was allocated on a C stack for a call that begins lies where the arguments of another are, which has not "
    "ended: allocate them with malloc"
)
_OVERFLOW: Final = (
    "a call used more than its shadow stack and has overwritten other memory of the guest: load the guest with a "
    "larger shadow_stack_size"
)
_OWN_OVERFLOW: Final = (
    "a call used more than the guest's own stack and has overwritten other memory of the guest: link the program with "
    "a larger stack (-Wl,-z,stack-size=BYTES)"
)
