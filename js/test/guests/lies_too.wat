;; Says that it notes what is on its stack, and not of which functions.
(module
  (@custom "asyncify.record" "{}")
  (global (export "asyncify_record_changed") (mut i32) (i32.const 1))
  (func (export "asyncify_recorded") (param i32) (result i64) unreachable)
  (func (export "asyncify_stop_unwind"))
  (func (export "run") (result i32) (i32.const 7)))
