;; Computes for a while: the program of an example.
(module
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (drop (memory.grow (i32.const 16))) (i32.const 65536))
  (func (export "run") (local i32)
    (loop
      (i32.store (i32.const 64) (local.get 0))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 400000000))))))
