;; Functions on strings that engines provide, which take as long as these are: six calls of each, with no loop around.
(module
  (type $chars (array (mut i16)))
  (type $two (func (param externref externref) (result i32)))
  (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
  (import "wasm:js-string" "equals" (func $equals (type $two)))
  (import "wasm:js-string" "compare" (func $compare (type $two)))
  (import "wasm:js-string" "concat" (func $concat (param externref externref) (result (ref extern))))
  (import "wasm:js-string" "substring" (func $substring (param externref i32 i32) (result (ref extern))))
  (import "wasm:js-string" "charCodeAt" (func $code (param externref i32) (result i32)))
  (import "wasm:js-string" "fromCharCodeArray" (func $from (param (ref null $chars) i32 i32) (result (ref extern))))
  (import "wasm:js-string" "intoCharCodeArray" (func $into (param externref (ref null $chars) i32) (result i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 65536))
  (global $array (mut (ref null $chars)) (ref.null $chars))
  (table 2 funcref)
  (elem (i32.const 0) $equals $leave)
  (func (export "malloc") (param i32) (result i32) (global.get $heap))
  (func $leave (type $two) (return_call $compare (local.get 0) (local.get 1)))
  (func $same (param externref externref) (result i32) (call $equals (local.get 0) (local.get 1)))
  (func (export "equals") (param externref externref) (result i32)
    (call $same (local.get 0) (local.get 1)) (call $same (local.get 0) (local.get 1)) i32.add
    (call $same (local.get 0) (local.get 1)) i32.add (call $same (local.get 0) (local.get 1)) i32.add
    (call $equals (local.get 0) (local.get 1)) i32.add (call $equals (local.get 0) (local.get 1)) i32.add)
  (func (export "by_table") (param externref externref) (result i32)
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 0))
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 0)) i32.add
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 0)) i32.add
    (call_ref $two (local.get 0) (local.get 1) (ref.func $equals)) i32.add
    (call_ref $two (local.get 0) (local.get 1) (ref.func $equals)) i32.add
    (call_ref $two (local.get 0) (local.get 1) (ref.func $equals)) i32.add)
  (func (export "compare") (param externref externref) (result i32)
    (call $leave (local.get 0) (local.get 1)) (call $leave (local.get 0) (local.get 1)) i32.add
    (call $compare (local.get 0) (local.get 1)) i32.add (call $compare (local.get 0) (local.get 1)) i32.add
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 1)) i32.add
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 1)) i32.add)
  (func $put (param externref externref) (result i32)
    (call $code (call $concat (local.get 0) (local.get 1)) (i32.const 0)))
  (func (export "concat") (param externref externref) (result i32)
    (call $put (local.get 0) (local.get 1)) (call $put (local.get 0) (local.get 1)) i32.add
    (call $put (local.get 0) (local.get 1)) i32.add (call $put (local.get 0) (local.get 1)) i32.add
    (call $put (local.get 0) (local.get 1)) i32.add (call $put (local.get 0) (local.get 1)) i32.add)
  (func $part (param externref externref) (result i32)
    (call $length (call $substring (local.get 0) (i32.const 1) (i32.const 3))))
  (func (export "substring") (param externref externref) (result i32)
    (call $part (local.get 0) (local.get 1)) (call $part (local.get 0) (local.get 1)) i32.add
    (call $part (local.get 0) (local.get 1)) i32.add (call $part (local.get 0) (local.get 1)) i32.add
    (call $part (local.get 0) (local.get 1)) i32.add (call $part (local.get 0) (local.get 1)) i32.add)
  (func $into_array (param externref externref) (result i32)
    (call $into (local.get 0) (global.get $array) (i32.const 0)))
  (func (export "into_array") (param externref externref) (result i32)
    (global.set $array (array.new_default $chars (call $length (local.get 0))))
    (call $into_array (local.get 0) (local.get 1)) (call $into_array (local.get 0) (local.get 1)) i32.add
    (call $into_array (local.get 0) (local.get 1)) i32.add (call $into_array (local.get 0) (local.get 1)) i32.add
    (call $into_array (local.get 0) (local.get 1)) i32.add (call $into_array (local.get 0) (local.get 1)) i32.add)
  (func $from_array (param externref externref) (result i32)
    (call $length (call $from (global.get $array) (i32.const 0) (call $length (local.get 0)))))
  (func (export "from_array") (param externref externref) (result i32)
    (global.set $array (array.new_default $chars (call $length (local.get 0))))
    (call $from_array (local.get 0) (local.get 1)) (call $from_array (local.get 0) (local.get 1)) i32.add
    (call $from_array (local.get 0) (local.get 1)) i32.add (call $from_array (local.get 0) (local.get 1)) i32.add
    (call $from_array (local.get 0) (local.get 1)) i32.add (call $from_array (local.get 0) (local.get 1)) i32.add))
