"""Objects of Python's that suspended calls hold: the right ones come back, and none stays when no call is suspended."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, instrumented, run
from tests.support.engine import assemble

HOLDER = b"""
  (module
    (type $number (func (result i32)))
    (import "env" "exchange" (func $exchange (param externref) (result externref)))
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "check" (func $check (param externref externref) (result i32)))
    (memory (export "memory") 8)
    (table $functions 2 funcref)
    (elem (table $functions) (i32.const 0) func $one)
    (func (export "take") (param externref))
    (func $one (type $number) (i32.add (call $ask (i32.const 1)) (i32.const 1)))
    (func $apply (param $f funcref) (result i32)
      (table.set $functions (i32.const 1) (local.get $f))
      (call_indirect $functions (type $number) (i32.const 1)))
    (func $hold (export "hold") (param $depth i32) (param $kept externref) (result externref i32)
      (local $got externref) (local $f funcref) (local $sum i32)
      (local.set $f (table.get $functions (i32.const 0)))
      (local.set $got (call $exchange (local.get $kept)))
      (if (local.get $depth)
        (then
          (local.get $kept)
          (call $hold (i32.sub (local.get $depth) (i32.const 1)) (local.get $kept))
          (local.set $sum)
          (call $check)
          (local.set $sum (i32.add (local.get $sum)))))
      (local.get $got)
      (i32.add (local.get $sum) (i32.add (call $apply (local.get $f)) (call $ask (i32.const 2))))))
"""

# The state is shared with other modules; there are none here.
SHARED = ("thunks, shared", "plain, shared")

# References made after which objects that the guest has let go are looked for.
ENOUGH = 10_001


class Thing:
    """An object with a name."""

    def __init__(self, name: str) -> None:
        self.name = name


def name_of(thing: Thing | None) -> str:
    return "" if thing is None else thing.name


class Holder:
    """The guest, and the objects that were given to it."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.things: list[weakref.ref[Thing]] = []

    def make(self, name: str) -> Thing:
        """Return a new object, which is watched."""
        thing = Thing(name)
        self.things.append(weakref.ref(thing))
        return thing

    async def load(self, abi: str, end: int = 262_144, **limits: Any) -> caesura.Guest:
        """Load the guest; its asyncify stack ends at an address where the guest does not say."""
        imports = {"exchange": self.exchange, "ask": self.ask, "check": self.check}
        where: dict[str, Any] = {"stack_space": (1024, end)} if abi in ("thunks", "plain", *SHARED) else {}
        if abi in SHARED:
            options = caesura.Options(thunks=abi.startswith("thunks"), export_globals=True)
            module = caesura.instrument(assemble(HOLDER.decode()), options).module
        else:
            module = instrumented(HOLDER, abi)
        return await caesura.load(module, {"env": imports}, cache=False, **where, **limits)

    async def exchange(self, kept: Thing | None) -> Thing:
        """Return an object for one, later."""
        await self.wait()
        return self.make(f"for {name_of(kept)}")

    async def ask(self, number: int) -> int:
        """Return a number, later."""
        await self.wait()
        return number

    def check(self, kept: Thing | None, got: Thing) -> int:
        """Look at what a call holds."""
        assert got.name == f"for {name_of(kept)}"
        return 100

    async def wait(self) -> None:
        """Let others run."""
        for _ in range(self.choose.randrange(1, 6)):
            await asyncio.sleep(0)

    def alive(self, guest: caesura.Guest) -> int:
        """Return how many objects are alive once the guest has let go of what it has no references to."""
        for _ in range(ENOUGH):
            guest.call_nowait("take", guest)
        gc.collect()
        return sum(thing() is not None for thing in self.things)


@pytest.mark.parametrize("abi", ABIS)
def test_calls_hold_their_own_objects(abi: str) -> None:
    async def main() -> None:
        holder = Holder(random.Random(abi))
        async with await holder.load(abi) as guest:

            async def hold(number: int) -> None:
                kept = holder.make(f"call {number}") if number % 5 else None
                depth = number % 7
                got, total = await guest.call("hold", depth, kept)
                assert got.name == f"for {name_of(kept)}"
                assert total == depth * 100 + (depth + 1) * 4

            await asyncio.gather(*[hold(number) for number in range(60)])
            assert holder.alive(guest) == 0

    run(main())


@pytest.mark.parametrize("abi", [*ABIS, *SHARED])
def test_calls_that_are_cancelled_or_fail_hold_nothing(abi: str) -> None:
    async def main() -> None:
        holder = Holder(random.Random(abi))
        failing = False

        async def wait() -> None:
            await asyncio.sleep(0)
            if failing:
                raise ValueError("enough")

        holder.wait = wait  # type: ignore[method-assign]
        async with await holder.load(abi) as guest:
            for number in range(17):
                call = asyncio.create_task(guest.call("hold", 5, holder.make(f"call {number}")))
                for _ in range(number):
                    await asyncio.sleep(0)
                if number % 2:
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                else:
                    failing = True
                    with pytest.raises(ValueError, match="enough"):
                        await call
                    failing = False
                del call
            await guest.call("hold", 0, None)  # Python keeps the traceback of the last error until then
            assert guest.suspended == 0
            assert holder.alive(guest) == 0

    run(main())


@pytest.mark.parametrize("abi", ["thunks", "plain"])
def test_a_call_that_traps_holds_nothing(abi: str) -> None:
    """Its frames do not fit: some have been pushed."""

    async def main() -> None:
        holder = Holder(random.Random(abi))
        async with await holder.load(abi, 2_048) as guest:
            for number in range(5):
                with pytest.raises(caesura.GuestTrap):
                    await guest.call("hold", 60, holder.make(f"call {number}"))
            assert holder.alive(guest) == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_limits_on_tables_are_on_each_and_do_not_count_those_of_frames(abi: str) -> None:
    async def main() -> None:
        holder = Holder(random.Random(abi))
        async with await holder.load(abi, tables=1, table_limit=40) as guest:
            got, _ = await guest.call("hold", 5, holder.make("few"))
            assert got.name == "for few"
            with pytest.raises(caesura.GuestTrap, match="asyncify stack overflow"):
                await guest.call("hold", 60, holder.make("many"))
            got, _ = await guest.call("hold", 5, holder.make("few again"))
            assert got.name == "for few again"

    run(main())


@pytest.mark.parametrize("abi", [*ABIS, *SHARED])
def test_calls_that_are_abandoned_hold_nothing(abi: str) -> None:
    """Their coroutines are closed in the middle; others go on."""

    async def main() -> None:
        holder = Holder(random.Random(abi))
        async with await holder.load(abi) as guest:
            others = [asyncio.create_task(guest.call("hold", 6, holder.make(f"other {number}"))) for number in range(4)]
            await asyncio.sleep(0)
            for number in range(30):
                call = guest.call("hold", 3, holder.make(f"call {number}"))
                for _ in range(1 + number % 12):
                    call.send(None)
                await asyncio.sleep(0)
                call.close()
            for number, (got, _) in enumerate(await asyncio.gather(*others)):
                assert got.name == f"for other {number}"
            del others, got, call
            await guest.call("hold", 0, None)
            assert guest.suspended == 0
            assert holder.alive(guest) == 0

    run(main())
