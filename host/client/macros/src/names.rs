//! Names between WIT's kebab-case and Rust's cases.

pub(crate) use lydian_spelling::names::{is_name as is_wit_name, kebab};

use proc_macro2::{Ident, Span};

/// `too-large` as `TooLarge`.
pub(crate) fn pascal(wit: &str) -> String {
    wit.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            let rest = letters.as_str().to_ascii_lowercase();
            first.into_iter().chain(rest.chars()).collect::<String>()
        })
        .collect()
}

/// `max-depth` as `max_depth`.
pub(crate) fn snake(wit: &str) -> String {
    wit.replace('-', "_").to_ascii_lowercase()
}

/// An identifier, raw or with an underscore when the name is a keyword.
pub(crate) fn ident(name: &str) -> Ident {
    match name {
        "self" | "Self" | "super" | "crate" | "_" => {
            Ident::new(&format!("{name}_"), Span::call_site())
        }
        _ => syn::parse_str::<Ident>(name)
            .unwrap_or_else(|_| Ident::new_raw(name, Span::call_site())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// And back; keywords stay usable.
    #[test]
    fn wit_names_become_rust_names() {
        assert_eq!(pascal("too-large"), "TooLarge");
        assert_eq!(snake("max-depth"), "max_depth");
        assert_eq!(ident("type").to_string(), "r#type");
        assert_eq!(ident("self").to_string(), "self_");
    }
}
