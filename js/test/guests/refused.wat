;; Suspends below functions that a list leaves out, called directly, by JavaScript for the guest, and in a nested call.
(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "invoke" (func $invoke (param i32 i32) (result i32)))
  (import "env" "enter" (func $enter (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $"left \"out\"" $inner)
  (func $inner (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
  (func $"left \"out\"" (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  ;; Function 5, which has no name.
  (func (param i32) (result i32) (i32.add (call $"left \"out\"" (local.get 0)) (i32.const 1)))
  (func $fine (export "fine") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  (func $direct (export "direct") (param i32) (result i32) (i32.add (call 5 (local.get 0)) (i32.const 1)))
  (func $invoked (export "invoked") (param i32) (result i32) (i32.add (call $invoke (i32.const 0) (local.get 0)) (i32.const 1)))
  (func $alone (export "alone") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  (func $passed (param i32) (result i32) (i32.add (call $enter (local.get 0)) (i32.const 1)))
  (func $nested (export "nested") (param i32) (result i32) (i32.add (call $passed (local.get 0)) (i32.const 1)))
  ;; As Emscripten has its functions `invoke_*` call out of the table.
  (func $dispatch (export "dynCall_ii") (param i32 i32) (result i32) (call_indirect (type $unary) (local.get 1) (local.get 0)))
  (func $handed (param i32) (result i32) (i32.add (call $invoke (i32.const -1) (local.get 0)) (i32.const 1)))
  (func $handing (export "handing") (param i32) (result i32) (i32.add (call $handed (local.get 0)) (i32.const 1))))
