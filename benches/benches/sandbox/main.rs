//! What a sandbox costs through the engine, with every limit on, beside wasmtime alone over the same kind of pool.
//!
//! Covered: store, instance, lowering, call, lifting, drop. Not covered: compiling, queueing for threads (both twins run on
//! a runtime's worker already; `hop` shows what getting there costs), network.
//!
//! | group | bar |
//! | --- | --- |
//! | `fresh` | at most 1.25 x `baseline_fresh`; `lean_fresh` is wasmtime without support for async |
//! | `echo/bytes`, `echo/floats` | at most 2 x `baseline_echo`, a typed call |
//! | `mix` | at least 10 x faster than `baseline_mix`, the dynamic path |
//! | `compute` | at most 10 % over `baseline_compute`, which has no limits |
//!
//! `cargo xtask bench sandbox`

#![allow(
    clippy::multiple_bound_locations,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a bench that cannot run says so by panicking"
)]

mod guests;
mod twin;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lydian_engine::{Engine, Function, Invocation, Options, PoolOptions};
use lydian_value::{Digest, Limits, Value};
use std::convert::Infallible;
use std::future::Future;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmtime::component::Val;

/// Sandboxes of both pools: enough for the largest machine's threads.
const SANDBOXES: u32 = 256;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static ENGINE: LazyLock<(tempfile::TempDir, Engine)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.pool = PoolOptions::sized(SANDBOXES);
    (directory, Engine::new(options).unwrap())
});

fn function(wat: &str) -> Function {
    let wasm = wat::parse_str(wat).unwrap();
    let digest = Digest::of(&wasm);
    let source =
        move || -> std::pin::Pin<Box<dyn Future<Output = Result<Bytes, Infallible>> + Send>> {
            Box::pin(async move { Ok(wasm.into()) })
        };
    RUNTIME
        .block_on(ENGINE.1.prepare(digest, source))
        .unwrap()
        .function("")
        .unwrap()
}

fn invocation(function: &Function, args: &[Value]) -> Invocation {
    Invocation::new(
        function.clone(),
        function.ty().encode_args(args, &Limits::default()).unwrap(),
    )
}

/// Time of `count` calls, one after the other, on a thread that runs guests.
fn engine_calls(call: &Invocation, count: u64) -> Duration {
    let call = call.clone();
    let calls = ENGINE.1.spawn(async move {
        let started = Instant::now();
        for _ in 0..count {
            ENGINE.1.invoke(call.clone()).await.result.unwrap();
        }
        started.elapsed()
    });
    RUNTIME.block_on(calls.unwrap()).unwrap()
}

/// The same from another thread, so that each call changes threads twice.
fn hopping_calls(call: &Invocation, count: u64) -> Duration {
    RUNTIME.block_on(async {
        let started = Instant::now();
        for _ in 0..count {
            ENGINE.1.invoke(call.clone()).await.result.unwrap();
        }
        started.elapsed()
    })
}

/// Time of `count` calls of the twin, on a worker of a runtime as well.
fn twin_calls<F: Future<Output = ()> + Send>(
    count: u64,
    call: impl Fn() -> F + Send + 'static,
) -> Duration
where
    F: 'static,
{
    let calls = RUNTIME.spawn(async move {
        let started = Instant::now();
        for _ in 0..count {
            call().await;
        }
        started.elapsed()
    });
    RUNTIME.block_on(calls).unwrap()
}

fn fresh(c: &mut Criterion) {
    let mut group = c.benchmark_group("fresh");
    for (name, wat) in [
        ("square", guests::SQUARE.to_owned()),
        ("heap", guests::heap()),
    ] {
        let call = invocation(&function(&wat), &[Value::U32(7)]);
        group.bench_function(name, |b| b.iter_custom(|count| engine_calls(&call, count)));
        group.bench_function(format!("{name}/hop"), |b| {
            b.iter_custom(|count| hopping_calls(&call, count))
        });
    }
    group.finish();
    baseline_fresh(c, "baseline_fresh", twin::Twin::new);
    baseline_fresh(c, "lean_fresh", twin::Twin::lean);
}

fn baseline_fresh(c: &mut Criterion, group: &str, twin: fn(u32, &str) -> twin::Twin) {
    let mut group = c.benchmark_group(group);
    for (name, wat) in [
        ("square", guests::SQUARE.to_owned()),
        ("heap", guests::heap()),
    ] {
        let twin = twin(SANDBOXES, &wat);
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let twin = twin.clone();
                twin_calls(count, move || {
                    let twin = twin.clone();
                    async move { assert_eq!(twin.typed::<(u32,), (u32,)>((7,)).await.0, 49) }
                })
            })
        });
    }
    group.finish();
}

