"""The hosts around a guest, as WebAssembly text: its memory, its imports, and the driver that suspends and resumes it.

Four modules are linked. `ground` owns the guest's memory. `world` provides the imports, the mutable globals, the
function table and the tags that a guest uses, and keeps the ledger: a memory with the log of everything that can be
observed. `driver` calls the guest's entries, and unwinds and rewinds it through the Asyncify ABI. `stub` stands in for
the ABI when the guest is not instrumented. World and driver need each other, so the world calls the driver through a
table of hooks that the driver fills.

An import also checks what the ABI promises: the same arguments again when it is rewound to, an asyncify stack that is
empty again when rewinding is done, no call of an import while the guest unwinds. What it finds wrong goes to the
ledger's fault word.
"""

from __future__ import annotations

from typing import Final

from tests.oracle.world import (
    BEFORE_RETURN,
    BEHAVIOUR_COUNT,
    BEHAVIOURS,
    CHANGE_GLOBALS,
    ENTRY_CALLS,
    ENTRY_TYPES,
    F32,
    F64,
    FUEL,
    FUEL_USED,
    GLOBALS,
    GROUND_PAGES,
    GROUND_PAGES_MAXIMUM,
    I32,
    I64,
    IMPORTS,
    LOG_POSITION,
    NESTED_ENTRY,
    PAUSES,
    POKE,
    PORTIONS,
    ROTATE_TABLE,
    SCRIBBLE,
    SCRIBBLE_AND_CHANGE,
    SEED,
    SUSPENDING_MASK,
    SUSPENSION_COUNT,
    SUSPENSIONS,
    TABLE_SIZE,
    TAGS,
    THROW_LARGE,
    THROW_SMALL,
    TYPE_NAMES,
    UNWINDS,
    V128,
    VOLATILE_SLOTS,
    WHEN_CALLED,
    WHILE_SUSPENDED,
    Import,
)


def garbage(types: tuple[int, ...]) -> str:
    """Garbage values: what a suspended import returns must never be seen."""
    garbage = {
        I32: "(i32.const 0x0BADF00D)",
        I64: "(i64.const 0x0BADF00D0BADF00D)",
        F32: "(f32.const 12345.5)",
        F64: "(f64.const 54321.5)",
        V128: "(v128.const i32x4 0xBAD 0xF00D 0xBAD 0xF00D)",
    }
    return " ".join(garbage[t] for t in types)


def signature_text(params: tuple[int, ...], results: tuple[int, ...]) -> str:
    parts = [f"(param {' '.join(TYPE_NAMES[t] for t in params)})"] if params else []
    parts += [f"(result {' '.join(TYPE_NAMES[t] for t in results)})"] if results else []
    return " ".join(parts)


def to_ledger(valtype: int, value: str, address: str, offset: int) -> str:
    """Code that writes a value, bit for bit, into a 16-byte place of the ledger."""
    if valtype == V128:
        return f"(v128.store offset={offset} {address} {value})"
    as_i64 = {
        I32: f"(i64.extend_i32_u {value})",
        I64: value,
        F32: f"(i64.extend_i32_u (i32.reinterpret_f32 {value}))",
        F64: f"(i64.reinterpret_f64 {value})",
    }[valtype]
    return f"(v128.store offset={offset} {address} (i64x2.replace_lane 0 (v128.const i64x2 0 0) {as_i64}))"


def _import_function(number: int, function: Import) -> str:
    stores = "\n".join(
        to_ledger(t, f"(local.get {i})", "(i32.const 384)", 16 * i) for i, t in enumerate(function.params)
    )
    results = " ".join(f"(call $value_{TYPE_NAMES[t]} (i32.const {i}))" for i, t in enumerate(function.results))
    return f"""
  (func (export "{function.name}") {signature_text(function.params, function.results)}
    {stores}
    (if (call $enter (i32.const {number}) (i32.const {16 * len(function.params)}))
      (then (return {garbage(function.results)})))
    (call $leave)
    {results})"""


