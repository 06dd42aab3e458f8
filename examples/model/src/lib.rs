//! A class: what takes long to make is made once, and serves many calls.
//!
//! ```sh
//! lydian deploy examples/model
//! lydian run model::model#predict "a film of great warmth and wit"
//! printf '%s\n' '"dull and far too long"' '"a joy"' | lydian map model::model#predict --inputs -
//! ```
//!
//! `load` runs once in each sandbox, before its first call; the calls after it find the model as it is. An instance
//! serves one call at a time, is kept for a minute without calls, and is left after a thousand.
//!
//! What it learns from is shipped with it: `reviews` of this crate is `/reviews` in the sandbox, read-only. A changed
//! file there is a new version of the app; files that the node has are not sent again.

mod words;

/// Where the reviews are: in a sandbox, and in a test of this crate.
const REVIEWS: &str = if cfg!(target_family = "wasm") {
    "/reviews"
} else {
    concat!(env!("CARGO_MANIFEST_DIR"), "/reviews")
};

#[lydian::app(mounts = { "./reviews" = "/reviews" })]
pub mod app {
    use std::path::Path;

    use crate::words::Weights;

    /// What the model thinks of a text.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Verdict {
        /// With how sure it is, 0 to 1.
        Good(f64),
        Bad(f64),
        /// Not a word of it is known.
        Unknown,
    }

    /// Tells praise from blame, by what its words stood for in the reviews it has read.
    #[lydian::class(max_idle = "60s", max_calls = 1000, timeout = "5s")]
    pub struct Model {
        weights: Weights,
        served: u64,
    }

    impl Model {
        /// Trains it, which takes a thousand times as long as asking.
        #[lydian::enter]
        fn load() -> Result<Self, String> {
            eprintln!("training");
            Ok(Self {
                weights: Weights::train(Path::new(crate::REVIEWS))?,
                served: 0,
            })
        }

        /// Judges a text.
        #[lydian::method]
        fn predict(&mut self, text: String) -> Verdict {
            self.served += 1;
            match self.weights.judge(&text) {
                None => Verdict::Unknown,
                Some(sure) if sure >= 0.5 => Verdict::Good(sure),
                Some(sure) => Verdict::Bad(1.0 - sure),
            }
        }

        /// How many texts this instance has judged.
        #[lydian::method]
        fn served(&self) -> u64 {
            self.served
        }

        #[lydian::exit]
        fn leave(self) {
            eprintln!("judged {} texts", self.served);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::app::{Verdict, model};

    #[test]
    fn praise_is_told_from_blame() {
        let predict = |text: &str| model::predict::local(text.into());
        assert!(
            matches!(predict("a film of great warmth and wit"), Verdict::Good(sure) if sure > 0.8)
        );
        assert!(matches!(predict("dull, and far too long"), Verdict::Bad(sure) if sure > 0.8));
        assert_eq!(predict("xyzzy"), Verdict::Unknown);
    }
}
