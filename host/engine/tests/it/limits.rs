//! Each limit, reached by a guest that would go on: its own kind of failure, naming the function and the limit.

use crate::support::{
    call, call_within, component, drained, engine, engine_with, failure, function, invocation,
    live, prepare, value, with_memory,
};
use lydian_engine::{FailureKind, Invocation, Limits, OutputSink};
use lydian_value::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SHORT: Limits = Limits {
    timeout: Duration::from_millis(200),
    ..Limits::UNSET
};

/// Guests that loop for ever, each in another place that a host may forget to guard.
fn spinning() -> Vec<(&'static str, String)> {
    let plain = |core: &str, lift: &str| {
        format!("(component (core module $m {core}) (core instance $i (instantiate $m)) {lift})")
    };
    let take = r#"(func (export "f") (param "x" string) (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#;
    vec![
        (
            "export",
            plain(
                r#"(func (export "f") (param i32 i32) (loop $l (br $l))) (memory (export "memory") 1)
                   (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#,
                take,
            ),
        ),
        (
            "start",
            plain(
                r#"(func $s (loop $l (br $l))) (start $s) (func (export "f") (param i32 i32)) (memory (export "memory") 1)
                   (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#,
                take,
            ),
        ),
        (
            "realloc",
            plain(
                r#"(func (export "f") (param i32 i32)) (memory (export "memory") 1)
                   (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop $l (br $l)) unreachable)"#,
                take,
            ),
        ),
        (
            "post-return",
            plain(
                r#"(func (export "f") (param i32 i32)) (func (export "post") (loop $l (br $l))) (memory (export "memory") 1)
                   (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#,
                r#"(func (export "f") (param "x" string)
                     (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")) (post-return (core func $i "post"))))"#,
            ),
        ),
    ]
}

#[tokio::test]
async fn wall_time_ends_a_guest_wherever_it_loops() {
    for (place, wat) in spinning() {
        let function = function(&wat).await;
        let outcome = call_within(&function, &[Value::String("x".into())], SHORT).await;
        let cpu = outcome.usage.cpu;
        let failure = failure(outcome);
        assert_eq!(failure.kind, FailureKind::Timeout, "{place}: {failure}");
        assert_eq!(
            failure.message, "function `f` ran past its limit of 200ms",
            "{place}"
        );
        assert!(cpu > Duration::ZERO, "{place}: {cpu:?}");
    }
}

#[tokio::test]
async fn cpu_time_ends_a_guest_wherever_it_loops() {
    for (place, wat) in spinning() {
        let function = function(&wat).await;
        let limits = Limits {
            cpu: Duration::from_millis(50),
            ..Limits::UNSET
        };
        let failure = failure(call_within(&function, &[Value::String("x".into())], limits).await);
        assert_eq!(failure.kind, FailureKind::Cpu, "{place}: {failure}");
        assert!(failure.message.contains("50ms"), "{}", failure.message);
    }
}

/// Sleeping is not computing: only wall time ends it.
#[tokio::test]
async fn sleeping_takes_no_cpu_time() {
    let function = function(&crate::wasi::sleeper()).await;
    let limits = Limits {
        cpu: Duration::from_millis(100),
        timeout: Duration::from_millis(400),
        ..Limits::UNSET
    };
    let outcome = call_within(&function, &[Value::U64(60_000_000_000)], limits).await;
    assert!(
        outcome.usage.cpu < Duration::from_millis(100),
        "{:?}",
        outcome.usage.cpu
    );
    assert_eq!(failure(outcome).kind, FailureKind::Timeout);
}

/// A module that grows its memory by as many pages as it is told, and traps when it is refused.
fn grower() -> String {
    r#"(component
      (core module $m (memory 1)
        (func (export "f") (param i32)
          (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))))
      (core instance $i (instantiate $m))
      (func (export "f") (param "pages" u32) (canon lift (core func $i "f"))))"#
        .to_owned()
}

#[tokio::test]
async fn memory_stops_at_its_limit() {
    let function = function(&grower()).await;
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::UNSET
    };
    let outcome = call_within(&function, &[Value::U32(14)], limits).await;
    assert!(outcome.result.is_ok());
    // Sixteen pages would be just the limit, but the host holds the encoded argument as well.
    let outcome = call_within(&function, &[Value::U32(15)], limits).await;
    assert_eq!(outcome.usage.peak_memory_bytes, (1 << 16) + 4);
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Memory);
    assert_eq!(
        failure.message,
        "function `f` needs more memory than its limit of 1 MiB"
    );
}

/// A limit per memory would let a guest have as many times as much as it has memories.
#[tokio::test]
async fn memory_is_summed_over_memories() {
    let function = function(
        r#"(component
          (core module $m (memory 8) (memory 8)
            (func (export "f")
              (if (i32.eq (memory.grow 1 (i32.const 1)) (i32.const -1)) (then unreachable))))
          (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))"#,
    )
    .await;
    let outcome = call_within(
        &function,
        &[],
        Limits {
            memory_bytes: 1 << 20,
            ..Limits::UNSET
        },
    )
    .await;
    assert_eq!(failure(outcome).kind, FailureKind::Memory);
}

