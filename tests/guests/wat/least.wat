;; The least that can be called: no memory, no import. What fresh-sandbox figures are measured with.
(component
  (core module $m
    (func (export "nothing"))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  )
  (core instance $i (instantiate $m))
  (func (export "nothing") (canon lift (core func $i "nothing")))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
)
