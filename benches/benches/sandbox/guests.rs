//! The guests, in WebAssembly text, and their arguments.

use lydian_value::Value;
use std::fmt::Write;
use wasmtime::component::{ComponentType, Lift, Lower, Val};

/// No memory at all.
pub const SQUARE: &str = r#"(component
  (core module $m (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "square") (param "x" u32) (result u32) (canon lift (core func $i "f"))))"#;

/// Computes for a few milliseconds.
pub const COMPUTE: &str = r#"(component
  (core module $m (func (export "f") (param i32) (result i32) (local $x i32)
    (local.set $x (i32.const 12345))
    (loop $l
      (local.set $x (i32.xor (i32.mul (local.get $x) (i32.const 1664525)) (i32.shr_u (local.get $x) (i32.const 13))))
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $x)))
  (core instance $i (instantiate $m))
  (func (export "compute") (param "x" u32) (result u32) (canon lift (core func $i "f"))))"#;

/// What a compiled language leaves behind: a mebibyte of memory, 64 KiB of data, a table, a few pages written per call.
pub fn heap() -> String {
    let mut data = String::new();
    (0..16 << 10)
        .for_each(|n| write!(data, "\\{:02x}\\00\\01\\{:02x}", n & 0xff, n >> 8 & 0xff).unwrap());
    format!(
        r#"(component
          (core module $m (memory 17) (table 64 funcref) (data (i32.const 0x100000) "{data}")
            (func (export "f") (param i32) (result i32)
              (i32.store (i32.const 0x8000) (local.get 0))
              (i32.store (i32.const 0x100010) (local.get 0))
              (i32.store (i32.const 0x108000) (local.get 0))
              (i32.mul (i32.load (i32.const 0x8000)) (local.get 0))))
          (core instance $i (instantiate $m))
          (func (export "square") (param "x" u32) (result u32) (canon lift (core func $i "f"))))"#
    )
}

/// Gives a list back. The allocator takes the next bytes.
pub fn echo(ty: &str, declarations: &str) -> String {
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") 160)
            (global $next (mut i32) (i32.const 1024))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
              (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            (func (export "echo") (param i32 i32) (result i32)
              (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0)))
          (core instance $i (instantiate $m))
          {declarations}
          (func (export "echo") (param "x" {ty}) (result {ty})
            (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}

/// Named types are imported as equal to what they are.
pub const MIX_DECLARATIONS: &str = r#"
  (type $kind' (variant (case "plain") (case "count" u32) (case "text" string)))
  (import "kind" (type $kind (eq $kind')))
  (type $item' (record (field "id" u64) (field "name" string) (field "tags" (list string)) (field "kind" $kind)
    (field "score" (option f64)) (field "pairs" (list (tuple u8 f32)))))
  (import "item" (type $item (eq $item')))"#;

pub const MIX_TYPE: &str = "(list $item)";

/// A thousand records, about 100 kB, both as our values and as wasmtime's.
pub fn mix() -> (Value, Val) {
    let items = (0..1_000).map(item);
    let (ours, theirs): (Vec<Value>, Vec<Val>) = items.unzip();
    (Value::List(ours), Val::List(theirs))
}

/// The same as the Rust types that a program which knows the interface would use.
pub fn typed_mix() -> Vec<Item> {
    let item = |n: u32| Item {
        id: n.into(),
        name: format!("item number {n}"),
        tags: ["red", "a longer tag", "x"].map(str::to_owned).into(),
        kind: match n % 3 {
            0 => Kind::Plain,
            1 => Kind::Count(n),
            _ => Kind::Text("some text".into()),
        },
        score: Some(f64::from(n) / 3.0),
        pairs: (0..4).map(|k| (k, n as f32)).collect(),
    };
    (0..1_000).map(item).collect()
}

#[derive(Clone, ComponentType, Lower, Lift)]
#[component(record)]
pub struct Item {
    id: u64,
    name: String,
    tags: Vec<String>,
    kind: Kind,
    score: Option<f64>,
    pairs: Vec<(u8, f32)>,
}

#[derive(Clone, ComponentType, Lower, Lift)]
#[component(variant)]
pub enum Kind {
    #[component(name = "plain")]
    Plain,
    #[component(name = "count")]
    Count(u32),
    #[component(name = "text")]
    Text(String),
}

fn item(n: u32) -> (Value, Val) {
    let name = format!("item number {n}");
    let tags = ["red", "a longer tag", "x"].map(str::to_owned);
    let (kind, kind_val) = match n % 3 {
        0 => (Value::Variant(0, None), Val::Variant("plain".into(), None)),
        1 => (
            Value::Variant(1, Some(Box::new(Value::U32(n)))),
            Val::Variant("count".into(), Some(Box::new(Val::U32(n)))),
        ),
        _ => (
            Value::Variant(2, Some(Box::new(Value::String("some text".into())))),
            Val::Variant(
                "text".into(),
                Some(Box::new(Val::String("some text".into()))),
            ),
        ),
    };
    let score = f64::from(n) / 3.0;
    let pairs: Vec<(u8, f32)> = (0..4).map(|k| (k, n as f32)).collect();
    let ours = Value::Record(vec![
        Value::U64(n.into()),
        Value::String(name.clone()),
        Value::List(tags.iter().cloned().map(Value::String).collect()),
        kind,
        Value::Option(Some(Box::new(Value::F64(score)))),
        Value::List(
            pairs
                .iter()
                .map(|(a, b)| Value::Tuple(vec![Value::U8(*a), Value::F32(*b)]))
                .collect(),
        ),
    ]);
    let theirs = Val::Record(vec![
        ("id".into(), Val::U64(n.into())),
        ("name".into(), Val::String(name)),
        (
            "tags".into(),
            Val::List(tags.into_iter().map(Val::String).collect()),
        ),
        ("kind".into(), kind_val),
        (
            "score".into(),
            Val::Option(Some(Box::new(Val::Float64(score)))),
        ),
        (
            "pairs".into(),
            Val::List(
                pairs
                    .iter()
                    .map(|(a, b)| Val::Tuple(vec![Val::U8(*a), Val::Float32(*b)]))
                    .collect(),
            ),
        ),
    ]);
    (ours, theirs)
}
