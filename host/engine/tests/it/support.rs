//! The engine that all tests share, and components written in a few lines.

use lydian_engine::{
    Component, Engine, Failure, Function, Invocation, Limits, Options, Outcome, PoolOptions,
};
use lydian_value::{Digest, Value};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

/// Sandboxes of the shared engine. Tests that count slots count on it.
pub(crate) const SANDBOXES: u32 = 64;

/// Dropped by nobody, so the directory outlives the tests and lies where temporary files go.
static SHARED: LazyLock<(tempfile::TempDir, Engine)> = LazyLock::new(|| engine_with(|_| ()));

pub(crate) fn engine() -> Engine {
    SHARED.1.clone()
}

/// An engine of one's own, for what is decided when one starts.
pub(crate) fn engine_with(change: impl FnOnce(&mut Options)) -> (tempfile::TempDir, Engine) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.pool = PoolOptions::sized(SANDBOXES);
    options.threads = Some(2);
    change(&mut options);
    let engine = Engine::new(options).unwrap();
    (directory, engine)
}

pub(crate) async fn prepare(
    engine: &Engine,
    wasm: Vec<u8>,
) -> Result<Arc<Component>, lydian_engine::Error> {
    let digest = Digest::of(&wasm);
    engine
        .prepare(digest, move || {
            Box::pin(async move { Ok::<_, Infallible>(wasm.into()) })
        })
        .await
}

/// A component of the shared engine, from its text.
pub(crate) async fn component(wat: &str) -> Arc<Component> {
    prepare(&engine(), wat::parse_str(wat).unwrap())
        .await
        .unwrap()
}

/// The only function of a component.
pub(crate) async fn function(wat: &str) -> Function {
    component(wat).await.function("").unwrap()
}

pub(crate) fn invocation(function: &Function, args: &[Value]) -> Invocation {
    let args = function
        .ty()
        .encode_args(args, &lydian_value::Limits::default())
        .unwrap();
    Invocation::new(function.clone(), args)
}

/// Calls a function of the shared engine.
pub(crate) async fn call(function: &Function, args: &[Value]) -> Outcome {
    engine().invoke(invocation(function, args)).await
}

/// The same under other limits.
pub(crate) async fn call_within(function: &Function, args: &[Value], limits: Limits) -> Outcome {
    engine()
        .invoke(Invocation {
            limits,
            ..invocation(function, args)
        })
        .await
}

/// The result as a value.
pub(crate) fn value(function: &Function, outcome: &Outcome) -> Option<Value> {
    let bytes = outcome.result.as_ref().unwrap();
    function
        .ty()
        .decode_result(bytes, &lydian_value::Limits::default())
        .unwrap()
}

pub(crate) fn failure(outcome: Outcome) -> Failure {
    outcome.result.expect_err("the call should have failed")
}

/// Waits until the shared engine, or another, has no sandbox left.
pub(crate) async fn drained(engine: &Engine) {
    live(engine, 0).await;
}

/// Waits until so many sandboxes are live.
pub(crate) async fn live(engine: &Engine, count: usize) {
    for _ in 0..6_000 {
        if engine.stats().sandboxes_live == count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there never are {count} sandboxes: {:?}", engine.stats());
}

/// A component around one core module: `core` is its inside, `lift` the component's exports.
///
/// The module gets a memory of one page and a `realloc` that takes the next bytes and grows the memory as needed.
pub(crate) fn with_memory(core: &str, lift: &str) -> String {
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 4096))
            (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32) (local $need i32)
              (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.set $need (i32.sub
                (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)) (memory.size)))
              (if (i32.gt_s (local.get $need) (i32.const 0))
                (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then unreachable))))
              (memory.copy (local.get $at) (local.get 0)
                (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
              (local.get $at))
            {core})
          (core instance $i (instantiate $m))
          (alias core export $i "memory" (core memory $memory))
          (alias core export $i "realloc" (core func $realloc))
          {lift})"#
    )
}

/// A component whose only function, `echo`, takes and gives back a tuple of this type and what makes it too large to be passed
/// flat: then argument and result have one layout, and the identity echoes any value.
pub(crate) fn echo(ty: &str) -> String {
    let padding = " u64".repeat(17);
    with_memory(
        r#"(func (export "echo") (param i32) (result i32) (local.get 0))"#,
        &format!(
            r#"(func (export "echo") (param "x" (tuple {ty} {padding})) (result (tuple {ty} {padding}))
                 (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))"#
        ),
    )
}

/// The argument of [`echo`].
pub(crate) fn padded(value: Value) -> Value {
    Value::Tuple([value].into_iter().chain((0..17).map(Value::U64)).collect())
}
