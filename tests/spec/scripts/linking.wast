;; Instances that call each other through imports, tables and references, and throw to each other: a suspension unwinds
;; all of them.

(module $first
  (type $to (func (param i32) (result i32)))
  (table (export "table") 4 funcref)
  (memory (export "memory") 1)
  (tag $tag (export "tag") (param i32))
  (global $count (export "count") (mut i32) (i32.const 0))
  (func $step (export "step") (param i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.add (local.get 0) (i32.const 1)))
  (elem (i32.const 0) func $step)
  (func (export "through") (param i32 i32) (result i32)
    (i32.add (call $step (i32.const 100)) (call_indirect (type $to) (local.get 0) (local.get 1))))
  (func (export "catching") (param i32 i32) (result i32)
    (block $caught (result i32)
      (try_table (result i32) (catch $tag $caught)
        (call_indirect (type $to) (local.get 0) (local.get 1)))
      (return))
    (i32.add (call $step (i32.const 1000)))))
(register "first" $first)

(module $second
  (import "first" "step" (func $step (param i32) (result i32)))
  (import "first" "through" (func $through (param i32 i32) (result i32)))
  (import "first" "table" (table 4 funcref))
  (import "first" "memory" (memory 1))
  (import "first" "tag" (tag $tag (param i32)))
  (func $double (param i32) (result i32)
    (i32.store (i32.const 8) (call $step (local.get 0)))
    (i32.mul (call $step (local.get 0)) (i32.const 2)))
  (func $throw (param i32) (result i32) (throw $tag (call $step (local.get 0))))
  (elem (i32.const 1) func $double $throw)
  (func (export "there and back") (param i32) (result i32)
    (i32.add (call $through (local.get 0) (i32.const 1)) (i32.load (i32.const 8)))))

(assert_return (invoke $second "there and back" (i32.const 5)) (i32.const 119))
(assert_return (invoke $first "through" (i32.const 5) (i32.const 0)) (i32.const 107))
(assert_return (invoke $first "catching" (i32.const 5) (i32.const 2)) (i32.const 1007))
(assert_exception (invoke $first "through" (i32.const 5) (i32.const 2)))
(assert_return (get $first "count") (i32.const 9))
(assert_trap (invoke $first "through" (i32.const 5) (i32.const 3)) "uninitialized element")

;; What an instance has put in another's table before it failed to begin stays there, and suspends as any other.
(assert_trap
  (module
    (import "first" "table" (table 4 funcref))
    (import "first" "step" (func $step (param i32) (result i32)))
    (func $late (param i32) (result i32) (i32.sub (call $step (local.get 0)) (i32.const 50)))
    (elem (i32.const 3) func $late)
    (func $start unreachable)
    (start $start))
  "unreachable")
(assert_return (invoke $first "through" (i32.const 5) (i32.const 3)) (i32.const 57))
(assert_unlinkable (module (import "first" "step" (func))) "incompatible import type")
