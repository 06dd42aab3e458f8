//! Who waits for which component, and which ones failed lately.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use lydian_value::Digest;
use parking_lot::Mutex;

use super::{Answer, Error};

/// How long a component that failed by its own fault is not tried again: a client that retries a component which takes all of
/// its two minutes would keep a core busy for ever.
const FAILURE_MEMORY: Duration = Duration::from_secs(60);

/// Failures remembered at once; the oldest is forgotten first.
const FAILURES: usize = 1_000;

type Flight = BoxFuture<'static, Answer>;

/// Compilations that somebody waits for. Each is driven by those who wait and ends when the last one leaves: the map holds
/// it weakly.
#[derive(Default)]
pub(super) struct Flights {
    waiting: Mutex<HashMap<Digest, WeakShared<Flight>>>,
    failures: Mutex<HashMap<Digest, (Instant, Error)>>,
}

impl Flights {
    /// The flight of a component: the one that is on its way, or a new one.
    pub(super) fn join(&self, component: Digest, make: impl FnOnce() -> Flight) -> Shared<Flight> {
        let mut waiting = self.waiting.lock();
        if let Some(flight) = waiting.get(&component).and_then(WeakShared::upgrade) {
            return flight;
        }
        // As good a time as any to forget those that have ended.
        waiting.retain(|_, flight| flight.upgrade().is_some());
        let flight = make().shared();
        if let Some(weak) = flight.downgrade() {
            waiting.insert(component, weak);
        }
        flight
    }

    pub(super) fn remember(&self, component: Digest, error: Error) {
        let mut failures = self.failures.lock();
        failures.retain(|_, (when, _)| when.elapsed() < FAILURE_MEMORY);
        if failures.len() >= FAILURES
            && let Some(oldest) = failures
                .iter()
                .min_by_key(|(_, (when, _))| *when)
                .map(|(digest, _)| *digest)
        {
            failures.remove(&oldest);
        }
        failures.insert(component, (Instant::now(), error));
    }

    pub(super) fn recent_failure(&self, component: Digest) -> Option<Error> {
        let failures = self.failures.lock();
        let (when, error) = failures.get(&component)?;
        (when.elapsed() < FAILURE_MEMORY).then(|| error.clone())
    }
}
