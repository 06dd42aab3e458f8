//! A value of any WIT type, for the edges where values are written and read one at a time.

use bytes::Bytes;

/// A value. Names (of fields, cases, flags) are the type's, not the value's, so a value means something only with its
/// [`Type`](crate::Type).
///
/// Lists of numbers are packed: `list<u8>` is [`Value::Bytes`], `list<f32>` is [`Value::F32s`], and so on; encoding also
/// takes a [`Value::List`] of the numbers. Two values are equal when their wire bytes are: NaN equals NaN, 0.0 differs
/// from -0.0.
///
/// Decoders never build a value deeper than [`Limits::depth`](crate::Limits); one built by hand is dropped recursively.
#[derive(Debug, Clone)]
pub enum Value {
    Bool(bool),
    S8(i8),
    U8(u8),
    S16(i16),
    U16(u16),
    S32(i32),
    U32(u32),
    S64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Char(char),
    String(String),
    /// `list<u8>`
    Bytes(Bytes),
    S8s(Vec<i8>),
    S16s(Vec<i16>),
    U16s(Vec<u16>),
    S32s(Vec<i32>),
    U32s(Vec<u32>),
    S64s(Vec<i64>),
    U64s(Vec<u64>),
    F32s(Vec<f32>),
    F64s(Vec<f64>),
    List(Vec<Value>),
    /// Entries in any order: encoding puts them in that of their keys' bytes, and refuses a key
    /// that is there twice.
    Map(Vec<(Value, Value)>),
    /// The fields in the type's order.
    Record(Vec<Value>),
    Tuple(Vec<Value>),
    /// Index of the case, and its payload.
    Variant(u32, Option<Box<Value>>),
    /// Index of the case.
    Enum(u32),
    Option(Option<Box<Value>>),
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// Indices of the flags that are set, ascending.
    Flags(Vec<u32>),
    /// An own or borrow handle, as numbered by the session.
    Handle(u32),
    /// A stream, future or error context, as numbered in the result.
    Stream(u32),
}

impl Value {
    /// What an error message calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::S8(_) => "s8",
            Value::U8(_) => "u8",
            Value::S16(_) => "s16",
            Value::U16(_) => "u16",
            Value::S32(_) => "s32",
            Value::U32(_) => "u32",
            Value::S64(_) => "s64",
            Value::U64(_) => "u64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::Char(_) => "char",
            Value::String(_) => "string",
            Value::Bytes(_) => "list<u8>",
            Value::S8s(_) => "list<s8>",
            Value::S16s(_) => "list<s16>",
            Value::U16s(_) => "list<u16>",
            Value::S32s(_) => "list<s32>",
            Value::U32s(_) => "list<u32>",
            Value::S64s(_) => "list<s64>",
            Value::U64s(_) => "list<u64>",
            Value::F32s(_) => "list<f32>",
            Value::F64s(_) => "list<f64>",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Record(_) => "record",
            Value::Tuple(_) => "tuple",
            Value::Variant(..) => "variant",
            Value::Enum(_) => "enum",
            Value::Option(_) => "option",
            Value::Result(_) => "result",
            Value::Flags(_) => "flags",
            Value::Handle(_) => "handle",
            Value::Stream(_) => "stream",
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        use Value::*;
        match (self, other) {
            (Bool(a), Bool(b)) => a == b,
            (S8(a), S8(b)) => a == b,
            (U8(a), U8(b)) => a == b,
            (S16(a), S16(b)) => a == b,
            (U16(a), U16(b)) => a == b,
            (S32(a), S32(b)) => a == b,
            (U32(a), U32(b))
            | (Enum(a), Enum(b))
            | (Handle(a), Handle(b))
            | (Stream(a), Stream(b)) => a == b,
            (S64(a), S64(b)) => a == b,
            (U64(a), U64(b)) => a == b,
            (F32(a), F32(b)) => same_f32(a, b),
            (F64(a), F64(b)) => same_f64(a, b),
            (Char(a), Char(b)) => a == b,
            (String(a), String(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (S8s(a), S8s(b)) => a == b,
            (S16s(a), S16s(b)) => a == b,
            (U16s(a), U16s(b)) => a == b,
            (S32s(a), S32s(b)) => a == b,
            (U32s(a), U32s(b)) | (Flags(a), Flags(b)) => a == b,
            (S64s(a), S64s(b)) => a == b,
            (U64s(a), U64s(b)) => a == b,
            (F32s(a), F32s(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_f32(a, b))
            }
            (F64s(a), F64s(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_f64(a, b))
            }
            (List(a), List(b)) | (Record(a), Record(b)) | (Tuple(a), Tuple(b)) => a == b,
            (Map(a), Map(b)) => a == b || same_entries(a, b),
            (Variant(i, a), Variant(j, b)) => i == j && a == b,
            (Option(a), Option(b)) => a == b,
            (Result(a), Result(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Whether two maps have the same entries, in whatever order.
fn same_entries(a: &[(Value, Value)], b: &[(Value, Value)]) -> bool {
    let mut found = vec![false; b.len()];
    a.len() == b.len()
        && a.iter().all(|entry| {
            let place = (0..b.len()).find(|place| !found[*place] && b[*place] == *entry);
            place.is_some_and(|place| !std::mem::replace(&mut found[place], true))
        })
}

fn same_f32(a: &f32, b: &f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn same_f64(a: &f64, b: &f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

macro_rules! from {
    ($($rust:ty => $case:ident),* $(,)?) => {
        $(impl From<$rust> for Value {
            fn from(value: $rust) -> Value {
                Value::$case(value)
            }
        })*
    };
}

from! {
    bool => Bool, i8 => S8, u8 => U8, i16 => S16, u16 => U16, i32 => S32, u32 => U32, i64 => S64, u64 => U64,
    f32 => F32, f64 => F64, char => Char, String => String, Bytes => Bytes,
    Vec<i8> => S8s, Vec<i16> => S16s, Vec<u16> => U16s, Vec<i32> => S32s, Vec<u32> => U32s, Vec<i64> => S64s,
    Vec<u64> => U64s, Vec<f32> => F32s, Vec<f64> => F64s,
}
