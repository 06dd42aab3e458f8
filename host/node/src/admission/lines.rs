//! Who waits and in which order, and what is taken: the bookkeeping of one pool, behind its lock.

use super::{Admission, MAX_DEPTH, Need, Slot, Tenant};
use lydian_engine::{Charge, Ledger};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Calls in one line that need the same, in the order they are served.
pub(super) type Class = (Reverse<u32>, bool, bool, usize, usize, u64);
/// A tenant's calls in line.
type Line = BTreeMap<Class, VecDeque<Waiting>>;

/// Once the oldest in line has waited so long, what it needs is held back from others until it is
/// served: else those that need less would always be quicker to take what comes free.
const HOLD_BACK_AFTER: Duration = Duration::from_millis(250);

/// What nested calls may take when others have filled the rest of the memory: an eighth.
const NESTED_SHARE: u64 = 8;

/// How much of the ledger may be taken when `need` is let in.
pub(super) fn ceiling(ledger: &Ledger, need: Need) -> u64 {
    match need.nested {
        true => ledger.limit(),
        false => ledger.limit() - ledger.limit() / NESTED_SHARE,
    }
}

/// A call in line.
pub(super) struct Waiting {
    /// Its place among all that ever waited.
    age: u64,
    need: Need,
    since: Instant,
    pub(super) turn: oneshot::Sender<Slot>,
}

/// What is taken of a pool, and who waits.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) taken: usize,
    stacks: usize,
    /// Of `taken`, what calls hold that can make calls, by their level.
    callers: [usize; MAX_DEPTH as usize + 1],
    /// The same by call, so that a call can be raised to a deeper level while it runs.
    holding: HashMap<u64, Holding>,
    pub(super) waiting: usize,
    /// Of `waiting`, calls that gave up and were not yet passed by; about, as some may have been.
    pub(super) gone: usize,
    pub(super) draining: bool,
    by_tenant: HashMap<Tenant, Line>,
    /// Tenants with someone in line, next to be served first.
    turn: VecDeque<Tenant>,
    /// Where the calls in line are, oldest first.
    by_age: BTreeMap<u64, (Tenant, Class)>,
    next_age: u64,
    /// Somebody was passed over for want of memory, which comes free at any time.
    pub(super) short_of_memory: bool,
}

/// What the sandboxes of one call hold.
struct Holding {
    level: u32,
    sandboxes: usize,
}

impl Need {
    fn class(&self) -> Class {
        let Need {
            calls,
            nested,
            sandboxes,
            stacks,
            memory,
            ..
        } = *self;
        (
            Reverse(self.depth),
            calls,
            nested,
            sandboxes,
            stacks,
            memory,
        )
    }

    fn level(&self) -> u32 {
        self.depth.min(MAX_DEPTH)
    }
}

impl Lines {
    /// Takes room for `need` if there is some beside what is held back for the oldest in line.
    pub(super) fn try_take(&mut self, need: Need, admission: &Admission) -> Option<Charge> {
        let held_back = self.held_back(need);
        if !self.fits(need, held_back, admission) {
            return None;
        }
        let ledger = &admission.0.ledger;
        let ceiling = ceiling(ledger, need);
        let ceiling = ceiling.saturating_sub(held_back.map_or(0, |oldest| oldest.memory));
        let memory = match ledger.charge_below(need.memory, ceiling) {
            Some(memory) => memory,
            // What needs more than there ever is runs alone, as far as the node can tell.
            None if self.taken == 0 => ledger.charge_below(0, u64::MAX)?,
            None => {
                self.short_of_memory = true;
                return None;
            }
        };
        self.take(need);
        Some(memory)
    }

    /// Whether there are places for `need` now.
    pub(super) fn fits(&self, need: Need, held_back: Option<Need>, admission: &Admission) -> bool {
        // What needs more than there ever is runs alone.
        if self.taken == 0 {
            return true;
        }
        let (places, stacks) = held_back.map_or((0, 0), |oldest| (oldest.sandboxes, oldest.stacks));
        let max = admission.0.max.saturating_sub(places);
        if self.taken + need.sandboxes > max
            || self.stacks + need.stacks > admission.0.max_stacks.saturating_sub(stacks)
        {
            return false;
        }
        if !need.calls {
            return true;
        }
        let levels = admission.levels();
        let level = self.level_of(need);
        let below = &self.callers[..level as usize];
        let mut held: usize = below.iter().sum();
        (level..=levels).all(|level| {
            held += self.callers[level as usize];
            held + need.sandboxes <= max.saturating_sub((levels - level) as usize)
        })
    }

    pub(super) fn take(&mut self, need: Need) {
        self.taken += need.sandboxes;
        self.stacks += need.stacks;
        if need.calls {
            let level = self.level_of(need);
            let holding = self.holding.entry(need.call).or_insert(Holding {
                level,
                sandboxes: 0,
            });
            holding.sandboxes += need.sandboxes;
            self.callers[holding.level as usize] += need.sandboxes;
        }
    }

    pub(super) fn give_back(&mut self, need: Need) {
        self.taken -= need.sandboxes;
        self.stacks -= need.stacks;
        if need.calls
            && let Some(holding) = self.holding.get_mut(&need.call)
        {
            holding.sandboxes -= need.sandboxes;
            self.callers[holding.level as usize] -= need.sandboxes;
            if holding.sandboxes == 0 {
                self.holding.remove(&need.call);
            }
        }
    }

