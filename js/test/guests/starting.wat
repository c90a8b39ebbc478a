;; Its start function computes.
(module
  (global $count (mut i32) (i32.const 0))
  (func $start (loop
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (br_if 0 (i32.lt_u (global.get $count) (i32.const 20000000)))))
  (start $start)
  (func (export "count") (result i32) (global.get $count)))
