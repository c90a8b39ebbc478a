;; The program of the article that introduced Asyncify, in pure WebAssembly: `main` prints 1, sleeps, prints 3; `runtime`
;; is the event loop around it, which prints 2 while `main` sleeps. Nothing outside the module takes part.
(module
  (import "spectest" "print" (func $print (param i32)))
  (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
  (import "asyncify" "stop_unwind" (func $stop_unwind))
  (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
  (import "asyncify" "stop_rewind" (func $stop_rewind))

  (memory (export "memory") 1 1)
  (global $sleeping (mut i32) (i32.const 0))

  (func $main
    (call $print (i32.const 1))
    (call $sleep)
    (call $print (i32.const 3)))

  ;; Called twice: when the sleep begins, and, through $main again, when it ends.
  (func $sleep
    (if (i32.eqz (global.get $sleeping))
      (then
        ;; The data structure at 16: the stack begins at 24 and ends at 1024.
        (i32.store (i32.const 16) (i32.const 24))
        (i32.store (i32.const 20) (i32.const 1024))
        (global.set $sleeping (i32.const 1))
        (call $start_unwind (i32.const 16)))
      (else
        (call $stop_rewind)
        (global.set $sleeping (i32.const 0)))))

  (func (export "runtime")
    (call $main)
    (call $stop_unwind)
    (call $print (i32.const 2))
    (call $start_rewind (i32.const 16))
    (call $main)))