    /// Counts a call as `depth` deep, where it holds sandboxes and where it waits: somebody that
    /// deep waits for it.
    ///
    /// What it holds may always be counted deeper: the sums of all levels above shrink, and no
    /// other grows.
    pub(super) fn raise(&mut self, call: u64, depth: u32) {
        let level = depth.min(MAX_DEPTH);
        if let Some(holding) = self.holding.get_mut(&call)
            && holding.level < level
        {
            self.callers[holding.level as usize] -= holding.sandboxes;
            self.callers[level as usize] += holding.sandboxes;
            holding.level = level;
        }
        let in_line = |line: &Line| {
            let waiting = line.values().flatten();
            waiting.clone().any(|waiting| waiting.need.call == call)
        };
        let Some((tenant, line)) = self.by_tenant.iter_mut().find(|(_, line)| in_line(line)) else {
            return;
        };
        let mut raised = Vec::new();
        line.retain(|_, waiting| {
            let (of_call, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(waiting)
                .into_iter()
                .partition(|waiting| waiting.need.call == call && waiting.need.depth < level);
            *waiting = others;
            raised.extend(of_call);
            !waiting.is_empty()
        });
        for mut waiting in raised {
            waiting.need.depth = level;
            let class = waiting.need.class();
            self.by_age.insert(waiting.age, (*tenant, class));
            line.entry(class).or_default().push_back(waiting);
        }
    }

    fn level_of(&self, need: Need) -> u32 {
        let held = self
            .holding
            .get(&need.call)
            .map_or(0, |holding| holding.level);
        need.level().max(held)
    }

    /// What the oldest in line needs, when it has waited long enough and `need` is not of a call
    /// that somebody waits for further down: that one must go first, for the running calls to end.
    fn held_back(&self, need: Need) -> Option<Need> {
        let oldest = self.oldest()?;
        let aged = oldest.since.elapsed() >= HOLD_BACK_AFTER;
        (aged && need.depth <= oldest.need.depth && need.call != oldest.need.call)
            .then_some(oldest.need)
    }

    fn oldest(&self) -> Option<&Waiting> {
        let mut oldest = self.by_age.iter().filter_map(|(age, (tenant, class))| {
            let waiting = self.by_tenant.get(tenant)?.get(class)?;
            waiting.iter().find(|waiting| waiting.age == *age)
        });
        oldest.find(|waiting| !waiting.turn.is_closed())
    }

    pub(super) fn push(&mut self, need: Need, turn: oneshot::Sender<Slot>) {
        let (age, class) = (self.next_age, need.class());
        self.next_age += 1;
        let line = self.by_tenant.entry(need.tenant).or_default();
        if line.is_empty() {
            self.turn.push_back(need.tenant);
        }
        line.entry(class).or_default().push_back(Waiting {
            age,
            need,
            since: Instant::now(),
            turn,
        });
        self.by_age.insert(age, (need.tenant, class));
        self.waiting += 1;
    }

    /// The next whose need is met, with its room taken.
    pub(super) fn pop(&mut self, admission: &Admission) -> Option<(Need, Charge, Waiting)> {
        self.short_of_memory = false;
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
            if let Some(next) = next {
                self.waiting = self.waiting.saturating_sub(1);
                return Some(next);
            }
        }
        None
    }

    fn pop_of(&mut self, tenant: Tenant, admission: &Admission) -> Option<(Need, Charge, Waiting)> {
        let line = self.by_tenant.get(&tenant)?;
        let first: Vec<(Class, Need)> = line
            .iter()
            .filter_map(|(class, waiting)| Some((*class, waiting.front()?.need)))
            .collect();
        let (class, need, memory) = first.into_iter().find_map(|(class, need)| {
            let memory = self.try_take(need, admission)?;
            Some((class, need, memory))
        })?;
        let line = self.by_tenant.get_mut(&tenant)?;
        let waiting = line.get_mut(&class)?;
        let next = waiting.pop_front()?;
        if waiting.is_empty() {
            line.remove(&class);
        }
        self.by_age.remove(&next.age);
        Some((need, memory, next))
    }

    /// Callers that went away must not fill the lines for those who wait. Looked for only when the lines
    /// are full: otherwise they are passed by when it would be their turn.
    pub(super) fn forget_abandoned(&mut self) {
        self.keep(|waiting| !waiting.turn.is_closed());
    }

    /// Lets go of those in line that no function waits for.
    pub(super) fn forget_clients(&mut self) {
        self.keep(|waiting| waiting.need.nested);
    }

    fn keep(&mut self, wanted: impl Fn(&Waiting) -> bool) {
        for line in self.by_tenant.values_mut() {
            line.retain(|_, waiting| {
                waiting.retain(|waiting| {
                    let keep = wanted(waiting);
                    if !keep {
                        self.by_age.remove(&waiting.age);
                    }
                    keep
                });
                !waiting.is_empty()
            });
        }
        self.by_tenant.retain(|_, line| !line.is_empty());
        let by_tenant = &self.by_tenant;
        self.turn.retain(|tenant| by_tenant.contains_key(tenant));
        self.waiting = self.by_age.len();
        self.gone = 0;
    }

    pub(super) fn still_waiting(&self) -> usize {
        self.waiting.saturating_sub(self.gone)
    }
}
