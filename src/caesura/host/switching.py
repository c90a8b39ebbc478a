"""Switching between shadow stacks: which one a call runs on, and what the stack pointer is in between.

The first call that may suspend runs on the guest's own stack, as large as the program was linked with and where the
program expects it; while the call is suspended, the pointer stays below its frames, so that whatever else runs leaves
them alone. Calls that begin before it has ended get stacks of their own from the guest's `malloc`. Where the guest has
none, or must not have several stacks (`single_stack`), or nobody knows for certain where its stack is, they are
refused.

A call that cannot suspend runs on the stack that is in use; when a host function makes it while its own call is
suspended, on that call's. So what the guest's `stackAlloc` gives to a host function lies on the stack of the call that
will be resumed, and stays: each call is resumed with its pointer as it is then. What others get there, while the call
on the guest's own stack is suspended, may be arguments of a call that begins next: see `kept_arguments`.

Entry thunks exchange the stack pointer themselves; for modules that were instrumented elsewhere the host does it. The
globals with the stack's limits, where a guest has such, are the host's business in both. All is nothing in guests
without a shadow stack.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import UsageError
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
        self._kept: list[KeptArguments] = []  # what calls on stacks of their own have on the guest's own
        self._settled = True  # whether the pointer is where it belongs while no guest code runs
        self.current = 0  # the stack in use: 0 is the guest's own
        self._own_below = 0  # how often another came into use while guest code was running on the guest's own

    def take(self, call: CallState) -> None:
        """Give a call that may suspend a stack."""
        if self._stacks is not None:
            if self._main is None and not self._store.depth:
                self._main = call
            else:
                self._keep_arguments(call)
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
        if call.kept is not None:
            self._kept = [kept for kept in self._kept if kept is not call.kept]  # a closed guest has none
            call.kept = None
            if not self._kept and self._main is None:
                self._settled = self._home is None
        if call.stack:
            stack, call.stack = call.stack, 0
            if self._stacks is not None:
                self._stacks.give_back(stack)
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
        if call.stack:
            self._check_stack(call)
            if call.kept is not None:
                call.kept.check()
        elif self._main is call:
            if not self.current and self._settled and resting < call.stack_pointer:
                call.stack_pointer = resting  # what was allocated below its frames stays
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
        if self._kept and call is self._main:
            for kept in self._kept:
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
        if call.stack:
            if area is None:
                pointer.set(call.resting_pointer)
            self._check_stack(call)
        elif self._main is call:
            if self.current:
                self._settled = False
                if area is None:
                    pointer.set(call.resting_pointer)
            elif area is not None and found != call.resting_pointer:
                pointer.set(found)
            if self._home is None:
                self._home = call.resting_pointer
            if self._kept:
                for kept in self._kept:
                    kept.leave(found)
                if not self.current:
                    pointer.set(self._below_arguments(found))
            if found < self._low:
                raise UsageError(_OWN_OVERFLOW)

    def after_return(self, call: CallState) -> None:
        """Switch back from the stack of a call that returned."""
        pointer = self.pointer
        if call.served is not None and pointer is not None:
            served, call.served = call.served, None
            served.stack_pointer = pointer.get()
            pointer.set(call.resting_pointer)
        elif call.stack and pointer is not None:
            if self._area is None:
                pointer.set(call.resting_pointer)
            self._check_canary(call)
        elif call is self._main:
            self._put_arguments_back()

    def repair(self, call: CallState) -> None:
        """Put the pointer back after a call that did not return."""
        call.served = None
        if self.pointer is not None:
            self.pointer.set(call.resting_pointer)
        if call is self._main:
            self._put_arguments_back()

    def _settle(self, pointer: GlobalCell) -> None:
        """Put the pointer to below the frames of the call on the guest's own stack, or up if there is none any more."""
        self._settled = True
        if self._main is not None and self._main.stack_pointer:
            pointer.set(self._below_arguments(self._main.stack_pointer))
        elif self._home is not None:
            pointer.set(self._below_arguments(self._home))
            if not self._kept:
                self._home = None

    def _keep_arguments(self, call: CallState) -> None:
        """See that what lies below the suspended call on the guest's own stack stays for a call that begins."""
        main, pointer = self._main, self.pointer
        if pointer is None or self._stacks is None or self._store.depth or self.serving is not None:
            return
        if not self._settled:
            self._settle(pointer)
        low = pointer.get()
        high = low if main is None else self._below_arguments(main.stack_pointer)
        if low < high:
            self._stacks.locate(low, high - low)  # raises if the guest is wrong about where that is
            call.kept = KeptArguments(self._stacks.locate, low, high)
            self._kept.append(call.kept)

    def _below_arguments(self, address: int) -> int:
        """Return an address on the guest's own stack, or the one below all that has to stay there if that is lower."""
        return min(address, *[kept.low for kept in self._kept]) if self._kept else address

    def _put_arguments_back(self) -> None:
        """The call on the guest's own stack has ended."""
        for kept in self._kept:
            kept.put_back()

    def _use_stack_of(self, serving: CallState, depth: int, call: CallState, pointer: GlobalCell) -> None:
        """Let a call that a host function makes run on the stack of the suspended call that the function belongs to."""
        if self._store.depth == depth and serving.stack != self.current:
            call.served = serving
            self._switch(serving.stack)
            pointer.set(serving.stack_pointer)

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
