"""Any Python object passes through a guest as an externref, also out of a host function that waits."""

from __future__ import annotations

import asyncio

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
