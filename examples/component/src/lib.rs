//! A guest made by `cargo component new --lib component`, with another world and another body; nothing in it is
//! Lydian's.
//!
//! ```sh
//! lydian run examples/component::slug "Ordinary Words, Made Safe!"
//! ```
//!
//! `lydian run` sees `[package.metadata.component]` in the manifest and builds it with `cargo component build`.

#[allow(warnings)]
#[rustfmt::skip]
mod bindings;

use std::collections::HashMap;

use bindings::Guest;

struct Component;

impl Guest for Component {
    fn slug(title: String) -> String {
        let words = title.split(|letter: char| !letter.is_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        words.join("-")
    }

    fn slugs(titles: Vec<String>) -> Vec<String> {
        let mut seen = HashMap::<String, u32>::new();
        let mut different = |slug: String| {
            let times = seen
                .entry(slug.clone())
                .and_modify(|times| *times += 1)
                .or_insert(1);
            if *times == 1 {
                slug
            } else {
                format!("{slug}-{times}")
            }
        };
        titles
            .into_iter()
            .map(|title| different(Self::slug(title)))
            .collect()
    }
}

bindings::export!(Component with_types_in bindings);
