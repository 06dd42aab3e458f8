//! Who may run now: a bounded number of sandboxes, handed out fairly.
//!
//! A call that finds room takes it at once. Otherwise it waits in the line of its tenant (an app, or
//! a bare component), and freed room goes round the tenants one by one: a map of a million inputs delays the
//! single call of another app by one sandbox, not by a million. The lines are bounded together; past the
//! bound, and past the wait, a call is refused, for a caller can retry and a node cannot grow.
//!
//! **Calls that make calls** hold their sandbox while they wait for another, so a pool full of them would wait for
//! ever. Therefore one sandbox is kept back from them for each level that calls may nest deeper: calls `d` deep that
//! can make calls, with all that are less deep, hold at most `max - (levels - d)`. Whoever waits furthest down then
//! finds room as soon as those are done that cannot wait for anyone. Calls that make none may take all there is.
//!
//! Always true: room is held by exactly one [`Slot`], and dropping it passes it on.
//! Not here: payload bytes ([`crate::budget`]) and limits of one sandbox ([`crate::manifest`]).

use crate::error::Error;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// The pools of a node, which the engine keeps apart: one for components that use the component model's async, and one for
/// all others. Clones share them.
#[derive(Clone)]
pub(crate) struct Pools {
    plain: Admission,
    concurrent: Admission,
}

/// Calls may nest this deep: A calls B calls A … ends here.
pub(crate) const MAX_DEPTH: u32 = 16;

/// Names a tenant: calls of the same one wait in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tenant(pub(crate) u64);

/// What a call needs. Those of one tenant that need the same are served in the order they came, the deepest first:
/// others wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) tenant: Tenant,
    /// Sandboxes it counts for.
    pub(crate) sandboxes: usize,
    /// Calls that led to it.
    pub(crate) depth: u32,
    /// Whether it runs in the pool of concurrent components.
    pub(crate) concurrent: bool,
    /// Whether it can wait for calls of its own.
    pub(crate) calls: bool,
    /// Whether a function that runs here waits for it, and so has a slot already.
    pub(crate) nested: bool,
}

/// Calls in one line that need the same, in the order they are served.
type Class = (Reverse<u32>, bool, bool, usize);
/// A tenant's calls in line.
type Line = BTreeMap<Class, VecDeque<oneshot::Sender<Slot>>>;

/// The sandboxes of one pool. Clones share them.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    concurrent: bool,
    max: usize,
    max_waiting: usize,
    max_wait: Duration,
    lines: Mutex<Lines>,
    /// A copy of `Lines::waiting` that can be read without the lock.
    waiting: AtomicUsize,
    /// Told whenever the last slot comes back.
    idle: Notify,
    /// Told whenever a call begins to wait.
    on_wait: OnceLock<OnWait>,
}

/// Makes room for a call that waits for a place in the pool of concurrent components, or in the other.
type OnWait = Arc<dyn Fn(bool) + Send + Sync>;

#[derive(Default)]
struct Lines {
    taken: usize,
    /// Of `taken`, what calls hold that can make calls, by their depth.
    callers: [usize; MAX_DEPTH as usize + 1],
    waiting: usize,
    /// Of `waiting`, calls that gave up and were not yet passed by; about, as some may have been.
    gone: usize,
    draining: bool,
    by_tenant: HashMap<Tenant, Line>,
    /// Tenants with someone in line, next to be served first.
    turn: VecDeque<Tenant>,
}

/// The right to run one sandbox.
pub(crate) struct Slot {
    // None only while it is being passed on.
    admission: Option<Admission>,
    need: Need,
    /// How long it was waited for.
    pub(crate) queued: Duration,
}

/// What [`Admission`] may give out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whether the pool is that of concurrent components.
    pub(crate) concurrent: bool,
    /// Sandboxes at once.
    pub(crate) sandboxes: usize,
    /// Calls in line, all tenants together.
    pub(crate) waiting: usize,
    /// Longest wait of one call that a client made; one that a function made waits as long as the function.
    pub(crate) wait: Duration,
}

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

