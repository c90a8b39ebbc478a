;; The first instance of a walk (walk.wat), which imports no other: it goes on through the table, or asks.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "table" (table 4 funcref))
  (type $go (func (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $steps (export "steps") (mut i32) (i32.const 0))
  (func (export "go") (param $seed i32) (param $depth i32) (result i32)
    (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
    (i32.add (call $ask (i32.const 7))
      (if (result i32) (local.get $depth)
        (then (call_indirect (type $go) (local.get $seed) (i32.sub (local.get $depth) (i32.const 1))
          (i32.and (local.get $seed) (i32.const 3))))
        (else (local.get $seed))))))
