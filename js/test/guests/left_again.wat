;; Functions of JavaScript that an instance exports again, so that they can lie in tables.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "calls" (func $calls (param i32) (result i32)))
  (export "ask" (func $ask))
  (export "calls" (func $calls)))
