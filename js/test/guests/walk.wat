;; A walk through instances that call each other: a random number says at each step whom to call, itself, the instance that it
;; imports, whatever lies in the table, or the host. Results and counts depend on every value that is kept on the way.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "table" (table 4 funcref))
  (import "next" "go" (func $next (param i32 i32) (result i32)))
  (type $go (func (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func $go (export "go") (param $seed i32) (param $depth i32) (result i32) (local $sum i32) (local $left i32)
    (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
    (if (i32.eqz (local.get $depth)) (then (return (call $ask (i32.and (local.get $seed) (i32.const 255))))))
    (local.set $sum (local.get $seed))
    (local.set $left (i32.const 3))
    (loop $again
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1103515245)) (i32.const 12345)))
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (block $chosen (result i32)
        (block $host (block $itself (block $import (block $table
          (br_table $host $itself $import $table (i32.and (i32.shr_u (local.get $seed) (i32.const 16)) (i32.const 3))))
          (br $chosen (call_indirect (type $go) (local.get $seed) (i32.sub (local.get $depth) (i32.const 1))
            (i32.and (i32.shr_u (local.get $seed) (i32.const 20)) (i32.const 3)))))
          (br $chosen (call $next (local.get $seed) (i32.sub (local.get $depth) (i32.const 1)))))
          (br $chosen (call $go (local.get $seed) (i32.sub (local.get $depth) (i32.const 1)))))
        (call $ask (i32.and (local.get $seed) (i32.const 255))))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $sum)))
