//! A hyper-parameter sweep: k-fold cross-validation of three learners on handwritten digits, one sandbox for each
//! configuration.
//!
//! ```sh
//! cargo xtask demo                                        # all of it, with a ranking
//! lydian run examples/digits::grid                        # the configurations
//! lydian run examples/digits::evaluate '{learner: nearest({neighbours: 3, weighted: true}), folds: 5, seed: 1}'
//! ```
//!
//! The data is compiled in (`data/README.md` names its source and licence), so a sandbox needs no grant at all, and
//! equal configurations give equal scores.

mod data;
mod folds;
mod forest;
mod nearest;
mod network;
mod random;

use data::{DIGITS, Digit};
use random::Random;

wit_bindgen::generate!();

/// Folds, neighbours, trees and the like beyond this are mistakes, not experiments.
const MOST: u32 = 1000;

struct Sweep;

export!(Sweep);

impl Guest for Sweep {
    fn grid() -> Vec<Config> {
        learners()
            .map(|learner| Config {
                learner,
                folds: 5,
                seed: 1,
            })
            .collect()
    }

    fn evaluate(config: Config) -> Result<Score, String> {
        check(&config)?;
        Ok(folds::cross_validate(&config))
    }

    fn leave_one_out(digit: u32, neighbours: u32) -> Result<(u8, u8), String> {
        let asked = DIGITS
            .get(digit as usize)
            .ok_or_else(|| format!("there are {} digits", DIGITS.len()))?;
        within("neighbours", neighbours, 1, MOST)?;
        let others: Vec<&Digit> = DIGITS
            .iter()
            .filter(|other| !std::ptr::eq(*other, asked))
            .collect();
        let known = nearest::Known::new(
            &others,
            &Nearest {
                neighbours,
                weighted: true,
            },
        );
        Ok((asked.label, known.read(asked)))
    }
}

/// What has learned from some digits and can now read others.
trait Reader {
    fn read(&self, digit: &Digit) -> u8;
}

impl Learner {
    fn learn(&self, digits: &[&'static Digit], random: &mut Random) -> Box<dyn Reader> {
        match self {
            Self::Nearest(settings) => Box::new(nearest::Known::new(digits, settings)),
            Self::Network(settings) => Box::new(network::Layers::train(digits, settings, random)),
            Self::Forest(settings) => Box::new(forest::Trees::grow(digits, settings, random)),
        }
    }
}

fn learners() -> impl Iterator<Item = Learner> {
    let nearest = [1, 3, 5, 9, 15].into_iter().flat_map(|neighbours| {
        [false, true].map(|weighted| {
            Learner::Nearest(Nearest {
                neighbours,
                weighted,
            })
        })
    });
    let network = [0, 16, 32, 64].into_iter().flat_map(|hidden| {
        [(10, 0.02), (10, 0.1), (30, 0.02), (30, 0.1)].map(|(epochs, rate)| {
            Learner::Network(Network {
                hidden,
                epochs,
                rate,
            })
        })
    });
    let forest = [10, 30, 100].into_iter().flat_map(|trees| {
        [(6, 8), (12, 4), (12, 8), (12, 16)].map(|(depth, pixels)| {
            Learner::Forest(Forest {
                trees,
                depth,
                pixels,
            })
        })
    });
    nearest.chain(network).chain(forest)
}

fn check(config: &Config) -> Result<(), String> {
    within("folds", config.folds, 2, 100)?;
    match &config.learner {
        Learner::Nearest(it) => within("neighbours", it.neighbours, 1, MOST),
        Learner::Network(it) => {
            within("hidden", it.hidden, 0, MOST)?;
            within("epochs", it.epochs, 1, MOST)?;
            let usable = it.rate > 0.0 && it.rate <= 10.0;
            if usable {
                Ok(())
            } else {
                Err(format!("`rate` is above 0 and at most 10, not {}", it.rate))
            }
        }
        Learner::Forest(it) => {
            within("trees", it.trees, 1, MOST)?;
            within("depth", it.depth, 1, 64)?;
            within("pixels", it.pixels, 1, data::PIXELS as u32)
        }
    }
}

fn within(name: &str, value: u32, least: u32, most: u32) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("`{name}` is {least} to {most}, not {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(learner: Learner) -> f64 {
        Sweep::evaluate(Config {
            learner,
            folds: 3,
            seed: 7,
        })
        .unwrap()
        .accuracy
    }

    /// Guessing reads one digit in ten; these bounds are what each method is known to reach on this table.
    #[test]
    fn each_learner_reads_most_digits() {
        assert!(
            accuracy(Learner::Nearest(Nearest {
                neighbours: 3,
                weighted: true
            })) > 0.97
        );
        assert!(
            accuracy(Learner::Network(Network {
                hidden: 0,
                epochs: 10,
                rate: 0.05
            })) > 0.92
        );
        assert!(
            accuracy(Learner::Network(Network {
                hidden: 32,
                epochs: 20,
                rate: 0.05
            })) > 0.94
        );
        assert!(
            accuracy(Learner::Forest(Forest {
                trees: 20,
                depth: 12,
                pixels: 8
            })) > 0.92
        );
    }

    #[test]
    fn the_same_configuration_gives_the_same_score() {
        let forest = || {
            accuracy(Learner::Forest(Forest {
                trees: 3,
                depth: 6,
                pixels: 8,
            }))
        };
        assert_eq!(forest(), forest());
    }

    #[test]
    fn every_configuration_of_the_grid_is_accepted() {
        let grid = Sweep::grid();
        assert_eq!(grid.len(), 38);
        grid.iter().for_each(|config| check(config).unwrap());
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let config = Config {
            learner: Learner::Nearest(Nearest {
                neighbours: 0,
                weighted: true,
            }),
            folds: 5,
            seed: 1,
        };
        assert_eq!(
            Sweep::evaluate(config).unwrap_err(),
            "`neighbours` is 1 to 1000, not 0"
        );
        assert!(
            Sweep::leave_one_out(1797, 3)
                .unwrap_err()
                .contains("1797 digits")
        );
    }

    #[test]
    fn leaving_one_out_finds_the_digit_from_the_rest() {
        let right = (0..50).filter(
            |&digit| matches!(Sweep::leave_one_out(digit, 3), Ok((is, read)) if is == read),
        );
        assert!(right.count() > 45);
    }
}
