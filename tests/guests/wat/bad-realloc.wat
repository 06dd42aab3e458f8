;; `realloc` answers with addresses that cannot be: outside the memory, unaligned, or over and over the same.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "outside") (param i32 i32 i32 i32) (result i32) (i32.const -16))
    (func (export "unaligned") (param i32 i32 i32 i32) (result i32) (i32.const 1025))
    (func (export "trap") (param i32 i32 i32 i32) (result i32) (unreachable))
    (func (export "take") (param i32 i32))
  )
  (core instance $i (instantiate $m))
  (func (export "outside") (param "x" (list u64))
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "outside"))))
  (func (export "unaligned") (param "x" (list u64))
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "unaligned"))))
  (func (export "trap") (param "x" (list u64))
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "trap"))))
)
