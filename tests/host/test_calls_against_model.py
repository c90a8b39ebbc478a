"""Any order of starting, resuming, failing, cancelling and abandoning calls, against a model.

The guest is C: every call recurses, keeps an array in each frame of its C stack, and checks it afterwards.
The machine keeps many calls suspended at once; what each call returns is known from its arguments alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

import caesura
from tests.host.support import ABIS, Gates, load_calls, settle


class Failure(Exception):
    """Raised by a host function."""


class Calls(RuleBasedStateMachine):
    """A guest and the calls that are suspended in it."""

    suspended: Bundle[int] = Bundle("suspended")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gates = Gates()
        self.next_key = 1000
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        self.depths: dict[int, int] = {}
        self.divisions: dict[int, int] = {}

    def teardown(self) -> None:
        """Close the guest: nothing may be left waiting."""
        self.loop.run_until_complete(self.guest.aclose())
        assert not self.gates.futures
        self.loop.close()

    def later(self, action: Callable[[], object]) -> None:
        """Do something inside the event loop, and let what follows from it happen."""

        async def act() -> None:
            action()
            await settle()

        self.loop.run_until_complete(act())

    @initialize(abi=st.sampled_from(ABIS))
    def load(self, abi: str) -> None:
        """Load the guest."""
        self.guest: caesura.Guest = self.loop.run_until_complete(
            load_calls(abi, wait=self.gates.wait, note=lambda value: None, shadow_stack_size=16384)
        )

    def begin(self, *call: Any) -> None:
        """Start a call, which is then suspended."""

        def start() -> None:
            self.tasks[self.next_key] = self.loop.create_task(self.guest.call(*call))

        self.later(start)
        assert self.next_key in self.gates.futures

    @rule(target=suspended, depth=st.integers(0, 60))
    def descend(self, depth: int) -> int:
        """Suspend a call some frames deep."""
        self.next_key += 1
        self.depths[self.next_key] = depth
        self.begin("descend", depth, self.next_key)
        return self.next_key

    @rule(target=suspended)
    def divide_later(self) -> int:
        """Suspend a call that traps if zero is sent."""
        self.next_key += 1
        self.divisions[self.next_key] = self.next_key
        self.begin("wait_then_divide", self.next_key)
        return self.next_key

    @rule(key=consumes(suspended), value=st.integers(-5, 5))
    def resume(self, key: int, value: int) -> None:
        """Let one call go on, and compare its result."""
        self.later(lambda: self.gates.open(key, value))
        task = self.tasks.pop(key)
        if key in self.depths:
            assert task.result() == value + sum(key * 31 + d * 16 + (d & 15) for d in range(self.depths[key] + 1))
        elif value == 0:
            error = task.exception()
            assert isinstance(error, caesura.GuestTrap) and error.kind == "integer division by zero"
        else:
            assert task.result() == int(key / value)

    @rule(key=consumes(suspended))
    def fail(self, key: int) -> None:
        """Raise in a host function."""
        error = Failure()
        self.later(lambda: self.gates.fail(key, error))
        assert self.tasks.pop(key).exception() is error

    @rule(key=consumes(suspended))
    def cancel(self, key: int) -> None:
        """Cancel a task."""
        task = self.tasks.pop(key)
        self.later(task.cancel)
        assert task.cancelled()

    @rule(depth=st.integers(0, 60))
    def abandon(self, depth: int) -> None:
        """Start a call and drop it."""

        async def begin_and_drop() -> None:
            call = self.guest.call("descend", depth, 1)
            call.send(None)
            call.close()

        self.loop.run_until_complete(begin_and_drop())

    @rule(first=st.integers(-1000, 1000), second=st.integers(-1000, 1000))
    def add(self, first: int, second: int) -> None:
        """Use the guest while calls are suspended."""
        assert self.guest.call_nowait("add", first, second) == first + second

    @rule()
    def trap(self) -> None:
        """Let the guest trap while calls are suspended."""
        with pytest.raises(caesura.GuestTrap, match="integer division by zero"):
            self.guest.call_nowait("divide", 1, 0)

    @rule(keys=st.lists(consumes(suspended), max_size=4))
    def resume_together(self, keys: list[int]) -> None:
        """Let several calls go on in one turn of the loop."""

        def open_all() -> None:
            for key in keys:
                self.gates.open(key, 1)

        self.later(open_all)
        for key in keys:
            assert self.tasks.pop(key).exception() is None

    @rule(target=suspended, depths=st.lists(st.integers(0, 60), min_size=2, max_size=5))
    def start_together(self, depths: list[int]) -> Any:
        """Suspend several calls."""
        return multiple(*[self.descend(depth) for depth in depths])

    @invariant()
    def counts_agree(self) -> None:
        """The guest knows what is suspended."""
        if hasattr(self, "guest"):
            assert self.guest.suspended == len(self.tasks) == len(self.gates.futures)


Calls.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestCalls = Calls.TestCase
