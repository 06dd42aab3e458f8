//! WASI 0.2 guests in a few lines, and what they find: clocks, randomness, output, and nothing of the host.

use crate::support::{
    call, engine, engine_with, failure, function, invocation, prepare, value, with_memory,
};
use lydian_engine::{FailureKind, Grants, Invocation, OutputSink};
use lydian_value::Value;
use std::sync::Arc;

/// A core module that imports functions from `host`, in a component that imports WASI instances and lowers them.
fn importing(imports: &str, lowered: &str, core: &str, lift: &str) -> String {
    format!(
        r#"(component
          {imports}
          (core module $libc (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 4096))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
              (global.get $next)
              (global.set $next (i32.add (global.get $next)
                (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
          (core instance $libc (instantiate $libc))
          (alias core export $libc "memory" (core memory $memory))
          (alias core export $libc "realloc" (core func $realloc))
          {lowered}
          (core module $m {core})
          (core instance $i (instantiate $m (with "host" (instance $host)) (with "libc" (instance $libc))))
          {lift})"#
    )
}

const POLL_AND_CLOCK: &str = r#"
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (export "pollable" (type $p (eq $pollable)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))"#;

const LOWER_POLL_AND_CLOCK: &str = r#"
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $drop (canon resource.drop $pollable))
  (core instance $host (export "block" (func $block)) (export "subscribe" (func $subscribe))
    (export "now" (func $now)) (export "drop" (func $drop)))"#;

const IMPORT_POLL_AND_CLOCK: &str = r#"
  (import "host" "block" (func $block (param i32)))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "now" (func $now (result i64)))
  (import "host" "drop" (func $drop (param i32)))"#;

/// Sleeps for as many nanoseconds as it is told.
pub(crate) fn sleeper() -> String {
    importing(
        POLL_AND_CLOCK,
        LOWER_POLL_AND_CLOCK,
        &format!(
            r#"{IMPORT_POLL_AND_CLOCK}
              (func (export "f") (param i64) (local $p i32)
                (local.set $p (call $subscribe (local.get 0)))
                (call $block (local.get $p)) (call $drop (local.get $p)))"#
        ),
        r#"(func (export "sleep") (param "nanos" u64) (canon lift (core func $i "f")))"#,
    )
}

