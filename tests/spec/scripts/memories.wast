;; Several memories, with addresses of both widths, and calls between.

(module
  (memory $narrow (export "narrow") 1)
  (memory $wide (export "wide") i64 1 3)
  (func $id (param i32) (result i32) (local.get 0))
  (func $where (param i64) (result i64) (drop (call $id (i32.const 1))) (local.get 0))
  (func (export "copy") (param i32) (result i64)
    (i32.store $narrow (call $id (i32.const 16)) (local.get 0))
    (memory.copy $wide $narrow (call $where (i64.const 32)) (call $id (i32.const 16)) (i32.const 4))
    (i64.add
      (i64.load32_u $wide (call $where (i64.const 32)))
      (i64.extend_i32_u (i32.load8_u $narrow (call $id (i32.const 16))))))
  (func (export "grow") (result i64 i32)
    (i64.add (memory.grow $wide (call $where (i64.const 1))) (memory.size $wide))
    (memory.size $narrow))
  (func (export "beyond") (result i32) (i32.load $wide (call $where (i64.const 0x1_0000_0000)))))

(assert_return (invoke "copy" (i32.const 0x102)) (i64.const 0x104))
(assert_return (invoke "grow") (i64.const 3) (i32.const 1))
(assert_trap (invoke "beyond") "out of bounds memory access")
