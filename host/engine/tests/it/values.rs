//! Every type, in and out.

use crate::support::{
    call, call_within, component, echo, failure, function, padded, value, with_memory,
};
use lydian_engine::{FailureKind, Invocation, Limits};
use lydian_value::Value;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// Core values of every kind, as a function takes and returns them directly.
#[tokio::test]
async fn scalars_cross_flat() {
    let cases = [
        ("bool", "i32", Value::Bool(true)),
        ("u8", "i32", Value::U8(200)),
        ("s8", "i32", Value::S8(-100)),
        ("u16", "i32", Value::U16(60_000)),
        ("s16", "i32", Value::S16(-30_000)),
        ("u32", "i32", Value::U32(4_000_000_000)),
        ("s32", "i32", Value::S32(-2_000_000_000)),
        ("u64", "i64", Value::U64(u64::MAX)),
        ("s64", "i64", Value::S64(i64::MIN)),
        ("f32", "f32", Value::F32(-1.5)),
        ("f64", "f64", Value::F64(1e300)),
        ("char", "i32", Value::Char('é')),
    ];
    let core: String = cases
        .iter()
        .map(|(ty, core, _)| {
            format!(r#"(func (export "{ty}") (param {core}) (result {core}) (local.get 0))"#)
        })
        .collect();
    let lift: String = cases
        .iter()
        .map(|(ty, ..)| format!(r#"(func (export "f{ty}") (param "x" {ty}) (result {ty}) (canon lift (core func $i "{ty}")))"#))
        .collect();
    let component = component(&format!(
        "(component (core module $m {core}) (core instance $i (instantiate $m)) {lift})"
    ))
    .await;
    for (ty, _, expected) in cases {
        let function = component.function(&format!("f{ty}")).unwrap();
        assert_eq!(
            value(
                &function,
                &call(&function, std::slice::from_ref(&expected)).await
            ),
            Some(expected)
        );
    }
}

/// Narrow integers fill a core value; a guest's rubbish in the upper bits must not come out.
#[tokio::test]
async fn high_bits_of_narrow_results_do_not_count() {
    let function = function(
        r#"(component
          (core module $m (func (export "f") (result i32) (i32.const 0x12345601)))
          (core instance $i (instantiate $m))
          (func (export "f") (result u8) (canon lift (core func $i "f"))))"#,
    )
    .await;
    assert_eq!(
        value(&function, &call(&function, &[]).await),
        Some(Value::U8(1))
    );
}

/// A guest's maps have an order of their own; on the wire there is one, and no key is there twice.
#[tokio::test]
async fn maps_of_guests_are_put_in_order() {
    let component = component(
        r#"(component
          (core module $m
            (memory (export "memory") 1)
            (data (i32.const 64) "\00\01\01\00" "\01\00\02\00")
            (data (i32.const 80) "\01\00\01\00" "\01\00\02\00")
            (data (i32.const 16) "\40\00\00\00\02\00\00\00")
            (data (i32.const 24) "\50\00\00\00\02\00\00\00")
            (data (i32.const 32) "\00\00\00\00\ff\ff\ff\0f")
            (func (export "good") (result i32) (i32.const 16))
            (func (export "twice") (result i32) (i32.const 24))
            (func (export "long") (result i32) (i32.const 32)))
          (core instance $i (instantiate $m))
          (func (export "good") (result (map u16 u8)) (canon lift (core func $i "good") (memory (core memory $i "memory"))))
          (func (export "twice") (result (map u16 u8)) (canon lift (core func $i "twice") (memory (core memory $i "memory"))))
          (func (export "long") (result (map u16 u8)) (canon lift (core func $i "long") (memory (core memory $i "memory")))))"#,
    )
    .await;
    let good = component.function("good").unwrap();
    let outcome = call(&good, &[]).await;
    assert_eq!(**outcome.result.as_ref().unwrap(), [2, 0, 1, 1, 1, 0, 2]);
    let entries = [(1, 2), (256, 1)].map(|(key, value)| (Value::U16(key), Value::U8(value)));
    assert_eq!(
        value(&good, &outcome),
        Some(Value::Map(entries.into_iter().collect()))
    );
    for name in ["twice", "long"] {
        let failed = failure(call(&component.function(name).unwrap(), &[]).await);
        assert!(failed.message.contains("key twice"), "{failed:?}");
    }
}

/// Named types are declared beside a component's functions, so they are tried by hand.
#[tokio::test]
async fn named_types_cross_in_memory_and_flat() {
    let function = function(&with_memory(
        // Flat parameters: s8, then the string's pointer and length, then flags, enum, variant's case and payload.
        r#"(func (export "f") (param i32 i32 i32 i32 i32 i32 i64) (result i32)
             (i32.store8 (i32.const 64) (local.get 0))
             (i32.store (i32.const 68) (local.get 1))
             (i32.store (i32.const 72) (local.get 2))
             (i32.store16 (i32.const 76) (local.get 3))
             (i32.store8 (i32.const 78) (local.get 4))
             (i32.store8 (i32.const 80) (local.get 5))
             (i64.store (i32.const 88) (local.get 6))
             (i32.const 64))"#,
        r#"(type $flags' (flags "a" "b" "c" "d" "e" "f" "g" "h" "i" "j")) (import "flagged" (type $flags (eq $flags')))
           (type $enum' (enum "red" "green")) (import "color" (type $enum (eq $enum')))
           (type $variant' (variant (case "none") (case "number" u64) (case "float" f32)))
           (import "shape" (type $variant (eq $variant')))
           (type $record' (record (field "n" s8) (field "name" string) (field "flags" $flags) (field "color" $enum) (field "shape" $variant)))
           (import "thing" (type $record (eq $record')))
           (func (export "f") (param "x" $record) (result $record)
             (canon lift (core func $i "f") (memory $memory) (realloc $realloc)))"#,
    ))
    .await;
    for (flags, color, shape) in [
        (
            vec![0, 9],
            1,
            Value::Variant(1, Some(Box::new(Value::U64(1 << 40)))),
        ),
        (vec![], 0, Value::Variant(0, None)),
        (
            vec![1, 2, 3, 8],
            1,
            Value::Variant(2, Some(Box::new(Value::F32(2.5)))),
        ),
    ] {
        let thing = Value::Record(vec![
            Value::S8(-3),
            Value::String("näme".into()),
            Value::Flags(flags),
            Value::Enum(color),
            shape,
        ]);
        assert_eq!(
            value(
                &function,
                &call(&function, std::slice::from_ref(&thing)).await
            ),
            Some(thing)
        );
    }
}

/// A NaN has many spellings in a guest and one outside, so that equal results have equal digests.
#[tokio::test]
async fn nans_come_out_canonical() {
    let function = function(&with_memory(
        r#"(data (i32.const 16) "\01\00\c0\7f\ff\ff\ff\ff\00\00\80\7f\00\00\80\3f")
           (data (i32.const 0) "\10\00\00\00\04\00\00\00")
           (func (export "f") (result i32) (i32.const 0))"#,
        r#"(func (export "f") (result (list f32)) (canon lift (core func $i "f") (memory $memory)))"#,
    ))
    .await;
    let bytes = call(&function, &[]).await.result.unwrap();
    assert_eq!(
        bytes[..],
        [
            4, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0x7f, 0, 0, 0x80, 0x3f
        ]
    );
}

/// Strings of guests that are not written in UTF-8, such as those of JavaScript engines.
#[tokio::test]
async fn utf16_guests_are_served() {
    let function = function(&with_memory(
        r#"(func (export "echo") (param i32 i32) (result i32)
             (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0))"#,
        r#"(func (export "echo") (param "x" string) (result string)
             (canon lift (core func $i "echo") string-encoding=utf16 (memory $memory) (realloc $realloc)))"#,
    ))
    .await;
    let text = Value::String("a€𝄞".into());
    assert_eq!(
        value(
            &function,
            &call(&function, std::slice::from_ref(&text)).await
        ),
        Some(text)
    );
}

#[tokio::test]
async fn large_lists_cross_whole() {
    let bytes: Vec<u8> = (0..1 << 20).map(|n| n as u8).collect();
    let floats: Vec<f32> = (0..1 << 20).map(|n| n as f32).collect();
    for (ty, list) in [
        ("(list u8)", Value::Bytes(bytes.into())),
        ("(list f32)", Value::F32s(floats)),
    ] {
        let function = function(&echo(ty)).await;
        let argument = padded(list);
        assert_eq!(
            value(
                &function,
                &call(&function, std::slice::from_ref(&argument)).await
            ),
            Some(argument)
        );
    }
}

/// What a client sends is bytes; the guest is not entered with ones that are no arguments.
#[tokio::test]
async fn malformed_arguments_are_refused() {
    let function = function(&echo("string")).await;
    let good = crate::support::invocation(&function, &[padded(Value::String("abc".into()))]).args;
    let mut invalid = good.to_vec();
    invalid[1] = 0xff;
    for bytes in [
        vec![],
        good[..5].to_vec(),
        [&good[..], &[0]].concat(),
        invalid,
        vec![0x80; 200],
    ] {
        let outcome = crate::support::engine()
            .invoke(Invocation::new(function.clone(), bytes))
            .await;
        assert_eq!(failure(outcome).kind, FailureKind::Arguments);
    }
}

/// A length that the bytes cannot back must not make the guest allocate.
#[tokio::test]
async fn announced_lengths_allocate_nothing() {
    let function = function(&echo("(list u64)")).await;
    let bytes = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 200]].concat();
    let outcome = crate::support::engine()
        .invoke(Invocation::new(function.clone(), bytes))
        .await;
    assert_eq!(outcome.usage.peak_memory_bytes, (1 << 16) + 205);
    assert_eq!(failure(outcome).kind, FailureKind::Arguments);
}

/// A guest may answer with pointers to anywhere.
#[tokio::test]
async fn results_outside_memory_are_traps() {
    let component = component(&with_memory(
        r#"(data (i32.const 0) "\00\00\ff\ff\10\00\00\00")
           (data (i32.const 8) "\00\00\00\00\ff\ff\ff\ff")
           (data (i32.const 16) "\01\00\00\00\01\00\00\00")
           (data (i32.const 24) "\20\00\00\00\02\00\00\00\ff\fe")
           (func (export "far") (result i32) (i32.const 0))
           (func (export "long") (result i32) (i32.const 8))
           (func (export "crooked") (result i32) (i32.const 16))
           (func (export "broken") (result i32) (i32.const 24))
           (func (export "edge") (result i32) (i32.const 65532))"#,
        r#"(func (export "far") (result (list u8)) (canon lift (core func $i "far") (memory $memory)))
           (func (export "long") (result (list u64)) (canon lift (core func $i "long") (memory $memory)))
           (func (export "crooked") (result (list u64)) (canon lift (core func $i "crooked") (memory $memory)))
           (func (export "broken") (result string) (canon lift (core func $i "broken") (memory $memory)))
           (func (export "edge") (result (list u8)) (canon lift (core func $i "edge") (memory $memory)))"#,
    ))
    .await;
    for name in ["far", "long", "crooked", "broken", "edge"] {
        let outcome = call(&component.function(name).unwrap(), &[]).await;
        assert_eq!(failure(outcome).kind, FailureKind::Trap, "{name}");
    }
}

/// Strings may overlap in memory, so a small guest can describe a result of any size.
#[tokio::test]
async fn results_that_repeat_themselves_stop_at_the_payload_limit() {
    // 8,000 strings, each the same 60,000 bytes.
    let function = function(&with_memory(
        r#"(func (export "f") (result i32) (local $i i32)
             (drop (memory.grow (i32.const 1)))
             (loop $next
               (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 4096))
               (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 60000))
               (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8000))))
             (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 8000)) (i32.const 0))"#,
        r#"(func (export "f") (result (list string)) (canon lift (core func $i "f") (memory $memory)))"#,
    ))
    .await;
    let outcome = call_within(
        &function,
        &[],
        Limits {
            payload_bytes: 1 << 20,
            ..Limits::UNSET
        },
    )
    .await;
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Payload);
    assert!(failure.message.contains("1 MiB"), "{}", failure.message);
}

