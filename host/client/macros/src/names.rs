//! Names between WIT's kebab-case and Rust's cases.

use proc_macro2::{Ident, Span};

/// `TooLarge`, `max_depth` and `HTTPError` as `too-large`, `max-depth` and `http-error`.
pub(crate) fn kebab(rust: &str) -> String {
    let rust = rust.strip_prefix("r#").unwrap_or(rust);
    let letters: Vec<char> = rust.chars().collect();
    let mut kebab = String::with_capacity(rust.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        if *letter == '_' {
            kebab.push('-');
            continue;
        }
        let before = index.checked_sub(1).map(|before| letters[before]);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                // `tooLarge`, and the `E` of `HTTPError`.
                let after_word = before.is_lowercase() || before.is_numeric();
                let next_is_lower = letters
                    .get(index + 1)
                    .is_some_and(|next| next.is_lowercase());
                after_word || before.is_uppercase() && next_is_lower
            });
        if starts_word {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab.trim_matches('-').to_owned()
}

/// Whether WIT takes the name: words of letters and digits, each beginning with a letter.
pub(crate) fn is_wit_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('-').all(|word| {
            word.starts_with(|first: char| first.is_ascii_alphabetic())
                && word.chars().all(|letter| letter.is_ascii_alphanumeric())
        })
}

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

    /// The names a Rust author writes become those a WIT author would have written.
    #[test]
    fn rust_names_become_kebab_case() {
        let cases = [
            ("max_depth", "max-depth"),
            ("TooLarge", "too-large"),
            ("HTTPError", "http-error"),
            ("Utf8", "utf8"),
            ("r#type", "type"),
            ("X", "x"),
        ];
        for (rust, wit) in cases {
            assert_eq!(kebab(rust), wit);
        }
    }

    /// And back; keywords stay usable.
    #[test]
    fn wit_names_become_rust_names() {
        assert_eq!(pascal("too-large"), "TooLarge");
        assert_eq!(snake("max-depth"), "max_depth");
        assert_eq!(ident("type").to_string(), "r#type");
        assert_eq!(ident("self").to_string(), "self_");
    }

    /// What WIT refuses is refused here, where there is a span to point at.
    #[test]
    fn wit_names_are_recognised() {
        assert!(is_wit_name("max-depth2"));
        for bad in ["", "-a", "a--b", "2d", "a-2", "größe", "a_b"] {
            assert!(!is_wit_name(bad), "{bad}");
        }
    }
}
