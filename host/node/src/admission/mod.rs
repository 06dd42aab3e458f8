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
//! finds room as soon as those are done that cannot wait for anyone. Calls that make none may take all there is. A
//! recorded call that a function waits for is [raised](Admission::raise) to one level below that function, in line and
//! where it runs, so waiting for a call of somebody else is no different.
//!
//! **What a call needs is a vector**: places of the pool, stacks, memory. Whoever fits goes in, but once the oldest in line
//! has waited for a quarter of a second, what it needs is held back from the others, so that large calls do not starve.
//! Memory is the node's [`Ledger`]; room in it comes and goes while sandboxes run, so lines that are short of it are
//! looked at whenever some was released.
//!
//! | file | what |
//! | --- | --- |
//! | [`lines`] | who waits in which order, what is taken, who fits |
//! | [`slot`] | the right to run, passed on when it is dropped |
//! | [`pools`] | the two pools of a node |
//!
//! Always true: room is held by exactly one [`Slot`], and dropping it passes it on.
//! Not here: bytes of requests ([`crate::budget`]) and limits of one sandbox ([`crate::manifest`]).

mod lines;
mod pools;
mod slot;
#[cfg(test)]
mod tests;

use crate::error::Error;
use lines::Lines;
use lydian_engine::{Charge, Ledger};
use parking_lot::Mutex;
use pools::OnWait;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

pub(crate) use pools::Pools;
pub(crate) use slot::Slot;

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
    /// The call; all inputs of a map are one.
    pub(crate) call: u64,
    /// Sandboxes it counts for.
    pub(crate) sandboxes: usize,
    /// Stacks it may take; counted in the pool of concurrent components.
    pub(crate) stacks: usize,
    /// Bytes its sandbox starts with.
    pub(crate) memory: u64,
    /// Calls that led to it.
    pub(crate) depth: u32,
    /// Whether it runs in the pool of concurrent components.
    pub(crate) concurrent: bool,
    /// Whether it can wait for calls of its own.
    pub(crate) calls: bool,
    /// Whether a function that runs here waits for it, and so has a slot already.
    pub(crate) nested: bool,
}

/// The sandboxes of one pool. Clones share them.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    concurrent: bool,
    max: usize,
    max_stacks: usize,
    ledger: Ledger,
    /// Whether somebody waits for memory to be released and will look at the lines then.
    listening: AtomicBool,
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

/// What [`Admission`] may give out.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Whether the pool is that of concurrent components.
    pub(crate) concurrent: bool,
    /// Sandboxes at once.
    pub(crate) sandboxes: usize,
    /// Stacks at once.
    pub(crate) stacks: usize,
    /// The node's memory.
    pub(crate) ledger: Ledger,
    /// Calls in line, all tenants together.
    pub(crate) waiting: usize,
    /// Longest wait of one call that a client made; one that a function made waits as long as the function.
    pub(crate) wait: Duration,
}

impl Admission {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            concurrent: bounds.concurrent,
            max: bounds.sandboxes.max(1),
            max_stacks: bounds.stacks.max(1),
            ledger: bounds.ledger,
            listening: AtomicBool::new(false),
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
    /// [`Error::Draining`], [`Error::QueueFull`], [`Error::NoSandbox`] or [`Error::NoMemory`] after the wait.
    pub(crate) async fn slot(&self, need: Need) -> Result<Slot, Error> {
        let need = Need {
            sandboxes: need.sandboxes.clamp(1, self.0.max),
            stacks: need.stacks.min(self.0.max_stacks),
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
        let mut turn = turn;
        let turn = loop {
            match tokio::time::timeout(self.0.max_wait, &mut turn).await {
                // Its caller has a deadline, and lets go of it in time. But where memory is what
                // lacks, those who hold it may all be waiting for calls like this one.
                Err(_) if need.nested && self.has_memory(need) => {}
                turn => break turn,
            }
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
            Err(_) if !self.has_memory(need) => Err(Error::NoMemory {
                waited: self.0.max_wait,
                bytes: need.memory,
                limit: self.0.ledger.limit(),
            }),
            Err(_) => Err(Error::NoSandbox {
                waited: self.0.max_wait,
                max: self.0.max,
            }),
        }
    }

    fn has_memory(&self, need: Need) -> bool {
        let most = lines::ceiling(&self.0.ledger, need);
        most.saturating_sub(self.0.ledger.used()) >= need.memory
    }

    /// Looks at the lines whenever memory was released, as long as somebody waits for some.
    fn listen_for_memory(&self) {
        if self.0.listening.swap(true, Ordering::AcqRel) {
            return;
        }
        let admission = self.clone();
        tokio::spawn(async move {
            loop {
                let freed = admission.0.ledger.freed();
                admission.pump();
                if !admission.0.lines.lock().short_of_memory {
                    break;
                }
                freed.await;
            }
            admission.0.listening.store(false, Ordering::Release);
            // One that came in between found somebody listening.
            if admission.0.lines.lock().short_of_memory {
                admission.listen_for_memory();
            }
        });
    }

    /// Counts a call as `depth` deep from now on, where it runs and where it waits, for somebody
    /// waits for it there.
    pub(crate) fn raise(&self, call: u64, depth: u32) {
        self.0.lines.lock().raise(call, depth);
        self.pump();
    }

    /// Lets in whoever fits.
    fn pump(&self) {
        self.serve(None);
    }

    /// Gives the slot to whoever waits and takes the next, or keeps it when nobody does. Long work made
    /// of many sandboxes calls this between two, so that it cannot keep others out.
    pub(crate) async fn pass(&self, slot: Slot) -> Result<Slot, Error> {
        let mut slot = slot;
        if self.0.waiting.load(Ordering::Relaxed) == 0 && slot.has_memory() {
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
        lines.forget_clients();
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
        if let Some(memory) = lines.try_take(need, self) {
            return Ok(Entered::Free(self.granted(need, memory)));
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
        lines.push(need, sender);
        self.0
            .waiting
            .store(lines.still_waiting(), Ordering::Relaxed);
        if lines.short_of_memory {
            drop(lines);
            self.listen_for_memory();
        }
        Ok(Entered::InLine(turn))
    }

    fn granted(&self, need: Need, memory: Charge) -> Slot {
        Slot {
            admission: Some(self.clone()),
            need,
            memory: Some(memory),
            queued: Duration::ZERO,
        }
    }

    /// Frees what a slot held, and passes it to those next in line that still wait.
    fn release(&self, need: Need) {
        self.serve(Some(need));
    }

    fn serve(&self, mut freed: Option<Need>) {
        loop {
            let Some((need, memory, next)) = self.next_in_line(freed.take()) else {
                return;
            };
            // A receiver that gave up gives the slot back inside the error; it must not be dropped as a
            // slot again, or two releases would run for one slot.
            if let Err(mut slot) = next.send(self.granted(need, memory)) {
                slot.admission = None;
                freed = Some(need);
                let mut lines = self.0.lines.lock();
                lines.gone = lines.gone.saturating_sub(1);
            }
        }
    }

    /// Counts `freed` as free and takes room for whoever is next.
    fn next_in_line(&self, freed: Option<Need>) -> Option<(Need, Charge, oneshot::Sender<Slot>)> {
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
        next.map(|(need, memory, waiting)| (need, memory, waiting.turn))
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
