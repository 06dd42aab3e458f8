//! The bytes of requests that the node holds at one time.
//!
//! The payload limit bounds one call; this bounds the sum of what was received and not yet done
//! with. Requests are charged as they are read from the network ([`crate::api::payload`]) and wait
//! for room. Many that have each arrived in part could wait for each other for ever, so what the
//! oldest of them still needs is kept free for it. Small messages are free: their number is bounded
//! by the connections and the queue, and the common call must not take a lock for them. Results are
//! the engine's to bound, which makes them.

use crate::error::Error;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

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
    state: Mutex<State>,
    /// Room was given back, or a message has arrived.
    freed: Notify,
}

#[derive(Default)]
struct State {
    used: u64,
    /// First come, first served: a large request is not starved by small ones.
    line: VecDeque<(u64, oneshot::Sender<Charge>)>,
    /// Messages on their way, oldest first, and what each of them still needs.
    arriving: BTreeMap<u64, u64>,
    next_arrival: u64,
}

/// A large message on its way. It needs no more room once this is dropped.
pub(crate) struct Arrival {
    budget: ByteBudget,
    id: u64,
    /// What it was given.
    taken: u64,
}

/// Bytes accounted for until dropped.
pub(crate) struct Charge {
    budget: Option<ByteBudget>,
    bytes: u64,
}

impl Charge {
    /// What is too small to count.
    pub(crate) const FREE: Self = Self {
        budget: None,
        bytes: 0,
    };
}

impl Charge {
    /// Takes over what `more` accounts for. Both are of one budget, or free.
    fn merge(&mut self, mut more: Charge) {
        if let Some(budget) = more.budget.take() {
            self.bytes += more.bytes;
            self.budget = Some(budget);
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
}

impl ByteBudget {
    pub(crate) fn new(limit: u64, max_wait: Duration) -> Self {
        Self(Arc::new(Inner {
            limit,
            max_wait,
            state: Mutex::default(),
            freed: Notify::new(),
        }))
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
            if state.line.is_empty() && self.fits(&state, bytes) {
                state.used += bytes;
                return Ok(self.granted(bytes));
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
        if !state.line.is_empty() || !self.fits(&state, bytes) {
            return None;
        }
        state.used += bytes;
        Some(self.granted(bytes))
    }

    /// A message of so many bytes begins to arrive.
    pub(crate) fn arrive(&self, bytes: u64) -> Arrival {
        let mut state = self.0.state.lock();
        let id = state.next_arrival;
        state.next_arrival += 1;
        state.arriving.insert(id, bytes);
        Arrival {
            budget: self.clone(),
            id,
            taken: 0,
        }
    }

    /// Bytes accounted for now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    fn fits(&self, state: &State, bytes: u64) -> bool {
        state.used == 0 || state.used.saturating_add(bytes) <= self.0.limit
    }

    fn granted(&self, bytes: u64) -> Charge {
        Charge {
            budget: Some(self.clone()),
            bytes,
        }
    }

    fn release(&self, bytes: u64) {
        self.0.state.lock().used -= bytes;
        while let Some((bytes, next)) = self.next_that_fits() {
            // Whoever gave up hands the charge back in the error; dropping it whole would come back here
            // and recurse once per abandoned request.
            if let Err(mut charge) = next.send(self.granted(bytes)) {
                charge.budget = None;
                self.0.state.lock().used -= bytes;
            }
        }
        self.0.freed.notify_waiters();
    }

    fn next_that_fits(&self) -> Option<(u64, oneshot::Sender<Charge>)> {
        let mut state = self.0.state.lock();
        while state
            .line
            .front()
            .is_some_and(|(_, waiting)| waiting.is_closed())
        {
            state.line.pop_front();
        }
        let bytes = state.line.front()?.0;
        if !self.fits(&state, bytes) {
            return None;
        }
        state.used += bytes;
        state.line.pop_front()
    }
}

impl Arrival {
    /// Room for the message's next bytes, if there is some now beside what the oldest message
    /// needs. The oldest goes before all that wait. One that is larger than the whole budget is let
    /// in all the same: whether it is too large is for the payload limit to say.
    pub(crate) fn try_charge(&mut self, bytes: u64) -> Option<Charge> {
        let mut state = self.budget.0.state.lock();
        let limit = self.budget.0.limit;
        let others = state.used.saturating_sub(self.taken);
        let room = limit.saturating_sub(state.used);
        let fits = match state.arriving.first_key_value() {
            Some((oldest, needs)) if *oldest != self.id => {
                state.line.is_empty() && bytes.saturating_add(*needs) <= room
            }
            // Parts of others may be there, which wait for this one: it is not kept from what it
            // will never have.
            Some((_, needs)) if self.taken.saturating_add(*needs) > limit => others <= limit,
            _ => bytes <= room,
        };
        if !fits && others > 0 {
            return None;
        }
        state.used += bytes;
        self.taken += bytes;
        if let Some(needs) = state.arriving.get_mut(&self.id) {
            *needs = needs.saturating_sub(bytes);
        }
        Some(self.budget.granted(bytes))
    }

    /// As [`Arrival::try_charge`], but waits for room.
    ///
    /// # Errors
    /// [`Error::PayloadBudget`] when there was no room in time.
    pub(crate) async fn charge(mut self, bytes: u64) -> Result<(Charge, Self), Error> {
        let inner = self.budget.0.clone();
        let charge = tokio::time::timeout(inner.max_wait, async {
            loop {
                let mut freed = std::pin::pin!(inner.freed.notified());
                // Registered before looking, so that room that comes in between is not missed.
                freed.as_mut().enable();
                if let Some(charge) = self.try_charge(bytes) {
                    return charge;
                }
                freed.await;
            }
        });
        match charge.await {
            Ok(charge) => Ok((charge, self)),
            Err(_) => Err(Error::PayloadBudget {
                bytes,
                limit: inner.limit,
            }),
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.budget.0.state.lock().arriving.remove(&self.id);
        self.budget.0.freed.notify_waiters();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
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
        ByteBudget::new(limit, Duration::from_millis(50))
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

    /// A message that is announced and does not come keeps room free for itself once, not for all
    /// like it.
    #[tokio::test]
    async fn what_is_announced_takes_no_room() {
        let budget = budget(8 * MIB);
        let announced: Vec<Arrival> = (0..100).map(|_| budget.arrive(4 * MIB)).collect();
        let arrival = budget.arrive(4 * MIB);
        let (charge, arrival) = arrival.charge(4 * MIB).await.unwrap();
        assert_eq!(budget.used(), 4 * MIB);
        drop((charge, arrival, announced));
    }
}
