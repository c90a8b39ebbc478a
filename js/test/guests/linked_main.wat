;; The main module of two that are linked dynamically: it has the memory, the table, the stack pointer and the allocator.
;; Slot 0 of the table is its own function, slot 1 the side module's.
(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "ask" (func $ask (type $unary)))
  (import "env" "tell" (func $tell (type $unary)))
  (memory (export "memory") 32)
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $twice)
  (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 65536))
  (global $heap (mut i32) (i32.const 131072))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $twice (export "twice") (type $unary) (local $frame i32) (local $sum i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 16))))
    (i32.store (local.get $frame) (local.get 0))
    (local.set $sum (i32.add (call $ask (local.get 0)) (call $ask (local.get 0))))
    (if (i32.ne (i32.load (local.get $frame)) (local.get 0)) (then (unreachable)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 16)))
    (local.get $sum))
  ;; It has no frame: what it calls is called by the side module's import.
  (func (export "passes") (type $unary) (call $ask (local.get 0)))
  (func (export "run") (type $unary)
    (i32.add (call $ask (local.get 0))
      (i32.add (call_indirect (type $unary) (local.get 0) (i32.const 1)) (call $ask (local.get 0)))))
  ;; Through an import, a function of JavaScript that may call the side module.
  (func (export "around") (type $unary) (i32.add (call $tell (local.get 0)) (call $ask (local.get 0)))))
