;; A guest that catches what its imports throw, and suspends again to clean up.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func (export "run") (param i32) (result i32)
    (local $caught i32)
    (block $done
      (block $failed
        (try_table (catch_all $failed)
          (drop (call $ask (local.get 0))))
        (br $done))
      (local.set $caught (i32.const 1)))
    (i32.add (i32.mul (local.get $caught) (i32.const 1000)) (call $ask (i32.const 7)))))
