//! The bytes of requests that the node holds at one time.
//!
//! The payload limit bounds one call; this bounds the sum of what was received and not yet done
//! with. Requests are charged as they are read from the network ([`crate::api::payload`]) and wait
//! for room. Many that have each arrived in part could wait for each other for ever, so a piece is
//! let in only if all of them can still arrive, one after the other. It is a part of the node's
//! [`Ledger`]: what is charged here is charged there.
//!
//! Small messages are free: their number is bounded by the connections and the queue, and the
//! common call must not take a lock for them. Results are the engine's to bound, which makes them.

use crate::error::Error;
use lydian_engine::Ledger;
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
    ledger: Ledger,
    state: Mutex<State>,
    /// Room was given back, or a message has arrived.
    freed: Notify,
}

#[derive(Default)]
struct State {
    used: u64,
    /// First come, first served: a large request is not starved by small ones.
    line: VecDeque<(u64, oneshot::Sender<Charge>)>,
    /// Messages on their way, oldest first.
    arriving: BTreeMap<u64, Arriving>,
    next_arrival: u64,
}

/// How far a message has come.
struct Arriving {
    needs: u64,
    taken: u64,
}

impl State {
    /// Whether all messages can still arrive, one after the other by age, when the one of this id
    /// is given `bytes` more: each finds what it needs in what is free then, and leaves what it
    /// has.
    fn all_can_arrive(&self, id: u64, bytes: u64, limit: u64) -> bool {
        let Some(mut free) = limit.checked_sub(self.used.saturating_add(bytes)) else {
            return false;
        };
        self.arriving.iter().all(|(each, message)| {
            let more = if *each == id { bytes } else { 0 };
            let fits = message.needs.saturating_sub(more) <= free;
            free = free.saturating_add(message.taken + more);
            fits || message.needs.saturating_add(message.taken) > limit
        })
    }
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
}

impl ByteBudget {
    pub(crate) fn new(limit: u64, max_wait: Duration, ledger: Ledger) -> Self {
        Self(Arc::new(Inner {
            limit,
            max_wait,
            ledger,
            state: Mutex::default(),
            freed: Notify::new(),
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

    /// A message of so many bytes begins to arrive.
    pub(crate) fn arrive(&self, bytes: u64) -> Arrival {
        let mut state = self.0.state.lock();
        let id = state.next_arrival;
        state.next_arrival += 1;
        let message = Arriving {
            needs: bytes,
            taken: 0,
        };
        state.arriving.insert(id, message);
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

    fn take(&self, state: &mut State, bytes: u64) -> Option<Charge> {
        let alone = state.used == 0;
        if !alone && state.used.saturating_add(bytes) > self.0.limit {
            return None;
        }
        self.granted(state, bytes, alone)
    }

    /// Counts `bytes` here and on the ledger; when it is `needed`, also where the ledger is full.
    fn granted(&self, state: &mut State, bytes: u64, needed: bool) -> Option<Charge> {
        let on_ledger = self.0.ledger.charge(bytes);
        if on_ledger.is_none() && !needed {
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
        self.0.freed.notify_waiters();
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

impl Arrival {
    /// Room for the message's next bytes, if there is some now beside what the others need to
    /// arrive too. The oldest goes before all that wait. One that is larger than the whole budget
    /// is let in all the same: whether it is too large is for the payload limit to say.
    pub(crate) fn try_charge(&mut self, bytes: u64) -> Option<Charge> {
        let mut state = self.budget.0.state.lock();
        let limit = self.budget.0.limit;
        let others = state.used.saturating_sub(self.taken);
        let fits = match state.arriving.first_key_value() {
            Some((oldest, _)) if *oldest != self.id => {
                state.line.is_empty() && state.all_can_arrive(self.id, bytes, limit)
            }
            // Parts of others may be there, which wait for this one: it must not wait for them.
            Some((_, all)) if all.needs.saturating_add(all.taken) > limit => others <= limit,
            _ => state.used.saturating_add(bytes) <= limit,
        };
        if !fits && others > 0 {
            return None;
        }
        let charge = self.budget.granted(&mut state, bytes, others == 0)?;
        self.taken += bytes;
        if let Some(message) = state.arriving.get_mut(&self.id) {
            message.needs = message.needs.saturating_sub(bytes);
            message.taken += bytes;
        }
        Some(charge)
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

    /// Pieces of many messages together fill the budget before any is whole: the oldest still gets
    /// what it needs, then the next.
    #[tokio::test]
    async fn messages_that_arrive_together_all_arrive() {
        let budget = ByteBudget::alone(8 * MIB, Duration::from_secs(60));
        let arrive = |pieces: u64| {
            let mut arrival = budget.arrive(pieces * MIB);
            async move {
                let mut held = Vec::new();
                for _ in 0..pieces {
                    let (charge, rest) = arrival.charge(MIB).await.unwrap();
                    arrival = rest;
                    held.push(charge);
                    tokio::task::yield_now().await;
                }
                drop(arrival);
                tokio::task::yield_now().await;
            }
        };
        let all = [4, 8, 1, 20, 7, 4, 4, 4].map(arrive);
        let all = futures::future::join_all(all);
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .unwrap();
        assert_eq!(budget.used(), 0);
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
