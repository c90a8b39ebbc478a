;; A scheduler inside the guest: two tasks, each with an asyncify stack of its own, take turns until both are done. The
;; scheduler is the top-most runtime (it starts rewinding and stops unwinding), `yield` the bottom-most (it starts
;; unwinding and stops rewinding); tasks and what they call know nothing of it.
(module
  (import "env" "print" (func $print (param i32)))
  (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
  (import "asyncify" "stop_unwind" (func $stop_unwind))
  (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
  (import "asyncify" "stop_rewind" (func $stop_rewind))
  (import "asyncify" "get_state" (func $get_state (result i32)))

  (memory (export "memory") 1)
  (type $task (func (param i32) (result i32)))
  (table funcref (elem $counter $mixer))
  (global $current (mut i32) (i32.const 0))

  ;; Task n's stack: data structure at 1024 * (n + 1), result behind it.
  (func $stack_of (param $task i32) (result i32)
    (i32.mul (i32.const 1024) (i32.add (local.get $task) (i32.const 1))))

  (func $yield
    (local $data i32)
    (if (i32.eq (call $get_state) (i32.const 2))
      (then (call $stop_rewind))
      (else
        (local.set $data (call $stack_of (global.get $current)))
        (i32.store (local.get $data) (i32.add (local.get $data) (i32.const 16)))
        (i32.store offset=4 (local.get $data) (i32.add (local.get $data) (i32.const 1000)))
        (call $start_unwind (local.get $data)))))

  (func $say (param $what i32) (param $times i32)
    (loop $again
      (call $print (local.get $what))
      (call $yield)
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))

  (func $counter (type $task)
    (local $n i32)
    (loop $again
      (call $say (i32.add (i32.const 100) (local.get $n)) (i32.const 1))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (local.get 0))))
    (local.get $n))

  (func $mixer (type $task)
    (local $kept i64)
    (local.set $kept (i64.extend_i32_u (i32.mul (local.get 0) (i32.const 1000))))
    (call $say (i32.const 200) (local.get 0))
    (call $yield)
    (call $say (i32.wrap_i64 (local.get $kept)) (i32.const 2))
    (i32.add (i32.wrap_i64 (local.get $kept)) (i32.const 1)))

  ;; Enters a task, for the first time or again; returns whether it is done.
  (func $step (param $task i32) (param $argument i32) (param $again i32) (result i32)
    (local $result i32)
    (global.set $current (local.get $task))
    (if (local.get $again) (then (call $start_rewind (call $stack_of (local.get $task)))))
    (local.set $result (call_indirect (type $task) (local.get $argument) (local.get $task)))
    (if (i32.eqz (call $get_state))
      (then
        (call $print (local.get $result))
        (return (i32.const 1))))
    (call $stop_unwind)
    (i32.const 0))

  (func (export "run") (param $argument i32) (result i32)
    (local $first i32) (local $second i32) (local $rounds i32)
    (loop $again
      (if (i32.eqz (local.get $first))
        (then (local.set $first (call $step (i32.const 0) (local.get $argument) (i32.ne (local.get $rounds) (i32.const 0))))))
      (if (i32.eqz (local.get $second))
        (then (local.set $second (call $step (i32.const 1) (local.get $argument) (i32.ne (local.get $rounds) (i32.const 0))))))
      (local.set $rounds (i32.add (local.get $rounds) (i32.const 1)))
      (br_if $again (i32.eqz (i32.and (local.get $first) (local.get $second)))))
    (local.get $rounds))

  (func (export "state") (result i32) (call $get_state)))
