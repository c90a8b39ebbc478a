"""A guest's function as a Python generator: no event loop, no thread.

The guest walks through permutations with an ordinary recursive function, and calls `visit` for each. In
Python `visit` is marked as yielding, so the recursion stops there until the next value is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import caesura

PERMUTATIONS = b"""(module
  (import "env" "visit" (func $visit (param i32)))
  ;; Visits every number whose digits are $left more than those of $prefix, each once; $used: bits.
  (func $walk (param $prefix i32) (param $left i32) (param $used i32) (local $digit i32)
    (if (i32.eqz (local.get $left))
      (then (call $visit (local.get $prefix)) (return)))
    (local.set $digit (i32.const 1))
    (loop $next
      (if (i32.eqz (i32.and (local.get $used) (i32.shl (i32.const 1) (local.get $digit))))
        (then
          (call $walk
            (i32.add (i32.mul (local.get $prefix) (i32.const 10)) (local.get $digit))
            (i32.sub (local.get $left) (i32.const 1))
            (i32.or (local.get $used) (i32.shl (i32.const 1) (local.get $digit))))))
      (br_if $next (i32.le_u (local.tee $digit (i32.add (local.get $digit) (i32.const 1))) (i32.const 3)))))
  (func (export "permutations") (call $walk (i32.const 0) (i32.const 3) (i32.const 0))))
"""


async def load() -> caesura.Guest:
    """Load the guest; `visit` gives what it is called with."""
    return await caesura.load(PERMUTATIONS, {"env": {"visit": caesura.yielding(lambda number: number)}})


def permutations(guest: caesura.Guest) -> Iterator[int]:
    """Return the permutations of the digits 1 to 3, one at a time."""
    return guest.generate("permutations")


if __name__ == "__main__":
    print(*permutations(asyncio.run(load())))
