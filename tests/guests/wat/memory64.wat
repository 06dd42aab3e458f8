;; A memory with 64-bit addresses, which could declare more than any machine has.
(component
  (core module $m
    (memory i64 1)
    (func (export "run"))
  )
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))
)
