;; A call through a reference that has always been of one small function, which the engine inlines, and then is of another.
(module
  (type $number (func (param i32) (result i32)))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 16)
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (elem declare func $seven $asks)
  (func $seven (type $number) (i32.const 7))
  (func $asks (type $number) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $through (param (ref $number) i32) (result i32)
    (i32.add (call_ref $number (local.get 1) (local.get 0)) (i32.const 10)))
  (func (export "run") (param i32) (result i32) (call $through (ref.func $asks) (local.get 0)))
  (func (export "warm") (param $times i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $through (ref.func $seven) (i32.const 0))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))
