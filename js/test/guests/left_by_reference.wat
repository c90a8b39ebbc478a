;; As left_a.wat, by a reference.
(module
  (type $function (func (param i32) (result i32)))
  (import "env" "ask" (func $ask (type $function)))
  (memory (export "memory") 2)
  (table (export "table") 1 funcref)
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func (export "inner") (type $function) (i32.add (i32.const 1) (call $ask (local.get 0))))
  (func $left (export "left") (type $function)
    (return_call_ref $function (local.get 0) (ref.cast (ref $function) (table.get (i32.const 0)))))
  (func (export "below") (type $function) (i32.add (i32.const 1000) (call $left (local.get 0)))))
