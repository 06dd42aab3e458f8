//! Names in WIT: what becomes of a name in a source, and whether two mean the same.
//!
//! One rule for the SDK's attributes, `bindgen!`, and everything that looks a name up.

/// A name of a source in WIT's kebab-case: `TooLarge`, `max_depth`, `HTTPError`, `r#type` and
/// `sha_256` as `too-large`, `max-depth`, `http-error`, `type` and `sha256`: a word of WIT begins
/// with a letter, so a number stays with the word before it. A name of WIT stays what it is, save
/// for upper case.
///
/// What has no name in WIT comes out as something that [`is_name`] refuses.
#[must_use]
pub fn kebab(name: &str) -> String {
    let letters: Vec<char> = plain(name).chars().collect();
    let mut kebab = String::with_capacity(name.len() + 4);
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

/// Whether an upper-case letter between these begins a word: `tooLarge`, and the `E` of
/// `HTTPError`.
fn begins_word(before: char, next: Option<char>) -> bool {
    let next_is_lower = next.is_some_and(char::is_lowercase);
    before.is_lowercase() || before.is_numeric() || before.is_uppercase() && next_is_lower
}

/// Without the `r#` of a raw identifier.
#[must_use]
pub fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// Whether WIT takes the name: words of letters and digits, each beginning with a letter.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.split('-').all(|word| {
            word.starts_with(|first: char| first.is_ascii_alphabetic())
                && word.chars().all(|letter| letter.is_ascii_alphanumeric())
        })
}

/// Whether `asked`, as it stands in a source or in WIT, means the WIT name `name`.
#[must_use]
pub fn means(asked: &str, name: &str) -> bool {
    asked == name || kebab(asked) == kebab(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target someone types follows from the name in the source alone.
    #[test]
    fn names_of_a_source_become_words() {
        for (source, wit) in [
            ("square", "square"),
            ("leave_one_out", "leave-one-out"),
            ("HTTPError", "http-error"),
            ("parse_XML", "parse-xml"),
            ("trainAll", "train-all"),
            ("TooLarge", "too-large"),
            ("sha_256", "sha256"),
            ("to_base64", "to-base64"),
            ("Utf8", "utf8"),
            ("_unused", "unused"),
            ("type_", "type"),
            ("r#type", "type"),
            ("x1", "x1"),
            ("X", "x"),
            ("X2Y", "x2-y"),
            ("a__b", "a-b"),
        ] {
            assert_eq!(kebab(source), wit);
            assert!(is_name(wit));
            assert_eq!(kebab(wit), wit, "a name of WIT stays");
            assert!(means(source, wit));
        }
        assert!(means("parse_xml", "parse-XML"));
        assert!(!means("parse", "parse-xml"));
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for name in ["", "größe", "1st", "_"] {
            assert!(!is_name(&kebab(name)), "{name}");
        }
        for name in ["-a", "a--b", "2d", "a-2", "a_b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
