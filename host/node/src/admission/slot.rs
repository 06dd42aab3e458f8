//! The right to run one sandbox: given by a pool, passed on when it is dropped.

use super::{Admission, Need};
use std::time::Duration;

/// The right to run one sandbox.
pub(crate) struct Slot {
    // None only while it is being passed on.
    pub(super) admission: Option<Admission>,
    pub(super) need: Need,
    /// How long it was waited for.
    pub(crate) queued: Duration,
}

impl Slot {
    pub(crate) fn need(&self) -> Need {
        self.need
    }

    /// Counts the slot for another call of the same sandbox; `false`, and nothing changes, when that one would have to
    /// wait for it.
    pub(crate) fn reuse(&mut self, need: Need) -> bool {
        let Some(admission) = &self.admission else {
            return false;
        };
        let need = Need {
            sandboxes: self.need.sandboxes,
            ..need
        };
        let mut lines = admission.0.lines.lock();
        lines.give_back(self.need);
        let fits = lines.fits(need, admission);
        if fits {
            self.need = need;
        }
        lines.take(self.need);
        fits
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.release(self.need);
        }
    }
}
