;; Loops in an initialiser: a second module whose start calls `_initialize` of the first, as wit-component
;; arranges it for reactors.
(component
  (core module $m
    (func (export "_initialize") (loop $again (br $again)))
    (func (export "run"))
  )
  (core module $starter
    (import "main" "_initialize" (func $initialize))
    (start $initialize)
  )
  (core instance $i (instantiate $m))
  (core instance (instantiate $starter (with "main" (instance $i))))
  (func (export "run") (canon lift (core func $i "run")))
)
