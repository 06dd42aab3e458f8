//! A long job over text that says how far it is.

use std::collections::BTreeMap;

wit_bindgen::generate!({
    inline: r#"
        package test:text;

        world text {
            /// The words of a text by how often they occur, most frequent first; equal ones by name.
            ///
            /// The text is read `rounds` times, and each round is told on stderr.
            export count-words: func(text: string, rounds: u32) -> list<tuple<string, u32>>;
        }
    "#,
});

struct Text;

export!(Text);

impl Guest for Text {
    fn count_words(text: String, rounds: u32) -> Vec<(String, u32)> {
        let mut counts = BTreeMap::<String, u32>::new();
        for round in 1..=rounds {
            counts.clear();
            for word in text
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
            {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
            eprintln!("round {round} of {rounds}");
        }
        let mut ranking: Vec<_> = counts.into_iter().collect();
        ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ranking
    }
}
