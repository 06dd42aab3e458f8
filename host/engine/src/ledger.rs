//! The one account of the bytes that a node holds for guests and clients.
//!
//! ```text
//! Ledger                  the node: one limit, and a share of it for arguments and results
//!   Account               a sandbox: memories, tables and what the host keeps for the guest
//!     Charge              one buffer, released when the last owner of it is gone
//! ```
//!
//! Bytes are charged when a buffer is filled and released when it is gone, whoever holds it then: a result stays on the
//! node's ledger until the socket has taken it, long after its sandbox has been dropped. A sandbox that would pass its own
//! limit is told [`LimitHit::Memory`]; one that the node has no room for, [`LimitHit::NodeMemory`].
//!
//! Always true: what is used is the sum of what accounts have taken and of charges without an account; it never passes the
//! limit. Not here: who waits for room, and in which order; that is admission, which listens to [`Ledger::freed`].

use crate::limit::LimitHit;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Buffers smaller than this are not charged one by one: their number is bounded by the calls in
/// flight.
pub(crate) const FREE_BYTES: usize = 16 << 10;

/// The node's bytes. Clones share them.
#[derive(Clone)]
pub struct Ledger(Arc<Node>);

struct Node {
    limit: u64,
    payload_limit: u64,
    used: AtomicU64,
    /// Of `used`, arguments and results.
    payload: AtomicU64,
    /// Who waits for room; nobody is woken while this is zero.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Ledger {
    /// `limit` bytes in all, of which arguments and results take `payload_limit` at most.
    pub fn new(limit: u64, payload_limit: u64) -> Ledger {
        Ledger(Arc::new(Node {
            limit,
            payload_limit: payload_limit.min(limit),
            used: AtomicU64::new(0),
            payload: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }))
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes there may be.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Room for `bytes`, if there is some now.
    pub fn charge(&self, bytes: u64) -> Option<Charge> {
        self.charge_below(bytes, self.0.limit)
    }

    /// As [`Ledger::charge`], leaving everything above `ceiling` to others.
    pub fn charge_below(&self, bytes: u64, ceiling: u64) -> Option<Charge> {
        take(&self.0.used, bytes, ceiling.min(self.0.limit)).then(|| Charge {
            bytes,
            from: Source::Node {
                ledger: self.clone(),
                payload: false,
            },
        })
    }

    /// Room for arguments or a result.
    pub fn payload(&self, bytes: u64) -> Option<Charge> {
        if !take(&self.0.payload, bytes, self.0.payload_limit) {
            return None;
        }
        if !take(&self.0.used, bytes, self.0.limit) {
            self.0.payload.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Charge {
            bytes,
            from: Source::Node {
                ledger: self.clone(),
                payload: true,
            },
        })
    }

    /// Ends when bytes are released after this was called. Look for room between the call and the
    /// wait.
    pub fn freed(&self) -> Freed<'_> {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut notified = Box::pin(self.0.freed.notified());
        // Registered before looking, so a release in between is not missed.
        notified.as_mut().enable();
        Freed {
            node: &self.0,
            notified,
        }
    }

    fn give_back(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_waiters();
        }
    }
}

/// Adds `bytes` unless the sum would pass `limit`.
fn take(used: &AtomicU64, bytes: u64, limit: u64) -> bool {
    if bytes == 0 {
        return true;
    }
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(bytes).filter(|sum| *sum <= limit)
    })
    .is_ok()
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({} of {} bytes)", self.used(), self.limit())
    }
}

/// Waits for room; see [`Ledger::freed`].
pub struct Freed<'a> {
    node: &'a Node,
    notified: std::pin::Pin<Box<Notified<'a>>>,
}

impl Future for Freed<'_> {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        self.notified.as_mut().poll(cx)
    }
}

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.node.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes on the ledger until this is dropped.
#[must_use]
pub struct Charge {
    bytes: u64,
    from: Source,
}

enum Source {
    Node { ledger: Ledger, payload: bool },
    Account(Account),
}

impl Charge {
    /// Gives `data` this charge for as long as any clone of the bytes lives.
    pub fn hold(self, data: Vec<u8>) -> Bytes {
        struct Held {
            data: Vec<u8>,
            _charge: Charge,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.data
            }
        }
        Bytes::from_owner(Held {
            data,
            _charge: self,
        })
    }

    /// Bytes charged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes another charge of the same source over.
    pub fn add(&mut self, mut other: Charge) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        match &self.from {
            Source::Node { ledger, payload } => {
                if *payload {
                    ledger.0.payload.fetch_sub(self.bytes, Ordering::Relaxed);
                }
                ledger.give_back(self.bytes);
            }
            Source::Account(account) => account.shrink(self.bytes),
        }
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes)
    }
}

/// The bytes of one sandbox. Clones share them; the last to go gives back what is left.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: u64,
    peak: u64,
    /// Taken from the node: `used`, or what admission reserved while that is more.
    taken: u64,
    reserved: u64,
    refused: Option<LimitHit>,
}