impl Admission {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            concurrent: bounds.concurrent,
            max: bounds.sandboxes.max(1),
            max_waiting: bounds.waiting,
            max_wait: bounds.wait,
            lines: Mutex::default(),
            waiting: AtomicUsize::new(0),
            idle: Notify::new(),
            on_wait: OnceLock::new(),
        }))
    }

    /// How deep calls may nest here: a small pool has no sandbox for each of [`MAX_DEPTH`] levels.
    pub(crate) fn levels(&self) -> u32 {
        u32::try_from(self.0.max - 1).map_or(MAX_DEPTH, |levels| levels.min(MAX_DEPTH))
    }

    /// Takes a slot, now or when it is this tenant's turn.
    ///
    /// # Errors
    /// [`Error::Draining`], [`Error::QueueFull`], [`Error::NoSandbox`] after the wait.
    pub(crate) async fn slot(&self, need: Need) -> Result<Slot, Error> {
        let need = Need {
            sandboxes: need.sandboxes.clamp(1, self.0.max),
            ..need
        };
        let turn = match self.enter(need)? {
            Entered::Free(slot) => return Ok(slot),
            Entered::InLine(turn) => {
                if let Some(on_wait) = self.0.on_wait.get() {
                    on_wait(self.0.concurrent);
                }
                turn
            }
        };
        let mut in_line = InLine {
            admission: self,
            served: false,
        };
        let since = Instant::now();
        let turn = match need.nested {
            false => tokio::time::timeout(self.0.max_wait, turn).await,
            // Its caller has a deadline, and lets go of it in time.
            true => Ok(turn.await),
        };
        match turn {
            Ok(Ok(mut slot)) => {
                in_line.served = true;
                slot.queued = since.elapsed();
                Ok(slot)
            }
            Ok(Err(_)) => {
                in_line.served = true;
                Err(Error::Draining)
            }
            Err(_) => Err(Error::NoSandbox {
                waited: self.0.max_wait,
                max: self.0.max,
            }),
        }
    }

    /// Gives the slot to whoever waits and takes the next, or keeps it when nobody does. Long work made
    /// of many sandboxes calls this between two, so that it cannot keep others out.
    pub(crate) async fn pass(&self, slot: Slot) -> Result<Slot, Error> {
        if self.0.waiting.load(Ordering::Relaxed) == 0 {
            return Ok(slot);
        }
        let need = slot.need;
        drop(slot);
        self.slot(need).await
    }

    /// Refuses clients from now on, those in line included. What runs may still make its calls.
    pub(crate) fn drain(&self) {
        let mut lines = self.0.lines.lock();
        lines.draining = true;
        // Dropping the senders is the answer to those in line.
        for line in lines.by_tenant.values_mut() {
            line.retain(|(_, _, nested, _), _| *nested);
        }
        lines.tidy();
        self.0
            .waiting
            .store(lines.still_waiting(), Ordering::Relaxed);
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

    /// Calls in line.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Slots there are.
    pub(crate) fn max(&self) -> usize {
        self.0.max
    }

    fn enter(&self, need: Need) -> Result<Entered, Error> {
        let mut lines = self.0.lines.lock();
        if lines.draining && !need.nested {
            return Err(Error::Draining);
        }
        if lines.fits(need, self) {
            lines.take(need);
            return Ok(Entered::Free(self.granted(need)));
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
        let line = lines.by_tenant.entry(need.tenant).or_default();
        let first = line.is_empty();
        line.entry(need.class()).or_default().push_back(sender);
        if first {
            lines.turn.push_back(need.tenant);
        }
        lines.waiting += 1;
        self.0
            .waiting
            .store(lines.still_waiting(), Ordering::Relaxed);
        Ok(Entered::InLine(turn))
    }

    fn granted(&self, need: Need) -> Slot {
        Slot {
            admission: Some(self.clone()),
            need,
            queued: Duration::ZERO,
        }
    }

    /// Frees what a slot held, and passes it to those next in line that still wait.
    fn release(&self, need: Need) {
        let mut freed = Some(need);
        loop {
            let Some((need, next)) = self.next_in_line(freed.take()) else {
                return;
            };
            // A receiver that gave up gives the slot back inside the error; it must not be dropped as a
            // slot again, or two releases would run for one slot.
            if let Err(mut slot) = next.send(self.granted(need)) {
                slot.admission = None;
                freed = Some(need);
                let mut lines = self.0.lines.lock();
                lines.gone = lines.gone.saturating_sub(1);
            }
        }
    }

    /// Counts `freed` as free and takes room for whoever is next.
    fn next_in_line(&self, freed: Option<Need>) -> Option<(Need, oneshot::Sender<Slot>)> {
        let mut lines = self.0.lines.lock();
        if let Some(freed) = freed {
            lines.give_back(freed);
        }
        let next = lines.pop(self);
        if next.is_some() {
            self.0
                .waiting
                .store(lines.still_waiting(), Ordering::Relaxed);
        } else if lines.taken == 0 {
            self.0.idle.notify_waiters();
        }
        next
    }
}

/// A call in line. One that goes unserved is not waited for any more; who would serve it passes it by.
struct InLine<'a> {
    admission: &'a Admission,
    served: bool,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if !self.served {
            let inner = &self.admission.0;
            let mut lines = inner.lines.lock();
            lines.gone += 1;
            inner
                .waiting
                .store(lines.still_waiting(), Ordering::Relaxed);
        }
    }
}

