"""A guest that computes in many ways, and loading it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import caesura

# `spin` computes for ever, `count` up to a number, `until` down from one, or until the host has written to address 0,
# `depth` and `until` as deep as they are told; `again` and `later` call the host, which may call the guest.
COMPUTING: Final = b"""(module
  (import "env" "again" (func $again (param i32) (result i32)))
  (import "env" "later" (func $later (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $turns (mut i32) (i32.const 0))
  (func (export "spin") (loop (global.set $turns (i32.add (global.get $turns) (i32.const 1))) (br 0)))
  (func (export "turns") (result i32) (global.get $turns))
  (func $count (export "count") (param i64) (result i64) (local i64)
    (loop
      (local.set 1 (i64.add (local.get 1) (i64.const 1)))
      (br_if 0 (i64.lt_u (local.get 1) (local.get 0))))
    (local.get 1))
  (func $depth (export "depth") (param i32) (param i64) (result i64)
    (if (result i64) (local.get 0)
      (then (i64.add (i64.const 1) (call $depth (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
      (else (call $count (local.get 1)))))
  (func $until (export "until") (param i32) (param i64) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (call $until (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
      (else
        (loop
          (local.set 1 (i64.sub (local.get 1) (i64.const 1)))
          (br_if 0 (i32.and (i64.ne (local.get 1) (i64.const 0)) (i32.eqz (i32.load8_u (i32.const 0))))))
        (i32.const 0))))
  (func (export "call_again") (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 1)))
  (func (export "call_later") (param i32) (result i32) (i32.add (call $later (local.get 0)) (i32.const 1)))
  (func (export "later_and_count") (param i32) (param i64) (result i64)
    (i64.add (i64.extend_i32_s (call $later (local.get 0))) (call $count (local.get 1))))
  (func (export "quick") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))
"""

# As the issue of a slice's length is none of the tests': short ones are over sooner.
SLICE: Final = 0.002

# More than any slice, and soon done.
MUCH: Final = 20_000_000

# More than any slice on any machine, and not to be waited for.
AGES: Final = 1 << 40


async def load(**given: Any) -> caesura.Guest:
    """Load the guest; host functions that are not given must not be called."""

    def unused(value: int) -> int:
        raise AssertionError(f"called with {value}")

    names = ("again", "later")
    functions = {name: given.pop(name, unused) for name in names}
    if "preempt" not in given:
        given.setdefault("time_slice", SLICE)
    return await caesura.load(COMPUTING, {"env": functions}, **given)


async def paused(guest: caesura.Guest, name: str, *arguments: Any) -> asyncio.Task[Any]:
    """Return the task of a call that is paused now; where it came to its end before it was, it is made again."""
    while True:
        task = asyncio.create_task(guest.call(name, *arguments))
        while not task.done():
            await asyncio.sleep(0)
            if guest.suspended:
                return task
        await task


async def until_paused(guest: caesura.Guest, depth: int = 0) -> int:
    """Let the guest compute, so deep in a recursion, until it was paused at the end of a slice; return that depth."""
    guest.memory.write(0, b"\0")
    before = guest.usage.slices
    task = asyncio.create_task(guest.call("until", depth, AGES))
    while guest.usage.slices == before:
        await asyncio.sleep(0)
    guest.memory.write(0, b"\1")
    return int(await task)