impl Account {
    /// An account of at most `limit` bytes, of which `reserved` are there already.
    pub(crate) fn open(ledger: &Ledger, limit: u64, reserved: Option<Charge>) -> Account {
        // The account gives them back in the charge's place.
        let reserved = reserved.map_or(0, |mut charge| std::mem::take(&mut charge.bytes));
        Account(Arc::new(Inner {
            ledger: ledger.clone(),
            limit,
            state: Mutex::new(State {
                taken: reserved,
                reserved,
                ..State::default()
            }),
        }))
    }

    /// Counts `bytes` more, until [`Account::shrink`].
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), LimitHit> {
        let mut state = self.0.state.lock();
        let sum = state.used.saturating_add(bytes);
        if sum > self.0.limit {
            state.refused = Some(LimitHit::Memory);
            return Err(LimitHit::Memory);
        }
        let more = sum.saturating_sub(state.taken);
        let node = &self.0.ledger.0;
        if more > 0 && !take(&node.used, more, node.limit) {
            state.refused = Some(LimitHit::NodeMemory);
            return Err(LimitHit::NodeMemory);
        }
        state.taken += more;
        state.used = sum;
        state.peak = state.peak.max(sum);
        Ok(())
    }

    /// Counts `bytes` less.
    pub(crate) fn shrink(&self, bytes: u64) {
        let mut state = self.0.state.lock();
        state.used = state.used.saturating_sub(bytes);
        let excess = state.taken - state.used.max(state.reserved).min(state.taken);
        state.taken -= excess;
        drop(state);
        if excess > 0 {
            self.0.ledger.give_back(excess);
        }
    }

    /// Counts a buffer until it is dropped.
    pub(crate) fn charge(&self, bytes: u64) -> Result<Charge, LimitHit> {
        self.grow(bytes)?;
        Ok(Charge {
            bytes,
            from: Source::Account(self.clone()),
        })
    }

    /// The sandbox is gone with `bytes` of memories and tables; what was reserved for them goes
    /// too.
    pub(crate) fn close(&self, bytes: u64) {
        self.0.state.lock().reserved = 0;
        self.shrink(bytes);
    }

    /// Bytes counted now.
    pub(crate) fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    /// The most that was counted at one time.
    pub(crate) fn peak(&self) -> u64 {
        self.0.state.lock().peak
    }

    /// Why something was last refused.
    pub(crate) fn refused(&self) -> Option<LimitHit> {
        self.0.state.lock().refused
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let taken = self.state.get_mut().taken;
        if taken > 0 {
            self.ledger.give_back(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What is counted must come back whichever way a sandbox ends, or a node fills up with
    /// nothing.
    #[test]
    fn everything_comes_back() {
        let ledger = Ledger::new(10 * MIB, 10 * MIB);
        let account = Account::open(&ledger, 8 * MIB, ledger.charge(2 * MIB));
        assert_eq!(ledger.used(), 2 * MIB);
        account.grow(MIB).unwrap();
        assert_eq!(ledger.used(), 2 * MIB, "taken from what was reserved");
        account.grow(3 * MIB).unwrap();
        assert_eq!(ledger.used(), 4 * MIB);
        let buffer = account.charge(MIB).unwrap();
        assert_eq!((account.used(), account.peak()), (5 * MIB, 5 * MIB));
        account.close(4 * MIB);
        assert_eq!(ledger.used(), MIB, "the buffer outlives the sandbox");
        drop(account);
        assert_eq!(ledger.used(), MIB);
        drop(buffer);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_sandbox_and_a_node_that_are_full_are_told_apart() {
        let ledger = Ledger::new(10 * MIB, 10 * MIB);
        let account = Account::open(&ledger, 8 * MIB, None);
        assert_eq!(account.grow(9 * MIB), Err(LimitHit::Memory));
        let _others = ledger.charge(5 * MIB).unwrap();
        assert_eq!(account.grow(6 * MIB), Err(LimitHit::NodeMemory));
        assert_eq!(account.refused(), Some(LimitHit::NodeMemory));
        assert!(account.grow(5 * MIB).is_ok());
        assert!(ledger.charge(1).is_none());
    }

    /// Arguments and results must not take all of the memory that guests need.
    #[test]
    fn payloads_have_a_share() {
        let ledger = Ledger::new(10 * MIB, 4 * MIB);
        let first = ledger.payload(3 * MIB).unwrap();
        assert!(ledger.payload(2 * MIB).is_none());
        assert!(ledger.charge(2 * MIB).is_some());
        let bytes = first.hold(vec![1; 3]);
        let slice = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(ledger.used(), 3 * MIB);
        drop(slice);
        assert_eq!(ledger.used(), 0);
        assert!(ledger.payload(4 * MIB).is_some());
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken() {
        let ledger = Ledger::new(MIB, MIB);
        let held = ledger.charge(MIB).unwrap();
        let freed = ledger.freed();
        assert!(ledger.charge(1).is_none());
        drop(held);
        freed.await;
        assert!(ledger.charge(1).is_some());
        assert_eq!(ledger.0.waiting.load(Ordering::SeqCst), 0);
    }
}