MIX: Final = """
  (func $mix (param $x i64) (result i64)
    (local.set $x (i64.add (local.get $x) (i64.const 0x9E3779B97F4A7C15)))
    (local.set $x (i64.mul (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 30)))
      (i64.const 0xBF58476D1CE4E5B9)))
    (local.set $x (i64.mul (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 27)))
      (i64.const 0x94D049BB133111EB)))
    (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 31))))

  ;; Half of the values are small or ordinary, the others any bits, with signalling NaNs among them.
  (func $as_i32 (param $x i64) (result i32)
    (if (result i32) (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 40)) (i64.const 1)))
      (then (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 7)))
      (else (i32.wrap_i64 (local.get $x)))))
  (func $as_f32 (param $x i64) (result f32)
    (if (result f32) (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 40)) (i64.const 1)))
      (then (f32.convert_i32_s (i32.shr_s (i32.wrap_i64 (local.get $x)) (i32.const 20))))
      (else (f32.reinterpret_i32 (i32.or
        (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0x801FFFFF))
        (i32.const 0x7F800000))))))
  (func $as_f64 (param $x i64) (result f64)
    (if (result f64) (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 40)) (i64.const 1)))
      (then (f64.convert_i32_s (i32.shr_s (i32.wrap_i64 (local.get $x)) (i32.const 20))))
      (else (f64.reinterpret_i64 (i64.or
        (i64.and (local.get $x) (i64.const 0x8003FFFFFFFFFFFF))
        (i64.const 0x7FF0000000000000))))))
  (func $as_v128 (param $x i64) (result v128)
    (i64x2.replace_lane 1 (i64x2.splat (local.get $x)) (call $mix (local.get $x))))
"""


def ground_text(memory64: bool) -> str:
    """The module that owns the guest's memory."""
    index = "i64" if memory64 else ""
    address = "(i64.extend_i32_u (local.get 0))" if memory64 else "(local.get 0)"
    return f"""
(module
  (memory (export "memory") {index} {GROUND_PAGES} {GROUND_PAGES_MAXIMUM})
  (func (export "scribble") (param i32 i64) (i64.store {address} (local.get 1))))
"""


