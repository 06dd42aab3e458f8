//! Who may run now: a bounded number of sandboxes, handed out fairly.
//!
//! A call that finds a free slot takes it at once. Otherwise it waits in the line of its tenant (an app, or
//! a bare component), and freed slots go round the tenants one by one: a map of a million inputs delays the
//! single call of another app by one sandbox, not by a million. The lines are bounded together; past the
//! bound, and past the wait, a call is refused, for a caller can retry and a node cannot grow.
//!
//! Always true: a slot is held by exactly one [`Slot`], and dropping it passes it on.
//! Not here: payload bytes ([`crate::budget`]) and limits of one sandbox ([`crate::manifest`]).

use crate::error::Error;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Names a tenant: calls of the same one wait in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tenant(pub(crate) u64);

/// The node's sandboxes. Clones share them.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    max: usize,
    max_waiting: usize,
    max_wait: Duration,
    lines: Mutex<Lines>,
    /// A copy of `Lines::waiting` that can be read without the lock.
    waiting: AtomicUsize,
    /// Told whenever the last slot comes back.
    idle: Notify,
}

#[derive(Default)]
struct Lines {
    taken: usize,
    waiting: usize,
    draining: bool,
    by_tenant: HashMap<Tenant, VecDeque<oneshot::Sender<Slot>>>,
    /// Tenants with someone in line, next to be served first.
    turn: VecDeque<Tenant>,
}

/// The right to run one sandbox.
pub(crate) struct Slot {
    // None only while it is being passed on.
    admission: Option<Admission>,
    /// How long it was waited for.
    pub(crate) queued: Duration,
}

/// What [`Admission`] may give out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Sandboxes at once.
    pub(crate) sandboxes: usize,
    /// Calls in line, all tenants together.
    pub(crate) waiting: usize,
    /// Longest wait of one call.
    pub(crate) wait: Duration,
}

impl Admission {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            max: bounds.sandboxes.max(1),
            max_waiting: bounds.waiting,
            max_wait: bounds.wait,
            lines: Mutex::default(),
            waiting: AtomicUsize::new(0),
            idle: Notify::new(),
        }))
    }

    /// Takes a slot, now or when it is this tenant's turn.
    ///
    /// # Errors
    /// [`Error::Draining`], [`Error::QueueFull`], [`Error::NoSandbox`] after the wait.
    pub(crate) async fn slot(&self, tenant: Tenant) -> Result<Slot, Error> {
        let turn = match self.enter(tenant)? {
            Entered::Free(slot) => return Ok(slot),
            Entered::InLine(turn) => turn,
        };
        let since = Instant::now();
        match tokio::time::timeout(self.0.max_wait, turn).await {
            Ok(Ok(mut slot)) => {
                slot.queued = since.elapsed();
                Ok(slot)
            }
            Ok(Err(_)) => Err(Error::Draining),
            Err(_) => Err(Error::NoSandbox {
                waited: self.0.max_wait,
                max: self.0.max,
            }),
        }
    }

    /// Gives the slot to whoever waits and takes the next, or keeps it when nobody does. Long work made
    /// of many sandboxes calls this between two, so that it cannot keep others out.
    pub(crate) async fn pass(&self, slot: Slot, tenant: Tenant) -> Result<Slot, Error> {
        if self.0.waiting.load(Ordering::Relaxed) == 0 {
            return Ok(slot);
        }
        drop(slot);
        self.slot(tenant).await
    }

    /// Refuses everyone from now on, those in line included.
    pub(crate) fn drain(&self) {
        let mut lines = self.0.lines.lock();
        lines.draining = true;
        lines.waiting = 0;
        lines.turn.clear();
        self.0.waiting.store(0, Ordering::Relaxed);
        // Dropping the senders is the answer to those in line.
        lines.by_tenant.clear();
    }

    pub(crate) fn draining(&self) -> bool {
        self.0.lines.lock().draining
    }

    /// Returns once no slot is taken.
    pub(crate) async fn idle(&self) {
        loop {
            let told = self.0.idle.notified();
            if self.0.lines.lock().taken == 0 {
                return;
            }
            told.await;
        }
    }

    /// Slots taken now.
    pub(crate) fn taken(&self) -> usize {
        self.0.lines.lock().taken
    }

    /// Slots there are.
    pub(crate) fn max(&self) -> usize {
        self.0.max
    }

    fn enter(&self, tenant: Tenant) -> Result<Entered, Error> {
        let mut lines = self.0.lines.lock();
        if lines.draining {
            return Err(Error::Draining);
        }
        if lines.taken < self.0.max {
            lines.taken += 1;
            return Ok(Entered::Free(self.granted()));
        }
        if lines.waiting >= self.0.max_waiting {
            lines.forget_abandoned();
        }
        if lines.waiting >= self.0.max_waiting {
            return Err(Error::QueueFull {
                waiting: lines.waiting,
            });
        }
        let (sender, turn) = oneshot::channel();
        let line = lines.by_tenant.entry(tenant).or_default();
        line.push_back(sender);
        if line.len() == 1 {
            lines.turn.push_back(tenant);
        }
        lines.waiting += 1;
        self.0.waiting.store(lines.waiting, Ordering::Relaxed);
        Ok(Entered::InLine(turn))
    }

    fn granted(&self) -> Slot {
        Slot {
            admission: Some(self.clone()),
            queued: Duration::ZERO,
        }
    }

    /// Passes a slot to the next in line that still waits, else frees it.
    fn release(self) {
        loop {
            let Some(next) = self.next_in_line() else {
                return;
            };
            // The slot stays taken. A receiver that gave up gives the slot back inside the error; it must
            // not be dropped as a slot again, or two releases would run for one slot.
            match next.send(self.granted()) {
                Ok(()) => return,
                Err(mut slot) => slot.admission = None,
            }
        }
    }

    /// Who is next; with nobody in line the slot is counted free.
    fn next_in_line(&self) -> Option<oneshot::Sender<Slot>> {
        let mut lines = self.0.lines.lock();
        let next = lines.pop();
        match &next {
            Some(_) => self.0.waiting.store(lines.waiting, Ordering::Relaxed),
            None => {
                lines.taken -= 1;
                if lines.taken == 0 {
                    self.0.idle.notify_waiters();
                }
            }
        }
        next
    }
}

