;; Recursion: a suspension at a chosen depth, and as many of them as asked for.
(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $down (export "down") (param $depth i32) (param $times i32) (result i32)
    (local $sum i32)
    (if (i32.gt_s (local.get $depth) (i32.const 1))
      (then
        (return (i32.add (i32.const 1) (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $times))))))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $times))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))
