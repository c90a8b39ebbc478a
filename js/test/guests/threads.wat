;; Instances in several threads share the memory: `run` asks so many times, five calls deep, and counts at 16.
(module
  (import "env" "memory" (memory 1 64 shared))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (export "memory" (memory 0))
  (func (export "malloc") (param i32) (result i32)
    (i32.add (i32.const 65536) (i32.atomic.rmw.add (i32.const 20) (local.get 0))))
  (func $down (param $depth i32) (result i32)
    (if (result i32) (i32.eqz (local.get $depth))
      (then (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1))) (call $ask (i32.const 7)))
      (else (i32.add (local.get $depth) (call $down (i32.sub (local.get $depth) (i32.const 1)))))))
  (func (export "run") (param $times i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $down (i32.const 5))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))