enum Entered {
    Free(Slot),
    InLine(oneshot::Receiver<Slot>),
}

impl Need {
    fn class(&self) -> Class {
        (Reverse(self.depth), self.calls, self.nested, self.sandboxes)
    }

    fn level(&self) -> usize {
        self.depth.min(MAX_DEPTH) as usize
    }
}

impl Lines {
    /// Whether there is room for `need` now.
    fn fits(&self, need: Need, admission: &Admission) -> bool {
        // What needs more than there ever is runs alone.
        if self.taken == 0 {
            return true;
        }
        let max = admission.0.max;
        if self.taken + need.sandboxes > max {
            return false;
        }
        if !need.calls {
            return true;
        }
        let levels = admission.levels() as usize;
        let mut held: usize = self.callers.iter().take(need.level()).sum();
        (need.level()..=levels).all(|level| {
            held += self.callers[level];
            held + need.sandboxes <= max - (levels - level)
        })
    }

    fn take(&mut self, need: Need) {
        self.taken += need.sandboxes;
        if need.calls {
            self.callers[need.level()] += need.sandboxes;
        }
    }

    fn give_back(&mut self, need: Need) {
        self.taken -= need.sandboxes;
        if need.calls {
            self.callers[need.level()] -= need.sandboxes;
        }
    }

    /// The next whose need is met, with its room taken.
    fn pop(&mut self, admission: &Admission) -> Option<(Need, oneshot::Sender<Slot>)> {
        for _ in 0..self.turn.len() {
            let tenant = self.turn.pop_front()?;
            let next = self.pop_of(tenant, admission);
            if self
                .by_tenant
                .get(&tenant)
                .is_some_and(|line| !line.is_empty())
            {
                self.turn.push_back(tenant);
            } else {
                self.by_tenant.remove(&tenant);
            }
            if let Some((need, _)) = &next {
                self.waiting = self.waiting.saturating_sub(1);
                self.take(*need);
                return next;
            }
        }
        None
    }

    fn pop_of(
        &mut self,
        tenant: Tenant,
        admission: &Admission,
    ) -> Option<(Need, oneshot::Sender<Slot>)> {
        let line = self.by_tenant.get(&tenant)?;
        let need = line
            .keys()
            .map(|class| need_of(tenant, admission.0.concurrent, *class));
        let need = need.into_iter().find(|need| self.fits(*need, admission))?;
        let line = self.by_tenant.get_mut(&tenant)?;
        let waiting = line.get_mut(&need.class())?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            line.remove(&need.class());
        }
        next.map(|next| (need, next))
    }

    /// Callers that went away must not fill the lines for those who wait. Looked for only when the lines
    /// are full: otherwise they are passed by when it would be their turn.
    fn forget_abandoned(&mut self) {
        for line in self.by_tenant.values_mut() {
            line.retain(|_, waiting| {
                waiting.retain(|sender| !sender.is_closed());
                !waiting.is_empty()
            });
        }
        self.tidy();
    }

    /// Counts anew after lines were shortened.
    fn tidy(&mut self) {
        self.by_tenant.retain(|_, line| !line.is_empty());
        let by_tenant = &self.by_tenant;
        self.turn.retain(|tenant| by_tenant.contains_key(tenant));
        let lines = by_tenant.values().flat_map(Line::values);
        self.waiting = lines.map(VecDeque::len).sum();
        self.gone = 0;
    }

    fn still_waiting(&self) -> usize {
        self.waiting.saturating_sub(self.gone)
    }
}

