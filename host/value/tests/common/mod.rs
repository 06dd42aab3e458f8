//! Random types and random values of them.
#![allow(dead_code, reason = "each test file uses its own part")]

use bytes::Bytes;
use lydian_value::{Type, Value};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

/// Names as WIT has them, and all the ones WAVE reads as something else.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z][a-z0-9]{0,3}(-[a-z][a-z0-9]{0,2}){0,2}",
        1 => prop::sample::select(vec!["true", "false", "some", "none", "ok", "err", "inf", "nan"]).prop_map(str::to_owned),
        1 => "[A-Z][A-Z0-9]{0,3}",
    ]
}

fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
    btree_set(name(), 1..=most)
        .prop_map(|names| names.into_iter().collect())
        .prop_shuffle()
}

fn leaf() -> impl Strategy<Value = Type> {
    prop_oneof![
        8 => prop::sample::select(vec![
            Type::Bool, Type::S8, Type::U8, Type::S16, Type::U16, Type::S32, Type::U32, Type::S64, Type::U64,
            Type::F32, Type::F64, Type::Char, Type::String,
        ]),
        1 => names(20).prop_map(|names| Type::enumeration("e", names)),
        1 => names(20).prop_map(|names| Type::flags("f", names)),
        1 => Just(Type::Own("image".into())),
        1 => Just(Type::Borrow("image".into())),
    ]
}

/// Any type an argument can have.
pub(crate) fn types() -> impl Strategy<Value = Type> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let payload = prop::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(Type::list),
            (inner.clone(), 1u32..4).prop_map(|(item, len)| Type::fixed_list(item, len)),
            (prop_oneof![Just(Type::String), leaf()], inner.clone())
                .prop_map(|(key, value)| Type::map(key, value)),
            inner.clone().prop_map(Type::option),
            (payload.clone(), payload.clone()).prop_map(|(ok, err)| Type::result(ok, err)),
            vec(inner.clone(), 1..4).prop_map(Type::tuple),
            (names(4), vec(inner, 4))
                .prop_map(|(names, types)| Type::record("r", names.into_iter().zip(types))),
            (names(4), vec(payload, 4))
                .prop_map(|(names, types)| Type::variant("v", names.into_iter().zip(types))),
        ]
    })
}

/// Any value of the type.
pub(crate) fn values(ty: &Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Type::S64 => any::<i64>().prop_map(Value::S64).boxed(),
        Type::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        // Any bits: infinities, subnormals, every NaN.
        Type::F32 => any::<u32>()
            .prop_map(|bits| Value::F32(f32::from_bits(bits)))
            .boxed(),
        Type::F64 => any::<u64>()
            .prop_map(|bits| Value::F64(f64::from_bits(bits)))
            .boxed(),
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => text().prop_map(Value::String).boxed(),
        Type::List(item) => list(item, 0..5),
        Type::FixedList(item, len) => list(item, *len as usize..*len as usize + 1),
        Type::Map(key, value) => {
            let key_ty = key.clone();
            vec((values(key), values(value)), 0..4)
                .prop_map(move |entries| Value::Map(distinct(&key_ty, entries)))
                .boxed()
        }
        Type::Record(record) => record
            .fields
            .iter()
            .map(|field| values(&field.ty))
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
        Type::Tuple(items) => items
            .iter()
            .map(values)
            .collect::<Vec<_>>()
            .prop_map(Value::Tuple)
            .boxed(),
        Type::Variant(variant) => {
            let cases = variant.cases.iter().zip(0u32..);
            let cases = cases.map(|(case, index)| {
                payload(case.ty.as_ref())
                    .prop_map(move |payload| Value::Variant(index, payload))
                    .boxed()
            });
            proptest::strategy::Union::new(cases.collect::<Vec<_>>()).boxed()
        }
        Type::Enum(cases) => (0..cases.cases.len() as u32).prop_map(Value::Enum).boxed(),
        Type::Option(inner) => prop::option::of(values(inner))
            .prop_map(|value| Value::Option(value.map(Box::new)))
            .boxed(),
        Type::Result(result) => prop_oneof![
            payload(result.ok.as_ref()).prop_map(|payload| Value::Result(Ok(payload))),
            payload(result.err.as_ref()).prop_map(|payload| Value::Result(Err(payload))),
        ]
        .boxed(),
        Type::Flags(flags) => btree_set(0..flags.flags.len() as u32, 0..=flags.flags.len())
            .prop_map(|set| Value::Flags(set.into_iter().collect()))
            .boxed(),
        Type::Own(_) | Type::Borrow(_) => any::<u32>().prop_map(Value::Handle).boxed(),
        Type::Stream(_) | Type::Future(_) | Type::ErrorContext => {
            any::<u32>().prop_map(Value::Stream).boxed()
        }
    }
}

/// The entries without those whose key was there before.
fn distinct(key: &Type, entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let mut seen = std::collections::HashSet::new();
    let entries = entries.into_iter();
    entries
        .filter(|(k, _)| {
            let wire = key.encode(k, &lydian_value::Limits::default());
            wire.is_ok_and(|wire| seen.insert(wire))
        })
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[\\x00-\\x1f\"'\\\\\u{7f}\u{202e}\u{301}]{0,6}"
    ]
}

fn payload(ty: Option<&Type>) -> BoxedStrategy<Option<Box<Value>>> {
    match ty {
        Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}

fn list(item: &Type, len: std::ops::Range<usize>) -> BoxedStrategy<Value> {
    fn packed<T: std::fmt::Debug + Clone + 'static, S: Strategy<Value = T> + 'static>(
        items: S,
        len: std::ops::Range<usize>,
        list: fn(Vec<T>) -> Value,
    ) -> BoxedStrategy<Value> {
        vec(items, len).prop_map(list).boxed()
    }
    match item {
        Type::U8 => packed(any::<u8>(), len, |items| Value::Bytes(Bytes::from(items))),
        Type::S8 => packed(any::<i8>(), len, Value::S8s),
        Type::S16 => packed(any::<i16>(), len, Value::S16s),
        Type::U16 => packed(any::<u16>(), len, Value::U16s),
        Type::S32 => packed(any::<i32>(), len, Value::S32s),
        Type::U32 => packed(any::<u32>(), len, Value::U32s),
        Type::S64 => packed(any::<i64>(), len, Value::S64s),
        Type::U64 => packed(any::<u64>(), len, Value::U64s),
        Type::F32 => packed(any::<u32>().prop_map(f32::from_bits), len, Value::F32s),
        Type::F64 => packed(any::<u64>().prop_map(f64::from_bits), len, Value::F64s),
        _ => packed(values(item), len, Value::List),
    }
}

/// A type and a value of it.
pub(crate) fn typed_values() -> impl Strategy<Value = (Type, Value)> {
    types().prop_flat_map(|ty| (Just(ty.clone()), values(&ty)))
}
