;; Another module, that exports what it imports as it is.
(module (import "env" "f" (func $f (result i32))) (export "f" (func $f)))
