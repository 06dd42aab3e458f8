//! Rust types, as they are written, and the WIT types they stand for.
//!
//! An attribute sees text, not meaning: a name is either one of the standard types listed in [`Types::of`] or a struct,
//! enum or alias that stands in the same module. Everything else is refused where it stands, with what to write instead.

use crate::names::wit_name;
use quote::ToTokens;
use std::collections::HashMap;
use syn::{
    Attribute, Error, Expr, Fields, GenericArgument, Ident, ItemEnum, ItemStruct, ItemType, Lit,
    Path, PathArguments, Result, Type,
};

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
    /// Whether a value holds memory of its own, which a post-return function must free.
    pub(crate) fn owns_memory(&self, types: &Types<'_>) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::String | Self::List(_) | Self::Map(..) => true,
            Self::Fixed(item, _) | Self::Option(item) => item.owns_memory(types),
            Self::Result(ok, err) => ok.iter().chain(err).any(|ty| ty.owns_memory(types)),
            Self::Tuple(items) => items.iter().any(|ty| ty.owns_memory(types)),
            Self::Named(name) => types
                .defs
                .iter()
                .filter(|def| def.rust == name)
                .any(|def| def.parts().any(|ty| ty.owns_memory(types))),
        }
    }

    /// Every named type in it, once each.
    pub(crate) fn names(&self, types: &Types<'_>, found: &mut Vec<String>) {
        match self {
            Self::Plain(_) | Self::String => {}
            Self::List(item) | Self::Fixed(item, _) | Self::Option(item) => {
                item.names(types, found);
            }
            Self::Map(key, value) => {
                key.names(types, found);
                value.names(types, found);
            }
            Self::Result(ok, err) => {
                for payload in ok.iter().chain(err) {
                    payload.names(types, found);
                }
            }
            Self::Tuple(items) => items.iter().for_each(|item| item.names(types, found)),
            Self::Named(name) => {
                if found.contains(name) {
                    return;
                }
                found.push(name.clone());
                for part in types.defs.iter().filter(|def| def.rust == name) {
                    part.parts().for_each(|ty| ty.names(types, found));
                }
            }
        }
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

fn no<T>(at: impl ToTokens, text: impl std::fmt::Display) -> Result<T> {
    Err(Error::new_spanned(at, text))
}

/// A type as one would write it.
pub(crate) fn text(ty: &impl ToTokens) -> String {
    let text = ty.to_token_stream().to_string();
    text.replace(" < ", "<")
        .replace(" >", ">")
        .replace("< ", "<")
        .replace(" ,", ",")
        .replace(" :: ", "::")
        .replace("& ", "&")
        .replace("& '", "&'")
        .replace(" ;", ";")
        .replace("( ", "(")
        .replace(" )", ")")
}

impl<'a> Types<'a> {
    /// Knows the types of a module; `classes` are structs that are no values.
    pub(crate) fn new(items: &'a [syn::Item], classes: &[Ident]) -> Self {
        let mut types = Self::default();
        for item in items {
            let (name, item) = match item {
                syn::Item::Struct(item) => (&item.ident, Item::Struct(item)),
                syn::Item::Enum(item) => (&item.ident, Item::Enum(item)),
                syn::Item::Type(item) => (&item.ident, Item::Alias(item)),
                _ => continue,
            };
            types.items.insert(name.to_string(), item);
        }
        for class in classes {
            types.items.insert(class.to_string(), Item::Class);
        }
        types
    }

    /// The type of a parameter, a field or a payload.
    pub(crate) fn of(&mut self, ty: &Type) -> Result<Ty> {
        match ty {
            Type::Path(path) if path.qself.is_none() => self.of_path(ty, &path.path),
            Type::Paren(inner) => self.of(&inner.elem),
            Type::Group(inner) => self.of(&inner.elem),
            Type::Tuple(tuple) => match tuple.elems.len() {
                0 => no(ty, "`()` carries nothing: leave it out"),
                len if len > MAX_TUPLE => no(
                    ty,
                    format!(
                        "a tuple has at most {MAX_TUPLE} items: use a struct with named fields"
                    ),
                ),
                _ => Ok(Ty::Tuple(
                    tuple
                        .elems
                        .iter()
                        .map(|item| self.of(item))
                        .collect::<Result<_>>()?,
                )),
            },
            Type::Array(array) => {
                let Some(len) = literal(&array.len) else {
                    return no(
                        &array.len,
                        "the length of an array must be a number from 1 here; use `Vec` for any length",
                    );
                };
                Ok(Ty::Fixed(Box::new(self.of(&array.elem)?), len))
            }
            Type::Reference(reference) => no(ty, borrowed(&reference.elem)),
            Type::BareFn(_) => no(
                ty,
                "a function cannot leave its sandbox: pass data, and choose the function by an enum",
            ),
            Type::TraitObject(_) => no(
                ty,
                "WIT has no trait objects: use an enum of the types there are",
            ),
            Type::ImplTrait(_) => no(
                ty,
                "`impl Trait` has no WIT type: write the type itself; a result may be `impl Stream<Item = T>` or `impl Iterator<Item = T>`",
            ),
            Type::Ptr(_) => no(
                ty,
                "a pointer means nothing outside its sandbox: pass the data, as `Vec<T>` or a struct",
            ),
            Type::Slice(slice) => no(
                ty,
                format!("a slice is borrowed: use `Vec<{}>`", text(&slice.elem)),
            ),
            Type::Never(_) => no(
                ty,
                "a function that never returns has no result: leave it out",
            ),
            Type::Infer(_) => no(
                ty,
                "a signature names its types: the WIT is derived from it",
            ),
            _ => no(
                ty,
                format!(
                    "`{}` has no WIT type: use a struct, an enum or a standard type",
                    text(ty)
                ),
            ),
        }
    }

    fn of_path(&mut self, ty: &Type, path: &Path) -> Result<Ty> {
        let Some(last) = path.segments.last() else {
            return no(ty, "this names no type");
        };
        let name = last.ident.to_string();
        let is_own = path.segments.len() == 1 || path.segments[0].ident == "self";
        let is_known = self.items.contains_key(&name) || self.open.contains(&name);
        if is_own && is_known {
            if !matches!(last.arguments, PathArguments::None) {
                return no(
                    ty,
                    format!(
                        "`{name}` is generic, which WIT is not: write a struct for each type it is used with"
                    ),
                );
            }
            return self.named(ty, &name);
        }
        if let Some(plain) = plain(&name) {
            return Ok(Ty::Plain(plain));
        }
        let arguments = arguments(&last.arguments);
        let mut parts = |count: usize| -> Result<Vec<Ty>> {
            if arguments.len() != count {
                return no(
                    ty,
                    format!(
                        "`{name}` takes {count} type{} here",
                        if count == 1 { "" } else { "s" }
                    ),
                );
            }
            arguments.iter().map(|ty| self.of(ty)).collect()
        };
        let boxed = |ty: Ty| Box::new(ty);
        Ok(match name.as_str() {
            "String" => Ty::String,
            "Vec" => Ty::List(boxed(parts(1)?.remove(0))),
            "Option" => Ty::Option(boxed(parts(1)?.remove(0))),
            "HashMap" | "BTreeMap" => {
                let mut both = parts(2)?;
                let value = both.remove(1);
                Ty::Map(boxed(both.remove(0)), boxed(value))
            }
            "Result" => return self.result(ty, &arguments),
            // What is inside may be the greater mistake.
            "Box" | "Rc" | "Arc" => {
                parts(1)?;
                return no(ty, unknown(&name, &arguments));
            }
            _ => return no(ty, unknown(&name, &arguments)),
        })
    }

    fn result(&mut self, ty: &Type, arguments: &[&Type]) -> Result<Ty> {
        let [ok, err] = arguments else {
            return no(
                ty,
                "this `Result` hides its error: write both, such as `Result<T, String>`",
            );
        };
        let mut payload = |ty: &Type| -> Result<Option<Box<Ty>>> {
            if is_unit(ty) {
                Ok(None)
            } else {
                self.of(ty).map(Box::new).map(Some)
            }
        };
        Ok(Ty::Result(payload(ok)?, payload(err)?))
    }

    fn named(&mut self, at: &Type, name: &str) -> Result<Ty> {
        if self.open.iter().any(|open| open == name) {
            return no(
                at,
                "WIT has no recursive types: keep the items in a list and refer to them by index",
            );
        }
        if self.defs.iter().any(|def| def.rust == name) {
            return Ok(Ty::Named(name.to_owned()));
        }
        let Some(item) = self.items.remove(name) else {
            return no(at, format!("`{name}` is not known"));
        };
        self.open.push(name.to_owned());
        let result = self.define(at, name, &item);
        self.open.pop();
        self.items.insert(name.to_owned(), item);
        result
    }

    fn define(&mut self, at: &Type, name: &str, item: &Item<'a>) -> Result<Ty> {
        let def = match item {
            Item::Class => {
                return no(
                    at,
                    format!(
                        "`{name}` is a class, whose state stays in its sandbox: pass a struct of its data"
                    ),
                );
            }
            Item::Alias(alias) => {
                not_generic(&alias.generics)?;
                return self.of(&alias.ty);
            }
            Item::Struct(item) => self.record(item)?,
            Item::Enum(item) => self.cases(item)?,
        };
        if let Some(other) = self.defs.iter().find(|other| other.wit == def.wit) {
            let text = format!(
                "`{}` and `{}` have the same name in WIT, `{}`: rename one",
                def.rust, other.rust, def.wit
            );
            return Err(Error::new(def.rust.span(), text));
        }
        self.defs.push(def);
        Ok(Ty::Named(name.to_owned()))
    }

    fn record(&mut self, item: &ItemStruct) -> Result<Def> {
        not_generic(&item.generics)?;
        let Fields::Named(named) = &item.fields else {
            let text = match &item.fields {
                Fields::Unit => {
                    "a WIT record has at least one field: give this struct one, or leave it out of the signature"
                }
                _ => "a WIT record has named fields: write `struct Name { field: Type }`",
            };
            return no(&item.ident, text);
        };
        if named.named.is_empty() {
            return no(
                &item.ident,
                "a WIT record has at least one field: give this struct one, or leave it out of the signature",
            );
        }
        Ok(Def {
            rust: item.ident.clone(),
            wit: wit_name(&item.ident)?,
            body: Body::Record(self.fields(named.named.iter())?),
            docs: docs(&item.attrs),
        })
    }

    fn fields<'f>(&mut self, fields: impl Iterator<Item = &'f syn::Field>) -> Result<Vec<Field>> {
        let mut all: Vec<Field> = Vec::new();
        for field in fields {
            let Some(rust) = field.ident.clone() else {
                continue;
            };
            let wit = wit_name(&rust)?;
            if let Some(other) = all.iter().find(|other| other.wit == wit) {
                return no(&rust, same(&rust, &other.rust, &wit));
            }
            all.push(Field {
                wit,
                ty: self.of(&field.ty)?,
                syn: field.ty.clone(),
                docs: docs(&field.attrs),
                rust,
            });
        }
        Ok(all)
    }

    fn cases(&mut self, item: &ItemEnum) -> Result<Def> {
        not_generic(&item.generics)?;
        if item.variants.is_empty() {
            return no(&item.ident, "an enum in WIT has at least one case");
        }
        let wit = wit_name(&item.ident)?;
        let mut cases: Vec<Case> = Vec::new();
        for variant in &item.variants {
            let case = wit_name(&variant.ident)?;
            if let Some(other) = cases.iter().find(|other| other.wit == case) {
                return no(&variant.ident, same(&variant.ident, &other.rust, &case));
            }
            cases.push(Case {
                payload: self.payload(&format!("{wit}-{case}"), variant)?,
                rust: variant.ident.clone(),
                wit: case,
                docs: docs(&variant.attrs),
            });
        }
        let plain = cases
            .iter()
            .all(|case| matches!(case.payload, Payload::None));
        Ok(Def {
            rust: item.ident.clone(),
            wit,
            body: if plain {
                Body::Enum(cases)
            } else {
                Body::Variant(cases)
            },
            docs: docs(&item.attrs),
        })
    }

    fn payload(&mut self, record: &str, variant: &syn::Variant) -> Result<Payload> {
        match &variant.fields {
            Fields::Unit => Ok(Payload::None),
            Fields::Unnamed(fields) => {
                let mut types = Vec::new();
                for field in &fields.unnamed {
                    types.push((self.of(&field.ty)?, field.ty.clone()));
                }
                match types.len() {
                    0 => no(
                        variant,
                        "a case without payload is written without parentheses",
                    ),
                    1 => {
                        let (ty, syn) = types.remove(0);
                        Ok(Payload::One(ty, Box::new(syn)))
                    }
                    len if len > MAX_TUPLE => no(
                        variant,
                        format!(
                            "a case carries at most {MAX_TUPLE} values: name them, `{} {{ … }}`",
                            variant.ident
                        ),
                    ),
                    _ => Ok(Payload::Several(types)),
                }
            }
            Fields::Named(fields) if fields.named.is_empty() => {
                no(variant, "a case without payload is written without braces")
            }
            Fields::Named(fields) => Ok(Payload::Fields(
                record.to_owned(),
                self.fields(fields.named.iter())?,
            )),
        }
    }
}

