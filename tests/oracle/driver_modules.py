"""The driver of a guest, as WebAssembly text, and the stub that stands for the ABI of a guest that is not instrumented.

The driver calls an entry, and while the guest has unwound it lets the world act, and calls the entry again, with other
arguments, to rewind. It owns the asyncify stacks: one for the entry and one for an entry that an import calls.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import CONTROL_BLOCK, REQUEST_BYTE_OFFSET
from tests.oracle import thunk_drivers
from tests.oracle.host_modules import MIX, signature_text
from tests.oracle.world import (
    ENTRY_TYPES,
    SECONDARY_PAGES,
    SECONDARY_STACKS,
    STACK_SIZE,
    STACKS,
    TYPE_NAMES,
)


def stub_text() -> str:
    """What stands for the ABI where the guest is not instrumented: its state is always normal."""
    return f"""
(module
  (memory (export "asyncify_memory") {SECONDARY_PAGES})
  (func (export "asyncify_get_state") (result i32) (i32.const 0)))
"""


# What a driver does for a guest that counts: the next portion, and what is used in the end.
FUEL: Final = """
  (import "abi" "asyncify_fuel" (global $fuel (mut i64)))
  (import "env" "note_fuel" (func $note_fuel (param i64)))
  (global $given (mut i64) (i64.const 0))
  (func $wants_pause (result i32) (i64.lt_s (global.get $fuel) (i64.const 0)))
  (func $refuel (local $more i64)
    (local.set $more (i64.sub (call $portion) (global.get $fuel)))
    (global.set $given (i64.add (global.get $given) (local.get $more)))
    (global.set $fuel (i64.add (global.get $fuel) (local.get $more))))
  (func $begin_pauses (global.set $fuel (i64.const 0)) (call $refuel))
  (func $end_pauses (call $note_fuel (i64.sub (global.get $given) (global.get $fuel))))"""

# And for one that looks at a request.
FLAG: Final = f"""
  (func $wants_pause (result i32) (i32.load8_u (i32.const {CONTROL_BLOCK + REQUEST_BYTE_OFFSET})))
  (func $refuel (i32.store8 (i32.const {CONTROL_BLOCK + REQUEST_BYTE_OFFSET}) (i32.const 0)))
  (func $begin_pauses
    (i32.store8 (i32.const {CONTROL_BLOCK + REQUEST_BYTE_OFFSET}) (i64.eqz (call $portion))))
  (func $end_pauses)
  (func $asked_state (result i32)
    (if (i32.eqz (call $state)) (then (call $begin_pauses)))
    (call $state))"""


def driver_text(
    memory64: bool,
    secondary: bool,
    instrumented: bool,
    legacy_exceptions: bool,
    *,
    pausing: str = "",
    thunks: bool = False,
) -> str:
    """The module that calls the guest's entries and suspends and resumes them.

    With `pausing` the guest has pause points: for "fuel" it gets that in portions; for "flag" it is asked to pause, or
    not, when it begins and whenever it calls an import, as often as portions are zero. With `thunks`, which takes
    `pausing` and `secondary`, it is driven by these.
    """
    pointer = "i64" if memory64 and not secondary else "i32"
    size = 8 if pointer == "i64" else 4
    memory = ('"abi" "asyncify_memory"', "1") if secondary else ('"ground" "memory"', "1")
    index = "i64" if pointer == "i64" else ""
    base = (
        f"(i32.add (i32.const {SECONDARY_STACKS if secondary else STACKS}) "
        f"(i32.mul (call $level) (i32.const {STACK_SIZE})))"
    )
    structure = f"(i64.extend_i32_u {base})" if pointer == "i64" else base
    start = f"({pointer}.add {structure} ({pointer}.const 16))"
    end = f"({pointer}.add {structure} ({pointer}.const {STACK_SIZE - 64}))"
    conversions = (
        "(i32.wrap_i64 (local.get $x))",
        "(local.get $x)",
        "(call $as_f32 (local.get $x))",
        "(call $as_f64 (local.get $x))",
        "(call $as_v128 (local.get $x))",
    )
    arguments = " ".join(conversions)
    results = "".join(f"(local $r{i} {TYPE_NAMES[t]})" for i, t in enumerate(ENTRY_TYPES))
    take = " ".join(f"(local.set $r{i})" for i in reversed(range(len(ENTRY_TYPES))))
    again = " ".join(f"(local.get $r{i})" for i in range(len(ENTRY_TYPES)))
    drops = "(drop) " * len(ENTRY_TYPES)
    call = "(if (local.get $entry) (then {0} (call $entry1) {1}) (else {0} (call $entry0) {1}))"
    abi = f"""
  (import "abi" "asyncify_start_unwind" (func $start_unwind (param {pointer})))
  (import "abi" "asyncify_stop_unwind" (func $stop_unwind))
  (import "abi" "asyncify_start_rewind" (func $start_rewind (param {pointer})))
  (import "abi" "asyncify_stop_rewind" (func $stop_rewind))"""
    stubs = f"""
  (func $start_unwind (param {pointer}) unreachable)
  (func $stop_unwind unreachable)
  (func $start_rewind (param {pointer}) unreachable)
  (func $stop_rewind unreachable)"""
    pauses = f"""
  {"" if thunks else f'(import "abi" "asyncify_pause_data" (global $pause_data (mut {pointer})))'}
  (import "env" "portion" (func $portion (result i64)))
  {FLAG if pausing == "flag" else FUEL}"""
    prepare = f"""
    (local.set $pause (global.get $pause_data))
    ({pointer}.store {structure} {start})
    ({pointer}.store offset={size} {structure} {end})
    (global.set $pause_data {structure})"""
    refuel = "(if (i32.eqz (call $wants_pause)) (then (call $fault (i32.const 9)))) (call $refuel)"
    begin = "(call $begin_pauses)" if pausing else ""
    finish = "(call $end_pauses)" if pausing else ""
    state_hook = "$asked_state" if pausing == "flag" else "$state"
    signature = signature_text(ENTRY_TYPES, ENTRY_TYPES)
    entries = thunk_drivers.ENTRY_NAMES if thunks else ("entry0", "entry1")
    hooks = f"""
  (global $asked (mut i32) (i32.const 0))
  (func $suspend
    ({pointer}.store {structure} {start})
    ({pointer}.store offset={size} {structure} {end})
    (global.set $asked (i32.const 1))
    (call $start_unwind {structure}))

  (func $resumed
    (call $stop_rewind)
    (if ({pointer}.ne ({pointer}.load {structure}) {start}) (then (call $fault (i32.const 3)))))

  ;; A host may call an export from inside an import that is suspending; that must do nothing. The entry called is
  ;; the one that unwinds, which is surely instrumented.
  (func $poke
    (local $x i64) (local $entry i32)
    (local.set $entry (global.get $running))
    (local.set $x (i64.const 0x0BADBADBADBADBAD))
    {call.format(arguments, drops)}
    (if (i32.or (i32.ne (call $state) (i32.const 1)) ({pointer}.ne ({pointer}.load {structure}) {start}))
      (then (call $fault (i32.const 8)))))"""
    goes_on = f"""
    (loop $again
      (if (i32.eq (call $state) (i32.const 1))
        (then
          (if ({pointer}.le_u ({pointer}.load {structure}) {start}) (then (call $fault (i32.const 7))))
          (call $stop_unwind)
          (if (global.get $asked)
            (then
              (global.set $asked (i32.const 0))
              (call $while_suspended))
            (else {refuel if pausing else "(call $fault (i32.const 9))"}))
          (call $start_rewind {structure})
          (local.set $x (call $mix (local.get $x)))
          {call.format(arguments, take)}
          (br $again))))"""
    restore = "(global.set $pause_data (local.get $pause))"
    if thunks:
        abi = ""
        hooks = thunk_drivers.hooks(start, end, asks=pausing == "flag")
        state_hook = "$state_of_world"
        prepare = thunk_drivers.prepare(start, end)
        goes_on = thunk_drivers.goes_on(start, end, call.format(arguments, take), refuel)
        restore = thunk_drivers.RESTORE
    if legacy_exceptions:
        guarded = """
    try
      (call $drive (local.get $entry) (call $begin_entry (local.get $entry)))
    catch $tag0
      local.set $i
      (call $log_exception (i32.const 0) (i64.extend_i32_u (local.get $i)) (i64.const 0))
    catch $tag1
      local.set $l local.set $d
      (call $log_exception (i32.const 1) (local.get $l) (i64.reinterpret_f64 (local.get $d)))
    catch_all
      (call $log_exception (i32.const 2) (i64.const 0) (i64.const 0))
    end"""
    else:
        guarded = """
    (block $done
      (block $any
        (block $second (result f64 i64)
          (block $first (result i32)
            (try_table (catch $tag0 $first) (catch $tag1 $second) (catch_all $any)
              (call $drive (local.get $entry) (call $begin_entry (local.get $entry))))
            (br $done))
          (local.set $i)
          (call $log_exception (i32.const 0) (i64.extend_i32_u (local.get $i)) (i64.const 0))
          (br $done))
        (local.set $l) (local.set $d)
        (call $log_exception (i32.const 1) (local.get $l) (i64.reinterpret_f64 (local.get $d)))
        (br $done))
      (call $log_exception (i32.const 2) (i64.const 0) (i64.const 0)))"""
    return f"""
