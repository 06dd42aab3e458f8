//! A linear model over words, trained by gradient descent on reviews, one a line.

use std::collections::HashMap;
use std::path::Path;

/// Passes over the examples.
const EPOCHS: usize = 400;
/// The step of the descent.
const RATE: f64 = 0.1;

/// What each known word says about a text.
pub(crate) struct Weights(HashMap<String, f64>);

impl Weights {
    /// Learns from `good.txt` and `bad.txt` of a directory.
    ///
    /// # Errors
    /// One of them cannot be read; the text names it.
    pub(crate) fn train(reviews: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = reviews.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let (good, bad) = (read("good.txt")?, read("bad.txt")?);
        let mut weights = Self(HashMap::new());
        for _ in 0..EPOCHS {
            for (texts, target) in [(&good, 1.0), (&bad, 0.0)] {
                for text in texts.lines() {
                    weights.learn(text, target);
                }
            }
        }
        Ok(weights)
    }

    fn learn(&mut self, text: &str, target: f64) {
        let error = target - sigmoid(self.sum(text).unwrap_or(0.0));
        for word in words(text) {
            *self.0.entry(word).or_default() += RATE * error;
        }
    }

    /// How sure it is that the text is praise, 0 to 1; none when it knows no word of it.
    pub(crate) fn judge(&self, text: &str) -> Option<f64> {
        self.sum(text).map(sigmoid)
    }

    fn sum(&self, text: &str) -> Option<f64> {
        let known = words(text).filter_map(|word| self.0.get(&word).copied());
        known.reduce(|sum, weight| sum + weight)
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
