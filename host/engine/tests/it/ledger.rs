//! What guests make the host hold: each byte is on the ledger, a sandbox ends at its own limit, a
//! node at its own.

use crate::support::{
    drained, engine, engine_with, failure, function, invocation, live, prepare, with_memory,
};
use lydian_engine::{Engine, FailureKind, Function, Invocation, Limits};
use lydian_value::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;

/// Touches all of a memory of so many pages, then spins.
fn dirty(pages: u32) -> String {
    let bytes = u64::from(pages) << 16;
    format!(
        r#"(component
          (core module $m (memory {pages})
            (func (export "f")
              (memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})) (loop $l (br $l))))
          (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))"#
    )
}

async fn ready(engine: &Engine, wat: &str) -> Function {
    let component = prepare(engine, wat::parse_str(wat).unwrap()).await.unwrap();
    component.function("").unwrap()
}

/// Sandboxes are many and cheap, memory is not: a node lets calls wait rather than take what it has
/// not.
#[tokio::test]
async fn calls_wait_for_the_memory_of_others() {
    let (_directory, engine) = engine_with(|options| {
        options.guest_memory_bytes = Some(100 * MIB);
    });
    let f = ready(&engine, &dirty(400)).await;
    let cancel = CancellationToken::new();
    let start = |cancel: &CancellationToken| {
        let (engine, cancel) = (engine.clone(), cancel.clone());
        let call = Invocation {
            cancel,
            ..invocation(&f, &[])
        };
        tokio::spawn(async move { engine.invoke(call).await })
    };
    let calls: Vec<_> = (0..10).map(|_| start(&cancel)).collect();
    // Four of 25 MiB fit; none of the others begins while they run.
    live(&engine, 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.stats().sandboxes_live, 4);
    assert!(engine.ledger().used() <= engine.ledger().limit());
    cancel.cancel();
    for call in calls {
        assert_eq!(failure(call.await.unwrap()).kind, FailureKind::Cancelled);
    }
    drained(&engine).await;
    assert_eq!(engine.ledger().used(), 0);
}

/// What a guest grows into is asked for as well, and refused with the reason when it is the node
/// that is full.
#[tokio::test]
async fn growth_fails_when_the_node_is_full() {
    let (_directory, engine) = engine_with(|options| {
        options.guest_memory_bytes = Some(50 * MIB);
    });
    let grow = with_memory(
        r#"(func (export "f") (param i32)
             (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable)))"#,
        r#"(func (export "f") (param "pages" u32) (canon lift (core func $i "f")))"#,
    );
    let f = ready(&engine, &grow).await;
    let holder = ready(&engine, &dirty(500)).await;
    let cancel = CancellationToken::new();
    let held = {
        let call = Invocation {
            cancel: cancel.clone(),
            ..invocation(&holder, &[])
        };
        let engine = engine.clone();
        tokio::spawn(async move { engine.invoke(call).await })
    };
    live(&engine, 1).await;
    let pages = Value::U32(30 * 16);
    let full = failure(
        engine
            .invoke(invocation(&f, std::slice::from_ref(&pages)))
            .await,
    );
    assert_eq!(full.kind, FailureKind::NodeFull, "{}", full.message);
    assert!(
        full.message.contains("the node is full"),
        "{}",
        full.message
    );
    cancel.cancel();
    let _ = held.await;
    drained(&engine).await;
    assert!(engine.invoke(invocation(&f, &[pages])).await.result.is_ok());
    assert_eq!(engine.ledger().used(), 0);
}

/// A default can be raised by whoever calls; a ceiling cannot.
#[tokio::test]
async fn nobody_gets_more_than_the_ceiling() {
    let (_directory, engine) = engine_with(|options| {
        options.limits_max = Limits {
            memory_bytes: 10 * MIB,
            timeout: Duration::from_millis(200),
            ..Limits::UNSET
        };
    });
    let limits = Limits {
        memory_bytes: 70 << 30,
        timeout: Duration::from_secs(360_000),
        cpu: Duration::from_secs(360_000),
        ..Limits::UNSET
    };
    let greedy = |f: &Function| Invocation {
        limits,
        ..invocation(f, &[])
    };
    let large = failure(
        engine
            .invoke(greedy(&ready(&engine, &dirty(200)).await))
            .await,
    );
    assert_eq!(large.kind, FailureKind::Memory, "{}", large.message);
    assert!(large.message.contains("10 MiB"), "{}", large.message);
    let long = failure(
        engine
            .invoke(greedy(&ready(&engine, &dirty(1)).await))
            .await,
    );
    assert_eq!(long.kind, FailureKind::Timeout, "{}", long.message);
}

