;; Computes with addresses of 64 bits, behind a call of the host.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") i64 4)
  (func $count (export "count") (param $depth i32) (param $to i64) (result i64) (local $n i64)
    (if (local.get $depth) (then (return
      (i64.add (i64.const 1) (call $count (i32.sub (local.get $depth) (i32.const 1)) (local.get $to))))))
    (drop (call $ask (i32.const 1)))
    (loop
      (i64.store (i64.const 65536) (local.tee $n (i64.add (local.get $n) (i64.const 1))))
      (br_if 0 (i64.lt_u (local.get $n) (local.get $to))))
    (local.get $n)))
