//! The pools of a node, behind one door.

use super::{Admission, Bounds, Need, Slot};
use crate::error::Error;
use std::sync::Arc;

/// The pools of a node, which the engine keeps apart: one for components that use the component model's async, and one for
/// all others. Clones share them.
#[derive(Clone)]
pub(crate) struct Pools {
    plain: Admission,
    concurrent: Admission,
}

/// Makes room for a call that waits for a place in the pool of concurrent components, or in the other.
pub(super) type OnWait = Arc<dyn Fn(bool) + Send + Sync>;

impl Pools {
    /// `concurrent` bounds the pool of concurrent components, `plain` the other.
    pub(crate) fn new(plain: Bounds, concurrent: Bounds) -> Self {
        Self {
            plain: Admission::new(plain),
            concurrent: Admission::new(concurrent),
        }
    }

    /// The pool that concurrent components run in, or the other.
    pub(crate) fn of(&self, concurrent: bool) -> &Admission {
        match concurrent {
            true => &self.concurrent,
            false => &self.plain,
        }
    }

    /// See [`Admission::slot`].
    pub(crate) async fn slot(&self, need: Need) -> Result<Slot, Error> {
        self.of(need.concurrent).slot(need).await
    }

    /// See [`Admission::pass`].
    pub(crate) async fn pass(&self, slot: Slot) -> Result<Slot, Error> {
        self.of(slot.need.concurrent).pass(slot).await
    }

    /// Calls `make_room` whenever a call has begun to wait, and tells it in which pool.
    pub(crate) fn on_wait(&self, make_room: impl Fn(bool) + Send + Sync + 'static) {
        let make_room: OnWait = Arc::new(make_room);
        // Only the first one counts, and there is one.
        let _ = self.plain.0.on_wait.set(make_room.clone());
        let _ = self.concurrent.0.on_wait.set(make_room);
    }

    /// See [`Admission::drain`].
    pub(crate) fn drain(&self) {
        self.plain.drain();
        self.concurrent.drain();
    }

    pub(crate) fn draining(&self) -> bool {
        self.plain.draining()
    }

    /// Returns once no slot is taken.
    pub(crate) async fn idle(&self) {
        // What runs in one pool may yet call into the other.
        while self.taken() > 0 {
            self.plain.idle().await;
            self.concurrent.idle().await;
        }
    }

    /// Slots taken now.
    pub(crate) fn taken(&self) -> usize {
        self.plain.taken() + self.concurrent.taken()
    }
}
