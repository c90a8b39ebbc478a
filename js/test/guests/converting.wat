;; Imports whose results JavaScript may have to convert, and an export that computes: it counts in memory, and returns how far
;; it has come.
(module
  (import "env" "one" (func $one (result i32)))
  (import "env" "two" (func $two (result i32 i64)))
  (import "env" "none" (func $none))
  (import "env" "wait" (func $wait (result i32)))
  (memory (export "memory") 2)
  (func (export "count") (param i32) (result i32)
    (loop $again
      (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (i32.load (i32.const 16)))
  (func (export "by_one") (result i32) (i32.add (call $one) (i32.const 100)))
  (func (export "by_two") (result i32) (call $two) (drop) (i32.add (i32.const 100)))
  (func (export "by_none") (result i32) (call $none) (i32.const 101))
  (func (export "by_wait") (result i32) (i32.add (call $wait) (i32.const 100))))
