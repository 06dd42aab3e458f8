//! Rust types, as they are written, and the WIT types they stand for.
//!
//! An attribute sees text, not meaning: a name is either one of the standard types listed in [`Types::of`] or a struct,
//! enum or alias that stands in the same module ([`define`]). Everything else is refused where it stands, with what to
//! write instead ([`refuse`]).

mod define;
mod read;
mod refuse;

pub(crate) use read::{docs, is_unit, plain};
pub(crate) use refuse::{is_unknown, no_cfg, text};

use std::collections::HashMap;
use syn::{Ident, ItemEnum, ItemStruct, ItemType, Type};

/// Parameters beyond this are a struct; it is as far as the tuples of the SDK go.
pub(crate) const MAX_TUPLE: usize = 12;

/// A WIT type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ty {
    /// A number, `bool` or `char`, by its name in WIT.
    Plain(&'static str),
    String,
    List(Box<Ty>),
    Fixed(Box<Ty>, usize),
    /// A list of pairs.
    Map(Box<Ty>, Box<Ty>),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Tuple(Vec<Ty>),
    /// One of the module's types, by its Rust name.
    Named(String),
}

impl Ty {
    /// What it is made of where it stands; a named type is a name there.
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Plain(_) | Self::String | Self::Named(_) => Vec::new(),
            Self::List(item) | Self::Fixed(item, _) | Self::Option(item) => vec![item],
            Self::Map(key, value) => vec![key, value],
            Self::Result(ok, err) => ok.iter().chain(err).map(|payload| &**payload).collect(),
            Self::Tuple(items) => items.iter().collect(),
        }
    }

    /// Itself and all it is made of, with what named types are made of; each of these is looked into once.
    fn all<'t>(&'t self, types: &'t Types<'_>) -> Vec<&'t Self> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(&ty) = all.get(at) {
            match ty {
                Self::Named(_) if all[..at].contains(&ty) => {}
                Self::Named(name) => {
                    let defs = types.defs.iter().filter(|def| def.rust == name);
                    all.extend(defs.flat_map(Def::parts));
                }
                _ => all.extend(ty.parts()),
            }
            at += 1;
        }
        all
    }

    /// Whether a value holds memory of its own, which a post-return function must free.
    pub(crate) fn owns_memory(&self, types: &Types<'_>) -> bool {
        let owns = |ty: &&Self| matches!(ty, Self::String | Self::List(_) | Self::Map(..));
        self.all(types).iter().any(owns)
    }

    /// Every named type in it.
    pub(crate) fn names<'t>(&'t self, types: &'t Types<'_>) -> impl Iterator<Item = &'t str> {
        self.all(types).into_iter().filter_map(|ty| match ty {
            Self::Named(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// A field: its names, its type, what is written about it.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) ty: Ty,
    pub(crate) syn: Type,
    pub(crate) docs: String,
}

/// What a case carries.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    None,
    One(Ty, Box<Type>),
    /// A tuple.
    Several(Vec<(Ty, Type)>),
    /// A record of its own, `<enum>-<case>`.
    Fields(String, Vec<Field>),
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) payload: Payload,
    pub(crate) docs: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Record(Vec<Field>),
    /// No case carries anything.
    Enum(Vec<Case>),
    Variant(Vec<Case>),
}

/// A type of the module that some signature uses.
#[derive(Debug, Clone)]
pub(crate) struct Def {
    pub(crate) rust: Ident,
    pub(crate) wit: String,
    pub(crate) body: Body,
    pub(crate) docs: String,
}

impl Def {
    /// The types it is made of.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Ty> {
        let (fields, cases): (&[Field], &[Case]) = match &self.body {
            Body::Record(fields) => (fields, &[]),
            Body::Enum(cases) | Body::Variant(cases) => (&[], cases),
        };
        let payloads = cases.iter().flat_map(|case| match &case.payload {
            Payload::None => Vec::new(),
            Payload::One(ty, _) => vec![ty],
            Payload::Several(types) => types.iter().map(|(ty, _)| ty).collect(),
            Payload::Fields(_, fields) => fields.iter().map(|field| &field.ty).collect(),
        });
        fields.iter().map(|field| &field.ty).chain(payloads)
    }
}

/// What stands in the module under a name.
enum Item<'a> {
    Struct(&'a ItemStruct),
    Enum(&'a ItemEnum),
    Alias(&'a ItemType),
    Class,
}

/// The module's types, and those of them that signatures use.
#[derive(Default)]
pub(crate) struct Types<'a> {
    items: HashMap<String, Item<'a>>,
    /// Being defined right now: a type that meets itself here is recursive.
    open: Vec<String>,
    /// In the order in which they were found.
    pub(crate) defs: Vec<Def>,
}
