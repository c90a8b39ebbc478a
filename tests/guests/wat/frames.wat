;; Three functions deep, with locals and parameters of every type that lies in linear memory alive across the import.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "note" (func $note (param i32 i64 f32 f64)))
  (memory (export "memory") 1)
  (global $entered (export "entered") (mut i32) (i32.const 0))

  (func $outer (export "outer") (param $a i32) (param $b i64) (param $c f32) (param $d f64) (result f64)
    (local $kept i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
    (local.set $kept (i32.mul (local.get $a) (i32.const 3)))
    (i32.store (i32.const 512) (local.get $a))
    (f64.add
      (f64.add (f64.convert_i64_s (local.get $b)) (f64.promote_f32 (local.get $c)))
      (f64.add
        (f64.mul (local.get $d) (f64.convert_i32_s (call $middle (local.get $a) (local.get $b))))
        (f64.convert_i32_s (local.get $kept)))))

  (func $middle (param $a i32) (param $b i64) (result i32)
    (local $wide v128) (local $sum i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
    (local.set $wide (i64x2.splat (i64.mul (local.get $b) (i64.const 5))))
    (local.set $wide (i32x4.replace_lane 3 (local.get $wide) (local.get $a)))
    (local.set $sum (call $inner (local.get $a) (f64.const 2.5)))
    (i32.add
      (i32.add (local.get $sum) (i32x4.extract_lane 3 (local.get $wide)))
      (i32.wrap_i64 (i64x2.extract_lane 0 (local.get $wide)))))

  (func $inner (param $a i32) (param $d f64) (result i32)
    (local $first i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
    (call $note (local.get $a) (i64.const -2) (f32.const 0.5) (local.get $d))
    (local.set $first (call $ask (i32.add (local.get $a) (i32.const 1))))
    (i32.store (i32.const 516) (local.get $first))
    (i32.add
      (i32.add (local.get $first) (call $ask (local.get $first)))
      (i32.trunc_f64_s (local.get $d))))

  ;; Exports that a host may call at any moment.
  (func (export "effects") (param $a i32) (result i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 100)))
    (i32.store (i32.const 520) (i32.const 1))
    (i32.add (call $ask (local.get $a)) (i32.const 7)))
  (func (export "effects_i64") (param i64) (result i64)
    (global.set $entered (i32.add (global.get $entered) (i32.const 100)))
    (i64.extend_i32_s (call $ask (i32.wrap_i64 (local.get 0)))))
  (func (export "effects_floats") (param f32) (result f32 f64)
    (global.set $entered (i32.add (global.get $entered) (i32.const 100)))
    (drop (call $ask (i32.const 5)))
    (local.get 0) (f64.const 9))
  (func (export "effects_loop") (param $n i32)
    (loop $again
      (global.set $entered (i32.add (global.get $entered) (i32.const 100)))
      (drop (call $ask (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "calm") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))