/// `wasi:http` needs no grant to make requests that are never sent; what is queued in them is the
/// sandbox's.
#[tokio::test]
async fn bodies_that_are_not_sent_are_on_the_account() {
    let wat = include_str!("../../../../tests/guests/wat/http-bodies.wat");
    let f = function(wat).await;
    let call = Invocation {
        limits: Limits {
            memory_bytes: 64 * MIB,
            timeout: Duration::from_secs(60),
            ..Limits::UNSET
        },
        ..invocation(&f, &[Value::U32(2_000)])
    };
    let failure = failure(engine().invoke(call).await);
    assert_eq!(failure.kind, FailureKind::Memory, "{}", failure.message);
}

/// Returns a list of `outer` lists of a million empty strings, all of them the same memory.
fn many_strings(outer: usize) -> String {
    let rows = "\\00\\00\\01\\00\\40\\42\\0f\\00".repeat(outer);
    let mut head = String::new();
    for byte in 1024u32
        .to_le_bytes()
        .into_iter()
        .chain((outer as u32).to_le_bytes())
    {
        head += &format!("\\{byte:02x}");
    }
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") 130)
            (data (i32.const 32) "{head}")
            (data (i32.const 1024) "{rows}")
            (func (export "f") (result i32) (i32.const 32)))
          (core instance $i (instantiate $m))
          (func (export "f") (result (list (list string)))
            (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#
    )
}

/// Reading a result is work for the guest, and ends with its time like any other.
#[tokio::test]
async fn reading_a_result_obeys_the_clocks() {
    let f = function(&many_strings(60)).await;
    for (limits, kind) in [
        (
            Limits {
                timeout: Duration::from_millis(20),
                ..Limits::UNSET
            },
            FailureKind::Timeout,
        ),
        (
            Limits {
                cpu: Duration::from_millis(20),
                ..Limits::UNSET
            },
            FailureKind::Cpu,
        ),
    ] {
        let call = Invocation {
            limits,
            ..invocation(&f, &[])
        };
        assert_eq!(failure(engine().invoke(call).await).kind, kind);
    }
}

/// What a result takes is the node's until its reader has dropped it, and is refused, as a full
/// node, beyond that.
#[tokio::test]
async fn results_are_on_the_ledger_until_they_are_dropped() {
    let (_directory, engine) = engine_with(|options| {
        options.guest_memory_bytes = Some(400 * MIB);
        options.payload_bytes = Some(50 * MIB);
    });
    let give = with_memory(
        r#"(func (export "f") (result i32)
             (drop (memory.grow (i32.const 512)))
             (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 20971520))
             (i32.const 0))"#,
        r#"(func (export "f") (result (list u8)) (canon lift (core func $i "f") (memory $memory)))"#,
    );
    let f = ready(&engine, &give).await;
    let first = engine.invoke(invocation(&f, &[])).await.result.unwrap();
    let second = engine.invoke(invocation(&f, &[])).await.result.unwrap();
    drained(&engine).await;
    assert!(engine.ledger().used() >= 40 * MIB);
    let third = failure(engine.invoke(invocation(&f, &[])).await);
    assert_eq!(third.kind, FailureKind::NodeFull, "{}", third.message);
    // A part of a result holds all of it, as its bytes are there.
    let part = first.slice(..1);
    drop(first);
    assert!(engine.invoke(invocation(&f, &[])).await.result.is_err());
    drop(part);
    assert!(engine.invoke(invocation(&f, &[])).await.result.is_ok());
    drop(second);
    drained(&engine).await;
    assert_eq!(engine.ledger().used(), 0);
}

/// `n` streams, one write of 60 MiB on each, which nobody reads.
const STALLED: &str = include_str!("stalled-streams.wat");

/// A guest that writes much must not make the host hold it, however many streams it has.
#[tokio::test]
async fn streams_that_are_not_read_hold_little() {
    let (_directory, engine) = engine_with(|_| ());
    let f = ready(&engine, STALLED).await;
    let run = engine.run(invocation(&f, &[Value::U32(40)])).await;
    assert!(run.outcome.result.is_ok(), "{:?}", run.outcome);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Its own memory is 62.5 MiB; a batch of each stream is a quarter of one.
    let held = engine.ledger().used();
    assert!(held < 90 * MIB, "{} MiB", held / MIB);
    drop(run);
    drained(&engine).await;
    assert_eq!(engine.ledger().used(), 0);
}

/// A sandbox that needs more of the pool than there is could never run; its deploy says so, with
/// the number.
#[tokio::test]
async fn a_component_larger_than_the_pool_is_refused() {
    let (_directory, engine) =
        engine_with(|options| options.pool = lydian_engine::PoolOptions::sized(2));
    let wat = r#"(component
      (core module $m (memory 1) (memory 1) (memory 1) (func (export "f")))
      (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"#;
    let error = prepare(&engine, wat::parse_str(wat).unwrap())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("needs 3 places") && text.contains("has 2"),
        "{text}"
    );
    assert!(!error.hints().is_empty());
}
