//! Guests that mean harm: they get their answer, and nobody else notices.

use crate::support::{
    call, call_within, component, drained, engine, engine_with, failure, function, invocation,
    live, prepare, value, with_memory,
};
use lydian_engine::{FailureKind, Invocation, Limits, OutputSink, PoolOptions};
use lydian_value::Value;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

async fn refused(wat: &str) -> String {
    let error = prepare(&engine(), wat::parse_str(wat).unwrap())
        .await
        .unwrap_err();
    error.to_string()
}

const SPIN: &str = r#"(component
  (core module $m (func (export "f") (loop $l (br $l))))
  (core instance $i (instantiate $m))
  (func (export "spin") (canon lift (core func $i "f"))))"#;

const SQUARE: &str = r#"(component
  (core module $m (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "square") (param "x" u32) (result u32) (canon lift (core func $i "f"))))"#;

/// Row 3: more spinning guests than processors, and the caller's own runtime goes on, as do other guests.
#[tokio::test]
async fn spinning_guests_leave_room_for_others() {
    let (_directory, engine) = engine_with(|_| ());
    let spin = prepare(&engine, wat::parse_str(SPIN).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    let square = prepare(&engine, wat::parse_str(SQUARE).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    let cancel = CancellationToken::new();
    let spinning: Vec<_> = (0..8)
        .map(|_| {
            let (engine, spin, cancel) = (engine.clone(), spin.clone(), cancel.clone());
            tokio::spawn(async move {
                engine
                    .invoke(Invocation {
                        cancel,
                        ..invocation(&spin, &[])
                    })
                    .await
            })
        })
        .collect();
    live(&engine, 8).await;
    for n in 0..20 {
        // They never end, so an answer at all means that they gave way.
        let outcome = engine.invoke(invocation(&square, &[Value::U32(n)])).await;
        assert_eq!(value(&square, &outcome), Some(Value::U32(n * n)));
    }
    assert_eq!(engine.stats().sandboxes_live, 8);
    cancel.cancel();
    for call in spinning {
        assert_eq!(failure(call.await.unwrap()).kind, FailureKind::Cancelled);
    }
    drained(&engine).await;
}

/// Rows 4, 5, 6, 9: what would drain the pool or share memory never becomes ready.
#[tokio::test]
async fn components_beyond_the_caps_are_refused() {
    let memories = "(memory 1)".repeat(17);
    let instances = "(core instance (instantiate $m))".repeat(200);
    for (wat, reason) in [
        (
            format!("(component (core module $m {memories}) (core instance (instantiate $m)))"),
            "memories",
        ),
        (
            format!("(component (core module $m) {instances})"),
            "instances",
        ),
        (
            "(component (core module $m (table 5000000 funcref)) (core instance (instantiate $m)))"
                .to_owned(),
            "table",
        ),
        (
            "(component (core module $m (memory i64 1)) (core instance (instantiate $m)))"
                .to_owned(),
            "64-bit memory",
        ),
        (
            "(component (core module $m (memory 1 1 shared)) (core instance (instantiate $m)))"
                .to_owned(),
            "threads",
        ),
    ] {
        let said = refused(&wat).await;
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

/// Row 4: many pages at once, or one at a time, for ever.
#[tokio::test]
async fn memory_bombs_stop_at_the_limit() {
    let function = function(
        r#"(component
          (core module $m (memory 1)
            (func (export "f") (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))
          (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))"#,
    )
    .await;
    let outcome = call_within(
        &function,
        &[],
        Limits {
            memory_bytes: 64 << 20,
            ..Limits::UNSET
        },
    )
    .await;
    assert!(outcome.usage.peak_memory_bytes <= 64 << 20);
    assert_eq!(failure(outcome).kind, FailureKind::Memory);
}

/// A component whose declared memory is larger than its limit never starts.
#[tokio::test]
async fn declared_memory_counts_before_the_start() {
    let function = function(
        r#"(component (core module $m (memory 1000) (func (export "f"))) (core instance $i (instantiate $m))
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

/// Row 7.
#[tokio::test]
async fn endless_recursion_overflows_the_guests_stack_only() {
    let function = function(
        r#"(component
          (core module $m (func $f (export "f") (call $f)))
          (core instance $i (instantiate $m))
          (func (export "dive") (canon lift (core func $i "f"))))"#,
    )
    .await;
    let failure = failure(call(&function, &[]).await);
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Stack, "function `dive` overflowed its stack")
    );
}

/// Row 8: types nested beyond what anything recursive can walk.
#[tokio::test]
async fn deeply_nested_types_are_refused() {
    let ty = format!("{}u8{}", "(list ".repeat(80), ")".repeat(80));
    let wasm = wat::parse_str(with_memory(
        r#"(func (export "f") (param i32 i32))"#,
        &format!(
            r#"(func (export "f") (param "x" {ty}) (canon lift (core func $i "f") (memory $memory) (realloc $realloc)))"#
        ),
    ));
    assert!(prepare(&engine(), wasm.unwrap()).await.is_err());
}

/// Row 19: a list of two gigabytes that is not there, in both directions.
#[tokio::test]
async fn huge_lists_are_refused_before_they_are_copied() {
    let function = function(&with_memory(
        r#"(func (export "f") (result i32)
             (i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 0x7fffffff)) (i32.const 0))"#,
        r#"(func (export "f") (result (list u8)) (canon lift (core func $i "f") (memory $memory)))"#,
    ))
    .await;
    let started = Instant::now();
    assert_eq!(failure(call(&function, &[]).await).kind, FailureKind::Trap);
    // Two gigabytes, moved by a debug build, take longer.
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Row 21: sleeping for ever holds a slot no longer than the deadline.
#[tokio::test]
async fn sleeping_for_ever_ends_at_the_deadline() {
    let (_directory, engine) = engine_with(|options| options.pool = PoolOptions::sized(1));
    let function = prepare(&engine, wat::parse_str(crate::wasi::sleeper()).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    for _ in 0..3 {
        let limits = Limits {
            timeout: Duration::from_millis(100),
            ..Limits::UNSET
        };
        let outcome = engine
            .invoke(Invocation {
                limits,
                ..invocation(&function, &[Value::U64(u64::MAX)])
            })
            .await;
        assert_eq!(failure(outcome).kind, FailureKind::Timeout);
        assert_eq!(engine.stats().sandboxes_live, 0);
    }
}

/// Row 22: timers that are due at once must not keep a thread to themselves.
#[tokio::test]
async fn timer_storms_give_way_and_end() {
    let storm = function(&crate::wasi::timer_storm()).await;
    let square = function(SQUARE).await;
    let limits = Limits {
        timeout: Duration::from_millis(400),
        ..Limits::UNSET
    };
    let storms = futures::future::join_all((0..4).map(|_| call_within(&storm, &[], limits)));
    let others = async {
        for n in 0..10 {
            let outcome = call(&square, &[Value::U32(n)]).await;
            assert_eq!(value(&square, &outcome), Some(Value::U32(n * n)));
        }
    };
    let (storms, ()) = tokio::join!(storms, others);
    assert!(
        storms
            .into_iter()
            .all(|outcome| failure(outcome).kind == FailureKind::Timeout)
    );
}

/// Row 23.
#[tokio::test]
async fn random_bytes_by_the_terabyte_are_refused() {
    let function = function(&crate::wasi::dice()).await;
    assert_eq!(
        failure(call(&function, &[Value::U64(1 << 40)]).await).kind,
        FailureKind::HostCall
    );
}

/// Row 29: cancelled at any moment, a thousand times, and the counters are exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_at_any_moment_loses_nothing() {
    let (_directory, engine) = engine_with(|options| options.pool = PoolOptions::sized(16));
    let spin = prepare(&engine, wat::parse_str(SPIN).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    let sleep = prepare(&engine, wat::parse_str(crate::wasi::sleeper()).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    let calls = (0..1_000u64).map(|n| {
        let (engine, spin, sleep) = (engine.clone(), spin.clone(), sleep.clone());
        tokio::spawn(async move {
            let cancel = CancellationToken::new();
            let call = if n % 2 == 0 {
                invocation(&spin, &[])
            } else {
                invocation(&sleep, &[Value::U64(u64::MAX)])
            };
            let call = engine.invoke(Invocation {
                cancel: cancel.clone(),
                ..call
            });
            let later = async {
                tokio::time::sleep(Duration::from_micros(n * 37 % 2_000)).await;
                cancel.cancel();
            };
            let (outcome, ()) = tokio::join!(call, later);
            assert_eq!(failure(outcome).kind, FailureKind::Cancelled);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    drained(&engine).await;
}

/// Row 31: what one tenant leaves in a slot, the next one must not find.
#[tokio::test]
async fn slots_are_clean_for_the_next_tenant() {
    let (_directory, engine) = engine_with(|options| options.pool = PoolOptions::sized(1));
    // Writes its mark over four megabytes, its table and its stack.
    let mark = |tag: &str| {
        format!(
            r#"(component
              (core module $m (memory 64) (table 100 funcref) (data (i32.const 0) "{tag}")
                (func $deep (param i32) (result i64) (local i64 i64 i64 i64)
                  (local.set 1 (i64.const 0x1122334455667788)) (local.set 2 (local.get 1))
                  (if (result i64) (local.get 0)
                    (then (i64.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (local.get 2)))
                    (else (local.get 1))))
                (func (export "f") (result i32)
                  (memory.fill (i32.const 16) (i32.const 0xaa) (i32.const 4194288))
                  (drop (memory.grow (i32.const 16)))
                  (memory.fill (i32.const 4194304) (i32.const 0xbb) (i32.const 1048576))
                  (drop (call $deep (i32.const 1000)))
                  (table.fill (i32.const 1) (ref.func $deep) (i32.const 50))
                  (i32.const 0))
                (elem declare func $deep))
              (core instance $i (instantiate $m))
              (func (export "mark") (result u32) (canon lift (core func $i "f"))))"#
        )
    };
    // Counts bytes of its memory, and entries of its table, that are not as declared.
    let probe = r#"(component
      (core module $m (memory 80) (table 100 funcref)
        (func (export "f") (result i32) (local $at i32) (local $dirty i32)
          (loop $l
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
              (then (local.set $dirty (i32.add (local.get $dirty) (i32.const 1)))))
            (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 5242880))))
          (local.set $at (i32.const 0))
          (loop $l
            (if (i32.eqz (ref.is_null (table.get (local.get $at))))
              (then (local.set $dirty (i32.add (local.get $dirty) (i32.const 1)))))
            (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 100))))
          (local.get $dirty)))
      (core instance $i (instantiate $m))
      (func (export "probe") (result u32) (canon lift (core func $i "f"))))"#;
    let probe = prepare(&engine, wat::parse_str(probe).unwrap())
        .await
        .unwrap()
        .function("")
        .unwrap();
    for tenant in ["one", "two", "three"] {
        let mark = prepare(&engine, wat::parse_str(mark(tenant)).unwrap())
            .await
            .unwrap()
            .function("")
            .unwrap();
        assert!(engine.invoke(invocation(&mark, &[])).await.result.is_ok());
        // Also from the same component to itself, whose slot keeps its image mapped.
        assert!(engine.invoke(invocation(&mark, &[])).await.result.is_ok());
        let found = engine.invoke(invocation(&probe, &[])).await;
        assert_eq!(value(&probe, &found), Some(Value::U32(0)), "after {tenant}");
    }
}

/// One bad call after another, and a good one between each two: the good one never notices.
#[tokio::test]
async fn failures_leave_the_next_call_alone() {
    let square = function(SQUARE).await;
    let trap = component(
        r#"(component (core module $m (func (export "f") unreachable)) (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))"#,
    )
    .await
    .function("")
    .unwrap();
    for n in 0..50 {
        assert_eq!(failure(call(&trap, &[]).await).kind, FailureKind::Trap);
        assert_eq!(
            value(&square, &call(&square, &[Value::U32(n)]).await),
            Some(Value::U32(n * n))
        );
    }
}

/// Row 30: whatever made a host function panic costs the one call that ran into it.
#[tokio::test]
async fn a_panic_in_the_host_costs_one_call() {
    let (_directory, engine) = engine_with(|options| options.pool = PoolOptions::sized(1));
    let wasm = wat::parse_str(crate::wasi::printer()).unwrap();
    let print = prepare(&engine, wasm).await.unwrap().function("").unwrap();
    for _ in 0..3 {
        let output = OutputSink::new(|_| panic!("the sink gives way"));
        let call = Invocation {
            output,
            ..invocation(&print, &[Value::U32(1)])
        };
        let failure = failure(engine.invoke(call).await);
        assert_eq!(failure.kind, FailureKind::HostPanic);
        // What the host says to itself may name what no guest's owner should read.
        assert!(
            !failure.message.contains("gives way"),
            "{}",
            failure.message
        );
        assert_eq!(engine.stats().sandboxes_live, 0);
        let good = engine.invoke(invocation(&print, &[Value::U32(1)])).await;
        assert!(good.result.is_ok());
    }
}
