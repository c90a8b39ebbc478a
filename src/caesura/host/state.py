"""The state of one call of an export, from its start over its suspensions to its end: data, and who may change it.

A call is a coroutine's counterpart, and is in one of these states:

* running: guest code or a host function of its runs, or is about to. `pending` and `arriving` are None.
* unwinding, from a host function that has to wait until the guest has returned: `pending` is the import, `unwinding`
  is set, and no other guest code may run.
* suspended: `pending` is the import, `unwinding` is not set. The frames lie in the asyncify stack, or in `frames` once
  another call needed that. `waited_for` is what whoever drives the call has to wait for; it leaves what comes of that
  in `answer` or `failure`.
* rewinding, from the entry until the guest arrives at the import: `arriving` is that import, `pending` is None. With
  thunks the host is not asked there, if the results are given to them: the call is then running at once.
* ended: it holds nothing any more.

Everything goes from running to unwinding, suspended, rewinding, and back to running; what fails on its way is running
again, and whatever is not entering or leaving the guest may end. `Call` makes these steps and decides about each field,
but for those that say whose they are. The class stands below all of them, so that the asyncify stack and the shadow
stacks can know the calls that use them without knowing what a call does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from caesura.host.exports import Export
from caesura.host.imports import HostFunction
from caesura.host.kept_arguments import KeptArguments


class CallState:
    """The state of a call of an export."""

    __slots__ = (
        "answer",
        "arriving",
        "asked",
        "bottom",
        "coroutine",
        "depth",
        "error",
        "export",
        "failure",
        "frames",
        "handed",
        "is_held",
        "is_prepared",
        "kept",
        "may_pause",
        "outer_stack",
        "packed",
        "pending",
        "position",
        "resting_pointer",
        "served",
        "stack",
        "stack_pointer",
        "task",
        "unwinding",
        "waited_for",
    )

    def __init__(self, export: Export) -> None:
        self.export = export
        # The import at which the guest is suspended, its arguments, the host coroutine that runs there (None: the
        # function yields), and what that waits for, or the function has returned. `Instance.end` drops them, too.
        self.pending: HostFunction | None = None
        self.asked: tuple[Any, ...] = ()
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.waited_for: Any = None
        # Whether nobody drives the call, but whoever gets it by `guest.pending` may.
        self.is_held = False
        # How often the call was handed to somebody at a suspension: what is handed out answers one of them.
        self.handed = 0
        # The task to cancel when the guest is closed.
        self.task: asyncio.Task[Any] | None = None
        # What the import is to return, or to raise, when the guest is resumed: `driving` says it.
        self.answer: Any = None
        self.failure: BaseException | None = None
        # The answer as bytes (None: a reference is among it).
        self.packed: bytes | None = None
        # The import that the guest must call while it rewinds; whether it is unwinding.
        self.arriving: HostFunction | None = None
        self.unwinding = False
        # Where frames are that are not in the guest: `FrameArea`'s.
        self.frames = b""
        # `StackSwitch`'s: the shadow stack (0: none of its own) and where its pointer stands, and stood at the last
        # suspension; where it stood, and the stack in use, when the guest was entered; whether that is known already;
        # what may be arguments of the call, on another's stack; the suspended call whose stack this one uses.
        self.stack = 0
        self.stack_pointer = 0
        self.bottom = 0
        self.resting_pointer = 0
        self.outer_stack = 0
        self.is_prepared = False
        self.kept: KeptArguments[CallState] | None = None
        self.served: CallState | None = None
        # Whether it can be paused at the end of its time slice where it was entered last.
        self.may_pause = False
        # How many calls of guests the innermost entry is inside of.
        self.depth = 0
        # `native`'s, while guest code runs: an exception of a host function on its way through the guest, and where the
        # native stack stands in the import that is called.
        self.error: BaseException | None = None
        self.position = 0

    def give_up(self) -> None:
        """Rewind the suspended guest and let it trap where it arrives; raises what ends the call."""
        raise NotImplementedError
