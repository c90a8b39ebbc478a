"""Any Python object passes through a guest as an externref, also out of a host function that waits."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import caesura

GUEST = """
(module
  (import "env" "get" (func $get (param i32) (result externref)))
  (import "env" "see" (func $see (param externref)))
  (func (export "run") (param i32)
    local.get 0
    call $get
    call $see))
"""


def test_a_waiting_host_function_returns_an_object() -> None:
    objects = [object(), {"a": [1]}]
    seen: list[object] = []

    async def get(guest: caesura.Guest, index: int) -> object:
        await asyncio.sleep(0)
        return objects[index]

    def see(guest: caesura.Guest, value: object) -> None:
        seen.append(value)

    async def main() -> None:
        async with await caesura.load(GUEST.encode(), imports={"env": {"get": get, "see": see}}) as guest:
            await asyncio.gather(guest.call("run", 1), guest.call("run", 0))

    asyncio.run(main())
    assert sorted(map(id, seen)) == sorted(map(id, objects))


KEEPER = """
(module
  (table $kept 4 externref)
  (func (export "keep") (param i32 externref) (table.set $kept (local.get 0) (local.get 1)))
  (func (export "give") (param i32) (result externref) (table.get $kept (local.get 0))))
"""


class Thing:
    """An object that can be watched."""

    guest: caesura.Guest | None = None


def test_a_guest_keeps_objects_apart() -> None:
    async def main() -> None:
        first, second = [await caesura.load(KEEPER.encode()) for _ in range(2)]
        things = [Thing() for _ in range(4)]
        for place, thing in enumerate(things):
            first.call_nowait("keep", place, thing)
            second.call_nowait("keep", 3 - place, thing)
        assert [first.call_nowait("give", place) for place in range(4)] == things
        assert [second.call_nowait("give", 3 - place) for place in range(4)] == things
        assert first.call_nowait("keep", 0, None) is None and first.call_nowait("give", 0) is None
        assert second.call_nowait("give", 3) is things[0]

    asyncio.run(main())


def test_a_guest_and_an_object_that_hold_each_other_are_collected() -> None:
    async def main() -> tuple[weakref.ref[Thing], weakref.ref[caesura.Guest]]:
        guest = await caesura.load(KEEPER.encode())
        thing = Thing()
        thing.guest = guest
        guest.call_nowait("keep", 0, thing)
        return weakref.ref(thing), weakref.ref(guest)

    thing, guest = asyncio.run(main())
    gc.collect()
    assert thing() is None and guest() is None


MAKER = """
(module
  (import "env" "make" (func $make (result externref)))
  (table $kept 1000 externref)
  (func (export "drop") (param i32)
    (loop (drop (call $make)) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "keep") (param i32)
    (loop
      (table.set $kept (i32.rem_u (local.get 0) (i32.const 1000)) (call $make))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "take") (param externref)))
"""


HOLDER = """
(module
  (import "env" "make" (func $make (result externref)))
  (import "env" "swap" (func $swap (param externref externref) (result externref externref)))
  (import "env" "see" (func $see (param externref)))
  (func (export "hold") (param i32) (param $first externref) (local $second externref)
    (local.set $second (call $make))
    (loop
      (call $swap (local.get $first) (local.get $second))
      (local.set $second)
      (local.set $first)
      (drop (call $make))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (call $see (local.get $first))
    (call $see (local.get $second))))
"""


class Counted:
    """An object of which is known how many there are."""

    alive = 0
    most = 0

    def __init__(self) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


@pytest.mark.parametrize("waits", [False, True])
def test_objects_that_a_guest_lets_go_do_not_pile_up_in_a_call(waits: bool) -> None:
    async def make_later() -> Counted:
        await asyncio.sleep(0)
        return Counted()

    async def main() -> None:
        guest = await caesura.load(MAKER.encode(), {"env": {"make": make_later if waits else Counted}})
        Counted.alive = Counted.most = 0
        await guest.call("drop", 20_000 if waits else 50_000)
        await guest.call("keep", 20_000 if waits else 50_000)
        for _ in range(20_000):
            guest.call_nowait("take", Counted())
        assert 1_000 <= Counted.alive <= Counted.most < 13_000
        guest.close()
        assert Counted.alive == 0  # at once

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_what_a_guest_holds_survives_collections() -> None:
    seen: list[object] = []

    async def main() -> None:
        made: list[Thing] = []

        def make() -> Thing:
            thing = Thing()
            made[:] = made or [thing]
            return thing

        imports = {"make": make, "swap": lambda first, second: (second, first), "see": seen.append}
        guest = await caesura.load(HOLDER.encode(), {"env": imports})
        first = Thing()
        guest.call_nowait("hold", 30_001, first)
        assert seen[0] is made[0] and seen[1] is first

    asyncio.run(main())


def test_an_object_that_goes_in_a_call_may_call_the_guest() -> None:
    answers: list[object] = []

    class Caller(Thing):
        def __del__(self) -> None:
            assert self.guest is not None
            try:
                answers.append(self.guest.call_nowait("take", None))
            except caesura.UsageError as error:
                answers.append(str(error))

    async def main() -> None:
        def make(guest: caesura.Guest) -> Caller:
            thing = Caller()
            thing.guest = guest
            return thing

        guest = await caesura.load(MAKER.encode(), {"env": {"make": make}})
        guest.call_nowait("drop", 15_000)
        assert len(answers) > 2_000 and set(answers) == {None}
        guest.close()
        assert len(answers) == 15_000 and set(answers) == {None, "this guest is closed"}

    asyncio.run(main())
