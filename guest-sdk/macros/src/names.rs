//! Rust names in WIT's kebab-case, and back.

pub(crate) use lydian_spelling::names::{is_name as is_wit_name, kebab, plain};

use proc_macro2::{Ident, Span};
use syn::{Error, Result};

/// The WIT name of something in Rust.
pub(crate) fn wit_name(rust: &Ident) -> Result<String> {
    let name = kebab(&rust.to_string());
    if is_wit_name(&name) {
        return Ok(name);
    }
    let text = format!(
        "`{rust}` has no name in WIT: use ASCII letters, digits and `_`, and begin with a letter"
    );
    Err(Error::new(rust.span(), text))
}

/// `max-depth` as the identifier `max_depth`.
pub(crate) fn snake(wit: &str, span: Span) -> Ident {
    let name = wit.replace('-', "_").to_ascii_lowercase();
    match name.as_str() {
        "self" | "super" | "crate" => Ident::new(&format!("{name}_"), span),
        name => syn::parse_str::<Ident>(name).map_or_else(
            |_| Ident::new_raw(name, span),
            |mut ident| {
                ident.set_span(span);
                ident
            },
        ),
    }
}

/// `max-depth` as the identifier `MaxDepth`.
pub(crate) fn pascal(wit: &str, span: Span) -> Ident {
    let words = wit.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let rest = letters.as_str().to_ascii_lowercase();
        first.into_iter().chain(rest.chars()).collect::<String>()
    });
    match words.collect::<String>().as_str() {
        "Self" => Ident::new("Self_", span),
        name => Ident::new(name, span),
    }
}