/// Any type made of the anonymous ones, with values of it.
fn typed_values(depth: u32) -> BoxedStrategy<(String, Vec<Value>)> {
    let leaf = prop_oneof![
        scalar("bool", any::<bool>().prop_map(Value::Bool)),
        scalar("u8", any::<u8>().prop_map(Value::U8)),
        scalar("s16", any::<i16>().prop_map(Value::S16)),
        scalar("u32", any::<u32>().prop_map(Value::U32)),
        scalar("s64", any::<i64>().prop_map(Value::S64)),
        scalar("f32", any::<f32>().prop_map(Value::F32)),
        scalar("f64", any::<f64>().prop_map(Value::F64)),
        scalar("char", any::<char>().prop_map(Value::Char)),
        scalar("string", ".{0,20}".prop_map(Value::String)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let list = typed_values(depth - 1).prop_map(|(ty, values)| {
        let short = values[..values.len() / 2].to_vec();
        (
            format!("(list {ty})"),
            vec![
                Value::List(values),
                Value::List(short),
                Value::List(Vec::new()),
            ],
        )
    });
    let option = typed_values(depth - 1).prop_map(|(ty, values)| {
        let some = values
            .into_iter()
            .map(|value| Value::Option(Some(Box::new(value))));
        (
            format!("(option {ty})"),
            some.chain([Value::Option(None)]).collect(),
        )
    });
    let result =
        (typed_values(depth - 1), typed_values(depth - 1)).prop_map(|((ok, oks), (err, errs))| {
            let oks = oks
                .into_iter()
                .map(|value| Value::Result(Ok(Some(Box::new(value)))));
            let errs = errs
                .into_iter()
                .map(|value| Value::Result(Err(Some(Box::new(value)))));
            (
                format!("(result {ok} (error {err}))"),
                oks.chain(errs).collect(),
            )
        });
    let tuple = proptest::collection::vec(typed_values(depth - 1), 1..4).prop_map(|parts| {
        let types: Vec<&str> = parts.iter().map(|(ty, _)| ty.as_str()).collect();
        let count = parts.iter().map(|(_, values)| values.len()).min().unwrap();
        let values = (0..count)
            .map(|n| Value::Tuple(parts.iter().map(|(_, values)| values[n].clone()).collect()));
        (format!("(tuple {})", types.join(" ")), values.collect())
    });
    let fixed = (typed_values(depth - 1), 1..4usize).prop_map(|((ty, values), len)| {
        let list = Value::List(values.iter().cycle().take(len).cloned().collect());
        (format!("(list {ty} {len})"), vec![list])
    });
    prop_oneof![leaf, list, option, result, tuple, fixed].boxed()
}

fn scalar(
    name: &'static str,
    values: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<(String, Vec<Value>)> {
    proptest::collection::vec(values, 3)
        .prop_map(move |values| (name.to_owned(), values))
        .boxed()
}

/// What goes in comes out, byte for byte, whatever the type.
#[tokio::test(flavor = "multi_thread")]
async fn random_values_of_random_types_are_echoed() {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..60 {
        let (ty, values) = typed_values(3).new_tree(&mut runner).unwrap().current();
        let function = function(&echo(&ty)).await;
        for value in values {
            let invocation = crate::support::invocation(&function, &[padded(value)]);
            let sent = invocation.args.clone();
            let outcome = crate::support::engine().invoke(invocation).await;
            assert_eq!(outcome.result.as_ref().unwrap(), &sent, "{ty}");
        }
    }
}
