;; Another side module of linked_main, whose handler calls the main one's function, and throws an exception of JavaScript on.
(module
  (import "main" "twice" (func $twice (param i32) (result i32)))
  (import "main" "memory" (memory 1))
  (import "env" "fail" (func $fail))
  (func (export "handle") (param i32) (result i32)
    try (result i32)
      (if (local.get 0) (then (call $fail)))
      (call $twice (i32.const 2))
    catch_all
      (drop (call $twice (i32.const 3)))
      rethrow 0
    end))
