;; Asks for a WASI version that does not exist yet.
(component
  (import "wasi:cli/environment@0.9.0" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (core module $m
    (func (export "run"))
  )
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))
)
