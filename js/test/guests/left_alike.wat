;; Two functions with frames that look alike, without tail calls: where the first was suspended, the second calls itself.
(module
  (type $function (func (param i32) (result i32)))
  (import "env" "ask" (func $ask (type $function)))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (func (export "keeps") (type $function) (local $kept i32)
    (local.set $kept (i32.mul (local.get 0) (i32.const 7)))
    (i32.add (local.get $kept) (call_indirect (type $function) (local.get 0) (i32.const 0))))
  (func $deep (export "deep") (type $function) (local $kept i32)
    (local.set $kept (i32.mul (local.get 0) (i32.const 5)))
    (if (i32.gt_s (local.get 0) (i32.const 20))
      (then (return (i32.add (local.get $kept) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
    (i32.add (local.get $kept) (call $ask (local.get 0)))))
