//! The spellings of values: bulk lists of numbers against a plain copy, and a mix of small values against the general
//! readers one would use without types.
//!
//! Covered: one encode, decode, check, print or parse of a value in memory. Not covered: reaching a guest (the benches of
//! the engine).
//! `cargo bench -p lydian-value --bench spellings`
#![allow(clippy::unwrap_used, reason = "a failed bench panics")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lydian_value::{Limits, Type, Value, Wit, from_wire, json, to_wire, wave};
use wasm_wave::untyped::UntypedValue;

/// 1 MiB of bytes and 4 MiB of floats: one copy is the floor.
fn bulk(c: &mut Criterion) {
    let limits = Limits::default();
    let bytes = vec![7u8; 1 << 20];
    let floats: Vec<f32> = (0..1 << 20).map(|n| n as f32).collect();
    let bytes_wire = to_wire(&bytes, &limits).unwrap();
    let floats_wire = to_wire(&floats, &limits).unwrap();

    let mut group = c.benchmark_group("bulk/list_u8_1MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("baseline_copy", |b| b.iter(|| black_box(&bytes).to_vec()));
    group.bench_function("encode", |b| b.iter(|| to_wire(black_box(&bytes), &limits)));
    group.bench_function("decode", |b| {
        b.iter(|| from_wire::<Vec<u8>>(black_box(&bytes_wire), &limits))
    });
    group.bench_function("check", |b| {
        b.iter(|| <Vec<u8>>::ty().check(black_box(&bytes_wire), &limits))
    });
    group.finish();

    let mut group = c.benchmark_group("bulk/list_f32_1Mi");
    group.throughput(Throughput::Bytes(4 * floats.len() as u64));
    group.bench_function("baseline_copy", |b| b.iter(|| black_box(&floats).to_vec()));
    group.bench_function("encode", |b| {
        b.iter(|| to_wire(black_box(&floats), &limits))
    });
    group.bench_function("decode", |b| {
        b.iter(|| from_wire::<Vec<f32>>(black_box(&floats_wire), &limits))
    });
    group.bench_function("check", |b| {
        b.iter(|| <Vec<f32>>::ty().check(black_box(&floats_wire), &limits))
    });
    group.finish();
}

/// About 100 kB of records with strings, lists and variants.
fn mix() -> (Type, Value) {
    let shape = Type::variant("shape", [("square", Some(Type::F32)), ("none", None)]);
    let item = Type::record(
        "item",
        [
            ("id", Type::U64),
            ("name", Type::String),
            ("tags", Type::list(Type::String)),
            ("shape", Type::option(shape)),
        ],
    );
    let value = |id: u64| {
        let shape = Value::Variant(0, Some(Box::new(Value::F32(id as f32))));
        Value::Record(vec![
            Value::U64(id),
            format!("the item of number {id}").as_str().into(),
            Value::List(vec!["red".into(), "green".into(), "blue".into()]),
            Value::Option(id.is_multiple_of(2).then(|| Box::new(shape))),
        ])
    };
    (
        Type::list(item),
        Value::List((0..2_000).map(value).collect()),
    )
}

fn small_values(c: &mut Criterion) {
    let limits = Limits::default();
    let (ty, value) = mix();
    let wire = ty.encode(&value, &limits).unwrap();
    let json = json::to_string(&ty, &wire, &limits).unwrap();
    let wave = wave::to_string(&ty, &wire, &limits).unwrap();

    let mut group = c.benchmark_group("mix/100kB");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("encode", |b| {
        b.iter(|| ty.encode(black_box(&value), &limits))
    });
    group.bench_function("decode", |b| {
        b.iter(|| ty.decode(black_box(&wire), &limits))
    });
    group.bench_function("check", |b| b.iter(|| ty.check(black_box(&wire), &limits)));
    group.bench_function("json_print", |b| {
        b.iter(|| json::to_string(&ty, black_box(&wire), &limits))
    });
    group.bench_function("json_parse", |b| {
        b.iter(|| json::from_str(&ty, black_box(&json), &limits))
    });
    group.bench_function("baseline_json_parse", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&json)))
    });
    group.bench_function("wave_print", |b| {
        b.iter(|| wave::to_string(&ty, black_box(&wire), &limits))
    });
    group.bench_function("wave_parse", |b| {
        b.iter(|| wave::parse(&ty, black_box(&wave), &limits))
    });
    group.bench_function("baseline_wave_parse", |b| {
        b.iter(|| UntypedValue::parse(black_box(&wave)).is_ok())
    });
    group.finish();
}

criterion_group!(benches, bulk, small_values);
criterion_main!(benches);
