;; A guest that exports a memory and no allocator.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "run") (param i32) (result i32) (i32.add (local.get 0) (call $ask (local.get 0)))))
