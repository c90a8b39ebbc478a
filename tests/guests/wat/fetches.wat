;; A program whose host answers some questions at once and others later, for GoogleChromeLabs' asyncify-wasm, which
;; keeps its asyncify stack in the first kilobyte of memory.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "note" (func $note (param i32)))
  (memory (export "memory") 1)
  (global $answers (mut i32) (i32.const 0))
  (func $descend (param $depth i32) (param $question i32) (result i32)
    (if (result i32) (i32.eqz (local.get $depth))
      (then (call $ask (local.get $question)))
      (else
        (i32.add
          (call $descend (i32.sub (local.get $depth) (i32.const 1)) (local.get $question))
          (local.get $depth)))))
  ;; The sum of the answers to the questions 0 to count - 1, each asked at its own depth.
  (func (export "sum") (param $count i32) (result i32)
    (local $question i32)
    (local $sum i32)
    (loop $next
      (if (i32.lt_u (local.get $question) (local.get $count))
        (then
          (local.set $sum
            (i32.add (local.get $sum) (call $descend (local.get $question) (local.get $question))))
          (global.set $answers (i32.add (global.get $answers) (i32.const 1)))
          (call $note (local.get $sum))
          (local.set $question (i32.add (local.get $question) (i32.const 1)))
          (br $next))))
    (local.get $sum))
  (func (export "answers") (result i32) (global.get $answers)))
