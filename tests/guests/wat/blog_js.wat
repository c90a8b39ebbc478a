;; The other program of that article: `main` says something, sleeps with the help of the host, and says something else.
;; Everything about sleeping is in the JavaScript that runs it.
(module
  (import "env" "before" (func $before))
  (import "env" "sleep" (func $sleep (param i32)))
  (import "env" "after" (func $after))
  (memory (export "memory") 1 1)
  (func (export "main")
    (call $before)
    (call $sleep (i32.const 2000))
    (call $after)))
