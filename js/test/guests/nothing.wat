;; A guest without a memory.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (func $down (export "down") (param $depth i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get $depth) (i32.const 1)))))
      (else (call $ask (i32.const 1))))))
