;; A list of 8,063 strings that all lie over the same 64 KiB: half a gigabyte for the host to copy, out of one page.
(component
  (core module $m
    (memory (export "memory") 1)
    ;; The whole page is filled with one entry, address 0 and length 65,536, which is valid UTF-8 as well.
    (func $fill (local $at i32)
      (loop $next
        (i64.store (local.get $at) (i64.const 0x0001_0000_0000_0000))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 65536)))))
    (start $fill)
    (func (export "give") (result i32)
      ;; The list's own address and length take the place of the last entry.
      (i64.store (i32.const 65528) (i64.const 0x0000_1f7f_0000_0000))
      (i32.const 65528))
  )
  (core instance $i (instantiate $m))
  (func (export "give") (result (list string)) (canon lift (core func $i "give") (memory (core memory $i "memory"))))
)
