;; A guest whose code compares its C stack pointer with the end of its stack, which is a constant, as the linker's are.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 65536))
  (global $heap (mut i32) (i32.const 131072))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func $within (result i32) (i32.lt_u (i32.sub (global.get $__stack_pointer) (i32.const 16)) (i32.const 65536)))
  (func (export "use") (param $number i32) (result i32) (local $within i32)
    (local.set $within (call $within))
    (local.set $number (call $ask (local.get $number)))
    (select (local.get $number) (i32.const -1) (i32.and (local.get $within) (call $within)))))
