//! Rust names in WIT's kebab-case, and back.

use proc_macro2::{Ident, Span};
use syn::{Error, Result};

/// `TooLarge`, `max_depth`, `HTTPError` and `sha_256` as `too-large`, `max-depth`, `http-error` and `sha256`: a word
/// of WIT begins with a letter, so a number stays with the word before it.
pub(crate) fn kebab(rust: &str) -> String {
    let letters: Vec<char> = plain(rust).chars().collect();
    let mut kebab = String::with_capacity(rust.len() + 4);
    for (index, &letter) in letters.iter().enumerate() {
        let next = letters.get(index + 1).copied();
        if letter == '_' {
            let joins = next.is_none_or(|next| next == '_' || next.is_numeric());
            if !joins && !kebab.is_empty() {
                kebab.push('-');
            }
            continue;
        }
        let before = index.checked_sub(1).map(|before| letters[before]);
        if letter.is_uppercase() && before.is_some_and(|before| begins_word(before, next)) {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

/// Whether an upper-case letter between these begins a word: `tooLarge`, and the `E` of `HTTPError`.
fn begins_word(before: char, next: Option<char>) -> bool {
    let next_is_lower = next.is_some_and(char::is_lowercase);
    before.is_lowercase() || before.is_numeric() || before.is_uppercase() && next_is_lower
}

/// Without the `r#` of a raw identifier.
pub(crate) fn plain(rust: &str) -> &str {
    rust.strip_prefix("r#").unwrap_or(rust)
}

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

/// Whether WIT takes the name: words of letters and digits, each beginning with a letter.
pub(crate) fn is_wit_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('-').all(|word| {
            word.starts_with(|first: char| first.is_ascii_alphabetic())
                && word.chars().all(|letter| letter.is_ascii_alphanumeric())
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The target someone types follows from the Rust name alone.
    #[test]
    fn rust_names_become_words() {
        for (rust, wit) in [
            ("square", "square"),
            ("leave_one_out", "leave-one-out"),
            ("HTTPError", "http-error"),
            ("TooLarge", "too-large"),
            ("sha_256", "sha256"),
            ("_unused", "unused"),
            ("r#type", "type"),
            ("x1", "x1"),
            ("X2Y", "x2-y"),
            ("a__b", "a-b"),
        ] {
            assert_eq!(kebab(rust), wit);
            assert!(is_wit_name(wit));
        }
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for name in ["", "größe", "1st", "_", "a--b"] {
            assert!(!is_wit_name(&kebab(name)) || name == "a--b", "{name}");
        }
        assert!(!is_wit_name("a--b"));
    }
}
