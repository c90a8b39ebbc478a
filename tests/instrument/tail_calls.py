"""A module with tail calls of all kinds, and its host: for tests of what is suspended behind them."""

from __future__ import annotations

from tests.support.plain_abi import HostFunction

# Tail calls among functions of several types; `$ask` suspends. Exports take how often to go around.
MODULE = """
  (module
    (import "env" "ask" (func $ask (param i32 i64) (result i64)))
    (import "env" "tell" (func $tell (param f64)))
    (memory (export "memory") 1)
    (global $seen (export "seen") (mut i64) (i64.const 0))
    (tag $odd (param i64))
    (type $t (func (param i32 i64) (result i64)))
    (type $n (func (param i32)))
    (table $closed 8 funcref) (elem (table $closed) (i32.const 0) func $ping $pong $quiet $ask $through $framed)
    (table $open (export "open") 8 funcref) (elem (table $open) (i32.const 0) func $ping $pong $quiet $ask)
    (func $see (param i64)
      (global.set $seen (i64.add (i64.mul (global.get $seen) (i64.const 31)) (local.get 0))))
    (func $quiet (type $t) (call $see (local.get 1)) (i64.add (local.get 1) (i64.const 9)))

    ;; a ring of one
    (func $alone (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call $alone
        (i32.sub (local.get 0) (i32.const 1))
        (i64.add (call $ask (local.get 0) (local.get 1)) (i64.const 1))))

    ;; a ring of two; one asks before it goes on, one behind an ordinary call that stays on the stack
    (func $ping (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (call $tell (f64.convert_i64_s (local.get 1)))
      (return_call $pong (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 3))))
    (func $pong (type $t) (local $kept i64)
      (if (i32.eqz (local.get 0)) (then (return (i64.const -5))))
      (local.set $kept (call $ask (local.get 0) (local.get 1)))
      (call $see (local.get $kept))
      (return_call $ping (i32.sub (local.get 0) (i32.const 1)) (i64.xor (local.get $kept) (local.get 1))))

    ;; other parameters, and nothing but tail calls in between
    (func $wide (param v128 f32 i32 i64) (result i64)
      (if (result i64) (i32.and (local.get 2) (i32.const 1))
        (then (return_call $ping (local.get 2) (local.get 3)))
        (else (return_call $through (local.get 2) (i64.extend_i32_s (f32x4.extract_lane 1 (local.get 0))
                                                                    (i32.trunc_f32_s)) ))))
    (func $through (type $t)
      (if (i32.and (local.get 0) (i32.const 4))
        (then (return_call $framed (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
      (return_call_indirect $closed (type $t)
        (local.get 0) (local.get 1) (i32.and (local.get 0) (i32.const 3))))
    ;; would be frameless, but for being entered by a tail call
    (func $framed (type $t) (call $pong (local.get 0) (i64.add (local.get 1) (i64.const 1))))
    (func $at_tail (type $t) (call $see (local.get 1)) (call $pong (local.get 0) (local.get 1)))
    ;; frameless in any case
    (func $passing (type $t) (return_call $ping (i32.add (local.get 0) (i32.const 1)) (local.get 1)))
    (func $calling (type $t) (call $passing (local.get 0) (i64.const 4)))

    (func (export "alone") (param i32) (result i64)
      (i64.add (i64.const 7) (call $alone (local.get 0) (i64.const 1))))
    (func (export "ring") (param i32) (result i64)
      (i64.add (call $ping (local.get 0) (i64.const 1)) (call $pong (local.get 0) (i64.const 2))))
    (func (export "out") (param i32) (result i64) (return_call $ping (local.get 0) (i64.const 8)))
    (func (export "import") (param i32) (result i64)
      (return_call $ask (i32.mul (local.get 0) (i32.const 3)) (i64.const 5)))
    (func (export "procedure") (param i32) (call $tell (f64.const 1))
      (return_call $tell (f64.convert_i32_s (local.get 0))))
    (func (export "wide") (param i32) (result i64)
      (i64.sub
        (call $wide (v128.const f32x4 1 2 3 4) (f32.const 2) (local.get 0) (i64.const 3))
        (call $calling (local.get 0) (i64.const 1))))
    (func (export "wrapped") (param i32) (result i64)
      (if (i32.and (local.get 0) (i32.const 1))
        (then (return_call $at_tail (local.get 0) (i64.const 6))))
      (return_call $framed (local.get 0) (i64.const 2)))
    (func (export "table") (param i32) (result i64) (local i64)
      (local.set 1 (call $through (i32.const 0) (i64.const 1)))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 1) (i64.const 1))))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 2) (i64.const 1))))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 3) (i64.const 1))))
      (i64.add (local.get 1) (call $through (local.get 0) (i64.const 3))))
    (func (export "open_table") (param i32) (result i64)
      (call $see (i64.const 3))
      (return_call_indirect $open (type $t)
        (local.get 0) (i64.const 4) (i32.and (local.get 0) (i32.const 3))))
    (func (export "reference") (param i32) (result i64) (local i64)
      (local.set 1 (call $ask (local.get 0) (i64.const 2)))
      (if (i32.and (local.get 0) (i32.const 1))
        (then (return_call_ref $t (local.get 0) (local.get 1) (ref.func $pong))))
      (return_call_ref $t (local.get 0) (local.get 1) (ref.func $ask)))
    ;; in loops and switches, with call sites before and behind
    (func $busy (export "busy") (param i32) (result i64) (local i32 i64)
      (loop $outer
        (local.set 1 (i32.const 3))
        (loop $inner
          (local.set 2 (i64.add (local.get 2) (call $ask (local.get 0) (local.get 2))))
          (if (i32.eq (i32.add (local.get 0) (local.get 1)) (i32.const 5))
            (then
              (call $tell (f64.const 2))
              (return_call $ping (local.get 1) (local.get 2))))
          (br_if $inner (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
        (block $a (block $b (block $c
          (br_table $a $b $c (i32.and (local.get 0) (i32.const 3))))
          (return_call $alone (local.get 0) (local.get 2)))
          (call $see (call $ask (i32.const 6) (local.get 2))))
        (br_if $outer (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
      (local.get 2))
    ;; a tail call leaves the try
    (func $throwing (type $t)
      (if (i64.eqz (call $ask (local.get 0) (local.get 1))) (then (return (i64.const 1))))
      (throw $odd (local.get 1)))
    (func $trying (type $t)
      (block $caught (result i64)
        (try_table (result i64) (catch $odd $caught)
          (call $tell (f64.const 5))
          (if (i32.and (local.get 0) (i32.const 1))
            (then (return_call $throwing (local.get 0) (local.get 1))))
          (call $throwing (local.get 0) (i64.const 70)))
        (return))
      (i64.add (i64.const 1000)))
    (func (export "try") (param i32) (result i64)
      (block $caught (result i64)
        (try_table (result i64) (catch $odd $caught)
          (i64.add (call $trying (local.get 0) (i64.const 11))
                   (call $trying (i32.add (local.get 0) (i32.const 1)) (i64.const 12))))
        (return))
      (i64.mul (i64.const 10)))
    ;; several results, and none
    (func $pair (param i32) (result i64 f32)
      (if (i32.eqz (local.get 0)) (then (return (i64.const 3) (f32.const 0.5))))
      (call $see (call $ask (local.get 0) (i64.const 0)))
      (return_call $pair_too (f64.const 1) (i32.sub (local.get 0) (i32.const 1))))
    (func $pair_too (param f64 i32) (result i64 f32) (return_call $pair (local.get 1)))
    (func (export "several") (param i32) (result f64)
      (call $pair (local.get 0))
      (f64.promote_f32)
      (global.set $kept)
      (f64.convert_i64_s)
      (f64.add (global.get $kept)))
    (global $kept (mut f64) (f64.const 0))
    (func $nothing (type $n)
      (call $tell (f64.convert_i32_s (local.get 0)))
      (br_if 0 (i32.eqz (local.get 0)))
      (return_call $nothing (i32.sub (local.get 0) (i32.const 1))))
    (func (export "nothing") (param i32) (call $nothing (local.get 0))))
"""


EXPORTS = (
    "alone",
    "ring",
    "out",
    "import",
    "procedure",
    "wide",
    "wrapped",
    "table",
    "open_table",
    "reference",
    "busy",
    "try",
    "several",
    "nothing",
)


def answer(value: int, wide: int) -> int:
    """The host's function `ask`."""
    return (value * 5 + wide * 3 + 1) & 0xFFFF


HOST: dict[tuple[str, str], HostFunction] = {("env", "ask"): answer, ("env", "tell"): lambda value: None}
