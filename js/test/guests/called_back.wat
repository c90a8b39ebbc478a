;; Functions that a host can call only by a reference, out of the table or as a value that it was given, and that call the
;; host again, twice: no loop, and no recursion within the module.
(module
  (import "env" "by_table" (func $by_table (param i32 i32)))
  (import "env" "by_value" (func $by_value (param funcref i32)))
  (table (export "table") 1 funcref)
  (elem (i32.const 0) $in_table)
  (elem declare func $value)
  (func $in_table (param i32)
    (if (local.get 0)
      (then
        (call $by_table (i32.const 0) (i32.sub (local.get 0) (i32.const 1)))
        (call $by_table (i32.const 0) (i32.sub (local.get 0) (i32.const 1))))))
  (func $value (param i32)
    (if (local.get 0)
      (then
        (call $by_value (ref.func $value) (i32.sub (local.get 0) (i32.const 1)))
        (call $by_value (ref.func $value) (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "by_table") (param i32) (call $by_table (i32.const 0) (local.get 0)))
  (func (export "by_value") (param i32) (call $by_value (ref.func $value) (local.get 0))))
