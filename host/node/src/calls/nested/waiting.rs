//! Who waits for whom, where functions wait for calls that are not their own.
//!
//! Calls that a function makes are one level deeper than it is, and admission keeps a place for
//! each level. A recorded call has the depth it was recorded with; so whoever waits for one raises
//! it to a level below its own, and with it what that one waits for, and so on. Then the argument
//! of [`crate::admission`] holds for all of them: whoever is deepest finds room.
//!
//! A function that is as deep as calls may be cannot wait for a call that has not ended: it is told
//! so.

use super::{Caller, too_deep};
use crate::calls::id::CallId;
use crate::calls::record::Call;
use crate::core::Core;
use lydian_engine::calls::Error;
use lydian_store::Job;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// What one call waits for now.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<Waited>>);

#[derive(Clone)]
enum Waited {
    /// A call that the function made.
    Made(Weak<Call>),
    /// A recorded call, wherever it runs.
    Recorded(CallId),
}

/// One of them, until this is dropped.
pub(super) struct Waiting {
    waits: Arc<Waits>,
    waited: Waited,
}

impl Waited {
    fn is(&self, other: &Waited) -> bool {
        match (self, other) {
            (Waited::Made(one), Waited::Made(other)) => one.ptr_eq(other),
            (Waited::Recorded(one), Waited::Recorded(other)) => one == other,
            _ => false,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.waits.0.lock();
        if let Some(index) = waits.iter().position(|waited| waited.is(&self.waited)) {
            waits.swap_remove(index);
        }
    }
}

impl Caller {
    /// Notes that the caller waits for a call it made.
    pub(super) fn waits_for(&self, call: &Arc<Call>) -> Waiting {
        self.note(Waited::Made(Arc::downgrade(call)))
    }

    /// Notes that the caller waits for a recorded call, which goes before others from now on.
    ///
    /// # Errors
    /// The caller is as deep as calls may be.
    pub(super) fn waits_for_recorded(&self, job: &Job) -> Result<Waiting, Error> {
        let depth = self.depth();
        let levels = self
            .core
            .admission
            .of(self.target.function.is_concurrent())
            .levels();
        if depth > levels {
            return Err(too_deep(job.function.function.as_str(), levels));
        }
        self.core.spawner.awaited(job, depth);
        let id = job.id.as_str().parse().map_err(|_| {
            let text = format!("call `{}` is not one of this node's", job.id);
            Error::new(lydian_engine::calls::ErrorKind::NotFound, text)
        })?;
        let waiting = self.note(Waited::Recorded(id));
        self.core.raise_recorded(id, depth);
        Ok(waiting)
    }

    fn note(&self, waited: Waited) -> Waiting {
        self.waits.0.lock().push(waited.clone());
        Waiting {
            waits: self.waits.clone(),
            waited,
        }
    }
}

impl Core {
    /// Counts a recorded call as `depth` deep, if it runs or waits here.
    fn raise_recorded(&self, id: CallId, depth: u32) {
        if let Some(call) = self.recent.find(id).filter(|call| call.running()) {
            self.raise(&call, depth);
        }
    }

    /// Counts a call as `depth` deep from now on, and all that it waits for as deeper still.
    pub(crate) fn raise(&self, call: &Call, depth: u32) {
        // A circle of calls that wait for one another ends here too: it cannot end by itself, only
        // by their time.
        if depth > crate::admission::MAX_DEPTH || !call.raise(depth) {
            return;
        }
        let concurrent = call.target.function.is_concurrent();
        self.admission.of(concurrent).raise(call.key, depth);
        let waits = call.waits().0.lock().clone();
        for waited in waits {
            match waited {
                Waited::Made(made) => {
                    if let Some(made) = made.upgrade() {
                        self.raise(&made, depth + 1);
                    }
                }
                Waited::Recorded(id) => self.raise_recorded(id, depth + 1),
            }
        }
    }
}
