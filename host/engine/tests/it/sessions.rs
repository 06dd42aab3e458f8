//! Several calls in one sandbox.

use crate::support::{component, engine, failure};
use bytes::Bytes;
use lydian_engine::{Component, FailureKind, Limits, Session, SessionOptions, Start};
use lydian_value::Value;
use std::sync::Arc;
use std::time::Duration;

/// A resource `counter`: its representation is the number it was made with; `add` also counts calls in a global.
async fn counters() -> Arc<Component> {
    component(
        r#"(component
          (core module $dtor
            (global $dropped (export "dropped") (mut i32) (i32.const 0))
            (func (export "dtor") (param i32)
              (if (i32.eq (local.get 0) (i32.const 666)) (then (loop $l (br $l))))
              (global.set $dropped (i32.add (global.get $dropped) (i32.const 1)))))
          (core instance $dtor (instantiate $dtor))
          (type $counter' (resource (rep i32) (dtor (core func $dtor "dtor"))))
          (type $gauge' (resource (rep i32)))
          (core func $new (canon resource.new $counter'))
          (core func $measure (canon resource.new $gauge'))
          (core module $m
            (import "host" "new" (func $new (param i32) (result i32)))
            (import "host" "measure" (func $measure (param i32) (result i32)))
            (import "dtor" "dropped" (global $dropped (mut i32)))
            (global $calls (mut i32) (i32.const 0))
            (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
            (func (export "add") (param i32 i32) (result i32)
              (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
              (if (i32.eq (local.get 1) (i32.const 13)) (then unreachable))
              (i32.add (i32.add (local.get 0) (local.get 1)) (global.get $calls)))
            (func (export "dropped") (result i32) (global.get $dropped))
            (func (export "gauge") (param i32) (result i32) (call $measure (local.get 0)))
            (func (export "both") (param i32 i32 i32))
            (func (export "take") (param i32)))
          (core instance $i (instantiate $m
            (with "host" (instance (export "new" (func $new)) (export "measure" (func $measure)))) (with "dtor" (instance $dtor))))
          (func $make' (param "n" u32) (result (own $counter')) (canon lift (core func $i "make")))
          (func $add' (param "self" (borrow $counter')) (param "n" u32) (result u32) (canon lift (core func $i "add")))
          (func $take' (param "it" (own $counter')) (canon lift (core func $i "take")))
          (func $dropped' (result u32) (canon lift (core func $i "dropped")))
          (func $gauge'' (param "n" u32) (result (own $gauge')) (canon lift (core func $i "gauge")))
          (func $both' (param "it" (tuple (own $counter') (option (borrow $counter')))) (canon lift (core func $i "both")))
          (component $shim
            (import "counter" (type $c (sub resource)))
            (import "make" (func $make (param "n" u32) (result (own $c))))
            (import "add" (func $add (param "self" (borrow $c)) (param "n" u32) (result u32)))
            (import "take" (func $take (param "it" (own $c))))
            (import "dropped" (func $dropped (result u32)))
            (import "gauge" (type $g (sub resource)))
            (import "measure" (func $measure (param "n" u32) (result (own $g))))
            (import "both" (func $both (param "it" (tuple (own $c) (option (borrow $c))))))
            (export $out "counter" (type $c))
            (export "[constructor]counter" (func $make) (func (param "n" u32) (result (own $out))))
            (export "[method]counter.add" (func $add) (func (param "self" (borrow $out)) (param "n" u32) (result u32)))
            (export "take" (func $take) (func (param "it" (own $out))))
            (export "dropped" (func $dropped))
            (export $gauge "gauge" (type $g))
            (export "[constructor]gauge" (func $measure) (func (param "n" u32) (result (own $gauge))))
            (export "both" (func $both) (func (param "it" (tuple (own $out) (option (borrow $out)))))))
          (instance $api (instantiate $shim
            (with "counter" (type $counter')) (with "make" (func $make')) (with "add" (func $add'))
            (with "take" (func $take')) (with "dropped" (func $dropped'))
            (with "gauge" (type $gauge')) (with "measure" (func $gauge'')) (with "both" (func $both'))))
          (export "acme:count/api@1.0.0" (instance $api)))"#,
    )
    .await
}

struct Open {
    session: Session,
    component: Arc<Component>,
}

impl Open {
    async fn new(limits: Limits) -> Open {
        let component = counters().await;
        let options = SessionOptions {
            limits,
            ..SessionOptions::new(component.clone())
        };
        Open {
            session: engine().open(options).await.unwrap(),
            component,
        }
    }

    async fn call(&self, name: &str, args: &[Value]) -> lydian_engine::Outcome {
        let function = self.component.function(name).unwrap();
        let args = function
            .ty()
            .encode_args(args, &lydian_value::Limits::default())
            .unwrap();
        self.session.call(function, args).await
    }

    async fn number(&self, name: &str, args: &[Value]) -> u32 {
        let bytes = self.call(name, args).await.result.unwrap();
        u32::from_le_bytes(bytes[..].try_into().unwrap())
    }
}

#[tokio::test]
async fn resources_live_from_call_to_call() {
    let open = Open::new(Limits::UNSET).await;
    let ten = open.number("counter.new", &[Value::U32(10)]).await;
    let twenty = open.number("counter.new", &[Value::U32(20)]).await;
    assert_ne!(ten, twenty);
    assert_eq!(
        open.number("counter.add", &[Value::Handle(ten), Value::U32(1)])
            .await,
        12
    );
    assert_eq!(
        open.number("counter.add", &[Value::Handle(twenty), Value::U32(1)])
            .await,
        23
    );
    open.session.drop_handle(ten).await.unwrap();
    assert_eq!(open.number("dropped", &[]).await, 1);
    let outcome = open.call("dropped", &[]).await;
    assert_eq!(outcome.usage.start, Start::Warm);
}

/// A handle that is not open is the caller's mistake, and the session goes on.
#[tokio::test]
async fn stale_handles_are_refused_without_harm() {
    let open = Open::new(Limits::UNSET).await;
    let handle = open.number("counter.new", &[Value::U32(1)]).await;
    for stale in [0, handle + 1, u32::MAX] {
        let outcome = open
            .call("counter.add", &[Value::Handle(stale), Value::U32(1)])
            .await;
        assert_eq!(failure(outcome).kind, FailureKind::Arguments);
    }
    assert!(
        open.call("take", &[Value::Handle(handle)])
            .await
            .result
            .is_ok()
    );
    let given_away = open
        .call("counter.add", &[Value::Handle(handle), Value::U32(1)])
        .await;
    assert_eq!(failure(given_away).kind, FailureKind::Arguments);
    assert!(open.session.drop_handle(handle).await.is_err());
    assert!(open.call("dropped", &[]).await.result.is_ok());
}

/// Found out half-way into the guest, any of these would end the session.
#[tokio::test]
async fn handles_of_the_wrong_kind_are_refused_without_harm() {
    let open = Open::new(Limits::UNSET).await;
    let counter = open.number("counter.new", &[Value::U32(1)]).await;
    let other = open.number("counter.new", &[Value::U32(2)]).await;
    let gauge = open.number("gauge.new", &[Value::U32(3)]).await;
    let lent = |handle| Value::Option(Some(Box::new(Value::Handle(handle))));
    let both = |given, lent| [Value::Tuple(vec![Value::Handle(given), lent])];
    let wrong = open.call("take", &[Value::Handle(gauge)]).await;
    let wrong = failure(wrong);
    assert_eq!(wrong.kind, FailureKind::Arguments);
    assert!(
        wrong.message.contains("not of a `counter`"),
        "{}",
        wrong.message
    );
    for args in [
        both(gauge, Value::Option(None)),
        both(counter, lent(gauge)),
        both(counter, lent(99)),
        both(counter, lent(counter)),
    ] {
        assert_eq!(
            failure(open.call("both", &args).await).kind,
            FailureKind::Arguments
        );
    }
    // All are where they were.
    let one = [Value::Handle(counter), Value::U32(1)];
    assert!(open.call("counter.add", &one).await.result.is_ok());
    assert!(
        open.call("both", &both(counter, lent(other)))
            .await
            .result
            .is_ok()
    );
    assert!(open.session.drop_handle(gauge).await.is_ok());
}

/// What a trap leaves behind is not to be trusted.
#[tokio::test]
async fn a_trap_ends_the_session() {
    let open = Open::new(Limits::UNSET).await;
    let handle = open.number("counter.new", &[Value::U32(1)]).await;
    let trapped = open
        .call("counter.add", &[Value::Handle(handle), Value::U32(13)])
        .await;
    assert_eq!(failure(trapped).kind, FailureKind::Trap);
    let after = failure(open.call("dropped", &[]).await);
    assert_eq!(after.kind, FailureKind::Interrupted);
    assert!(
        after.message.contains("the session is over"),
        "{}",
        after.message
    );
}

#[tokio::test]
async fn destructors_are_held_to_the_time_limit() {
    // What it takes to make the session counts too.
    let open = Open::new(Limits {
        timeout: Duration::from_secs(2),
        ..Limits::UNSET
    })
    .await;
    let handle = open.number("counter.new", &[Value::U32(666)]).await;
    assert_eq!(
        open.session.drop_handle(handle).await.unwrap_err().kind,
        FailureKind::Timeout
    );
}

#[tokio::test]
async fn handles_of_a_session_are_counted() {
    let open = Open::new(Limits {
        handles: 3,
        ..Limits::UNSET
    })
    .await;
    for n in 0..3 {
        open.number("counter.new", &[Value::U32(n)]).await;
    }
    assert_eq!(
        failure(open.call("counter.new", &[Value::U32(4)]).await).kind,
        FailureKind::Handles
    );
}

/// Closing waits until the slot is free, so that a client in a loop never runs into its own sessions.
#[tokio::test]
async fn closing_frees_the_slot() {
    let (_directory, engine) =
        crate::support::engine_with(|options| options.pool = lydian_engine::PoolOptions::sized(1));
    let wasm = wat::parse_str(crate::support::echo("u8")).unwrap();
    let component = crate::support::prepare(&engine, wasm).await.unwrap();
    for _ in 0..20 {
        let session = engine
            .open(SessionOptions::new(component.clone()))
            .await
            .unwrap();
        assert_eq!(engine.stats().sandboxes_live, 1);
        session.close().await;
        assert_eq!(engine.stats().sandboxes_live, 0);
    }
}

#[tokio::test]
async fn functions_of_other_components_are_refused() {
    let open = Open::new(Limits::UNSET).await;
    let other = crate::support::function(&crate::support::echo("u8")).await;
    let outcome = open.session.call(other, Bytes::new()).await;
    assert_eq!(failure(outcome).kind, FailureKind::Arguments);
}
