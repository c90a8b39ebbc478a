;; Suspensions inside the catch clauses of the old form of exception handling, which Node has and Wasmtime has not.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "tell" (func $tell (param i32)))
  (import "env" "fail" (func $fail (param i32)))
  (type $swap (func (param i32 i64) (result i64 i32)))
  (type $asks (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) $ask $askew)
  (tag $small (param i32))
  (tag $large (param i64 f64))
  (tag $empty)
  (tag $vector (param v128))
  (tag $long (param i32 i64 f32))
  (global $depth (export "depth") (mut i32) (i32.const 0))

  (func $askew (param $n i32) (result i32)
    (i32.add (call $ask (i32.add (local.get $n) (i32.const 3))) (local.get $n)))

  ;; Throws what its argument says: 0 nothing, 6 an exception of JavaScript, more: nothing.
  (func $throw (param $what i32)
    block block block block block block block
      (br_table 0 1 2 3 4 5 6 0 (local.get $what))
    end return
    end (throw $small (i32.const 41))
    end (throw $large (i64.const 0x1_0000_0002) (f64.const 2.5))
    end (throw $empty)
    end (throw $vector (v128.const i32x4 1 2 3 4))
    end (throw $long (i32.const 7) (i64.const -8) (f32.const 0.5))
    end (call $fail (local.get $what)))

  ;; Several clauses, some without call sites, with values that stand below the try.
  (func $caught (export "caught") (param $what i32) (result i32)
    (local $kept i32)
    (local.set $kept (call $ask (local.get $what)))
    (i32.mul (local.get $kept) (i32.const 3))
    try (result i32)
      (call $throw (local.get $what))
      (call $ask (i32.const 1))
    catch $small
      (i32.add (call $ask (i32.const 2)))
    catch $large
      (f64.mul (f64.convert_i32_s (call $ask (i32.const 3))))
      (local.set $kept (i32.trunc_f64_s))
      (i64.add (i64.extend_i32_s (call $ask (i32.const 4))))
      (i32.xor (i32.wrap_i64) (local.get $kept))
    catch $empty
      (local.get $kept)
    catch $vector
      (i32x4.extract_lane 2)
      (i32.mul (call $ask (i32.const 5)))
    end
    i32.sub)

  ;; A catch_all that throws nothing on: also exceptions of JavaScript.
  (func $all (export "all") (param $what i32) (result i32)
    try (result i32)
      (call $throw (local.get $what))
      (i32.const 5)
    catch_all
      (i32.mul (call $ask (local.get $what)) (call $ask (i32.const 9)))
    end)

  ;; Cleaning up and throwing on, as compilers of C++ do it.
  (func $clean (export "clean") (param $what i32)
    try
      (call $throw (local.get $what))
      (call $tell (i32.const 10))
    catch_all
      (global.set $depth (i32.add (global.get $depth) (call $ask (i32.const 11))))
      rethrow 0
    end)

  (func (export "cleaned") (param $what i32) (result i32)
    try (result i32)
      (call $clean (local.get $what))
      (i32.const 1)
    catch $small
      (i32.add (call $ask (i32.const 12)))
    catch $large
      drop i32.wrap_i64
    catch $long
      drop drop
    catch_all
      (i32.const 99)
    end)

  ;; rethrow out of one clause and out of two, of a tag and of whatever it was.
  (func $rethrown (export "rethrown") (param $what i32) (result i32)
    (local $i i32)
    try $outer (result i32)
      (call $caught (local.get $what))
      (call $throw (local.get $what))
    catch $small
      (local.set $i)
      try (result i32)
        (call $throw (i32.add (local.get $what) (call $ask (i32.const 13))))
        (call $throw (i32.const 3))
        (i32.const 14)
      catch $empty
        (call $tell (call $ask (local.get $i)))
        rethrow $outer
      end
    catch_all
      try (result i32)
        (if (i32.and (call $ask (i32.const 15)) (i32.const 1))
          (then rethrow $outer))
        (call $throw (i32.sub (local.get $what) (i32.const 1)))
        (i32.const 16)
      catch $small
        (i32.add (call $ask (i32.const 17)))
      catch_all
        (call $tell (call_indirect (type $asks) (i32.const 18) (i32.const 1)))
        rethrow $outer
      end
    end)

  (func (export "all_rethrown") (param $what i32) (result i32)
    try (result i32)
      (call $rethrown (local.get $what))
    catch_all
      (call $ask (i32.const 19))
    end)

  ;; delegate, around and inside of clauses.
  (func (export "delegated") (param $what i32) (result i32)
    try $outer (result i32)
      try $inner (result i32)
        try (result i32)
          (call $throw (local.get $what))
          (call $ask (i32.const 20))
        delegate $outer
      catch_all
        (call $ask (i32.const 21))
      end
    catch $small
      (i32.add (call $ask (i32.const 22)))
      drop
      try (result i32)
        try $here (result i32)
          (call $throw (i32.const 2))
          (i32.const 23)
        catch $large
          drop drop
          try (result i32)
            (call $tell (call $ask (i32.const 24)))
            (call $throw (i32.const 3))
            (i32.const 25)
          delegate $here
        end
      catch $empty
        (call $ask (i32.const 26))
      end
    end)

  ;; Branches out of clauses, and back to a loop around them; a br_table; a return.
  (func (export "looped") (param $count i32) (result i32)
    (local $i i32) (local $sum i32)
    block $done
      loop $again
        (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
        try $try
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (call $throw (local.get $i))
          (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
        catch $small
          (local.set $sum (i32.add (local.get $sum) (call $ask)))
          (br $again)
        catch $large
          drop drop
          loop $inner
            (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $sum))))
            (br_if $inner (i32.lt_u (local.get $sum) (i32.const 2000)))
            (br_if $try (i32.and (local.get $sum) (i32.const 2)))
          end
          (call $tell (local.get $sum))
        catch $empty
          (call $ask (i32.const 27))
          (br_table $try $again $done (i32.and (i32.const 1)))
        catch_all
          (local.set $sum (i32.add (local.get $sum) (call $ask (i32.const 28))))
          (if (i32.eq (local.get $i) (i32.const 7)) (then (return (local.get $sum))))
        end
        (local.set $sum (i32.mul (local.get $sum) (i32.const 5)))
        (br $again)
      end
    end
    (local.get $sum))

  ;; Parameters and several results.
  (func (export "several") (param $what i32) (result i32)
    (local $sum i32)
    (i32.const 100)
    (call $ask (local.get $what))
    (i64.const 30)
    try (param i32 i64) (result i64 i32)
      i32.wrap_i64 i32.add (local.set $sum)
      (call $throw (local.get $what))
      (i64.extend_i32_s (call $ask (local.get $sum)))
      (i32.const 31)
    catch $long
      drop
      (i64.add (i64.extend_i32_u (call $ask (i32.const 32))))
      try (param i32 i64) (result i64 i32)
        (local.set $sum (i32.wrap_i64))
        (call $throw (i32.const 1))
        (local.set $sum)
        unreachable
      catch $small
        (i64.extend_i32_s (call $ask))
        (local.get $sum)
      end
    catch_all
      (i64.const 33)
      (call $askew (i32.const 34))
    end
    (local.set $sum)
    i32.wrap_i64
    (i32.add (local.get $sum))
    i32.add)

  ;; Clauses in clauses in clauses, whose innermost suspends and throws on what the outermost has caught.
  (func $nested (export "nested") (param $what i32) (result i32)
    (local $asked i32)
    try $a (result i32)
      (call $throw (local.get $what))
      (i32.const 35)
    catch_all
      try $b (result i32)
        (call $throw (i32.const 1))
        (i32.const 36)
      catch $small
        try $c (result i32)
          (call $throw (i32.const 5))
          (i32.const 37)
        catch $long
          drop drop
          (local.tee $asked (i32.add (call $ask (i32.const 38))))
          (br_if $b (i32.and (local.get $asked) (local.get $what)))
          (call $tell (i32.const 39))
          rethrow $a
        end
        i32.add
      end
    end)

  (func (export "all_nested") (param $what i32) (result i32)
    try (result i32)
      (call $nested (local.get $what))
    catch_all
      (call $ask (i32.const 40))
    end))
