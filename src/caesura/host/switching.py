"""Switching between shadow stacks: which one a call runs on, and what the stack pointer is in between.

The first call that may suspend runs on the guest's own stack, as large as the program was linked with and where the
program expects it; while the call is suspended, the pointer stays below its frames, so that whatever else runs leaves
them alone. Calls that begin before it has ended get stacks of their own from the guest's `malloc`. Where the guest has
none, or must not have several stacks (`single_stack`), or nobody knows for certain where its stack is, they are
refused.

A call that cannot suspend runs on the stack that is in use; when a host function makes it while its own call is
suspended, on that call's. So what the guest's `stackAlloc` gives to a host function lies on the stack of the call that
will be resumed, and stays: each call is resumed with its pointer as it is then. What else may be allocated there, and
where the pointer belongs while nothing runs: see `resting_pointer`.

Entry thunks exchange the stack pointer themselves; for modules that were instrumented elsewhere the host does it. The
globals with the stack's limits, where a guest has such, are the host's business in both. All is nothing in guests
without a shadow stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from caesura.errors import UsageError
from caesura.host.frames import FrameArea
from caesura.host.native import GlobalCell
from caesura.host.resting_pointer import RestingPointer
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
        self.resting = RestingPointer(store, pointer, stacks, low)
        self.current = 0  # the stack in use: 0 is the guest's own
        self._own_below = 0  # how often another came into use while guest code was running on the guest's own

    def is_main(self, call: CallState) -> bool:
        """Tell whether a call is the one on the guest's own stack."""
        return self.resting.main is call

    def take(self, call: CallState, integers: Callable[[], list[int]]) -> None:
        """Give a call that may suspend a stack; `integers` returns its arguments, those that can be addresses."""
        if self._stacks is not None:
            self.resting.keep_arguments(call, self.serving, self.current, integers)
            if self.resting.main is None and not self._store.depth:
                self.resting.main = call
            else:
                call.stack = self._stacks.take()
                call.stack_pointer = self._stacks.top(call.stack)
        elif self._reason:
            if self.resting.main is not None:
                raise UsageError(
                    "the guest has one stack in its memory and a call that uses it is not finished: a second "
                    f"call that may suspend {self._reason}"
                )
            self.resting.main = call

    def release(self, call: CallState) -> None:
        """Take the stack of a call back.

        Nothing runs in the guest here: what ends a call may be the garbage collector, in any moment.
        """
        self.resting.forget_arguments(call)
        if call.stack:
            stack, call.stack = call.stack, 0
            self.resting.give_back(stack)
        else:
            self.resting.leave_own(call)

    def can_be_left(self, call: CallState) -> bool:
        """Tell whether no other guest code is on the same stack above a call, so that it can be suspended."""
        return self.resting.main is not call or self._stacks is not None or self._store.depth <= 1

    def check_suspension(self, call: CallState) -> None:
        """Raise if a call cannot be suspended because other guest code is on the same stack above it."""
        if self._store.depth > 1 and not self.can_be_left(call):
            raise UsageError(
                "a host function of the guest has called it again, on the only stack in its memory: to be "
                f"suspended there, the second call {self._reason}"
            )

    def prepare_resumption(self, call: CallState) -> None:
        """Find out where a call's stack stands.

        Raises UsageError if it cannot be resumed: other guest code is on the same stack below it, or it has none left.
        """
        depth = self._store.depth
        if depth and self.resting.main is call and (not self.current or self._own_below):
            why = f"for that, each call {self._reason}" if self._reason else "resume it when that has returned"
            raise UsageError(
                "a host function of the guest resumes a call that was suspended before, above the host function's "
                f"caller on the guest's own stack: {why}"
            )
        pointer = self.pointer
        if pointer is None:
            return
        if not self.resting.settled and not depth:
            self.resting.settle(pointer)
        resting = call.resting_pointer = pointer.get()
        call.is_prepared = True
        if call.kept is not None:
            call.kept.check()
        if call.stack:
            self._check_stack(call)
        elif self.resting.main is call:
            if not self.current and self.resting.settled and resting < call.stack_pointer:
                call.stack_pointer = resting  # what was allocated below its frames stays
                self.resting.unclaimed = 0
            if call.stack_pointer < self._low:
                raise UsageError(_OWN_OVERFLOW)

    def before_entry(self, call: CallState) -> None:
        """Switch to a call's stack; `after_entry` switches back, where `current` is then another than `outer_stack`."""
        pointer = self.pointer
        assert pointer is not None, "who calls this has looked"
        if call.is_prepared:
            call.is_prepared = False
        else:
            if not self.resting.settled and not self._store.depth:
                self.resting.settle(pointer)
            call.resting_pointer = pointer.get()
        for kept in self.resting.kept:
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
        elif self.serving is not None and call is not self.resting.main:
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
        call.bottom = self.resting.put.pop(call, found)
        for kept in self.resting.kept:
            if kept.neighbour is call:
                kept.leave(found)
        if call.kept is not None and self._store.depth:
            call.kept.note()  # whoever runs on now may need the place
        if call.stack:
            if area is None:
                pointer.set(call.resting_pointer)
            self._check_stack(call)
            call.stack_pointer = self.resting.below_arguments(found, call.stack)  # what is called meanwhile runs there
        elif self.resting.main is call:
            if self.current:
                self.resting.settled = False
                if area is None:
                    pointer.set(call.resting_pointer)
            elif area is not None and found != call.resting_pointer:
                pointer.set(found)
            if not call.outer_stack:
                self.resting.raise_home(call.resting_pointer)
            if self.resting.kept and not self.current:
                pointer.set(self.resting.below_arguments(found))
            if found < self._low:
                raise UsageError(_OWN_OVERFLOW)

    def after_return(self, call: CallState) -> None:
        """Switch back from the stack of a call that returned."""
        pointer = self.pointer
        served, call.served = call.served, None
        if self.resting.kept:
            self.resting.put_arguments_back(call, served)
        if served is not None and pointer is not None:
            found = pointer.get()
            if found <= served.bottom and self.resting.is_together(found, served.stack_pointer):
                served.stack_pointer = self.resting.below_arguments(found, served.stack)
            pointer.set(call.resting_pointer)
        elif call is self.resting.main and self.resting.home is not None and not call.outer_stack:
            self.resting.raise_home(call.resting_pointer)
        elif call.stack and pointer is not None:
            if self._area is None:
                pointer.set(call.resting_pointer)
            self._check_canary(call)

    def repair(self, call: CallState) -> None:
        """Put the pointer back after a call that did not return."""
        call.served = None
        if self.pointer is not None:
            self.pointer.set(call.resting_pointer)
        if self.resting.kept:
            self.resting.put_arguments_back(call, None)

    def _use_stack_of(self, serving: CallState, depth: int, call: CallState, pointer: GlobalCell) -> None:
        """Let a call that a host function makes run on the stack of the suspended call that the function belongs to."""
        if self._store.depth == depth and serving.stack != self.current:
            call.served = serving
            self._switch(serving.stack)
            pointer.set(self.resting.below_arguments(serving.stack_pointer, serving.stack))

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


_OVERFLOW: Final = (
    "a call used more than its shadow stack and has overwritten other memory of the guest: load the guest with a "
    "larger shadow_stack_size"
)
_OWN_OVERFLOW: Final = (
    "a call used more than the guest's own stack and has overwritten other memory of the guest: link the program with "
    "a larger stack (-Wl,-z,stack-size=BYTES)"
)