#[tokio::test]
async fn tables_count_as_memory() {
    let function = function(
        r#"(component
          (core module $m (table 10 funcref)
            (func (export "f")
              (if (i32.eq (table.grow (ref.null func) (i32.const 50000)) (i32.const -1)) (then unreachable))))
          (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))"#,
    )
    .await;
    assert!(call(&function, &[]).await.result.is_ok());
    let outcome = call_within(
        &function,
        &[],
        Limits {
            memory_bytes: 200_000,
            ..Limits::UNSET
        },
    )
    .await;
    assert_eq!(failure(outcome).kind, FailureKind::Memory);
}

#[tokio::test]
async fn arguments_stop_at_the_payload_limit() {
    let function = function(&crate::support::echo("(list u8)")).await;
    let argument = crate::support::padded(Value::Bytes(vec![0; 2_000].into()));
    let limits = Limits {
        payload_bytes: 1_024,
        ..Limits::UNSET
    };
    let failure = failure(call_within(&function, &[argument], limits).await);
    assert_eq!(failure.kind, FailureKind::Payload);
    assert!(
        failure
            .message
            .starts_with("the arguments of function `echo`"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn results_stop_at_the_payload_limit() {
    // A result of as many bytes as asked for.
    let function = function(&with_memory(
        r#"(func (export "f") (param i32) (result i32)
             (drop (memory.grow (i32.const 64)))
             (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (local.get 0)) (i32.const 0))"#,
        r#"(func (export "f") (param "n" u32) (result (list u8)) (canon lift (core func $i "f") (memory $memory)))"#,
    ))
    .await;
    let limits = Limits {
        payload_bytes: 1 << 20,
        ..Limits::UNSET
    };
    let fits = call_within(&function, &[Value::U32((1 << 20) - 3)], limits).await;
    assert_eq!(fits.result.unwrap().len(), 1 << 20);
    let failure = failure(call_within(&function, &[Value::U32(1 << 20)], limits).await);
    assert_eq!(failure.kind, FailureKind::Payload);
    assert!(
        failure.message.starts_with("the result of function `f`"),
        "{}",
        failure.message
    );
}

/// Each call may be within its limit and all of them together too much for the node.
#[tokio::test]
async fn payloads_of_all_calls_are_bounded() {
    let (_directory, engine) = engine_with(|options| options.payload_bytes = Some(1 << 20));
    let component = prepare(
        &engine,
        wat::parse_str(crate::support::echo("(list u8)")).unwrap(),
    )
    .await
    .unwrap();
    let function = component.function("").unwrap();
    let argument = crate::support::padded(Value::Bytes(vec![7; 260 << 10].into()));
    let call = || engine.invoke(invocation(&function, std::slice::from_ref(&argument)));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(call().await.result.unwrap());
    }
    // Three results and the arguments fill the node's megabyte: there is no room for a fourth result.
    let failure = failure(call().await);
    assert_eq!(failure.kind, FailureKind::NodeFull);
    assert!(
        failure.message.contains("other calls"),
        "{}",
        failure.message
    );
    held.pop();
    assert!(call().await.result.is_ok());
}

/// Arguments wait for room rather than fail: the caller has sent them already.
#[tokio::test]
async fn arguments_wait_for_room() {
    let (_directory, engine) = engine_with(|options| options.guest_memory_bytes = Some(8 << 20));
    let component = prepare(
        &engine,
        wat::parse_str(crate::support::echo("(list u8)")).unwrap(),
    )
    .await
    .unwrap();
    let function = component.function("").unwrap();
    let others = engine.ledger().charge((8 << 20) - (500 << 10)).unwrap();
    let large = crate::support::padded(Value::Bytes(vec![7; 900 << 10].into()));
    let waiting = engine.invoke(invocation(&function, &[large]));
    tokio::pin!(waiting);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    drop(others);
    assert!(waiting.await.usage.queue > Duration::from_millis(90));
}

#[tokio::test]
async fn output_stops_at_its_limit_and_says_so() {
    let function = function(&crate::wasi::printer()).await;
    let (sink, printed) = OutputSink::buffer();
    let limits = Limits {
        output_bytes: 10_000,
        ..Limits::UNSET
    };
    let invocation = Invocation {
        limits,
        output: sink,
        ..invocation(&function, &[Value::U32(100_000)])
    };
    let outcome = engine().invoke(invocation).await;
    assert_eq!(outcome.usage.output_bytes, 10_000);
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Output);
    assert!(
        failure.message.contains("10000 bytes"),
        "{}",
        failure.message
    );
    // A hundred times an escape character, which takes four bytes to show.
    assert_eq!(printed.take().0.len(), 10_300);
}

