//! Components as text. Each is as small as what it shows allows.

/// Functions over numbers, and ways to end badly.
pub(crate) const MATH: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))
    (func (export "noop"))
    (func (export "spin") (loop $again (br $again)))
    (func (export "trap") unreachable)
    (func (export "trap-at") (param i64) (result i64)
      (if (i64.eq (local.get 0) (i64.const 7)) (then unreachable))
      (local.get 0))
    (func (export "bump") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (func (export "grow") (drop (memory.grow (i32.const 100)))
      (if (i32.lt_u (memory.size) (i32.const 50)) (then unreachable))))
  (core instance $i (instantiate $m))
  (func (export "square") (param "x" u64) (result u64) (canon lift (core func $i "square")))
  (func (export "noop") (canon lift (core func $i "noop")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (func (export "trap-at") (param "x" u64) (result u64) (canon lift (core func $i "trap-at")))
  (func (export "bump") (result u32) (canon lift (core func $i "bump")))
  (func (export "grow") (canon lift (core func $i "grow"))))"#;

/// One function only, so that a target need not name it.
pub(crate) const ONE: &str = r#"(component
  (core module $m (func (export "one") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "one") (result u32) (canon lift (core func $i "one"))))"#;

/// Takes bytes and says how many; gives as many bytes as asked for.
pub(crate) const BYTES: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $pages i32)
      (local.set $pages (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 2)))
      (if (i32.lt_u (memory.size) (local.get $pages))
        (then (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1)) (then unreachable))))
      (i32.const 65536))
    (func (export "length") (param i32 i32) (result i32) (local.get 1))
    (func (export "give") (param i32) (result i32)
      (local $pages i32)
      (local.set $pages (i32.add (i32.shr_u (local.get 0) (i32.const 16)) (i32.const 2)))
      (if (i32.lt_u (memory.size) (local.get $pages))
        (then (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1)) (then unreachable))))
      (i32.store (i32.const 16) (i32.const 65536))
      (i32.store (i32.const 20) (local.get 0))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func (export "length") (param "data" (list u8)) (result u32)
    (canon lift (core func $i "length") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "give") (param "count" u32) (result (list u8))
    (canon lift (core func $i "give") (memory (core memory $i "memory")))))"#;

/// Takes nested types, for wrong arguments.
pub(crate) const CONFIG: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "train") (param i32 f64) (result f64) (local.get 1)))
  (core instance $i (instantiate $m))
  (type $config' (record (field "depth" u32) (field "rate" f64)))
  (import "unused" (type $config (eq $config')))
  (func (export "train") (param "config" $config) (result f64) (canon lift (core func $i "train"))))"#;

/// Imports what nobody provides.
pub(crate) const NEEDS_DATABASE: &str = r#"(component
  (import "acme:db/query@1.0.0" (instance (export "run" (func))))
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func (export "f") (canon lift (core func $i "f"))))"#;

/// The WASI output stream, shared by the guests that print.
const STDOUT: &str = r#"
  (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-t))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (export "output-stream" (type $os (sub resource)))
    (alias outer 1 $error-t (type $e))
    (type $stream-error' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $os)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $os))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout
    (alias outer 1 $os (type $o))
    (export "output-stream" (type $o2 (eq $o)))
    (export "get-stdout" (func (result (own $o2))))))
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 1024) "hello\n")
    (data (i32.const 2048) "\1b[2Jred\ff\n"))
  (core instance $memory (instantiate $memory))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))"#;

/// Prints: a line, a line with control characters, lines for ever.
pub(crate) fn printing() -> String {
    format!(
        r#"(component {STDOUT}
  (core module $m
    (import "" "get" (func $get (result i32)))
    (import "" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "hello") (call $write (call $get) (i32.const 1024) (i32.const 6) (i32.const 16)))
    (func (export "escapes") (call $write (call $get) (i32.const 2048) (i32.const 9) (i32.const 16)))
    (func (export "flood") (local $out i32)
      (local.set $out (call $get))
      (loop $again
        (call $write (local.get $out) (i32.const 1024) (i32.const 4096) (i32.const 16))
        (br $again)))
    (func (export "hello-and-spin")
      (call $write (call $get) (i32.const 1024) (i32.const 6) (i32.const 16))
      (loop $again (br $again))))
  (core instance $i (instantiate $m (with "" (instance
    (export "get" (func $get)) (export "write" (func $write))))))
  (func (export "hello") (canon lift (core func $i "hello")))
  (func (export "escapes") (canon lift (core func $i "escapes")))
  (func (export "flood") (canon lift (core func $i "flood")))
  (func (export "hello-and-spin") (canon lift (core func $i "hello-and-spin"))))"#
    )
}

/// Waits on the host for as many nanoseconds as it is told.
pub(crate) const SLEEP: &str = r#"(component
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $p2 (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p2))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $m
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "" "block" (func $block (param i32)))
    (func (export "sleep") (param i64) (call $block (call $subscribe (local.get 0)))))
  (core instance $i (instantiate $m (with "" (instance
    (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
  (func (export "sleep") (param "nanos" u64) (canon lift (core func $i "sleep"))))"#;

/// The bytes of a component written as text.
pub(crate) fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the guest's text")
}
