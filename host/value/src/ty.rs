//! The types of WIT, as plain data: what a function takes and gives.
//!
//! Types are trees of shared nodes, cheap to clone. They come from a component (`inspect`), from JSON ([`Type::from_json`])
//! or from a Rust type ([`Wit::ty`](crate::Wit::ty)); the first two refuse types that nest deeper than values may.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A WIT type. Its JSON form is the `type_json` of the API: `"u64"`, `{"list": "u8"}`,
/// `{"record": {"name": "config", "fields": [{"name": "depth", "type": "u32"}]}}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Arc<Type>),
    /// A list whose length is part of the type.
    FixedList(Arc<Type>, u32),
    Map(Arc<Type>, Arc<Type>),
    Record(Arc<Record>),
    Tuple(Arc<[Type]>),
    Variant(Arc<Variant>),
    Enum(Arc<Enum>),
    Option(Arc<Type>),
    Result(Arc<ResultType>),
    Flags(Arc<Flags>),
    /// An owned handle of the named resource.
    Own(Arc<str>),
    /// A handle lent for the length of a call.
    Borrow(Arc<str>),
    /// Items that follow the result; only in results.
    Stream(Option<Arc<Type>>),
    /// One value that follows the result; only in results.
    Future(Option<Arc<Type>>),
    ErrorContext,
}

/// Named fields in the order they are encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    pub fields: Vec<Field>,
}

/// One field of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    #[serde(rename = "type")]
    pub ty: Type,
}

/// One of several cases, each with or without a payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Variant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    pub cases: Vec<Case>,
}

/// One case of a [`Variant`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub ty: Option<Type>,
}

/// One of several names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Enum {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    pub cases: Vec<Label>,
}

/// Any of several names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flags {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
    pub flags: Vec<Label>,
}

/// A case of an [`Enum`] or one of [`Flags`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docs: String,
}

/// The payloads of a `result`, either of which may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResultType {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Type>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<Type>,
}

/// Constructors for types written by hand or by a macro.
impl Type {
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    pub fn fixed_list(item: Type, len: u32) -> Type {
        Type::FixedList(Arc::new(item), len)
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    pub fn option(payload: Type) -> Type {
        Type::Option(Arc::new(payload))
    }

    pub fn result(ok: Option<Type>, err: Option<Type>) -> Type {
        Type::Result(Arc::new(ResultType { ok, err }))
    }

    pub fn tuple(items: impl IntoIterator<Item = Type>) -> Type {
        Type::Tuple(items.into_iter().collect())
    }

    pub fn record<N: Into<String>>(
        name: &str,
        fields: impl IntoIterator<Item = (N, Type)>,
    ) -> Type {
        let fields = fields
            .into_iter()
            .map(|(name, ty)| Field {
                name: name.into(),
                docs: String::new(),
                ty,
            })
            .collect();
        Type::Record(Arc::new(Record {
            name: some_name(name),
            docs: String::new(),
            fields,
        }))
    }

    pub fn variant<N: Into<String>>(
        name: &str,
        cases: impl IntoIterator<Item = (N, Option<Type>)>,
    ) -> Type {
        let cases = cases
            .into_iter()
            .map(|(name, ty)| Case {
                name: name.into(),
                docs: String::new(),
                ty,
            })
            .collect();
        Type::Variant(Arc::new(Variant {
            name: some_name(name),
            docs: String::new(),
            cases,
        }))
    }

    pub fn enumeration<N: Into<String>>(name: &str, cases: impl IntoIterator<Item = N>) -> Type {
        Type::Enum(Arc::new(Enum {
            name: some_name(name),
            docs: String::new(),
            cases: labels(cases),
        }))
    }

    pub fn flags<N: Into<String>>(name: &str, flags: impl IntoIterator<Item = N>) -> Type {
        Type::Flags(Arc::new(Flags {
            name: some_name(name),
            docs: String::new(),
            flags: labels(flags),
        }))
    }

    /// How many elements the fixed-length lists in one value may hold together, nested ones
    /// multiplied: as many as the default payload has bytes.
    pub(crate) const MAX_FIXED_ELEMENTS: u64 = 64 << 20;

    /// How many values one value of the type consists of, when its parts consist of `parts`. What a
    /// list of no fixed length holds does not count, unless it is too much already.
    pub(crate) fn elements(&self, parts: u64) -> u64 {
        match self {
            Type::FixedList(_, len) => parts.max(1).saturating_mul(u64::from(*len)),
            Type::List(_) | Type::Map(..) | Type::Stream(_) | Type::Future(_)
                if parts <= Self::MAX_FIXED_ELEMENTS =>
            {
                1
            }
            _ => parts.max(1),
        }
    }

    /// Bytes of one value when every value of the type takes as many and any bytes of that length are a value, save for NaNs.
    pub(crate) fn packed_width(&self) -> Option<usize> {
        match self {
            Type::S8 | Type::U8 => Some(1),
            Type::S16 | Type::U16 => Some(2),
            Type::S32 | Type::U32 | Type::F32 => Some(4),
            Type::S64 | Type::U64 | Type::F64 => Some(8),
            _ => None,
        }
    }
}

fn some_name(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn labels<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Vec<Label> {
    names
        .into_iter()
        .map(|name| Label {
            name: name.into(),
            docs: String::new(),
        })
        .collect()
}
