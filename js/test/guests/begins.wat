;; A start function that cannot wait, and counts how often it was called; a memory and a pointer that are not exported.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory 4)
  (global $__stack_pointer (mut i32) (i32.const 65536))
  (global $heap (mut i32) (i32.const 131072))
  (global $begun (mut i32) (i32.const 0))
  (global $half (mut f64) (f64.const 0.5))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (start $begin)
  (func $begin
    (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
    (i32.store (i32.const 1024) (i32.const 42)))
  (func (export "begun") (result i32) (global.get $begun))
  (func (export "again") (param i32) (result i32)
    (i32.add (i32.load (i32.const 1024)) (call $ask (local.get 0)))))
