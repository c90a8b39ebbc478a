;; The second: see across_a.wat.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "table" (table 3 funcref))
  (type $function (func (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func $step (global.set $steps (i32.add (global.get $steps) (i32.const 1))))
  (elem (i32.const 1) $work $alone)
  ;; 23 n + 1: by the first's `inner`, which lies in the table
  (func $work (export "work") (param $n i32) (result i32) (local $kept i32)
    (call $step)
    (local.set $kept (i32.mul (local.get $n) (i32.const 2)))
    (local.set $kept (i32.add (local.get $kept) (call_indirect (type $function) (local.get $n) (i32.const 0))))
    (i32.add (local.get $kept) (call $ask (local.get $n))))
  ;; 12 n
  (func $alone (param $n i32) (result i32) (local $kept i32)
    (call $step)
    (local.set $kept (i32.mul (local.get $n) (i32.const 2)))
    (i32.add (call $ask (local.get $n)) (local.get $kept))))
