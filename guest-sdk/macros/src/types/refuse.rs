//! What is refused, and what to write instead.

use quote::ToTokens;
use syn::{Error, Ident, Result, Type};

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

/// What to write instead of a borrow.
pub(super) fn borrowed(inner: &Type) -> String {
    let owned = match inner {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        inner => text(inner),
    };
    format!("a value that crosses a call owns its data: use `{owned}` instead of a reference")
}

/// What to write instead of a type that has no form in WIT.
pub(super) fn unknown(name: &str, arguments: &[&Type]) -> String {
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
