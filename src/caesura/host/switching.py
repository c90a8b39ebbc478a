"""Switching between shadow stacks: which one a call runs on, and what the stack pointer is in between.

A call that may suspend runs on a stack of its own, or, in a guest without `malloc`, on the guest's only one,
which then stays lowered to below the suspended call's frames so that whatever else runs leaves them alone.
Entry thunks exchange the stack pointer themselves; for modules that were instrumented elsewhere the host does
it. All is nothing in guests without a shadow stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from caesura.errors import UsageError
from caesura.host.frames import FrameArea
from caesura.host.native import GlobalCell
from caesura.host.stacks import ShadowStacks

if TYPE_CHECKING:
    from caesura.host.call import Call
    from caesura.host.instance import Instance

_NO_STACK: Final = "needs a stack of its own, and the guest exports no malloc and free to get one from"


class StackSwitch:
    """The shadow stack pointer of an instance, if it has one, and the stacks for its calls, if it has malloc.

    `area` is where entry thunks look for the pointer; None where the host has to exchange it.
    """

    def __init__(self, pointer: GlobalCell | None, stacks: ShadowStacks | None) -> None:
        self.area: FrameArea | None = None
        self._pointer = pointer
        self._stacks = stacks
        self._main_call: Call | None = None
        self._main_pointer = 0

    def take(self, call: Call) -> None:
        """Give a call that may suspend a stack."""
        if self._pointer is None:
            return
        if self._stacks is not None:
            call.stack = self._stacks.take()
            call.stack_pointer = self._stacks.top(call.stack)
        elif self._main_call is not None:
            raise UsageError(
                "the guest has one stack in its memory and a call that uses it is not finished: a second "
                f"call that may suspend {_NO_STACK}"
            )
        else:
            self._raise_pointer(call.instance)
            self._main_call = call

    def release(self, call: Call) -> None:
        """Take the stack of a call back; in a closed guest nothing is done with it."""
        instance = call.instance
        if call.stack:
            stack, call.stack = call.stack, 0
            if self._stacks is not None and not instance.closed:
                self._stacks.give_back(stack)
        elif self._main_call is call:
            self._main_call = None
            self._raise_pointer(instance)

    def _raise_pointer(self, instance: Instance) -> None:
        """Put the pointer back to where it was before a call was suspended on the only stack, now that it has ended.

        Not while guest code is running: its frames are below. It is done later then.
        """
        if self._main_pointer and self._main_call is None and self._pointer is not None and not instance.depth:
            if not instance.closed:
                self._pointer.set(self._main_pointer)
            self._main_pointer = 0

    def check_suspension(self, call: Call) -> None:
        """Raise if a call cannot be suspended because other guest code is on the same stack above it."""
        if self._main_call is call and call.instance.depth > 1:
            raise UsageError(
                "a host function of the guest has called it again, on the only stack in its memory: to be "
                f"suspended there, the second call {_NO_STACK}"
            )

    def check_resumption(self, call: Call) -> None:
        """Raise if a call cannot be resumed because other guest code is on the same stack below it."""
        if self._main_call is call and call.instance.depth:
            raise UsageError(
                "a host function of the guest resumes a call that was suspended before, on the only stack in the "
                f"guest's memory: for that, each call {_NO_STACK}"
            )

    def before_entry(self, call: Call) -> None:
        """Switch to a call's stack."""
        pointer = self._pointer
        if pointer is None:
            return
        self._raise_pointer(call.instance)
        call.resting_pointer = pointer.get()
        if call.stack_pointer == 0:
            return
        if self.area is not None:
            self.area.write_stack_pointer(call.stack_pointer)
        else:
            pointer.set(call.stack_pointer)

    def after_suspension(self, call: Call) -> None:
        """Note where a suspended call's stack stands, and switch back."""
        pointer = self._pointer
        if pointer is None:
            return
        if self.area is not None:
            call.stack_pointer = self.area.take_stack_pointer()
        else:
            call.stack_pointer = pointer.get()
            pointer.set(call.resting_pointer)
        if self._main_call is call:
            self._main_pointer = self._main_pointer or call.resting_pointer
            pointer.set(call.stack_pointer)
        self._check_overflow(call)

    def after_return(self, call: Call) -> None:
        """Switch back from the stack of a call that returned."""
        if self._pointer is None:
            return
        if self.area is None and call.stack_pointer:
            self._pointer.set(call.resting_pointer)
        self._check_overflow(call)

    def repair(self, call: Call) -> None:
        """Put the pointer back after a call that did not return."""
        if self._pointer is not None:
            self._pointer.set(call.resting_pointer)

    def _check_overflow(self, call: Call) -> None:
        if call.stack and self._stacks is not None and self._stacks.overflowed(call.stack):
            raise UsageError(
                "a call used more than its shadow stack and has overwritten other memory of the guest: load "
                "the guest with a larger shadow_stack_size"
            )
