;; Functions that leave by tail calls, by name and through tables, in rings; $ask may suspend.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "look" (func $look))
  (type $t (func (param i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (table $table (export "table") 2 funcref)
  (elem (table $table) (i32.const 0) func $even)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  ;; Both take how often to go around, at which multiples to ask, and a sum.
  (func $odd (type $t)
    (if (i32.eqz (local.get 0)) (then (call $look) (return (local.get 2))))
    (if (i32.eqz (i32.rem_u (local.get 0) (local.get 1)))
      (then
        (call $look)
        (local.set 2 (i32.add (local.get 2) (call $ask (local.get 0))))))
    (return_call_indirect $table (type $t)
      (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2) (i32.const 0)))
  (func $even (type $t)
    (if (i32.eqz (local.get 0)) (then (call $look) (return (local.get 2))))
    (if (i32.eqz (i32.rem_u (local.get 0) (local.get 1)))
      (then (local.set 2 (i32.add (local.get 2) (i32.mul (i32.const 3) (call $ask (local.get 0)))))))
    (return_call $odd (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2)))
  (func (export "ring") (param i32 i32) (result i32)
    (i32.add (call $odd (local.get 0) (local.get 1) (i32.const 0)) (i32.const 1)))
  ;; What is thrown by what took the function's place is not caught by it.
  (func (export "leave_try") (param i32) (result i32)
    (local $caught i32)
    try
      try
        (drop (call $ask (i32.const 1)))
      catch_all
        (local.set $caught (i32.const 100))
      end
      (return_call $ask (i32.add (local.get 0) (local.get $caught)))
    catch_all
    end
    (i32.const -1))
  (func (export "leave") (param i32) (result i32) (return_call $ask (i32.add (local.get 0) (i32.const 1))))
  (func (export "table_leave") (param i32) (result i32)
    (return_call_indirect $table (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)) (i32.const 1))))
