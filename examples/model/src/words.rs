//! A linear model over words, trained by gradient descent on examples that stand here.

use std::collections::HashMap;

/// Passes over the examples.
const EPOCHS: usize = 400;
/// The step of the descent.
const RATE: f64 = 0.1;

const GOOD: &[&str] = &[
    "a film of great warmth and wit",
    "a joy from start to end",
    "moving, funny and beautifully played",
    "the best story of the year",
    "great fun, with a warm heart",
    "bright, quick and full of wit",
    "a beautiful and gentle film",
    "wonderful actors in a wonderful story",
];

const BAD: &[&str] = &[
    "dull and far too long",
    "a waste of time and of good actors",
    "clumsy, loud and without a heart",
    "the worst film of the year",
    "boring from start to end",
    "a dull story, badly told",
    "too long, too loud, too slow",
    "flat jokes and a weak plot",
];

/// What each known word says about a text.
pub(crate) struct Weights(HashMap<String, f64>);

impl Weights {
    /// Learns from the examples.
    pub(crate) fn train() -> Self {
        let mut weights = Self(HashMap::new());
        for _ in 0..EPOCHS {
            for (texts, target) in [(GOOD, 1.0), (BAD, 0.0)] {
                for text in texts {
                    weights.learn(text, target);
                }
            }
        }
        weights
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
