"""Whether a call can be suspended where it stands: by how it was called, what is below it, and what lists leave out.

What cannot be is refused before anything is unwound, with what is missing, or what to call it by instead.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import UsageError
from caesura.host.exports import Export
from caesura.host.imports import COROUTINE_FUNCTION, EXTERNAL_FUNCTION, HostFunction
from caesura.host.instance import Instance
from caesura.host.settings import BLOCK
from caesura.host.state import CallState
from caesura.host.unwinder import Unwinder

# How a call may suspend.
NOWAIT: Final = "call_nowait"
AWAIT: Final = "call"
GENERATE: Final = "generate"
AGENERATE: Final = "agenerate"
START: Final = "start"

# What can wait for coroutine functions, and what is handed out wherever it stops.
WAITING: Final = (AWAIT, AGENERATE)
IN_STEPS: Final = (GENERATE, START)


class SuspendableCall(CallState):
    """A call of an export. `mode` is NOWAIT, AWAIT, GENERATE, AGENERATE or START."""

    __slots__ = ("below", "instance", "mode")

    def __init__(self, instance: Instance, export: Export, mode: str) -> None:
        CallState.__init__(self, export)
        self.instance = instance
        self.mode = mode
        self.below: object = None  # while it is on the stack: the call whose host function has entered it

    def can_wait(self) -> bool:
        """Tell whether a coroutine function that runs on top of the call may wait, and what that awaits in a guest."""
        instance = self.instance
        if self._is_below_what_is_left_out():
            return instance.blocks and self.mode in WAITING
        call: object = self
        while isinstance(call, SuspendableCall):
            instance = call.instance
            if call.mode not in WAITING or not call.export.may_suspend:
                return False
            if instance.slicing is not None:
                return call.may_pause  # which says the same of those below
            if not instance.stacks.can_be_left(call):
                return False
            call = call.below
        return call is None

    def must_block_in(self, function: HostFunction) -> bool:
        """Tell whether the thread is to wait for a host function, since a list leaves out what is on the stack."""
        return function.kind == COROUTINE_FUNCTION and self.mode in WAITING and self._is_below_what_is_left_out()

    def _is_below_what_is_left_out(self) -> bool:
        """Tell whether what a list leaves out is on the stack: the export, or what has noted that in the guest.

        An export of the guest that the host has put into its table begins anew for the guard, also below one that is
        left out itself.
        """
        guard = self.instance.guard
        return guard is not None and (not self.export.may_suspend or guard.is_set())

    def check_suspension(self, function: HostFunction, coroutine: object) -> Unwinder:
        """Return what unwinds the guest. Raises UsageError if the call cannot be suspended in a host function."""
        instance = self.instance
        if function.kind == EXTERNAL_FUNCTION:
            if self.mode == NOWAIT:
                raise UsageError(
                    f"host function {function.shown} has no body, but {self.export.shown} was called with "
                    f"`{self.mode}`, which hands nothing out: use `guest.start` or `await guest.call`"
                )
        elif coroutine is None:
            if self.mode not in (GENERATE, AGENERATE, START):
                raise UsageError(
                    f"host function {function.shown} yields, but {self.export.shown} was called with "
                    f"`{self.mode}`: use `guest.generate`, `guest.agenerate` or `guest.start`"
                )
        elif self.mode not in WAITING:
            raise UsageError(
                f"host function {function.shown} has to wait, but {self.export.shown} was called with "
                f"`{self.mode}`: use `await guest.call`, or `guest.agenerate`"
            )
        if self._is_below_what_is_left_out():
            raise UsageError(
                f"host function {instance.find_missing(self, function.shown).describe()} Or let the thread wait: "
                f"load(..., when_unsuspendable='{BLOCK}')."
            )
        if not self.export.may_suspend or instance.unwinder is None:
            raise UsageError(
                f"host function {function.shown} has to wait, but the guest is not instrumented for that: "
                f"{self.export.shown} cannot be suspended"
            )
        instance.stacks.check_suspension(self)
        return instance.unwinder
