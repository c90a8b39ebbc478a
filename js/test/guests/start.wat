;; A start function that waits, keeps a value across it, and fails if it is told to.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 0))
  (global $result (mut i32) (i32.const 0))
  ;; It works only once the start function has begun.
  (func (export "malloc") (param $size i32) (result i32)
    (if (i32.eqz (global.get $heap)) (then (unreachable)))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func $begin (local $kept i32)
    (global.set $heap (i32.const 65536))
    (local.set $kept (i32.const 7))
    (global.set $result (i32.add (local.get $kept) (call $ask (i32.const 5)))))
  (start $begin)
  (func (export "get") (result i32) (global.get $result))
  (func (export "again") (param i32) (result i32) (i32.add (global.get $result) (call $ask (local.get 0)))))