(module
  (import {memory[0]} (memory {index} {memory[1]}))
  (import "env" "hooks" (table 8 funcref))
  (import "env" "fault" (func $fault (param i32)))
  (import "env" "level" (func $level (result i32)))
  (import "env" "while_suspended" (func $while_suspended))
  (import "env" "begin_entry" (func $begin_entry (param i32) (result i64)))
  (import "env" "log_results" (func $log_results (param i32 {" ".join(TYPE_NAMES[t] for t in ENTRY_TYPES)})))
  (import "env" "log_exception" (func $log_exception (param i32 i64 i64)))
  (import "env" "log_globals" (func $log_globals))
  (import "env" "tag0" (tag $tag0 (param i32)))
  (import "env" "tag1" (tag $tag1 (param f64 i64)))
  (import "guest" "{entries[0]}" (func $entry0 {signature}))
  (import "guest" "{entries[1]}" (func $entry1 {signature}))
  (import "guest" "dump" (func $dump))
  (import "abi" "asyncify_get_state" (func $state (result i32)))
  {abi if instrumented else ""}
  {pauses if pausing else ""}
  (elem (i32.const 0) func {state_hook} $suspend $resumed $enter $poke)
  {"" if instrumented else stubs}
  (global $running (mut i32) (i32.const 0))
  {MIX}
  {hooks}

  (func $drive (param $entry i32) (param $x i64)
    {results} (local $status i32) (local $frames i32)
    (global.set $running (local.get $entry))
    {call.format(arguments, take)}
    {goes_on}
    (if (call $state) (then (call $fault (i32.const 6))))
    (call $log_results (local.get $entry) {again}))

  (func $enter (export "enter") (param $entry i32)
    (local $i i32) (local $l i64) (local $d f64) (local $outer i32) (local $pause {pointer}) (local $end i32)
    (local.set $outer (global.get $running))
    {prepare if pausing else ""}
    {guarded}
    {restore if pausing else ""}
    (global.set $running (local.get $outer))
    (if (call $state) (then (call $fault (i32.const 6)))))

  (func (export "run") (param $entries i32)
    (local $i i32)
    {begin}
    (loop $next
      (call $enter (i32.and (local.get $i) (i32.const 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $entries)))))

  (func (export "finish") (call $dump) (call $log_globals) {finish}))
"""