/// Four kilobytes at a kilobyte per second take three seconds after the first burst.
#[tokio::test]
async fn output_waits_at_its_rate() {
    let function = function(&crate::wasi::printer()).await;
    let limits = Limits {
        output_bytes_per_second: 1_000,
        timeout: Duration::from_millis(500),
        ..Limits::UNSET
    };
    let outcome = call_within(&function, &[Value::U32(40)], limits).await;
    assert!(
        outcome.usage.output_bytes < 2_000,
        "{}",
        outcome.usage.output_bytes
    );
    assert_eq!(failure(outcome).kind, FailureKind::Timeout);
    let outcome = call_within(
        &function,
        &[Value::U32(40)],
        Limits {
            timeout: Duration::from_secs(60),
            ..Limits::UNSET
        },
    )
    .await;
    assert_eq!(outcome.usage.output_bytes, 4_000);
}

#[tokio::test]
async fn handles_stop_at_their_limit() {
    let function = function(&crate::wasi::subscriber()).await;
    let limits = Limits {
        handles: 100,
        ..Limits::UNSET
    };
    assert!(
        call_within(&function, &[Value::U32(90)], limits)
            .await
            .result
            .is_ok()
    );
    let failure = failure(call_within(&function, &[Value::U32(110)], limits).await);
    assert_eq!(failure.kind, FailureKind::Handles, "{failure}");
    assert!(failure.message.contains("100"), "{}", failure.message);
}

#[tokio::test]
async fn host_calls_stop_at_their_limit() {
    let function = function(&crate::wasi::dice()).await;
    let limits = Limits {
        host_call_bytes: 1_000,
        ..Limits::UNSET
    };
    assert!(
        call_within(&function, &[Value::U64(1_000)], limits)
            .await
            .result
            .is_ok()
    );
    let failure = failure(call_within(&function, &[Value::U64(1_001)], limits).await);
    assert_eq!(failure.kind, FailureKind::HostCall, "{failure}");
}

/// The caller's word is enough, at any moment, and the slot is free again.
#[tokio::test]
async fn cancelling_stops_a_spinning_guest() {
    let (_directory, engine) = engine_with(|_| ());
    let component = prepare(&engine, wat::parse_str(spinning()[0].1.as_str()).unwrap())
        .await
        .unwrap();
    let function = component.function("").unwrap();
    let cancel = CancellationToken::new();
    let invocation = Invocation {
        cancel: cancel.clone(),
        ..invocation(&function, &[Value::String(String::new())])
    };
    let call = tokio::spawn({
        let engine = engine.clone();
        async move { engine.invoke(invocation).await }
    });
    live(&engine, 1).await;
    cancel.cancel();
    assert_eq!(failure(call.await.unwrap()).kind, FailureKind::Cancelled);
    assert_eq!(engine.stats().sandboxes_live, 0);
}

/// A caller that goes away takes its sandbox along.
#[tokio::test]
async fn a_dropped_call_stops_its_sandbox() {
    let (_directory, engine) = engine_with(|_| ());
    let component = prepare(&engine, wat::parse_str(spinning()[0].1.as_str()).unwrap())
        .await
        .unwrap();
    let function = component.function("").unwrap();
    let call = engine.invoke(invocation(&function, &[Value::String(String::new())]));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), call)
            .await
            .is_err()
    );
    drained(&engine).await;
}

/// A call that finds every slot taken waits for one, and says for how long.
#[tokio::test]
async fn calls_queue_when_the_pool_is_full() {
    let (_directory, engine) =
        engine_with(|options| options.pool = lydian_engine::PoolOptions::sized(1));
    let component = prepare(&engine, wat::parse_str(crate::wasi::sleeper()).unwrap())
        .await
        .unwrap();
    let function = component.function("").unwrap();
    let calls = (0..3).map(|_| engine.invoke(invocation(&function, &[Value::U64(200_000_000)])));
    let outcomes = futures::future::join_all(calls).await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    let waited = outcomes
        .iter()
        .map(|outcome| outcome.usage.queue)
        .max()
        .unwrap();
    // For the two before it, less what passed until it came.
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    assert_eq!(engine.stats().calls_total, 3);
}

/// What a guest does not use costs nothing, and what it uses is told.
#[tokio::test]
async fn usage_tells_what_a_call_took() {
    let component = component(&grower()).await;
    let function = component.function("f").unwrap();
    let outcome = call(&function, &[Value::U32(9)]).await;
    assert_eq!(value(&function, &outcome), None);
    let usage = outcome.usage;
    assert_eq!(
        (usage.bytes_in, usage.bytes_out, usage.output_bytes),
        (4, 0, 0)
    );
    assert_eq!(usage.peak_memory_bytes, (10 << 16) + 4);
    assert!(
        usage.run > Duration::ZERO
            && usage.instantiate > Duration::ZERO
            && usage.cpu > Duration::ZERO
    );
}
