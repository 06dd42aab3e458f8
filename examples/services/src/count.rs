//! The service that counts.

#[lydian::app(timeout = "10s")]
pub mod app {
    use crate::text;
    use std::collections::BTreeMap;

    /// How often each word is used, most often first.
    #[lydian::function]
    pub fn words(text: String) -> Vec<(String, u32)> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in text::words(&text) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<(String, u32)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}
