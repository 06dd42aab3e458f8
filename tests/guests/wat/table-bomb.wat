;; Grows a table: `grow(n)` asks for `n` more entries and returns whether it got them.
(component
  (core module $m
    (table 1 funcref)
    (func (export "grow") (param i32) (result i32)
      (i32.ne (table.grow (ref.null func) (local.get 0)) (i32.const -1)))
  )
  (core instance $i (instantiate $m))
  (func (export "grow") (param "entries" u32) (result bool) (canon lift (core func $i "grow")))
)
