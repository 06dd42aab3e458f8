//! How long a function takes, as far as it has shown: whether it may begin on the thread that asks for it.
//!
//! A function must have been quick many times in a row, and loses that with the first call that is not, so one that spins
//! has at most one tick in [`PROOF`] calls of a thread that is not for guests.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Calls in a row that make a function a quick one.
const PROOF: u8 = 32;
/// What a quick call takes at most; about what waking another thread and being woken by it costs.
const QUICK: Duration = Duration::from_micros(100);

/// Counts quick calls in a row.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU8);

impl Pace {
    pub(crate) fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= PROOF
    }

    /// Takes note of a call: what it took, and whether it ended well.
    pub(crate) fn note(&self, took: Duration, well: bool) {
        let seen = self.0.load(Ordering::Relaxed);
        // Two calls that end at once may count as one, which is of no matter.
        if !well || took > QUICK {
            self.0.store(0, Ordering::Relaxed);
        } else if seen < PROOF {
            self.0.store(seen + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that is quick until it matters must not get the control plane's threads for long.
    #[test]
    fn one_slow_call_ends_it() {
        let pace = Pace::default();
        let quick = || (0..PROOF).for_each(|_| pace.note(QUICK, true));
        assert!(!pace.is_quick());
        quick();
        assert!(pace.is_quick());
        pace.note(QUICK * 2, true);
        assert!(!pace.is_quick());
        quick();
        pace.note(QUICK, false);
        assert!(!pace.is_quick());
    }
}
