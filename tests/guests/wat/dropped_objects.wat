;; A passive segment of structures that can change, of which the guest takes one, changes it, and lets all of them go.
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1)
  (type $cell (struct (field (mut i32))))
  (table $cells 2 (ref null $cell))
  (elem $segment (ref null $cell) (struct.new $cell (i32.const 4)) (struct.new $cell (i32.const 5)))
  (func (export "run") (param $drops i32) (result i32) (local $sum i32)
    (table.init $cells $segment (i32.const 0) (i32.const 0) (i32.const 2))
    (struct.set $cell 0 (table.get $cells (i32.const 0)) (i32.const 100))
    (local.set $sum
      (i32.add (struct.get $cell 0 (table.get $cells (i32.const 0))) (struct.get $cell 0 (table.get $cells (i32.const 1)))))
    (table.fill $cells (i32.const 0) (ref.null $cell) (i32.const 2))
    (if (local.get $drops) (then (elem.drop $segment)))
    (i32.add (local.get $sum) (call $ask (local.get $drops))))
  (func (export "values") (result i32 i32)
    (ref.is_null (table.get $cells (i32.const 0))) (table.size $cells))
  (func (export "again") (table.init $cells $segment (i32.const 0) (i32.const 0) (i32.const 1))))
