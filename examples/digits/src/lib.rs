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

use app::{Config, Forest, Learner, Nearest, Network, Score};
use data::Digit;
use random::Random;

/// Folds, neighbours, trees and the like beyond this are mistakes, not experiments.
const MOST: u32 = 1000;

#[lydian::app]
pub mod app {
    use crate::data::{DIGITS, Digit};
    use crate::{MOST, Reader, check, folds, learners, nearest, within};

    /// The most similar known digits vote.
    #[derive(Debug, Clone)]
    pub struct Nearest {
        /// How many vote.
        pub neighbours: u32,
        /// Whether a vote counts more the closer it is.
        pub weighted: bool,
    }

    /// A network with one hidden layer, or none, trained by stochastic gradient descent.
    #[derive(Debug, Clone)]
    pub struct Network {
        /// Units of the hidden layer; 0 leaves it out, which is softmax regression.
        pub hidden: u32,
        /// Passes over the training data.
        pub epochs: u32,
        /// The step of the descent.
        pub rate: f32,
    }

    /// Many decision trees, each over other digits and other pixels.
    #[derive(Debug, Clone)]
    pub struct Forest {
        /// How many trees vote.
        pub trees: u32,
        /// How many questions deep a tree may be.
        pub depth: u32,
        /// How many pixels each question chooses from.
        pub pixels: u32,
    }

    /// What learns, with its settings.
    #[derive(Debug, Clone)]
    pub enum Learner {
        Nearest(Nearest),
        Network(Network),
        Forest(Forest),
    }

    /// One experiment.
    #[derive(Debug, Clone)]
    pub struct Config {
        pub learner: Learner,
        /// Parts of the cross-validation: each is predicted once by a learner trained on all others.
        pub folds: u32,
        /// Decides how the digits fall into parts, and every random choice of the learner.
        pub seed: u64,
    }

    /// How well it went.
    #[derive(Debug, Clone)]
    pub struct Score {
        /// The share of digits that were read right, 0 to 1.
        pub accuracy: f64,
        /// Its standard deviation over the folds.
        pub deviation: f64,
        /// Each fold's own accuracy.
        pub folds: Vec<f64>,
        /// The digits most often taken for another: what it was, what was read, how often.
        pub confused: (u8, u8, u32),
    }

    /// The configurations of a sweep over all three learners.
    #[lydian::function]
    pub fn grid() -> Vec<Config> {
        learners()
            .map(|learner| Config {
                learner,
                folds: 5,
                seed: 1,
            })
            .collect()
    }

    /// Judges one configuration.
    #[lydian::function]
    pub fn evaluate(config: Config) -> Result<Score, String> {
        check(&config)?;
        Ok(folds::cross_validate(&config))
    }

    /// Reads one of the 1,797 digits by its closest neighbours among all the others: what it is, what was read.
    #[lydian::function]
    pub fn leave_one_out(digit: u32, neighbours: u32) -> Result<(u8, u8), String> {
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
        app::evaluate(Config {
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
        let grid = app::grid();
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
            app::evaluate(config).unwrap_err(),
            "`neighbours` is 1 to 1000, not 0"
        );
        assert!(
            app::leave_one_out(1797, 3)
                .unwrap_err()
                .contains("1797 digits")
        );
    }

    #[test]
    fn leaving_one_out_finds_the_digit_from_the_rest() {
        let right = (0..50)
            .filter(|&digit| matches!(app::leave_one_out(digit, 3), Ok((is, read)) if is == read));
        assert!(right.count() > 45);
    }
}
