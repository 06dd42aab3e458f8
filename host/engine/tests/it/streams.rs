//! WASI 0.3 guests: asynchronous functions, and results that go on after the call has answered.

use crate::support::{
    call, component, drained, engine, engine_with, failure, function, invocation, prepare, value,
};
use lydian_engine::{FailureKind, Invocation, Limits, Run, StreamItems};
use lydian_value::Value;
use std::time::Duration;

/// `flats`: an asynchronous function whose result has as many core values as the type says, given back by `task.return`.
fn asynchronous(result: &str, core: &str, returned: &str) -> String {
    format!(
        r#"(component
          (core func $return (canon task.return (result {result})))
          (core module $m
            (import "host" "return" (func $return (param {core})))
            (func (export "f") (result i32) (call $return {returned}) (i32.const 0))
            (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
          (core instance $i (instantiate $m (with "host" (instance (export "return" (func $return))))))
          (func (export "f") async (result {result})
            (canon lift (core func $i "f") async (callback (core func $i "callback")))))"#
    )
}

#[tokio::test]
async fn asynchronous_functions_answer() {
    let cases = [
        ("u32", "i32", "(i32.const 7)", Value::U32(7)),
        (
            "(tuple u8 f64 u32)",
            "i32 f64 i32",
            "(i32.const 1) (f64.const 2.5) (i32.const 3)",
            Value::Tuple(vec![Value::U8(1), Value::F64(2.5), Value::U32(3)]),
        ),
        (
            "(option u64)",
            "i32 i64",
            "(i32.const 1) (i64.const 9)",
            Value::Option(Some(Box::new(Value::U64(9)))),
        ),
    ];
    for (ty, core, returned, expected) in cases {
        let function = function(&asynchronous(ty, core, returned)).await;
        assert!(function.ty().is_async);
        assert_eq!(
            value(&function, &call(&function, &[]).await),
            Some(expected),
            "{ty}"
        );
    }
}

/// Only the options of a lift tell whether it is asynchronous; a type that says so may be lifted the plain way.
#[tokio::test]
async fn asynchronous_types_lifted_synchronously_answer() {
    let function = function(
        r#"(component
          (core module $m (memory (export "memory") 1)
            (func (export "f") (result i32) (i32.store (i32.const 8) (i32.const 5)) (i32.store (i32.const 12) (i32.const 6)) (i32.const 8)))
          (core instance $i (instantiate $m))
          (func (export "f") async (result (tuple u32 u32)) (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#,
    )
    .await;
    for _ in 0..2 {
        let expected = Value::Tuple(vec![Value::U32(5), Value::U32(6)]);
        assert_eq!(
            value(&function, &call(&function, &[]).await),
            Some(expected)
        );
    }
}

/// A function that answers with a stream of `u32`, then writes `1, 2, 3, ...` in pieces of `piece` until it has written
/// `total`, and closes it. It waits for each write, so it only runs as fast as it is read.
fn counting(piece: u32, total: u32) -> String {
    format!(
        r#"(component
          (type $s (stream u32))
          (core module $libc (memory (export "memory") 1))
          (core instance $libc (instantiate $libc))
          (core func $new (canon stream.new $s))
          (core func $write (canon stream.write $s async (memory (core memory $libc "memory"))))
          (core func $close (canon stream.drop-writable $s))
          (core func $return (canon task.return (result $s)))
          (core func $set-new (canon waitable-set.new))
          (core func $join (canon waitable.join))
          (core module $m
            (import "libc" "memory" (memory 1))
            (import "host" "new" (func $new (result i64)))
            (import "host" "write" (func $write (param i32 i32 i32) (result i32)))
            (import "host" "close" (func $close (param i32)))
            (import "host" "return" (func $return (param i32)))
            (import "host" "set-new" (func $set-new (result i32)))
            (import "host" "join" (func $join (param i32 i32)))
            (global $writer (mut i32) (i32.const 0))
            (global $set (mut i32) (i32.const 0))
            (global $written (mut i32) (i32.const 0))
            (func $fill (local $n i32)
              (loop $l
                (i32.store (i32.add (i32.const 1024) (i32.shl (local.get $n) (i32.const 2)))
                  (i32.add (i32.add (global.get $written) (local.get $n)) (i32.const 1)))
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {piece})))))
            ;; Writes until a write has to wait; then says that it waits.
            (func $go (result i32) (local $r i32)
              (loop $l
                (if (i32.ge_u (global.get $written) (i32.const {total}))
                  (then
                    (call $join (global.get $writer) (i32.const 0))
                    (call $close (global.get $writer))
                    (return (i32.const 0))))
                (call $fill)
                (local.set $r (call $write (global.get $writer) (i32.const 1024) (i32.const {piece})))
                (if (i32.eq (local.get $r) (i32.const -1))
                  (then (return (i32.or (i32.const 2) (i32.shl (global.get $set) (i32.const 4))))))
                (global.set $written (i32.add (global.get $written) (i32.shr_u (local.get $r) (i32.const 4))))
                (br $l))
              unreachable)
            (func (export "f") (result i32) (local $both i64)
              (local.set $both (call $new))
              (global.set $writer (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))
              (global.set $set (call $set-new))
              (call $join (global.get $writer) (global.get $set))
              (call $return (i32.wrap_i64 (local.get $both)))
              (call $go))
            (func (export "callback") (param i32 i32 i32) (result i32)
              ;; The reader is gone.
              (if (i32.eq (i32.and (local.get 2) (i32.const 15)) (i32.const 1))
                (then (return (i32.const 0))))
              (global.set $written (i32.add (global.get $written) (i32.shr_u (local.get 2) (i32.const 4))))
              (call $go)))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "host" (instance
              (export "new" (func $new)) (export "write" (func $write)) (export "close" (func $close))
              (export "return" (func $return)) (export "set-new" (func $set-new)) (export "join" (func $join))))))
          (func (export "count") async (result (stream u32))
            (canon lift (core func $i "f") async (callback (core func $i "callback")))))"#
    )
}

