;; A core module of the old threads proposal: imports a memory and a way to spawn.
(module
  (import "env" "memory" (memory 1 2 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func (export "wasi_thread_start") (param i32 i32))
  (func (export "run") (drop (call $spawn (i32.const 0))))
)