fn echo(c: &mut Criterion) {
    let bytes: Vec<u8> = (0..1 << 20).map(|n| n as u8).collect();
    let floats: Vec<f32> = (0..1 << 20).map(|n| n as f32).collect();
    let mut group = c.benchmark_group("echo");
    group.throughput(Throughput::Bytes(1 << 20));
    let call = invocation(
        &function(&guests::echo("(list u8)", "")),
        &[Value::Bytes(bytes.clone().into())],
    );
    group.bench_function("bytes", |b| {
        b.iter_custom(|count| engine_calls(&call, count))
    });
    group.throughput(Throughput::Bytes(4 << 20));
    let call = invocation(
        &function(&guests::echo("(list f32)", "")),
        &[Value::F32s(floats.clone())],
    );
    group.bench_function("floats", |b| {
        b.iter_custom(|count| engine_calls(&call, count))
    });
    group.finish();

    let mut group = c.benchmark_group("baseline_echo");
    group.throughput(Throughput::Bytes(1 << 20));
    twin_echo(&mut group, "bytes", "(list u8)", bytes);
    group.throughput(Throughput::Bytes(4 << 20));
    twin_echo(&mut group, "floats", "(list f32)", floats);
    group.finish();
}

fn twin_echo<T>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    ty: &str,
    list: Vec<T>,
) where
    T: wasmtime::component::Lower + wasmtime::component::Lift + Clone + Send + Sync + 'static,
{
    let twin = twin::Twin::new(SANDBOXES, &guests::echo(ty, ""));
    twin_echo_by(group, name, twin, list);
}

fn twin_echo_by<T>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    twin: twin::Twin,
    list: Vec<T>,
) where
    T: wasmtime::component::Lower + wasmtime::component::Lift + Clone + Send + Sync + 'static,
{
    let list = std::sync::Arc::new(list);
    group.bench_function(name, |b| {
        b.iter_custom(|count| {
            let (twin, list) = (twin.clone(), list.clone());
            twin_calls(count, move || {
                let (twin, list) = (twin.clone(), list.clone());
                async move {
                    let (back,) = twin
                        .typed::<(std::sync::Arc<Vec<T>>,), (Vec<T>,)>((list.clone(),))
                        .await;
                    assert_eq!(back.len(), list.len());
                }
            })
        })
    });
}

fn mix(c: &mut Criterion) {
    let (items, vals) = guests::mix();
    let wat = guests::echo(guests::MIX_TYPE, guests::MIX_DECLARATIONS);
    let call = invocation(&function(&wat), &[items]);
    let size = call.args.len() as u64;
    let mut group = c.benchmark_group("mix");
    group.throughput(Throughput::Bytes(size));
    group.bench_function("100kB", |b| {
        b.iter_custom(|count| engine_calls(&call, count))
    });
    group.finish();
    let mut group = c.benchmark_group("baseline_mix");
    group.throughput(Throughput::Bytes(size));
    let twin = twin::Twin::new(SANDBOXES, &wat);
    let argument = std::sync::Arc::new(vals);
    group.bench_function("100kB", |b| {
        b.iter_custom(|count| {
            let (twin, argument) = (twin.clone(), argument.clone());
            twin_calls(count, move || {
                let (twin, argument) = (twin.clone(), argument.clone());
                async move {
                    let back = twin.dynamic(std::slice::from_ref(&*argument)).await;
                    assert!(matches!(back, Val::List(_)));
                }
            })
        })
    });
    twin_echo_by(
        &mut group,
        "typed",
        twin::Twin::new(SANDBOXES, &wat),
        guests::typed_mix(),
    );
    group.finish();
}

fn compute(c: &mut Criterion) {
    let mut group = c.benchmark_group("compute");
    let call = invocation(&function(guests::COMPUTE), &[Value::U32(5_000_000)]);
    group.bench_function("5M", |b| b.iter_custom(|count| engine_calls(&call, count)));
    group.finish();
    let mut group = c.benchmark_group("baseline_compute");
    let twin = twin::Twin::new(SANDBOXES, guests::COMPUTE);
    group.bench_function("5M", |b| {
        b.iter_custom(|count| {
            let twin = twin.clone();
            twin_calls(count, move || {
                let twin = twin.clone();
                async move {
                    twin.typed::<(u32,), (u32,)>((5_000_000,)).await;
                }
            })
        })
    });
    group.finish();
}

criterion_group!(benches, fresh, echo, mix, compute);
criterion_main!(benches);
