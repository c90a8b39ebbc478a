;; The host's side of the plain ABI, inside the engine: `ask` suspends whenever it is called and gives its result in the
;; rewind, `run` calls the guest's export again until that comes to its end. The host puts the guest's functions into the
;; table. The data structure is set up once: a rewind leaves it as it was.
(module
  (type $set (func (param i32)))
  (type $end (func))
  (type $entry (func (param i32 i32) (result i32)))
  (table $functions (export "functions") 5 funcref) ;; start_unwind, stop_unwind, start_rewind, stop_rewind, the entry
  (global $data (export "data") (mut i32) (i32.const 0))
  (global $suspensions (export "suspensions") (mut i32) (i32.const 0))
  (global $unwinding (mut i32) (i32.const 0))
  (global $rewinding (mut i32) (i32.const 0))

  (func (export "ask") (param $value i32) (result i32)
    (if (global.get $rewinding)
      (then
        (global.set $rewinding (i32.const 0))
        (call_indirect $functions (type $end) (i32.const 3))
        (return (i32.mul (local.get $value) (i32.const 7)))))
    (global.set $unwinding (i32.const 1))
    (call_indirect $functions (type $set) (global.get $data) (i32.const 0))
    (i32.const 0))

  (func (export "run") (param $depth i32) (param $times i32) (result i32)
    (local $result i32)
    (global.set $suspensions (i32.const 0))
    (local.set $result
      (call_indirect $functions (type $entry) (local.get $depth) (local.get $times) (i32.const 4)))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (global.get $unwinding)))
        (global.set $unwinding (i32.const 0))
        (call_indirect $functions (type $end) (i32.const 1))
        (global.set $suspensions (i32.add (global.get $suspensions) (i32.const 1)))
        (call_indirect $functions (type $set) (global.get $data) (i32.const 2))
        (global.set $rewinding (i32.const 1))
        (local.set $result (call_indirect $functions (type $entry) (i32.const 0) (i32.const 0) (i32.const 4)))
        (br $again)))
    (local.get $result)))
