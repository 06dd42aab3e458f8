;; Loops in the clean-up that the host calls after it has read the result.
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 16) "\20\00\00\00\02\00\00\00")
    (data (i32.const 32) "ok")
    (func (export "give") (result i32) (i32.const 16))
    (func (export "give-post") (param i32) (loop $again (br $again)))
  )
  (core instance $i (instantiate $m))
  (func (export "give") (result string)
    (canon lift (core func $i "give") (memory (core memory $i "memory")) (post-return (core func $i "give-post"))))
)
