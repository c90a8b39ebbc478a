;; The example of docs/javascript.md: a list lacks one of its functions.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (func $read (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $parse (param i32) (result i32) (i32.add (call $read (local.get 0)) (i32.const 5)))
  (func $run (export "run") (param i32) (result i32) (i32.add (call $parse (local.get 0)) (i32.const 10)))
  (func $other (export "other") (param i32) (result i32) (i32.add (call $read (local.get 0)) (i32.const 10))))
