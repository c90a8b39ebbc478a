;; Functions with two bodies, of which the second, that a resumed one is in, calls what a list leaves out.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $left (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $middle (param i32) (result i32) (i32.add (call $left (local.get 0)) (i32.const 1)))
  (func $walk (export "walk") (param $n i32) (result i32)
    (loop (local.set $n (i32.add (call $ask (local.get $n)) (i32.const 1))) (br_if 0 (i32.lt_s (local.get $n) (i32.const 3))))
    (i32.add (call $middle (local.get $n)) (i32.const 1)))
  (func $outer (export "outer") (param i32) (result i32) (i32.add (call $walk (local.get 0)) (i32.const 1))))
