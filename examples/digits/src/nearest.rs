//! The nearest neighbours vote. Nothing is learned: all known digits are kept.

use crate::data::{Digit, PIXELS};
use crate::{Nearest, Reader};

pub(crate) struct Known {
    digits: Vec<&'static Digit>,
    neighbours: usize,
    weighted: bool,
}

impl Known {
    pub(crate) fn new(digits: &[&'static Digit], settings: &Nearest) -> Self {
        Self {
            digits: digits.to_vec(),
            neighbours: settings.neighbours as usize,
            weighted: settings.weighted,
        }
    }

    /// The closest digits: distance and label.
    fn closest(&self, digit: &Digit) -> Vec<(u32, u8)> {
        let mut all: Vec<_> = self
            .digits
            .iter()
            .map(|known| (distance(&known.pixels, &digit.pixels), known.label))
            .collect();
        let count = self.neighbours.min(all.len());
        if count < all.len() {
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all
    }
}

impl Reader for Known {
    fn read(&self, digit: &Digit) -> u8 {
        let mut votes = [0f32; 10];
        for (distance, label) in self.closest(digit) {
            let weight = if self.weighted {
                1.0 / (1.0 + distance as f32)
            } else {
                1.0
            };
            votes[usize::from(label)] += weight;
        }
        best(&votes)
    }
}

/// The square of the distance between two pictures.
fn distance(a: &[u8; PIXELS], b: &[u8; PIXELS]) -> u32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2))
        .sum()
}

/// The label with the most votes; the smaller one of equals.
pub(crate) fn best(votes: &[f32; 10]) -> u8 {
    let mut best = 0;
    for label in 1..10 {
        if votes[usize::from(label)] > votes[usize::from(best)] {
            best = label;
        }
    }
    best
}
