;; Suspensions inside the bodies of try_table, and exceptions thrown before, between and after them.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "tell" (func $tell (param i32)))
  (memory (export "memory") 1)
  (tag $small (param i32))
  (tag $large (param i64 f64))
  (global $depth (export "depth") (mut i32) (i32.const 0))

  (func $maybe_throw (param $n i32) (result i32)
    (local $asked i32)
    (local.set $asked (call $ask (local.get $n)))
    (if (i32.eq (local.get $n) (i32.const 3)) (then (throw $small (local.get $asked))))
    (if (i32.eq (local.get $n) (i32.const 5))
      (then (throw $large (i64.extend_i32_u (local.get $asked)) (f64.const 0.5))))
    (call $tell (local.get $asked))
    (local.get $asked))

  ;; A try around two calls, with operands waiting on the stack and a local that changes in its body.
  (func $guarded (export "guarded") (param $n i32) (result i32)
    (local $kept i32)
    (i32.add
      (i32.mul (local.get $n) (i32.const 1000))
      (block $done (result i32)
        (block $caught (result i32)
          (local.set $kept (i32.const 1))
          (br $done
            (try_table (result i32) (catch $small $caught)
              (local.set $kept (call $maybe_throw (i32.sub (local.get $n) (i32.const 1))))
              (local.set $kept (i32.add (local.get $kept) (call $maybe_throw (local.get $n))))
              (i32.sub (local.get $kept) (call $ask (local.get $kept))))))
        ;; Caught: the payload, what the body had done, and one more question.
        (i32.add (i32.mul (local.get $kept) (i32.const 10)) (call $ask (i32.const 50)))
        (i32.add))))

  ;; A loop of tries, nested in a try that catches the rest.
  (func (export "looped") (param $count i32) (result i32)
    (local $i i32) (local $sum i32)
    (block $all
      (try_table (catch_all $all)
        (loop $again
          (block $next
            (block $caught (result i32)
              (try_table (catch $small $caught)
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum) (call $maybe_throw (local.get $i))))
                (local.set $sum (i32.xor (local.get $sum) (call $guarded (local.get $i)))))
              (br $next))
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $i) (local.get $count))))))
    (call $tell (local.get $i))
    (i32.add (local.get $sum) (call $ask (local.get $i))))

  ;; Exceptions that pass through frames which were suspended and resumed.
  (func $deep (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.add (call $maybe_throw (i32.const 3)) (i32.const 1)))))
    (i32.add (call $deep (i32.sub (local.get $n) (i32.const 1))) (call $ask (local.get $n))))
  (func (export "unwound") (param $n i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $small $caught)
        (call $tell (call $deep (local.get $n))))
      (i32.const -1))))