fn same(one: &Ident, other: &Ident, wit: &str) -> String {
    format!("`{one}` and `{other}` have the same name in WIT, `{wit}`: rename one")
}

fn not_generic(generics: &syn::Generics) -> Result<()> {
    match generics.params.first() {
        None => Ok(()),
        Some(syn::GenericParam::Lifetime(lifetime)) => no(
            lifetime,
            "a value that crosses a call owns its data: use `String` or `Vec` instead of a borrow",
        ),
        Some(parameter) => no(
            parameter,
            "WIT has no generic types: write one for each type it is used with",
        ),
    }
}

/// The WIT name of a number, `bool` or `char`.
fn plain(rust: &str) -> Option<&'static str> {
    Some(match rust {
        "bool" => "bool",
        "char" => "char",
        "u8" => "u8",
        "u16" => "u16",
        "u32" => "u32",
        "u64" => "u64",
        "i8" => "s8",
        "i16" => "s16",
        "i32" => "s32",
        "i64" => "s64",
        "f32" => "f32",
        "f64" => "f64",
        _ => return None,
    })
}

fn arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return Vec::new();
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// What to write instead of a borrow.
fn borrowed(inner: &Type) -> String {
    let owned = match inner {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        inner => text(inner),
    };
    format!("a value that crosses a call owns its data: use `{owned}` instead of a reference")
}

