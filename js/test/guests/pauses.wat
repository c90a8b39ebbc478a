;; Computes behind a call of the host, with numbers in its frames that a pause point would take for a request.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $bits i64) (param $more i64) (param $times i64) (result i64)
    (local $n i64)
    (drop (call $ask (i32.const 5)))
    (loop $again
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $n) (local.get $times))))
    (i64.add (local.get $n) (i64.xor (local.get $bits) (local.get $more)))))
