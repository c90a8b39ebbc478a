"""Guests that call each other through host functions: each waits for the other, and calls come back."""

from __future__ import annotations

import asyncio
from functools import partial

import caesura
from tests.host.support import run

# `down` n keeps n across a call of the other guest's `down` with n - 1, and waits for the host at the end.
GUEST = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (import "other" "down" (func $other (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "down") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.mul (local.get $n) (i32.const 3)) (call $other (i32.sub (local.get $n) (i32.const 1)))))
      (else (call $wait (i32.const 5))))))"""


def test_calls_go_back_and_forth() -> None:
    async def main() -> None:
        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return 2 * value

        guests: list[caesura.Guest] = []

        async def second(n: int) -> int:
            return int(await guests[1].call("down", n))

        guests.append(await caesura.load(GUEST, {"env": {"wait": wait}, "other": {"down": second}}, cache=False))
        first = partial(guests[0].call, "down")
        guests.append(await caesura.load(GUEST, {"env": {"wait": wait}, "other": {"down": first}}, cache=False))
        wanted = [3 * n * (n + 1) // 2 + 10 for n in range(8)]
        for guest in guests:
            assert [await guest.call("down", n) for n in range(8)] == wanted
            assert await asyncio.gather(*[guest.call("down", n) for n in range(8)]) == wanted

    run(main())
