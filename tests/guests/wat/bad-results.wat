;; Results that break the canonical ABI. Each export returns a pointer to what its comment says.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    ;; 16: pointer 0, length 2 GiB
    (data (i32.const 16) "\00\00\00\00\00\00\00\80")
    ;; 32: pointer to the last byte, length 64
    (data (i32.const 32) "\ff\ff\00\00\40\00\00\00")
    ;; 48: a string that is not UTF-8
    (data (i32.const 48) "\40\00\00\00\04\00\00\00")
    (data (i32.const 64) "\ff\fe\c3\28")
    ;; 80: an option with discriminant 2
    (data (i32.const 80) "\02\00\00\00\00\00\00\00")
    (func (export "p16") (result i32) (i32.const 16))
    (func (export "p32") (result i32) (i32.const 32))
    (func (export "p48") (result i32) (i32.const 48))
    (func (export "p80") (result i32) (i32.const 80))
    (func (export "p-1") (result i32) (i32.const -1))
    (func (export "p17") (result i32) (i32.const 17))
    (func (export "ca") (result i32) (i32.const 0xd800))
    (func (export "en") (result i32) (i32.const 3))
  )
  (core instance $i (instantiate $m))
  ;; 2 GiB of a list that are not there.
  (func (export "huge-list") (result (list u8)) (canon lift (core func $i "p16") (memory (core memory $i "memory"))))
  ;; A list that runs over the end of the memory.
  (func (export "past-the-end") (result (list u8)) (canon lift (core func $i "p32") (memory (core memory $i "memory"))))
  (func (export "invalid-utf8") (result string) (canon lift (core func $i "p48") (memory (core memory $i "memory"))))
  (func (export "bad-option") (result (option u32)) (canon lift (core func $i "p80") (memory (core memory $i "memory"))))
  ;; The result's own address is outside the memory.
  (func (export "bad-pointer") (result string) (canon lift (core func $i "p-1") (memory (core memory $i "memory"))))
  ;; The result's own address is not aligned.
  (func (export "unaligned") (result string) (canon lift (core func $i "p17") (memory (core memory $i "memory"))))
  ;; A surrogate, which is no character.
  (func (export "bad-char") (result char) (canon lift (core func $i "ca")))
  ;; Neither ok nor err.
  (func (export "bad-case") (result (result)) (canon lift (core func $i "en")))
)
