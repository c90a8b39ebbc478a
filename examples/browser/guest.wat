;; A program that was written without a thought of promises: it sleeps, reads, adds up and reports.
(module
  (import "page" "sleep" (func $sleep (param $milliseconds i32)))
  (import "page" "read" (func $read (param $number i32) (result i32)))
  (import "page" "report" (func $report (param $number i32) (param $length i32) (param $total i32)))
  (func $step (param $number i32) (param $total i32) (result i32)
    (local $length i32)
    (call $sleep (i32.const 120))
    (local.set $length (call $read (local.get $number)))
    (local.set $total (i32.add (local.get $total) (local.get $length)))
    (call $report (local.get $number) (local.get $length) (local.get $total))
    (local.get $total))
  (func (export "run") (param $steps i32) (result i32)
    (local $number i32) (local $total i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $number) (local.get $steps)))
        (local.set $total (call $step (local.get $number) (local.get $total)))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br $next)))
    (local.get $total)))
