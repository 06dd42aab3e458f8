//! A long job: start it, leave, and come back for the result.
//!
//! ```sh
//! lydian spawn examples/text "$(cat ARCHITECTURE.md)" 0.3    # prints the call's id at once
//! lydian calls logs ID                                       # how far it is
//! lydian calls get ID --timeout 60s                          # waits for the result; 0s only asks
//! lydian calls cancel ID                                     # or ends it
//! ```
//!
//! The call is recorded before its id is printed: it survives a restart of the node, and its result is kept for
//! seven days.

use app::Pair;
use std::collections::BTreeSet;

/// How many lines of progress a job prints, whatever its size.
const PROGRESS_LINES: usize = 20;

/// As much of a paragraph as tells which it is.
const EXCERPT_CHARS: usize = 40;

#[lydian::app]
pub mod app {
    use crate::{Paragraph, paragraphs, tell_progress};

    /// Two paragraphs that say much the same.
    #[derive(Debug, Clone)]
    pub struct Pair {
        /// The number of the first, from 1.
        pub first: u32,
        /// The number of the second.
        pub second: u32,
        /// Shared words by all words, 0 to 1.
        pub similarity: f64,
        /// How the first begins.
        pub excerpt: String,
    }

    /// Finds the paragraphs of a text that repeat each other, most similar first.
    ///
    /// Each paragraph is held against each other one, so twice the text takes four times as long. Progress
    /// goes to stderr.
    #[lydian::function]
    pub fn repeats(text: String, threshold: f64) -> Result<Vec<Pair>, String> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(format!("the threshold is between 0 and 1, not {threshold}"));
        }
        let paragraphs: Vec<Paragraph<'_>> = paragraphs(&text).collect();
        let mut found = Vec::new();
        for (at, first) in paragraphs.iter().enumerate() {
            tell_progress(at, paragraphs.len());
            let similar = paragraphs[at + 1..]
                .iter()
                .filter_map(|second| first.compare(second, threshold));
            found.extend(similar);
        }
        found.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.first.cmp(&b.first))
        });
        Ok(found)
    }
}

struct Paragraph<'a> {
    number: u32,
    text: &'a str,
    words: BTreeSet<String>,
}

fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let texts = text
        .split("\n\n")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    texts.zip(1..).map(|(text, number)| Paragraph {
        number,
        text,
        words: words(text),
    })
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

impl Paragraph<'_> {
    fn compare(&self, other: &Self, threshold: f64) -> Option<Pair> {
        let shared = self.words.intersection(&other.words).count() as f64;
        let all = self.words.union(&other.words).count() as f64;
        let similarity = if all > 0.0 { shared / all } else { 0.0 };
        (similarity >= threshold).then(|| Pair {
            first: self.number,
            second: other.number,
            similarity,
            excerpt: self.text.chars().take(EXCERPT_CHARS).collect(),
        })
    }
}

fn tell_progress(done: usize, all: usize) {
    if done.is_multiple_of(all.div_ceil(PROGRESS_LINES)) {
        eprintln!("{done} of {all} paragraphs");
    }
}

#[cfg(test)]
mod tests {
    use super::app;

    const POEM: &str = "the cat sat here\n\na dog ran\n\nThe cat sat there";

    #[test]
    fn finds_the_paragraphs_that_share_words() {
        let pairs = app::repeats(POEM.into(), 0.5).unwrap();
        assert_eq!(pairs.len(), 1);
        assert_eq!(
            (pairs[0].first, pairs[0].second, pairs[0].similarity),
            (1, 3, 0.6)
        );
    }

    #[test]
    fn refuses_a_threshold_that_nothing_could_reach() {
        assert!(
            app::repeats(POEM.into(), 1.5)
                .unwrap_err()
                .contains("between 0 and 1")
        );
        assert!(app::repeats(POEM.into(), f64::NAN).is_err());
    }

    #[test]
    fn a_text_without_paragraphs_repeats_nothing() {
        assert!(app::repeats("\n\n \n".into(), 0.0).unwrap().is_empty());
    }
}
