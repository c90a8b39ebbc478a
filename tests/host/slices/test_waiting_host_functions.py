"""Host functions that keep the thread by waiting, where the guest cannot be suspended, do so for a second at most."""

from __future__ import annotations

import contextlib
import time

import pytest

import caesura
from caesura.host.slices.slicing import MOST_OF_ONE, WAITING
from tests.host.slices.guests import SLICE
from tests.host.support import run

# `wait` calls the host so often; `nested` calls a host function that has `wait` called.
WAITER = b"""(module
  (import "env" "sleep" (func $sleep))
  (import "env" "now" (func $now (param i32)))
  (func (export "wait") (param i32)
    (loop (call $sleep) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "run") (param i32) (call $now (local.get 0)))
  (func (export "nested") (param i32) (loop (call $now (local.get 0)) (br 0))))"""

TRAPS = "time slice or budget over where the guest cannot be suspended"


@pytest.mark.parametrize("given", [{"time_slice": SLICE}, {"time_slice": SLICE, "preempt": "fuel"}])
@pytest.mark.parametrize("seconds", [0.03, 1.2 * MOST_OF_ONE])
def test_there_is_an_end_to_waiting(given: dict[str, object], seconds: float) -> None:
    async def main() -> None:
        calls = 0

        def sleep() -> None:
            nonlocal calls
            calls += 1
            time.sleep(seconds)

        def now(guest: caesura.Guest, count: int) -> None:
            guest.call_nowait("wait", count)

        guest = await caesura.load(WAITER, {"env": {"sleep": sleep, "now": now}}, **given)  # type: ignore[arg-type]
        with pytest.raises(caesura.GuestTrap, match=TRAPS):
            await guest.call("run", 10_000)
        assert calls <= WAITING / min(seconds, MOST_OF_ONE) + 2
        calls = 0
        await guest.call("run", 5)  # each call has a second anew, and few of them may be as long as they like
        assert calls == 5

    run(main())


def test_who_catches_the_trap_has_no_other_second() -> None:
    async def main() -> None:
        calls = 0

        def sleep() -> None:
            nonlocal calls
            calls += 1
            time.sleep(0.03)

        def now(guest: caesura.Guest, count: int) -> None:
            with contextlib.suppress(caesura.GuestTrap):
                guest.call_nowait("wait", count)

        guest = await caesura.load(WAITER, {"env": {"sleep": sleep, "now": now}}, time_slice=SLICE)
        for count in (3, 10_000):
            calls = 0
            with pytest.raises(caesura.GuestTrap, match=TRAPS):
                guest.call_nowait("nested", count)
            assert calls <= WAITING / 0.03 + 4

    run(main())


def test_what_can_be_suspended_may_wait_as_often_as_it_likes() -> None:
    async def main() -> None:
        imports = {"env": {"sleep": lambda: time.sleep(0.03), "now": lambda _: None}}
        guest = await caesura.load(WAITER, imports, time_slice=SLICE)
        await guest.call("wait", 40)
        assert guest.usage.slices
        unsliced = await caesura.load(WAITER, imports, preempt="flag")
        unsliced.call_nowait("wait", 40)  # nobody has asked for slices

    run(main())
