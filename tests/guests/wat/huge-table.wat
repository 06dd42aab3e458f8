;; Declares a table of ten million entries from the beginning.
(component
  (core module $m
    (table 10000000 funcref)
    (func (export "run"))
  )
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))
)
