"""The calls of `test_calls_against_model`, in a guest that is paused wherever it can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize

from tests.host.slices.guests import SLICE
from tests.host.support import load_calls, settle
from tests.host.test_calls_against_model import Calls


class PausedCalls(Calls):
    """Calls that are paused again and again, on their way to where they wait and behind that."""

    @initialize()
    def load(self) -> None:
        """Load the guest, with slices that are over when they begin."""
        self.guest = self.loop.run_until_complete(
            load_calls("load", wait=self.gates.wait, note=lambda value: None, shadow_stack_size=16384, time_slice=SLICE)
        )
        slicing = self.guest._instance.slicing
        assert slicing is not None
        slicing.time_slice = 0.0

    def later(self, action: Callable[[], object]) -> None:
        """Do something inside the event loop, and let what follows from it happen, until no call is paused."""

        async def act() -> None:
            action()
            slicing = self.guest._instance.slicing
            assert slicing is not None
            await settle()
            while slicing.paused or slicing.thread.is_full:
                await settle()

        self.loop.run_until_complete(act())


TestPausedCalls = PausedCalls.TestCase
TestPausedCalls.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestPausedCalls = pytest.mark.one_form(TestPausedCalls)
