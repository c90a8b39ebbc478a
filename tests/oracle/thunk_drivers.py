"""What a driver does for a guest with thunks, as WebAssembly text, where `driver_modules` speaks the plain ABI.

The control block lies in the secondary memory. The import that has suspended is called again (RESUME_CALL), so that it
can compare its arguments. Only the guest knows of a state then, so the driver keeps one of its own for the world: 1
from an import's wish to suspend to the return of the entry, 2 from the resumption to that import.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import CONTROL_BLOCK, PAUSE_OFFSET, STATUS_OFFSET, Status

CURRENT: Final = f"(i32.const {CONTROL_BLOCK})"
END: Final = f"(i32.const {CONTROL_BLOCK + 4})"
STATUS: Final = f"(i32.const {CONTROL_BLOCK + STATUS_OFFSET})"
PAUSE: Final = f"(i32.const {CONTROL_BLOCK + PAUSE_OFFSET})"

ENTRY_NAMES: Final = ("asyncify_entry:entry0", "asyncify_entry:entry1")
"""Under these the driver imports entries; where one cannot be suspended it has no thunk, and is meant itself."""


def hooks(start: str, end: str, *, asks: bool) -> str:
    """The functions by which the world suspends the guest; with `asks` it is asked to pause, or not, in imports."""
    begin = "(if (i32.eqz (global.get $phase)) (then (call $begin_pauses)))" if asks else ""
    return f"""
  (global $phase (mut i32) (i32.const 0))
  (func $state_of_world (result i32)
    (if (call $state) (then (call $fault (i32.const 6))))
    {begin}
    (global.get $phase))
  (func $suspend
    (i32.store {CURRENT} {start})
    (i32.store {END} {end})
    (i32.store {STATUS} (i32.const {Status.SUSPEND:d}))
    (global.set $phase (i32.const 1)))
  (func $resumed
    (global.set $phase (i32.const 0))
    (if (i32.load {STATUS}) (then (call $fault (i32.const 3))))
    (if (i32.ne (i32.load {CURRENT}) {start}) (then (call $fault (i32.const 3)))))
  ;; The state is normal while an import runs: whatever is called then would run.
  (func $poke)"""


def prepare(start: str, end: str) -> str:
    """What is done before an entry is called: frames of pauses, too, get the place of its level."""
    return f"""
    (local.set $pause (i32.load {PAUSE}))
    (local.set $end (i32.load {END}))
    (i32.store {PAUSE} {start})
    (i32.store {END} {end})"""


RESTORE: Final = f"""
    (i32.store {PAUSE} (local.get $pause))
    (i32.store {END} (local.get $end))"""


def goes_on(start: str, end: str, call_again: str, refuel: str) -> str:
    """What follows the call of an entry: while it was suspended, or has paused, it is resumed."""
    return f"""
    (loop $again
      (local.set $status (i32.load {STATUS}))
      (if (local.get $status)
        (then
          (local.set $frames (i32.load {CURRENT}))
          (if (i32.le_u (local.get $frames) {start}) (then (call $fault (i32.const 7))))
          (i32.store {STATUS} (i32.const {Status.RUN:d}))
          (if (i32.eq (local.get $status) (i32.const {Status.SUSPEND:d}))
            (then
              (if (i32.ne (global.get $phase) (i32.const 1)) (then (call $fault (i32.const 9))))
              (global.set $phase (i32.const 0))
              (call $while_suspended)
              (global.set $phase (i32.const 2))
              (local.set $status (i32.const {Status.RESUME_CALL:d})))
            (else
              (if (i32.ne (local.get $status) (i32.const {Status.PAUSED:d})) (then (call $fault (i32.const 9))))
              (if (global.get $phase) (then (call $fault (i32.const 9))))
              {refuel}
              (local.set $status (i32.const {Status.RESUME:d}))))
          (i32.store {CURRENT} (local.get $frames))
          (i32.store {END} {end})
          (i32.store {STATUS} (local.get $status))
          (local.set $x (call $mix (local.get $x)))
          {call_again}
          (br $again))))
    (if (global.get $phase) (then (call $fault (i32.const 6))))"""