def world_text(memory64: bool) -> str:
    """The module of the imports and the ledger."""
    pointer = "i64" if memory64 else "i32"
    level = "(i32.add (i32.const 64) (i32.shl (global.get $level) (i32.const 5)))"
    saved = "(i32.add (i32.const 128) (i32.shl (global.get $level) (i32.const 7)))"
    serial = f"(i64.extend_i32_u (i32.load offset=16 {level}))"
    value = f"(call $mix (i64.add (i64.mul {serial} (i64.const 64)) (i64.extend_i32_u (local.get $slot))))"
    conversions = {
        I32: f"(call $as_i32 {value})",
        I64: value,
        F32: f"(call $as_f32 {value})",
        F64: f"(call $as_f64 {value})",
        V128: f"(call $as_v128 {value})",
    }
    values = "".join(
        f"""
  (func $value_{TYPE_NAMES[t]} (param $slot i32) (result {TYPE_NAMES[t]})
    {conversion})"""
        for t, conversion in conversions.items()
    )
    globals_ = "".join(
        f'(global $global{i} (export "global{i}") (mut {TYPE_NAMES[t]}) {zero})\n  '
        for i, (t, zero) in enumerate(
            zip(
                GLOBALS,
                (
                    "(i32.const 3)",
                    "(i64.const -5)",
                    "(f32.const nan:0x200001)",
                    "(f64.const 1.5)",
                    "(v128.const i64x2 1 2)",
                ),
                strict=True,
            )
        )
    )
    change_globals = "".join(
        f"(global.set $global{i} (call $value_{TYPE_NAMES[t]} (i32.const {20 + i})))\n      "
        for i, t in enumerate(GLOBALS)
    )
    log_globals = "\n    ".join(
        to_ledger(t, f"(global.get $global{i})", "(local.get $at)", 16 * i) for i, t in enumerate(GLOBALS)
    )
    log_results = "\n    ".join(
        to_ledger(t, f"(local.get {i + 1})", "(local.get $at)", 16 + 16 * i) for i, t in enumerate(ENTRY_TYPES)
    )
    tags = "\n  ".join(f'(tag $tag{i} (export "tag{i}") {signature_text(p, ())})' for i, p in enumerate(TAGS))
    return f"""
(module
  (import "ground" "scribble" (func $scribble (param i32 i64)))
  (memory (export "ledger") 8)
  (table $hooks (export "hooks") 8 funcref)
  (table $table (export "table") {TABLE_SIZE} funcref)
  (global $level (mut i32) (i32.const 0))
  (global $fuel (export "fuel") (mut i32) (i32.const 0))
  {globals_}
  (global (export "__asyncify_state") (mut i32) (i32.const 0))
  (global (export "__asyncify_data") (mut {pointer}) ({pointer}.const 0))
  {tags}
  {MIX}
  {values}

  (func $fault (export "fault") (param $code i32)
    (if (i32.eqz (i32.load (i32.const 0))) (then (i32.store (i32.const 0) (local.get $code)))))

  (func $reserve (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (i32.load (i32.const {LOG_POSITION})))
    (i32.store (i32.const {LOG_POSITION}) (i32.add (local.get $at) (local.get $bytes)))
    (local.get $at))

  (func $state (result i32) (call_indirect $hooks (result i32) (i32.const 0)))
  (func (export "level") (result i32) (global.get $level))

  ;; Called by the driver of a guest with pause points: the next portion of fuel, and what was used in the end.
  (func (export "portion") (result i64)
    (local $pauses i32)
    (local.set $pauses (i32.add (i32.load (i32.const {PAUSES})) (i32.const 1)))
    (i32.store (i32.const {PAUSES}) (local.get $pauses))
    (i64.and (i64.load32_u (i32.const {PORTIONS})) (call $mix (i64.extend_i32_u (local.get $pauses)))))
  (func (export "note_fuel") (param i64) (i64.store (i32.const {FUEL_USED}) (local.get 0)))

  ;; Called first by each import: 1 if it suspends and has to return at once.
  (func $enter (param $id i32) (param $bytes i32) (result i32)
    (local $state i32) (local $count i32) (local $at i32) (local $suspension i32)
    (local.set $state (call $state))
    (local.set $suspension (i32.load8_u offset={SUSPENSIONS}
      (i32.rem_u (i32.load offset=16 {level}) (i32.load (i32.const {SUSPENSION_COUNT})))))
    (if (i32.eq (local.get $state) (i32.const 1))
      (then (call $fault (i32.const 4)) (return (i32.const 1))))
    (if (i32.eq (local.get $state) (i32.const 2))
      (then
        (call_indirect $hooks (i32.const 2))
        (if (i32.ne (i32.load {level}) (i32.add (local.get $id) (i32.const 1)))
          (then (call $fault (i32.const 1))))
        (if (call $differ (i32.const 384) {saved} (local.get $bytes)) (then (call $fault (i32.const 2)))))
      (else
        (if (i32.load {level}) (then (call $fault (i32.const 5))))
        (local.set $count (i32.load (i32.const 12)))
        (i32.store (i32.const 12) (i32.add (local.get $count) (i32.const 1)))
        (if (i32.gt_u (local.get $count) (i32.const 300)) (then (global.set $fuel (i32.const 0))))
        (if (i32.gt_u (local.get $count) (i32.const 1000)) (then unreachable))
        (local.set $at (call $reserve (i32.add (local.get $bytes) (i32.const 8))))
        (i32.store (local.get $at) (local.get $id))
        (i32.store offset=4 (local.get $at) (global.get $level))
        (memory.copy (i32.add (local.get $at) (i32.const 8)) (i32.const 384) (local.get $bytes))
        (memory.copy {saved} (i32.const 384) (local.get $bytes))
        (i32.store offset=8 {level} (i32.load8_u offset={BEHAVIOURS}
          (i32.rem_u (local.get $count) (i32.load (i32.const {BEHAVIOUR_COUNT})))))
        (i32.store offset=12 {level} (i32.const 0))
        (i32.store offset=16 {level} (local.get $count))
        (local.set $suspension (i32.load8_u offset={SUSPENSIONS}
          (i32.rem_u (local.get $count) (i32.load (i32.const {SUSPENSION_COUNT})))))
        (i32.store offset=4 {level} (select
          (i32.and (local.get $suspension) (i32.const 3))
          (i32.const 0)
          (i32.and (i32.shr_u (i32.load (i32.const {SUSPENDING_MASK})) (local.get $id)) (i32.const 1))))
        (call $act_when (i32.const {WHEN_CALLED}))))
    (if (i32.load offset=4 {level})
      (then
        (i32.store offset=4 {level} (i32.sub (i32.load offset=4 {level}) (i32.const 1)))
        (i32.store {level} (i32.add (local.get $id) (i32.const 1)))
        (i32.store (i32.const {UNWINDS}) (i32.add (i32.load (i32.const {UNWINDS})) (i32.const 1)))
        (call_indirect $hooks (i32.const 1))
        (if (i32.and (local.get $suspension) (i32.const {POKE}))
          (then (call_indirect $hooks (i32.const 4))))
        (return (i32.const 1))))
    (i32.store {level} (i32.const 0))
    (i32.const 0))

  ;; Called by each import before it returns for good.
  (func $leave
    (local $behaviour i32)
    (call $act_when (i32.const {WHILE_SUSPENDED}))
    (call $act_when (i32.const {BEFORE_RETURN}))
    (local.set $behaviour (i32.and (i32.load offset=8 {level}) (i32.const 7)))
    (if (i32.eq (local.get $behaviour) (i32.const {THROW_SMALL}))
      (then (throw $tag0 (call $value_i32 (i32.const 30)))))
    (if (i32.eq (local.get $behaviour) (i32.const {THROW_LARGE}))
      (then (throw $tag1 (call $value_f64 (i32.const 31)) (call $value_i64 (i32.const 32))))))

  ;; Called by the driver between unwinding and rewinding.
  (func (export "while_suspended") (call $act_when (i32.const {WHILE_SUSPENDED})))

  (func $act_when (param $phase i32)
    (local $kind i32)
    (if (i32.load offset=12 {level}) (then (return)))
    (if (i32.ne (local.get $phase) (i32.and (i32.load offset=8 {level}) (i32.const 0x18))) (then (return)))
    (i32.store offset=12 {level} (i32.const 1))
    (local.set $kind (i32.and (i32.load offset=8 {level}) (i32.const 7)))
    (if (i32.or (i32.eq (local.get $kind) (i32.const {SCRIBBLE}))
        (i32.eq (local.get $kind) (i32.const {SCRIBBLE_AND_CHANGE})))
      (then
        (call $scribble (i32.and (call $value_i32 (i32.const 10)) (i32.const 0xF8)) (call $value_i64 (i32.const 11)))
        (call $scribble (i32.and (call $value_i32 (i32.const 12)) (i32.const 0xF8)) (call $value_i64 (i32.const 13)))
        (call $scribble (i32.const 8) (call $value_i64 (i32.const 14)))))
    (if (i32.or (i32.eq (local.get $kind) (i32.const {CHANGE_GLOBALS}))
        (i32.eq (local.get $kind) (i32.const {SCRIBBLE_AND_CHANGE})))
      (then {change_globals}))
    (if (i32.eq (local.get $kind) (i32.const {ROTATE_TABLE})) (then (call $rotate)))
    (if (i32.and (i32.eq (local.get $kind) (i32.const {NESTED_ENTRY})) (i32.eqz (global.get $level)))
      (then
        (local.set $kind (i32.and (i32.load offset=16 {level}) (i32.const 1)))
        (global.set $level (i32.const 1))
        (call_indirect $hooks (param i32) (local.get $kind) (i32.const 3))
        (global.set $level (i32.const 0)))))

  (func $rotate
    (local $first funcref) (local $i i32)
    (local.set $first (table.get $table (i32.const {VOLATILE_SLOTS})))
    (local.set $i (i32.const {VOLATILE_SLOTS}))
    (loop $next
      (table.set $table (local.get $i) (table.get $table (i32.add (local.get $i) (i32.const 1))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const {TABLE_SIZE - 1}))))
    (table.set $table (i32.const {TABLE_SIZE - 1}) (local.get $first)))

  (func $differ (param $a i32) (param $b i32) (param $bytes i32) (result i32)
    (local $i i32)
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $bytes))
        (then
          (if (i64.ne (i64.load (i32.add (local.get $a) (local.get $i)))
              (i64.load (i32.add (local.get $b) (local.get $i))))
            (then (return (i32.const 1))))
          (local.set $i (i32.add (local.get $i) (i32.const 8)))
          (br $next))))
    (i32.const 0))

  (func (export "begin_entry") (param $entry i32) (result i64)
    (local $calls i32)
    (local.set $calls (i32.load (i32.const {ENTRY_CALLS})))
    (i32.store (i32.const {ENTRY_CALLS}) (i32.add (local.get $calls) (i32.const 1)))
    (if (i32.eqz (global.get $level)) (then (global.set $fuel (i32.const {FUEL}))))
    (call $mix (i64.add (i64.load32_u (i32.const {SEED}))
      (i64.extend_i32_u (i32.add (i32.mul (local.get $calls) (i32.const 2)) (local.get $entry))))))
  (func (export "log_results") (param i32 {" ".join(TYPE_NAMES[t] for t in ENTRY_TYPES)})
    (local $at i32)
    (local.set $at (call $reserve (i32.const {16 + 16 * len(ENTRY_TYPES)})))
    (i32.store (local.get $at) (i32.const 100))
    (i32.store offset=4 (local.get $at) (local.get 0))
    {log_results})
  (func (export "log_exception") (param $tag i32) (param $low i64) (param $high i64)
    (local $at i32)
    (local.set $at (call $reserve (i32.const 24)))
    (i32.store (local.get $at) (i32.const 101))
    (i32.store offset=4 (local.get $at) (local.get $tag))
    (i64.store offset=8 (local.get $at) (local.get $low))
    (i64.store offset=16 (local.get $at) (local.get $high)))
  (func (export "log_globals")
    (local $at i32)
    (local.set $at (call $reserve (i32.const {16 * len(GLOBALS) + 16})))
    {log_globals}
    (i32.store offset={16 * len(GLOBALS)} (local.get $at) (global.get $fuel)))
  {"".join(_import_function(i, f) for i, f in enumerate(IMPORTS))}
)
"""