async fn run(wat: &str, limits: Limits) -> Run {
    let function = function(wat).await;
    assert!(function.has_streams());
    engine()
        .run(Invocation {
            limits,
            ..invocation(&function, &[])
        })
        .await
}

fn numbers(batch: &StreamItems) -> Vec<u32> {
    let ty = lydian_value::Type::list(lydian_value::Type::U32);
    match ty
        .decode(&batch.items, &lydian_value::Limits::default())
        .unwrap()
    {
        Value::U32s(numbers) => numbers,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn stream_items_follow_the_result() {
    let Run { outcome, items } = run(&counting(7, 70), Limits::UNSET).await;
    let mut items = items.unwrap();
    let number = u32::from_le_bytes(outcome.result.unwrap()[..].try_into().unwrap());
    let mut seen = Vec::new();
    while let Some(batch) = items.next().await {
        assert_eq!(batch.stream, number);
        assert_eq!(batch.failure, None);
        if batch.end {
            assert!(batch.items.is_empty());
            break;
        }
        seen.extend(numbers(&batch));
    }
    assert_eq!(seen, (1..=70).collect::<Vec<_>>());
    assert_eq!(items.next().await, None);
    let usage = items.usage().await;
    assert_eq!(usage.bytes_out, 4 + 10 * (1 + 28));
}

/// A guest that could run ahead would fill the host's memory with what nobody reads.
#[tokio::test]
async fn streams_wait_for_their_reader() {
    let Run { items, .. } = run(
        &counting(100, 1_000_000_000),
        Limits {
            timeout: Duration::from_secs(2),
            ..Limits::UNSET
        },
    )
    .await;
    let mut items = items.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let first = items.next().await.unwrap();
    assert_eq!(numbers(&first).len(), 100);
    let mut batches = 1;
    let last = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let batch = items.next().await.unwrap();
        if batch.end {
            break batch;
        }
        batches += 1;
    };
    // The clock of the call runs on while its stream is open.
    assert_eq!(last.failure.unwrap().kind, FailureKind::Timeout);
    assert!(batches < 30, "{batches}");
}

#[tokio::test]
async fn dropping_a_stream_stops_its_guest() {
    let (_directory, engine) = engine_with(|_| ());
    let component = prepare(
        &engine,
        wat::parse_str(counting(10, 1_000_000_000)).unwrap(),
    )
    .await
    .unwrap();
    let function = component.function("").unwrap();
    let Run { items, .. } = engine.run(invocation(&function, &[])).await;
    let mut items = items.unwrap();
    assert!(items.next().await.is_some());
    assert_eq!(engine.stats().sandboxes_live, 1);
    drop(items);
    drained(&engine).await;
}

/// `invoke` has nowhere to put items, so it tells the guest that nobody reads.
#[tokio::test]
async fn invoking_closes_streams() {
    let function = function(&counting(10, 1_000_000_000)).await;
    let outcome = call(&function, &[]).await;
    assert_eq!(outcome.result.unwrap().len(), 4);
}

/// Waiting for ever is bounded by wall time, and leaves nothing behind.
#[tokio::test]
async fn a_promise_that_is_never_kept_ends_at_the_deadline() {
    let wat = asynchronous("u32", "i32", "(i32.const 7)")
        .replace("(call $return (i32.const 7)) (i32.const 0)", "(i32.or (i32.const 2) (i32.shl (call $set) (i32.const 4)))")
        .replace(
            "(core module $m",
            r#"(core func $set (canon waitable-set.new)) (core module $m (import "host" "set" (func $set (result i32)))"#,
        )
        .replace(r#"(export "return" (func $return))"#, r#"(export "return" (func $return)) (export "set" (func $set))"#);
    let component = component(&wat).await;
    let function = component.function("f").unwrap();
    let outcome = crate::support::call_within(
        &function,
        &[],
        Limits {
            timeout: Duration::from_millis(200),
            ..Limits::UNSET
        },
    )
    .await;
    // wasmtime sees that nothing can ever wake it, which is as good an answer.
    assert!(matches!(
        failure(outcome).kind,
        FailureKind::Timeout | FailureKind::Trap
    ));
}