enum Entered {
    Free(Slot),
    InLine(oneshot::Receiver<Slot>),
}

impl Lines {
    fn pop(&mut self) -> Option<oneshot::Sender<Slot>> {
        let tenant = self.turn.pop_front()?;
        let line = self.by_tenant.get_mut(&tenant)?;
        let next = line.pop_front();
        if line.is_empty() {
            self.by_tenant.remove(&tenant);
        } else {
            self.turn.push_back(tenant);
        }
        self.waiting = self.waiting.saturating_sub(1);
        next
    }

    /// Callers that went away must not fill the lines for those who wait. Looked for only when the lines
    /// are full: otherwise they are passed by when it would be their turn.
    fn forget_abandoned(&mut self) {
        self.by_tenant.retain(|_, line| {
            line.retain(|sender| !sender.is_closed());
            !line.is_empty()
        });
        let by_tenant = &self.by_tenant;
        self.turn.retain(|tenant| by_tenant.contains_key(tenant));
        self.waiting = by_tenant.values().map(VecDeque::len).sum();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Tenant = Tenant(1);
    const B: Tenant = Tenant(2);

    fn admission(sandboxes: usize, waiting: usize, wait_ms: u64) -> Admission {
        Admission::new(Bounds {
            sandboxes,
            waiting,
            wait: Duration::from_millis(wait_ms),
        })
    }

    /// Runs until the line has this length.
    async fn in_line(admission: &Admission, count: usize) {
        while admission.0.waiting.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }

    /// A tenant with a long line must not keep another's only call waiting behind it.
    #[tokio::test]
    async fn slots_go_round_the_tenants() {
        let admission = admission(1, 100, 60_000);
        let held = admission.slot(A).await.unwrap();
        let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
        for tenant in [A, A, A, B] {
            let (admission, served) = (admission.clone(), served.clone());
            let before = admission.0.waiting.load(Ordering::Relaxed);
            let waiter = admission.clone();
            tokio::spawn(async move {
                let slot = waiter.slot(tenant).await.unwrap();
                served.send(tenant).unwrap();
                drop(slot);
            });
            in_line(&admission, before + 1).await;
        }
        drop(held);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(order.recv().await.unwrap());
        }
        assert_eq!(seen, [A, B, A, A]);
        assert_eq!(admission.taken(), 0);
    }

    /// Both bounds answer at once or in time, with what to do.
    #[tokio::test]
    async fn full_line_and_long_wait_are_refused() {
        let admission = admission(1, 1, 20);
        let held = admission.slot(A).await.unwrap();
        let waiter = tokio::spawn({
            let admission = admission.clone();
            async move { admission.slot(A).await.map(drop) }
        });
        in_line(&admission, 1).await;
        assert!(matches!(
            admission.slot(B).await,
            Err(Error::QueueFull { waiting: 1 })
        ));
        assert!(matches!(
            waiter.await.unwrap(),
            Err(Error::NoSandbox { .. })
        ));
        drop(held);
        // The one who gave up is still in line; the slot must pass him by.
        assert_eq!(admission.taken(), 0);
        assert!(admission.slot(B).await.is_ok());
    }

    /// A caller that goes away while in line loses nothing for the others.
    #[tokio::test]
    async fn abandoned_waiters_leak_no_slot() {
        let admission = admission(2, 1_000, 60_000);
        let held = (
            admission.slot(A).await.unwrap(),
            admission.slot(A).await.unwrap(),
        );
        let waiters: Vec<_> = (0..100)
            .map(|n| {
                let admission = admission.clone();
                tokio::spawn(async move { admission.slot(Tenant(n % 7)).await.map(drop) })
            })
            .collect();
        in_line(&admission, 100).await;
        waiters.iter().for_each(|waiter| waiter.abort());
        for waiter in waiters {
            assert!(waiter.await.unwrap_err().is_cancelled());
        }
        drop(held);
        assert_eq!(admission.taken(), 0);
    }

    /// A storm of cancelled calls must not leave a full line behind.
    #[tokio::test]
    async fn abandoned_waiters_do_not_fill_the_line() {
        let admission = admission(1, 2, 60_000);
        let held = admission.slot(A).await.unwrap();
        for tenant in [A, B] {
            let mut gone = Box::pin(admission.slot(tenant));
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let mut waiting = Box::pin(admission.slot(B));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn draining_refuses_those_in_line_and_later_ones() {
        let admission = admission(1, 10, 60_000);
        let held = admission.slot(A).await.unwrap();
        let waiter = tokio::spawn({
            let admission = admission.clone();
            async move { admission.slot(A).await.map(drop) }
        });
        in_line(&admission, 1).await;
        admission.drain();
        assert!(matches!(waiter.await.unwrap(), Err(Error::Draining)));
        assert!(matches!(admission.slot(A).await, Err(Error::Draining)));
        drop(held);
        admission.idle().await;
        assert_eq!(admission.taken(), 0);
    }
}