/// Holds as many pollables as it is told.
pub(crate) fn subscriber() -> String {
    importing(
        POLL_AND_CLOCK,
        LOWER_POLL_AND_CLOCK,
        &format!(
            r#"{IMPORT_POLL_AND_CLOCK}
              (func (export "f") (param i32)
                (loop $l
                  (drop (call $subscribe (i64.const 1000000000)))
                  (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#
        ),
        r#"(func (export "subscribe") (param "count" u32) (canon lift (core func $i "f")))"#,
    )
}

/// Waits for timers that are due at once, for ever.
pub(crate) fn timer_storm() -> String {
    importing(
        POLL_AND_CLOCK,
        LOWER_POLL_AND_CLOCK,
        &format!(
            r#"{IMPORT_POLL_AND_CLOCK}
              (func (export "f") (local $p i32)
                (loop $l
                  (local.set $p (call $subscribe (i64.const 0)))
                  (call $block (local.get $p)) (call $drop (local.get $p))
                  (br $l)))"#
        ),
        r#"(func (export "storm") (canon lift (core func $i "f")))"#,
    )
}

/// Asks for as many random bytes as it is told.
pub(crate) fn dice() -> String {
    importing(
        r#"(import "wasi:random/random@0.2.6" (instance $random
             (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#,
        r#"(core func $bytes (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
           (core instance $host (export "bytes" (func $bytes)))"#,
        r#"(import "host" "bytes" (func $bytes (param i64 i32))) (import "libc" "memory" (memory 1))
           (func (export "f") (param i64) (result i64)
             (call $bytes (local.get 0) (i32.const 16))
             (i64.load (i32.load (i32.const 16))))"#,
        r#"(func (export "roll") (param "len" u64) (result u64) (canon lift (core func $i "f")))"#,
    )
}

/// Prints a hundred bytes as often as it is told, beginning with an escape sequence.
pub(crate) fn printer() -> String {
    importing(
        r#"
  (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error'))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (export "output-stream" (type $o (sub resource)))
    (export "error" (type $e (eq $error')))
    (type $se' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $se (eq $se')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $o)) (param "contents" (list u8)) (result (result (error $se)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout
    (export "output-stream" (type $o (eq $stream)))
    (export "get-stdout" (func (result (own $o))))))"#,
        r#"
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory) (realloc $realloc)))
  (core instance $host (export "get" (func $get)) (export "write" (func $write)))"#,
        r#"
  (import "host" "get" (func $get (result i32)))
  (import "host" "write" (func $write (param i32 i32 i32 i32)))
  (import "libc" "memory" (memory 1))
  (data (i32.const 1024) "\1b[31m")
  (func (export "f") (param i32) (local $out i32)
    (memory.fill (i32.const 1029) (i32.const 120) (i32.const 95))
    (local.set $out (call $get))
    (loop $l
      (call $write (local.get $out) (i32.const 1024) (i32.const 100) (i32.const 0))
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#,
        r#"(func (export "print") (param "times" u32) (canon lift (core func $i "f")))"#,
    )
}

#[tokio::test]
async fn output_is_delivered_and_made_safe() {
    let function = function(&printer()).await;
    let (sink, printed) = OutputSink::buffer();
    let invocation = Invocation {
        output: sink,
        ..invocation(&function, &[Value::U32(1)])
    };
    let outcome = engine().invoke(invocation).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let (stdout, stderr) = printed.take();
    assert_eq!(stdout, format!("\\x1b[31m{}", "x".repeat(95)));
    assert!(stderr.is_empty());
}

#[tokio::test]
async fn guests_sleep_and_wake() {
    let function = function(&sleeper()).await;
    let outcome = call(&function, &[Value::U64(30_000_000)]).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(outcome.usage.run >= std::time::Duration::from_millis(30));
}

/// Seeds made once and copied into every sandbox would give every tenant the same keys.
#[tokio::test]
async fn each_sandbox_has_randomness_of_its_own() {
    let function = function(&dice()).await;
    let first = value(&function, &call(&function, &[Value::U64(8)]).await);
    let second = value(&function, &call(&function, &[Value::U64(8)]).await);
    assert_ne!(first, second);
}

/// Lists the environment and the arguments by how many there are.
fn environment() -> String {
    importing(
        r#"(import "wasi:cli/environment@0.2.6" (instance $env
             (export "get-environment" (func (result (list (tuple string string)))))
             (export "get-arguments" (func (result (list string))))))"#,
        r#"(core func $vars (canon lower (func $env "get-environment") (memory $memory) (realloc $realloc)))
           (core func $args (canon lower (func $env "get-arguments") (memory $memory) (realloc $realloc)))
           (core instance $host (export "vars" (func $vars)) (export "args" (func $args)))"#,
        r#"(import "host" "vars" (func $vars (param i32))) (import "host" "args" (func $args (param i32)))
           (import "libc" "memory" (memory 1))
           (func (export "f") (result i32)
             (call $vars (i32.const 16)) (call $args (i32.const 32))
             (i32.add (i32.mul (i32.load (i32.const 20)) (i32.const 100)) (i32.load (i32.const 36))))"#,
        r#"(func (export "count") (result u32) (canon lift (core func $i "f")))"#,
    )
}

/// The host's environment holds its secrets.
#[tokio::test]
async fn nothing_of_the_hosts_environment_is_inherited() {
    assert!(std::env::vars().count() > 0);
    let function = function(&environment()).await;
    assert_eq!(
        value(&function, &call(&function, &[]).await),
        Some(Value::U32(0))
    );
    let grants = Grants {
        env: vec![("A".into(), "1".into()), ("B".into(), "2".into())],
        args: vec!["program".into()],
        ..Grants::default()
    };
    let granted = Invocation {
        grants: Arc::new(grants),
        ..invocation(&function, &[])
    };
    assert_eq!(
        value(&function, &engine().invoke(granted).await),
        Some(Value::U32(201))
    );
}

/// Exits with success or failure.
fn exiter() -> String {
    importing(
        r#"(import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func (param "status" (result))))))"#,
        r#"(core func $exit' (canon lower (func $exit "exit"))) (core instance $host (export "exit" (func $exit')))"#,
        r#"(import "host" "exit" (func $exit (param i32)))
           (func (export "f") (param i32) (call $exit (local.get 0)))"#,
        r#"(func (export "exit") (param "status" u32) (canon lift (core func $i "f")))"#,
    )
}

#[tokio::test]
async fn exiting_is_told_apart_from_trapping() {
    let function = function(&exiter()).await;
    let failure = failure(call(&function, &[Value::U32(1)]).await);
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Exited, "function `exit` exited with status 1")
    );
}

/// A command that says that it is done is done; a function that owes a result has not given it.
#[tokio::test]
async fn exiting_with_success_is_success_where_there_is_no_result() {
    let without = function(&exiter()).await;
    let outcome = call(&without, &[Value::U32(0)]).await;
    assert_eq!(outcome.result.as_deref(), Ok(&[][..]));
    let text = exiter()
        .replace(
            "(func (export \"f\") (param i32)",
            "(func (export \"f\") (param i32) (result i32)",
        )
        .replace(
            "(call $exit (local.get 0))",
            "(call $exit (local.get 0)) (i32.const 7)",
        )
        .replace(
            "(param \"status\" u32)",
            "(param \"status\" u32) (result u32)",
        );
    let with = function(&text).await;
    let failure = failure(call(&with, &[Value::U32(0)]).await);
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (
            FailureKind::Exited,
            "function `exit` exited with status 0 without returning its result"
        )
    );
}

