;; The first of two instances that call each other, through imports and through a table.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "table" (table 3 funcref))
  (import "b" "work" (func $work (param i32) (result i32)))
  (type $function (func (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func $step (global.set $steps (i32.add (global.get $steps) (i32.const 1))))
  (elem (i32.const 0) $inner)
  ;; 11 n + 1, if ask gives 10 n
  (func $inner (param $n i32) (result i32) (local $kept i32)
    (call $step)
    (local.set $kept (i32.add (local.get $n) (i32.const 1)))
    (i32.add (call $ask (local.get $n)) (local.get $kept)))
  ;; 59 n + 2
  (func (export "run") (param $n i32) (result i32) (local $kept i32)
    (call $step)
    (local.set $kept (i32.mul (local.get $n) (i32.const 3)))
    (local.set $kept (i32.add (local.get $kept) (call $work (local.get $n))))
    (local.set $kept (i32.add (local.get $kept) (call $ask (local.get $n))))
    (i32.add (local.get $kept) (call_indirect (type $function) (local.get $n) (i32.const 1))))
  ;; 12 n + 2: the other's function stands only once on the stack, and nothing of this one above it
  (func (export "once") (param $n i32) (result i32)
    (call $step)
    (i32.add (call_indirect (type $function) (local.get $n) (i32.const 2)) (i32.const 2)))
  (func (export "double") (param $n i32) (result i32) (i32.add (local.get $n) (local.get $n)))
  ;; all that it does is to call the other
  (func (export "pass") (param $n i32) (result i32) (call $work (local.get $n))))
