;; A resource whose constructor may fail, as `result<own<even>, string>`.
(component
  (type $even' (resource (rep i32)))
  (core func $new (canon resource.new $even'))
  (core module $m
    (import "host" "new" (func $new (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "odd number")
    (func (export "make") (param i32) (result i32)
      (if (i32.and (local.get 0) (i32.const 1))
        (then
          (i32.store (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.const 64))
          (i32.store (i32.const 24) (i32.const 10)))
        (else
          (i32.store (i32.const 16) (i32.const 0))
          (i32.store (i32.const 20) (call $new (local.get 0)))))
      (i32.const 16))
    (func (export "value") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
  (func $make' (param "n" u32) (result (result (own $even') (error string)))
    (canon lift (core func $i "make") (memory (core memory $i "memory"))))
  (func $value' (param "self" (borrow $even')) (result u32) (canon lift (core func $i "value")))
  (component $shim
    (import "even" (type $e (sub resource)))
    (import "make" (func $make (param "n" u32) (result (result (own $e) (error string)))))
    (import "value" (func $value (param "self" (borrow $e)) (result u32)))
    (export $out "even" (type $e))
    (export "[constructor]even" (func $make) (func (param "n" u32) (result (result (own $out) (error string)))))
    (export "[method]even.value" (func $value) (func (param "self" (borrow $out)) (result u32))))
  (instance $api (instantiate $shim
    (with "even" (type $even')) (with "make" (func $make')) (with "value" (func $value'))))
  (export "test:fallible/api" (instance $api)))
