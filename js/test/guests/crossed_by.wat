;; Another instance's function, which may come to stand between those of `crossed`.
(module
  (import "first" "cb" (func $cb (result i32)))
  (memory (export "memory") 1)
  (global $entered (export "entered") (mut i32) (i32.const 0))
  (func (export "foreign") (result i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
    (i32.add (call $cb) (i32.const 1000))))
