//! The right to run one sandbox: given by a pool, passed on when it is dropped.

use super::{Admission, Need};
use lydian_engine::{Charge, Reserved};
use std::time::Duration;

/// The right to run one sandbox.
pub(crate) struct Slot {
    // None only while it is being passed on.
    pub(super) admission: Option<Admission>,
    pub(super) need: Need,
    /// What its next sandbox starts with.
    pub(super) memory: Option<Charge>,
    /// How long it was waited for.
    pub(crate) queued: Duration,
}

impl Slot {
    pub(crate) fn need(&self) -> Need {
        self.need
    }

    /// The memory that its next sandbox starts with.
    pub(crate) fn reserved(&mut self) -> Reserved {
        self.memory.take().map(Reserved::new).unwrap_or_default()
    }

    /// Whether there is memory for one more sandbox: kept since the slot was given, or reserved
    /// now.
    pub(super) fn has_memory(&mut self) -> bool {
        if self.memory.is_none()
            && let Some(admission) = &self.admission
        {
            self.memory = admission.0.ledger.charge(self.need.memory);
        }
        self.memory.is_some()
    }

    /// Counts the slot for another call of the same sandbox; `false`, and nothing changes, when that one would have to
    /// wait for it.
    pub(crate) fn reuse(&mut self, need: Need) -> bool {
        let Some(admission) = &self.admission else {
            return false;
        };
        let need = Need {
            sandboxes: self.need.sandboxes,
            stacks: self.need.stacks,
            ..need
        };
        let mut lines = admission.0.lines.lock();
        lines.give_back(self.need);
        let fits = lines.fits(need, None, admission);
        if fits {
            self.need = need;
        }
        lines.take(self.need);
        fits
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before whoever is next looks for room.
        self.memory = None;
        if let Some(admission) = self.admission.take() {
            admission.release(self.need);
        }
    }
}
