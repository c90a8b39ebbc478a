;; The guest of README.md's examples: a URL at address 12, and a function that asks how long what lies there is.
(module
  (import "env" "fetch_length" (func $fetch_length (param i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 12) "data:,hello\00")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func (export "run") (param i32) (result i32) (call $fetch_length (local.get 0))))
