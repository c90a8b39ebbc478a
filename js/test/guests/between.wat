;; Another module: it calls back what stands in a table, or a function of JavaScript.
(module
  (import "env" "table" (table 4 funcref))
  (import "env" "call" (func $call (param i32) (result i32)))
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func $step (global.set $steps (i32.add (global.get $steps) (i32.const 1))))
  (func (export "relay") (param i32) (result i32)
    (call $step)
    (i32.add (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)) (i32.const 100)))
  (func (export "outside") (param i32) (result i32)
    (call $step)
    (i32.add (call $call (local.get 0)) (i32.const 100)))
  (export "passed" (func $call)))
