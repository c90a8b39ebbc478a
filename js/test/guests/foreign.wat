;; A guest that cleans up after exceptions of JavaScript and throws them on, with exceptions in their old form.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "fail" (func $fail))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (global (export "cleaned") (mut i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $clean
    (global.set 1 (call $ask (i32.const 1)))
    (if (i32.eqz (global.get 1)) (then unreachable)))
  (func (export "run") (param i32) (result i32)
    try (result i32)
      (if (local.get 0) (then (call $fail)))
      (call $ask (i32.const 2))
    catch_all
      (call $clean)
      rethrow 0
    end)
  (func (export "swallow") (result i32)
    try (result i32)
      (call $fail)
      (i32.const 0)
    catch_all
      (call $clean)
      (i32.add (global.get 1) (call $ask (i32.const 3)))
    end))
