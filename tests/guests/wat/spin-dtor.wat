;; Loops in a resource's destructor: `make` returns a handle, and dropping it never ends.
(component
  (core module $d
    (func (export "dtor") (param i32) (loop $again (br $again)))
  )
  (core instance $di (instantiate $d))
  (type $thing' (resource (rep i32) (dtor (core func $di "dtor"))))
  (core func $new (canon resource.new $thing'))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "make") (result i32) (call $new (i32.const 7)))
  )
  (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
  (component $things
    (import "thing" (type $thing (sub resource)))
    (import "make" (func $make (result (own $thing))))
    (export $thing' "thing" (type $thing))
    (export "make" (func $make) (func (result (own $thing'))))
  )
  (func $make (result (own $thing')) (canon lift (core func $i "make")))
  (instance $exports (instantiate $things
    (with "thing" (type $thing'))
    (with "make" (func $make))))
  (export "test:spin/things" (instance $exports))
)