/// Opens a TCP socket, as often as told; answers how many times that failed.
fn sockets() -> String {
    importing(
        r#"
  (import "wasi:sockets/network@0.2.6" (instance $network
    (type $family' (enum "ipv4" "ipv6")) (export "ip-address-family" (type $family (eq $family')))
    (type $code' (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable"
      "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
      "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type $code (eq $code')))))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "error-code" (type $code))
  (import "wasi:sockets/tcp@0.2.6" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.6" (instance $create
    (export "tcp-socket" (type $s (eq $socket)))
    (export "ip-address-family" (type $f (eq $family)))
    (export "error-code" (type $c (eq $code)))
    (export "create-tcp-socket" (func (param "address-family" $f) (result (result (own $s) (error $c)))))))"#,
        r#"(core func $create' (canon lower (func $create "create-tcp-socket") (memory $memory)))
           (core instance $host (export "create" (func $create')))"#,
        r#"(import "host" "create" (func $create (param i32 i32))) (import "libc" "memory" (memory 1))
           (func (export "f") (param i32) (result i32) (local $failed i32)
             (loop $l
               (call $create (i32.const 0) (i32.const 16))
               (local.set $failed (i32.add (local.get $failed) (i32.load8_u (i32.const 16))))
               (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
             (local.get $failed))"#,
        r#"(func (export "open") (param "count" u32) (result u32) (canon lift (core func $i "f")))"#,
    )
}

#[tokio::test]
async fn sockets_need_a_grant_and_are_counted() {
    let function = function(&sockets()).await;
    assert_eq!(
        value(&function, &call(&function, &[Value::U32(3)]).await),
        Some(Value::U32(3))
    );
    let grants = Arc::new(Grants {
        network: vec!["example.org:80".parse().unwrap()],
        ..Grants::default()
    });
    let limits = lydian_engine::Limits {
        open_files: 10,
        ..lydian_engine::Limits::UNSET
    };
    let open = |count| Invocation {
        grants: grants.clone(),
        limits,
        ..invocation(&function, &[Value::U32(count)])
    };
    assert_eq!(
        value(&function, &engine().invoke(open(10)).await),
        Some(Value::U32(0))
    );
    let failure = failure(engine().invoke(open(11)).await);
    assert_eq!(failure.kind, FailureKind::Handles);
    assert!(
        failure
            .message
            .contains("open files and sockets than its limit of 10"),
        "{}",
        failure.message
    );
}

/// A guest that never gives its sockets back must not keep the host's descriptors.
#[tokio::test]
async fn descriptors_go_with_the_sandbox() {
    let (_directory, engine) = engine_with(|_| ());
    let component = prepare(&engine, wat::parse_str(sockets()).unwrap())
        .await
        .unwrap();
    let function = component.function("").unwrap();
    let grants = Arc::new(Grants {
        network: vec!["example.org:80".parse().unwrap()],
        ..Grants::default()
    });
    // Tests beside this one open files as well, so the sockets have to stand out.
    let sockets = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter(|entry| {
                std::fs::read_link(entry.path())
                    .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
            })
            .count()
    };
    let before = sockets();
    for _ in 0..10 {
        let invocation = Invocation {
            grants: grants.clone(),
            ..invocation(&function, &[Value::U32(200)])
        };
        assert!(engine.invoke(invocation).await.result.is_ok());
    }
    let after = sockets();
    assert!(after < before + 400, "{before} sockets, then {after}");
}

/// An import that nobody provides is found when the component is prepared, not when it is called.
#[tokio::test]
async fn missing_imports_are_named_with_their_way_out() {
    let wasm = wat::parse_str(with_memory(
        "",
        r#"(import "acme:db/query@1.0.0" (instance (export "run" (func))))"#,
    ));
    let error = prepare(&engine(), wasm.unwrap()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("imports `acme:db/query@1.0.0`, which is not provided"),
        "{error}"
    );
    assert!(error.hints()[0].contains("wac plug"), "{:?}", error.hints());
}
