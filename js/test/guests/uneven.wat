;; A guest that changes its speed on purpose: of what it counts, and of what it runs.
(module
  (memory (export "memory") 1)
  (global $never i32 (i32.const 0))
  ;; Some 900 instructions, of which a call counts for a few.
  (func $leaf (param i32) (result i32)
    (i32.add (i32.mul (i32.xor (i32.shl (i32.add (i32.mul (i32.xor (i32.shl (i32.add (i32.mul (local.get 0)
      (i32.const 3)) (i32.const 5)) (i32.const 1)) (i32.const 7)) (i32.const 3)) (i32.const 5)) (i32.const 1))
      (i32.const 7)) (i32.const 3)) (i32.const 5)))
  (func $two (param i32) (result i32) (call $leaf (call $leaf (local.get 0))))
  (func $four (param i32) (result i32) (call $two (call $two (local.get 0))))
  (func $eight (param i32) (result i32) (call $four (call $four (local.get 0))))
  (func $sixteen (param i32) (result i32) (call $eight (call $eight (local.get 0))))
  (func $heavy (param i32) (result i32) (call $sixteen (call $sixteen (local.get 0))))
  (func $work (param i64) (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get 0))))
  ;; So often in turns: iterations that count for much more than they run, and such that count for much less. What it has
  ;; run, about, stands at 0 in memory.
  (func (export "run") (param $quick i32) (param $slow i32) (param $phases i32) (local $i i32) (local $x i32)
    (loop $phase
      (local.set $i (local.get $quick))
      (loop $iteration
        (if (global.get $never)
          (then
            (loop (br_if 0 (local.tee $x (i32.sub (local.get $x) (i32.const 1)))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
            (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))))
        (call $work (i64.const 15))
        (br_if $iteration (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (local.set $i (local.get $slow))
      (loop $iteration
        (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
        (local.set $x (call $heavy (call $heavy (call $heavy (call $heavy (call $heavy (local.get $x)))))))
        (call $work (i64.const 8500))
        (br_if $iteration (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (br_if $phase (local.tee $phases (i32.sub (local.get $phases) (i32.const 1)))))))
