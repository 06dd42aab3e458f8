//! Components kept ready in memory, and the single flight of those being made ready.

use crate::component::{Component, Loaded, Prepared};
use crate::error::Error;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use lydian_value::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What all who wait for one component get.
pub(crate) type Answer = Result<Ready, Error>;

/// A component just made ready.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) prepared: Prepared,
}

/// Components by digest.
pub(crate) struct Cache {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: HashMap<Digest, Kept>,
    /// Weak, so that a preparation that nobody waits for any more is dropped.
    flights: HashMap<Digest, WeakShared<BoxFuture<'static, Answer>>>,
    uses: u64,
}

struct Kept {
    component: Arc<Component>,
    last_use: u64,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Cache {
        Cache {
            capacity: capacity.max(1),
            state: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Component>> {
        let mut state = self.state.lock();
        state.uses += 1;
        let now = state.uses;
        let kept = state.ready.get_mut(digest)?;
        kept.last_use = now;
        Some(kept.component.clone())
    }

    /// As [`Cache::get`], without it counting as a use.
    pub(crate) fn peek(&self, digest: &Digest) -> Option<Arc<Component>> {
        let state = self.state.lock();
        state.ready.get(digest).map(|kept| kept.component.clone())
    }

    /// Keeps a component, in place of the one used longest ago where there are too many. Its mappings go with its last
    /// call.
    pub(crate) fn insert(&self, digest: Digest, component: Arc<Component>) {
        let mut state = self.state.lock();
        state.uses += 1;
        let kept = Kept {
            component,
            last_use: state.uses,
        };
        state.ready.insert(digest, kept);
        if state.ready.len() > self.capacity
            && let Some(oldest) = state
                .ready
                .iter()
                .min_by_key(|(_, kept)| kept.last_use)
                .map(|(digest, _)| *digest)
        {
            let gone = state.ready.remove(&oldest);
            // Unmapping takes a while, and nobody need wait for it.
            drop(state);
            drop(gone);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Waits with those who make `digest` ready, or starts to with `make`.
    pub(crate) fn join(
        &self,
        digest: Digest,
        make: impl FnOnce() -> BoxFuture<'static, Answer>,
    ) -> Shared<BoxFuture<'static, Answer>> {
        let mut state = self.state.lock();
        if let Some(flight) = state.flights.get(&digest).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = make().shared();
        // Flights that have landed are swept when the next one starts.
        state.flights.retain(|_, flight| flight.upgrade().is_some());
        if let Some(weak) = flight.downgrade() {
            state.flights.insert(digest, weak);
        }
        flight
    }
}

/// A source's error, shared by the two who asked it.
#[derive(Clone, Debug)]
pub(crate) struct SourceError(Arc<dyn std::error::Error + Send + Sync>);

impl SourceError {
    pub(crate) fn new(error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
        SourceError(Arc::new(error))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