/// What to write instead of a type that has no form in WIT.
fn unknown(name: &str, arguments: &[&Type]) -> String {
    let first = arguments.first().map_or("T".to_owned(), |ty| text(*ty));
    match name {
        "usize" => {
            "`usize` differs between machines: use `u64`, or `u32` for small counts".to_owned()
        }
        "isize" => "`isize` differs between machines: use `i64`".to_owned(),
        "u128" | "i128" => {
            format!("WIT has no `{name}`: use `u64`, two of them, or a `String` of digits")
        }
        "str" => "`str` is borrowed: use `String`".to_owned(),
        "Box" | "Rc" | "Arc" | "Cow" => {
            format!("`{name}` means nothing across a call: use `{first}`")
        }
        "HashSet" | "BTreeSet" | "VecDeque" | "BinaryHeap" | "LinkedList" => {
            format!("WIT has no `{name}`: use `Vec<{first}>`")
        }
        "Duration" => {
            "WIT has no durations: use `u64` milliseconds or `f64` seconds, and say so in the name"
                .to_owned()
        }
        "Instant" | "SystemTime" => {
            "WIT has no points in time: use `u64` milliseconds since 1970".to_owned()
        }
        "PathBuf" | "Path" | "OsString" => format!("WIT has no `{name}`: use `String`"),
        "Stream" => {
            "a stream can only be the whole result of a function, not a part of it".to_owned()
        }
        "Self" => "`Self` is a class, whose state stays in its sandbox: use a struct of its data"
            .to_owned(),
        _ => format!(
            "`{name}` is not known here: define the struct or enum inside this module, for the WIT is derived from what stands in it"
        ),
    }
}

/// Whether this is none of the names that are known to have no form in WIT.
pub(crate) fn is_unknown(name: &str) -> bool {
    unknown(name, &[]).contains("is not known here")
}

pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// A length that is written as a number, from 1.
fn literal(len: &Expr) -> Option<usize> {
    let Expr::Lit(literal) = len else { return None };
    let Lit::Int(int) = &literal.lit else {
        return None;
    };
    int.base10_parse().ok().filter(|len| *len > 0)
}

/// The text of doc comments, one line per line.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|it| it.path().is_ident("doc")) {
        if let syn::Meta::NameValue(meta) = &attribute.meta
            && let Expr::Lit(literal) = &meta.value
            && let Lit::Str(line) = &literal.lit
        {
            let line = line.value();
            lines.push(
                line.strip_prefix(' ')
                    .unwrap_or(&line)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    lines.join("\n").trim().to_owned()
}
