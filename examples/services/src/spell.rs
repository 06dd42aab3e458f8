//! The service that looks for slips.

#[lydian::app]
pub mod app {
    use crate::text;

    /// Words that stand twice in a row.
    #[lydian::function(memory = "64MiB")]
    pub fn doubled(text: String) -> Vec<String> {
        let words: Vec<String> = text::words(&text).collect();
        let pairs = words.windows(2);
        pairs
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0].clone())
            .collect()
    }
}
