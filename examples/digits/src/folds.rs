//! Cross-validation: each digit is read once, by a learner that has not seen it.

use crate::data::{DIGITS, Digit};
use crate::random::Random;
use crate::{Config, Score};

pub(crate) fn cross_validate(config: &Config) -> Score {
    let parts = split(config.folds as usize, &mut Random::new(config.seed));
    let mut confusion = [[0u32; 10]; 10];
    let folds: Vec<f64> = (0..parts.len())
        .map(|fold| judge(config, &parts, fold, &mut confusion))
        .collect();
    let right: u32 = (0..10).map(|digit| confusion[digit][digit]).sum();
    Score {
        accuracy: f64::from(right) / DIGITS.len() as f64,
        deviation: deviation(&folds),
        folds,
        confused: most_confused(&confusion),
    }
}

type Part = Vec<&'static Digit>;

/// Shuffles the digits into parts in which each label is as frequent as in all.
fn split(folds: usize, random: &mut Random) -> Vec<Part> {
    let mut parts = vec![Part::new(); folds];
    let mut next = 0;
    for label in 0..10 {
        let mut digits: Part = DIGITS.iter().filter(|digit| digit.label == label).collect();
        random.shuffle(&mut digits);
        for digit in digits {
            parts[next % folds].push(digit);
            next += 1;
        }
    }
    parts
}

/// Trains on all parts but one, reads that one, and returns the share it read right.
fn judge(config: &Config, parts: &[Part], fold: usize, confusion: &mut [[u32; 10]; 10]) -> f64 {
    let known: Part = parts
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != fold)
        .flat_map(|(_, part)| part)
        .copied()
        .collect();
    let mut random = Random::new(config.seed ^ (fold as u64 + 1));
    let reader = config.learner.learn(&known, &mut random);
    let mut right = 0;
    for digit in &parts[fold] {
        let read = reader.read(digit);
        confusion[usize::from(digit.label)][usize::from(read)] += 1;
        right += usize::from(read == digit.label);
    }
    right as f64 / parts[fold].len() as f64
}

fn deviation(folds: &[f64]) -> f64 {
    let mean = folds.iter().sum::<f64>() / folds.len() as f64;
    (folds.iter().map(|fold| (fold - mean).powi(2)).sum::<f64>() / folds.len() as f64).sqrt()
}

/// Of two pairs confused equally often, the first by number.
fn most_confused(confusion: &[[u32; 10]; 10]) -> (u8, u8, u32) {
    let mut most = (0, 0, 0);
    for (is, row) in (0u8..).zip(confusion) {
        for (read, &times) in (0u8..).zip(row) {
            if is != read && times > most.2 {
                most = (is, read, times);
            }
        }
    }
    most
}
