//! The bytes of requests that the node holds at one time.
//!
//! The payload limit bounds one call; this bounds the sum of what was received and not yet done with. It is a part of the
//! node's [`Ledger`]: what is charged here is charged there.
//! Requests are charged as they are read from the network ([`crate::api::payload`]) and wait for room.
//! Small messages are free: their number is bounded by the connections and the queue, and the common call
//! must not take a lock for them. Results are the engine's to bound, which makes them.

use crate::error::Error;
use lydian_engine::Ledger;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Charges below this are free.
pub(crate) const FREE_BYTES: u64 = 16 << 10;

/// Longest wait for room: as long as sending a full payload again would take on a slow line.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

/// The node's payload bytes. Clones share them.
#[derive(Clone)]
pub(crate) struct ByteBudget(Arc<Inner>);

struct Inner {
    limit: u64,
    max_wait: Duration,
    ledger: Ledger,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: u64,
    /// First come, first served: a large request is not starved by small ones.
    line: VecDeque<(u64, oneshot::Sender<Charge>)>,
}

/// Bytes accounted for until dropped.
pub(crate) struct Charge {
    budget: Option<ByteBudget>,
    bytes: u64,
    /// The same on the node's ledger.
    on_ledger: Option<lydian_engine::Charge>,
}

impl Charge {
    /// What is too small to count.
    pub(crate) const FREE: Self = Self {
        budget: None,
        bytes: 0,
        on_ledger: None,
    };
}

impl Charge {
    /// Takes over what `more` accounts for. Both are of one budget, or free.
    fn merge(&mut self, mut more: Charge) {
        if let Some(budget) = more.budget.take() {
            self.bytes += more.bytes;
            self.budget = Some(budget);
            match (&mut self.on_ledger, more.on_ledger.take()) {
                (Some(mine), Some(theirs)) => mine.add(theirs),
                (mine @ None, theirs) => *mine = theirs,
                (Some(_), None) => {}
            }
        }
    }
}

/// The room taken for one request. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Charge>>>);

impl Held {
    /// Takes the current message's room over.
    pub(crate) fn take(&self) -> Charge {
        self.0.lock().take().unwrap_or(Charge::FREE)
    }

    /// Adds to the current message's room.
    pub(crate) fn add(&self, charge: Charge) {
        let mut held = self.0.lock();
        match &mut *held {
            Some(before) => before.merge(charge),
            none => *none = Some(charge),
        }
    }

    pub(crate) fn put(&self, charge: Charge) {
        let before = self.0.lock().replace(charge);
        // Its destructor wakes others and must not run under the lock.
        drop(before);
    }
}

impl ByteBudget {
    pub(crate) fn new(limit: u64, max_wait: Duration, ledger: Ledger) -> Self {
        Self(Arc::new(Inner {
            limit,
            max_wait,
            ledger,
            state: Mutex::default(),
        }))
    }

    /// A budget on a ledger of its own.
    #[cfg(test)]
    pub(crate) fn alone(limit: u64, max_wait: Duration) -> Self {
        Self::new(limit, max_wait, Ledger::new(1 << 30, 1 << 30))
    }

    /// Waits for room for `bytes`. A request larger than the whole budget is let in when nothing else is:
    /// whether it is too large is for the payload limit to say.
    ///
    /// # Errors
    /// [`Error::PayloadBudget`] when there was no room in time.
    pub(crate) async fn charge(&self, bytes: u64) -> Result<Charge, Error> {
        if bytes < FREE_BYTES {
            return Ok(Charge::FREE);
        }
        let turn = {
            let mut state = self.0.state.lock();
            state.line.retain(|(_, waiting)| !waiting.is_closed());
            if state.line.is_empty()
                && let Some(charge) = self.take(&mut state, bytes)
            {
                return Ok(charge);
            }
            let (sender, turn) = oneshot::channel();
            state.line.push_back((bytes, sender));
            turn
        };
        match tokio::time::timeout(self.0.max_wait, turn).await {
            Ok(Ok(charge)) => Ok(charge),
            _ => Err(Error::PayloadBudget {
                bytes,
                limit: self.0.limit,
            }),
        }
    }

    /// Room for `bytes` if there is some now and nobody waits for it.
    pub(crate) fn try_charge(&self, bytes: u64) -> Option<Charge> {
        if bytes < FREE_BYTES {
            return Some(Charge::FREE);
        }
        let mut state = self.0.state.lock();
        match state.line.is_empty() {
            true => self.take(&mut state, bytes),
            false => None,
        }
    }

    /// Bytes accounted for now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    fn take(&self, state: &mut State, bytes: u64) -> Option<Charge> {
        let alone = state.used == 0;
        if !alone && state.used.saturating_add(bytes) > self.0.limit {
            return None;
        }
        let on_ledger = self.0.ledger.charge(bytes);
        if on_ledger.is_none() && !alone {
            return None;
        }
        state.used += bytes;
        Some(Charge {
            budget: Some(self.clone()),
            bytes,
            on_ledger,
        })
    }

    fn release(&self, bytes: u64) {
        self.0.state.lock().used -= bytes;
        while let Some((charge, next)) = self.next_that_fits() {
            // Whoever gave up hands the charge back in the error; dropping it whole would come back here
            // and recurse once per abandoned request.
            if let Err(mut charge) = next.send(charge) {
                charge.budget = None;
                self.0.state.lock().used -= charge.bytes;
            }
        }
    }

    fn next_that_fits(&self) -> Option<(Charge, oneshot::Sender<Charge>)> {
        let mut state = self.0.state.lock();
        while state
            .line
            .front()
            .is_some_and(|(_, waiting)| waiting.is_closed())
        {
            state.line.pop_front();
        }
        let bytes = state.line.front()?.0;
        let charge = self.take(&mut state, bytes)?;
        let (_, next) = state.line.pop_front()?;
        Some((charge, next))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.on_ledger = None;
        if let Some(budget) = self.budget.take() {
            budget.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget(limit: u64) -> ByteBudget {
        ByteBudget::alone(limit, Duration::from_millis(50))
    }

    #[tokio::test]
    async fn the_sum_of_large_payloads_is_bounded() {
        let budget = budget(10 * MIB);
        let first = budget.charge(6 * MIB).await.unwrap();
        let second = budget.charge(6 * MIB);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(budget.used(), 6 * MIB);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_request_without_room_is_refused_in_time() {
        let budget = budget(MIB);
        let held = budget.charge(MIB).await.unwrap();
        assert!(matches!(
            budget.charge(MIB).await,
            Err(Error::PayloadBudget { .. })
        ));
        drop(held);
        assert!(budget.charge(MIB).await.is_ok());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn abandoned_requests_keep_no_bytes() {
        let budget = budget(MIB);
        let held = budget.charge(MIB).await.unwrap();
        for _ in 0..50 {
            let mut waiting = Box::pin(budget.charge(MIB));
            assert!(futures::poll!(&mut waiting).is_pending());
        }
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_request_over_the_whole_budget_runs_alone() {
        let budget = budget(MIB);
        let charge = budget.charge(4 * MIB).await.unwrap();
        assert_eq!(budget.used(), 4 * MIB);
        drop(charge);
    }
}
