//! What is refused, and what to write instead.

use quote::ToTokens;
use syn::{Attribute, Error, GenericArgument, Ident, PathArguments, Result, Type, TypeParamBound};

pub(super) fn no<T>(at: impl ToTokens, text: impl std::fmt::Display) -> Result<T> {
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

pub(super) fn same(one: &Ident, other: &Ident, wit: &str) -> String {
    format!("`{one}` and `{other}` have the same name in WIT, `{wit}`: rename one")
}

pub(super) fn not_generic(generics: &syn::Generics) -> Result<()> {
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

/// Refuses `cfg` on what the interface is made of.
pub(crate) fn no_cfg(attributes: &[Attribute]) -> Result<()> {
    match attributes.iter().find(|it| it.path().is_ident("cfg")) {
        None => Ok(()),
        Some(cfg) => no(
            cfg,
            "the WIT is derived from what stands here, whatever `cfg` leaves of it: put the `cfg` on the app's module, or inside a function",
        ),
    }
}

/// The type that owns what this one borrows.
fn owned(inner: &Type) -> String {
    match inner {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        inner => text(inner),
    }
}

/// What to write instead of a borrow.
pub(super) fn borrowed(inner: &Type) -> String {
    let owned = owned(inner);
    format!("a value that crosses a call owns its data: use `{owned}` instead of a reference")
}

/// What to write instead of a trait object.
pub(super) fn object(ty: &Type) -> String {
    match items(ty) {
        Some(item) => format!(
            "WIT has no trait objects: a function gives items one by one as `impl Iterator<Item = {}>`, its whole result",
            text(item)
        ),
        None => "WIT has no trait objects: use an enum of the types there are".to_owned(),
    }
}

/// The items of a stream or an iterator, however it is written.
fn items(ty: &Type) -> Option<&Type> {
    let bounds = match ty {
        Type::ImplTrait(it) => &it.bounds,
        Type::TraitObject(it) => &it.bounds,
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let first = types(&last.arguments).next()?;
            return match last.ident.to_string().as_str() {
                "Stream" => Some(first),
                "Box" | "Pin" => items(first),
                _ => None,
            };
        }
        _ => return None,
    };
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
            _ => None,
        })
    })
}

fn types(arguments: &PathArguments) -> impl Iterator<Item = &Type> {
    let arguments = match arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    let all = arguments.into_iter().flatten();
    all.filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// What is wrong with the types of a `Result`, beyond what they are alone.
pub(super) fn outcome(ok: &Type, err: &Type) -> Result<()> {
    if let Some(item) = items(ok) {
        let (item, err) = (text(item), text(err));
        return no(
            ok,
            format!(
                "a stream is the whole result of a function: write `lydian::Stream<Result<{item}, {err}>>`, and give the error as its one item"
            ),
        );
    }
    if is_any_error(err) {
        let ok = text(ok);
        return no(
            err,
            format!(
                "an error crosses a call as data: write `Result<{ok}, String>`, and make it a text with `.map_err(|error| error.to_string())`"
            ),
        );
    }
    Ok(())
}

/// `Box<dyn Error>` and the like.
fn is_any_error(ty: &Type) -> bool {
    match ty {
        Type::TraitObject(object) => object.bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                let last = bound.path.segments.last();
                last.is_some_and(|last| last.ident == "Error")
            }
            _ => false,
        }),
        Type::Path(path) => {
            let segments = &path.path.segments;
            let Some(last) = segments.last() else {
                return false;
            };
            let of_a_library = segments.len() > 1
                && matches!(segments[0].ident.to_string().as_str(), "anyhow" | "eyre");
            of_a_library || last.ident == "Box" && types(&last.arguments).any(is_any_error)
        }
        _ => false,
    }
}

/// What to write instead of a type that has no form in WIT.
pub(super) fn unknown(name: &str, arguments: &[&Type]) -> String {
    let first = arguments.first().map_or("T".to_owned(), |ty| owned(ty));
    if let Some(number) = name.strip_prefix("NonZero")
        && !number.is_empty()
    {
        let number = number.to_lowercase();
        return format!("WIT has no `{name}`: use `{number}`, and refuse 0 inside the function");
    }
    match name {
        "usize" => {
            "`usize` differs between machines: use `u64`, or `u32` for small counts".to_owned()
        }
        "isize" => "`isize` differs between machines: use `i64`".to_owned(),
        "u128" | "i128" => {
            format!("WIT has no `{name}`: use `u64`, two of them, or a `String` of digits")
        }
        "str" => "`str` is borrowed: use `String`".to_owned(),
        "Box" | "Rc" | "Arc" | "Cow" | "Pin" => {
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
        "Error" | "IpAddr" | "Ipv4Addr" | "Ipv6Addr" | "SocketAddr" | "SocketAddrV4"
        | "SocketAddrV6" | "Url" | "Uuid" | "Regex" | "NaiveDate" | "DateTime" | "File"
        | "TcpStream" => {
            format!("`{name}` cannot cross a call: convert it, for example to a `String`")
        }
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
