//! Who waits and in which order, and what is taken: the bookkeeping of one pool, behind its lock.

use super::{Admission, MAX_DEPTH, Need, Slot, Tenant};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::sync::oneshot;

/// Calls in one line that need the same, in the order they are served.
pub(super) type Class = (Reverse<u32>, bool, bool, usize);
/// A tenant's calls in line.
pub(super) type Line = BTreeMap<Class, VecDeque<oneshot::Sender<Slot>>>;

/// What is taken of a pool, and who waits.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) taken: usize,
    /// Of `taken`, what calls hold that can make calls, by their depth.
    pub(super) callers: [usize; MAX_DEPTH as usize + 1],
    pub(super) waiting: usize,
    /// Of `waiting`, calls that gave up and were not yet passed by; about, as some may have been.
    pub(super) gone: usize,
    pub(super) draining: bool,
    pub(super) by_tenant: HashMap<Tenant, Line>,
    /// Tenants with someone in line, next to be served first.
    pub(super) turn: VecDeque<Tenant>,
}

impl Need {
    pub(super) fn class(&self) -> Class {
        (Reverse(self.depth), self.calls, self.nested, self.sandboxes)
    }

    fn level(&self) -> usize {
        self.depth.min(MAX_DEPTH) as usize
    }
}

impl Lines {
    /// Whether there is room for `need` now.
    pub(super) fn fits(&self, need: Need, admission: &Admission) -> bool {
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

    pub(super) fn take(&mut self, need: Need) {
        self.taken += need.sandboxes;
        if need.calls {
            self.callers[need.level()] += need.sandboxes;
        }
    }

    pub(super) fn give_back(&mut self, need: Need) {
        self.taken -= need.sandboxes;
        if need.calls {
            self.callers[need.level()] -= need.sandboxes;
        }
    }

    /// The next whose need is met, with its room taken.
    pub(super) fn pop(&mut self, admission: &Admission) -> Option<(Need, oneshot::Sender<Slot>)> {
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
    pub(super) fn forget_abandoned(&mut self) {
        for line in self.by_tenant.values_mut() {
            line.retain(|_, waiting| {
                waiting.retain(|sender| !sender.is_closed());
                !waiting.is_empty()
            });
        }
        self.tidy();
    }

    /// Counts anew after lines were shortened.
    pub(super) fn tidy(&mut self) {
        self.by_tenant.retain(|_, line| !line.is_empty());
        let by_tenant = &self.by_tenant;
        self.turn.retain(|tenant| by_tenant.contains_key(tenant));
        let lines = by_tenant.values().flat_map(Line::values);
        self.waiting = lines.map(VecDeque::len).sum();
        self.gone = 0;
    }

    pub(super) fn still_waiting(&self) -> usize {
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
