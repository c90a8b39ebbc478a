;; Names that terminals would act upon: of imports, exports and functions. One function is on no list.
(module
  (import "env" "\1b[2J\0a\e2\80\aeask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $left (@name "left\1b[2J\c2\9b") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func (export "good\1b\0a") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func (export "run\1b\0a") (param i32) (result i32) (i32.add (call $left (local.get 0)) (i32.const 1))))
