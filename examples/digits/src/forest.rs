//! Many decision trees vote. Each grows on a random sample of the digits, and each of its questions is the best
//! of a few random pixels.

use crate::data::{BRIGHTEST, Digit, PIXELS};
use crate::nearest::best;
use crate::random::Random;
use crate::{Forest, Reader};

pub(crate) struct Trees(Vec<Node>);

enum Node {
    /// All that came here are taken for this.
    Leaf(u8),
    /// Darker pixels than `limit` go to the first, the others to the second.
    Question {
        pixel: usize,
        limit: u8,
        sides: Box<[Node; 2]>,
    },
}

impl Trees {
    pub(crate) fn grow(digits: &[&'static Digit], settings: &Forest, random: &mut Random) -> Self {
        let tree = |_| {
            let mut sample: Vec<&Digit> = (0..digits.len())
                .map(|_| digits[random.below(digits.len())])
                .collect();
            Node::grow(&mut sample, settings.depth, settings.pixels, random)
        };
        Self((0..settings.trees).map(tree).collect())
    }
}

impl Reader for Trees {
    fn read(&self, digit: &Digit) -> u8 {
        let mut votes = [0.0; 10];
        for tree in &self.0 {
            votes[usize::from(tree.read(digit))] += 1.0;
        }
        best(&votes)
    }
}

impl Node {
    fn grow(digits: &mut [&Digit], depth: u32, pixels: u32, random: &mut Random) -> Self {
        let counts = count(digits);
        let pure = counts.iter().filter(|&&count| count > 0).count() < 2;
        let question = if depth == 0 || pure {
            None
        } else {
            best_question(digits, pixels, random)
        };
        let Some((pixel, limit)) = question else {
            return Self::Leaf(best(&counts.map(|count| count as f32)));
        };
        let middle = partition(digits, |digit| digit.pixels[pixel] < limit);
        let (dark, bright) = digits.split_at_mut(middle);
        let dark = Self::grow(dark, depth - 1, pixels, random);
        let bright = Self::grow(bright, depth - 1, pixels, random);
        Self::Question {
            pixel,
            limit,
            sides: Box::new([dark, bright]),
        }
    }

    fn read(&self, digit: &Digit) -> u8 {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(label) => return *label,
                Self::Question {
                    pixel,
                    limit,
                    sides,
                } => node = &sides[usize::from(digit.pixels[*pixel] >= *limit)],
            }
        }
    }
}

/// The pixel and limit that separate the labels best, of a few random pixels; none when nothing separates them.
fn best_question(digits: &[&Digit], pixels: u32, random: &mut Random) -> Option<(usize, u8)> {
    let mut found = None;
    let mut least = f32::INFINITY;
    for _ in 0..pixels {
        let pixel = random.below(PIXELS);
        // How often each label comes with each brightness; then one pass over the limits.
        let mut by_brightness = [[0u32; 10]; BRIGHTEST as usize + 1];
        for digit in digits {
            by_brightness[usize::from(digit.pixels[pixel])][usize::from(digit.label)] += 1;
        }
        let mut dark = [0u32; 10];
        let mut bright = count(digits);
        for limit in 1..=BRIGHTEST {
            for label in 0..10 {
                let moved = by_brightness[usize::from(limit - 1)][label];
                dark[label] += moved;
                bright[label] -= moved;
            }
            let mixed = impurity(&dark) + impurity(&bright);
            let splits =
                dark.iter().any(|&count| count > 0) && bright.iter().any(|&count| count > 0);
            if splits && mixed < least {
                least = mixed;
                found = Some((pixel, limit));
            }
        }
    }
    found
}

/// Gini impurity times the number of digits: 0 when all are of one label.
fn impurity(counts: &[u32; 10]) -> f32 {
    let all: u32 = counts.iter().sum();
    if all == 0 {
        return 0.0;
    }
    let squares: f32 = counts.iter().map(|&count| (count as f32).powi(2)).sum();
    all as f32 - squares / all as f32
}

fn count(digits: &[&Digit]) -> [u32; 10] {
    let mut counts = [0; 10];
    for digit in digits {
        counts[usize::from(digit.label)] += 1;
    }
    counts
}

/// Moves those that `first` accepts to the front; returns how many they are.
fn partition(digits: &mut [&Digit], first: impl Fn(&Digit) -> bool) -> usize {
    let mut middle = 0;
    for at in 0..digits.len() {
        if first(digits[at]) {
            digits.swap(middle, at);
            middle += 1;
        }
    }
    middle
}
