;; Asks for an interface that nobody provides.
(component
  (import "acme:database/rows@1.2.0" (instance $rows
    (export "query" (func (param "sql" string) (result u32)))))
  (core module $m
    (func (export "run"))
  )
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run")))
)
