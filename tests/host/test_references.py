"""Any Python object passes through a guest as an externref, also out of a host function that waits."""

from __future__ import annotations

import asyncio
import gc
import weakref

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