fn need_of(
    tenant: Tenant,
    concurrent: bool,
    (Reverse(depth), calls, nested, sandboxes): Class,
) -> Need {
    Need {
        tenant,
        sandboxes,
        depth,
        // All of one pool's lines are alike in this.
        concurrent,
        calls,
        nested,
    }
}

impl Slot {
    pub(crate) fn need(&self) -> Need {
        self.need
    }

    /// Counts the slot for another call of the same sandbox; `false`, and nothing changes, when that one would have to
    /// wait for it.
    pub(crate) fn reuse(&mut self, need: Need) -> bool {
        let Some(admission) = &self.admission else {
            return false;
        };
        let need = Need {
            sandboxes: self.need.sandboxes,
            ..need
        };
        let mut lines = admission.0.lines.lock();
        lines.give_back(self.need);
        let fits = lines.fits(need, admission);
        if fits {
            self.need = need;
        }
        lines.take(self.need);
        fits
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.release(self.need);
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
            concurrent: false,
            sandboxes,
            waiting,
            wait: Duration::from_millis(wait_ms),
        })
    }

    /// One sandbox that makes no calls.
    fn of(tenant: Tenant) -> Need {
        Need {
            tenant,
            sandboxes: 1,
            depth: 0,
            concurrent: false,
            calls: false,
            nested: false,
        }
    }

    /// What a function calls that runs here.
    fn nested() -> Need {
        Need {
            depth: 1,
            nested: true,
            ..of(A)
        }
    }

    /// One sandbox that makes calls, `depth` deep.
    fn caller(depth: u32) -> Need {
        Need {
            depth,
            calls: true,
            ..of(A)
        }
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
        let held = admission.slot(of(A)).await.unwrap();
        let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
        for tenant in [A, A, A, B] {
            let (admission, served) = (admission.clone(), served.clone());
            let before = admission.0.waiting.load(Ordering::Relaxed);
            let waiter = admission.clone();
            tokio::spawn(async move {
                let slot = waiter.slot(of(tenant)).await.unwrap();
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
        let held = admission.slot(of(A)).await.unwrap();
        let waiter = tokio::spawn({
            let admission = admission.clone();
            async move { admission.slot(of(A)).await.map(drop) }
        });
        in_line(&admission, 1).await;
        assert!(matches!(
            admission.slot(of(B)).await,
            Err(Error::QueueFull { waiting: 1 })
        ));
        assert!(matches!(
            waiter.await.unwrap(),
            Err(Error::NoSandbox { .. })
        ));
        drop(held);
        // The one who gave up is still in line; the slot must pass him by.
        assert_eq!(admission.taken(), 0);
        assert!(admission.slot(of(B)).await.is_ok());
    }

    /// A caller that goes away while in line loses nothing for the others.
    #[tokio::test]
    async fn abandoned_waiters_leak_no_slot() {
        let admission = admission(2, 1_000, 60_000);
        let held = (
            admission.slot(of(A)).await.unwrap(),
            admission.slot(of(A)).await.unwrap(),
        );
        let waiters: Vec<_> = (0..100)
            .map(|n| {
                let admission = admission.clone();
                tokio::spawn(async move { admission.slot(of(Tenant(n % 7))).await.map(drop) })
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
        let held = admission.slot(of(A)).await.unwrap();
        for tenant in [A, B] {
            let mut gone = Box::pin(admission.slot(of(tenant)));
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let mut waiting = Box::pin(admission.slot(of(B)));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn draining_refuses_those_in_line_and_later_ones() {
        let admission = admission(1, 10, 60_000);
        let held = admission.slot(of(A)).await.unwrap();
        let waiter = tokio::spawn({
            let admission = admission.clone();
            async move { admission.slot(of(A)).await.map(drop) }
        });
        in_line(&admission, 1).await;
        admission.drain();
        assert!(matches!(waiter.await.unwrap(), Err(Error::Draining)));
        assert!(matches!(admission.slot(of(A)).await, Err(Error::Draining)));
        drop(held);
        admission.idle().await;
        assert_eq!(admission.taken(), 0);
    }

    /// A pool full of functions that wait for functions would wait for ever.
    #[tokio::test]
    async fn callers_leave_room_for_those_they_call() {
        let admission = admission(4, 10, 60_000);
        assert_eq!(admission.levels(), 3);
        let mut held = Vec::new();
        // However callers crowd in at one level, the next one has room.
        for depth in 0..=3 {
            held.push(admission.slot(caller(depth)).await.unwrap());
            if depth < 3 {
                let mut more = Box::pin(admission.slot(caller(depth)));
                assert!(futures::poll!(&mut more).is_pending(), "{depth}");
            }
        }
        assert_eq!(admission.taken(), 4);
        drop(held);
        // What makes no calls waits for nobody, so it may take everything.
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(admission.slot(of(A)).await.unwrap());
        }
        drop(held);
        assert_eq!(admission.taken(), 0);
    }

    /// Others wait for the deepest call, so it goes first; one that may not run keeps nobody waiting.
    #[tokio::test]
    async fn the_deepest_in_line_is_served_first() {
        let admission = admission(2, 10, 60_000);
        let parent = admission.slot(caller(0)).await.unwrap();
        let leaf = admission.slot(of(A)).await.unwrap();
        let mut root = Box::pin(admission.slot(caller(0)));
        let mut plain = Box::pin(admission.slot(of(A)));
        let mut child = Box::pin(admission.slot(nested()));
        assert!(futures::poll!(&mut root).is_pending());
        assert!(futures::poll!(&mut plain).is_pending());
        assert!(futures::poll!(&mut child).is_pending());
        drop(leaf);
        let child = child.await.unwrap();
        assert!(futures::poll!(&mut plain).is_pending());
        drop(child);
        // The second caller may not take the room that is kept for what the first one calls.
        let plain = plain.await.unwrap();
        assert!(futures::poll!(&mut root).is_pending());
        drop(parent);
        let root = root.await.unwrap();
        drop((plain, root));
        assert_eq!(admission.taken(), 0);
    }

    /// Components of several memories take as many of the engine's slots.
    #[tokio::test]
    async fn large_components_count_for_what_they_take() {
        let admission = admission(4, 10, 60_000);
        let large = Need {
            sandboxes: 3,
            ..of(A)
        };
        let first = admission.slot(large).await.unwrap();
        let mut second = Box::pin(admission.slot(large));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(admission.slot(of(B)).await.is_ok());
        drop(first);
        drop(second.await.unwrap());
        // More than there is runs alone.
        let all = Need {
            sandboxes: 100,
            ..of(A)
        };
        drop(admission.slot(all).await.unwrap());
        assert_eq!(admission.taken(), 0);
    }

    /// A node that stops lets finish what runs, and that may need to call.
    #[tokio::test]
    async fn functions_may_call_while_the_node_drains() {
        let admission = admission(2, 10, 60_000);
        let parent = admission.slot(caller(0)).await.unwrap();
        let leaf = admission.slot(of(A)).await.unwrap();
        let mut child = Box::pin(admission.slot(nested()));
        assert!(futures::poll!(&mut child).is_pending());
        admission.drain();
        drop(leaf);
        drop(child.await.unwrap());
        assert!(matches!(admission.slot(of(A)).await, Err(Error::Draining)));
        drop(parent);
        admission.idle().await;
    }
}
