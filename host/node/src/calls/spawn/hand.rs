//! The jobs in this process's hands: how many, whose, and what keeps those that wait.

use crate::clock::now_ms;
use lydian_store::{JobId, Shard};
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The first pause after something could not run; each next is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: what was mended is taken up within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Groups whose pauses are remembered; a group that was forgotten is tried once more.
const PAUSED_GROUPS: usize = 4_096;

/// Jobs claimed and not ended. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Hand(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Of those that came in their turn.
    in_turn: usize,
    /// Of those that were claimed because a function waits for them, by their depth.
    awaited: HashMap<u32, usize>,
    shards: HashMap<Shard, usize>,
    groups: HashMap<String, usize>,
    jobs: HashMap<JobId, Held>,
    taken: u64,
    paused: HashMap<String, Pause>,
}

struct Held {
    /// Tells it from the same job taken again.
    number: u64,
    shard: Shard,
    since: Instant,
    let_go: CancellationToken,
    trouble: Option<Trouble>,
}

/// Why a job waits, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) next_try_ms: u64,
    /// It ran, and only its end waits to be recorded.
    pub(crate) ended: bool,
}

/// A group whose component cannot be had.
struct Pause {
    until: Instant,
    tries: u32,
    trouble: Trouble,
}

/// Counts for one job as long as it is in hand.
pub(super) struct InHand {
    hand: Hand,
    number: u64,
    id: JobId,
    shard: Shard,
    group: String,
    awaited_at: Option<u32>,
    /// Cancelled when the job shall not begin here any more.
    pub(super) let_go: CancellationToken,
}

impl Hand {
    pub(super) fn take(
        &self,
        id: &JobId,
        shard: Shard,
        group: &str,
        awaited_at: Option<u32>,
    ) -> InHand {
        let mut all = self.0.lock();
        *all.shards.entry(shard).or_default() += 1;
        *all.groups.entry(group.to_owned()).or_default() += 1;
        match awaited_at {
            Some(depth) => *all.awaited.entry(depth).or_default() += 1,
            None => all.in_turn += 1,
        }
        let let_go = CancellationToken::new();
        all.taken += 1;
        let number = all.taken;
        let held = Held {
            number,
            shard,
            since: Instant::now(),
            let_go: let_go.clone(),
            trouble: None,
        };
        all.jobs.insert(id.clone(), held);
        InHand {
            hand: self.clone(),
            number,
            id: id.clone(),
            shard,
            group: group.to_owned(),
            awaited_at,
            let_go,
        }
    }

    pub(super) fn in_turn(&self) -> usize {
        self.0.lock().in_turn
    }

    pub(super) fn awaited(&self) -> HashMap<u32, usize> {
        self.0.lock().awaited.clone()
    }

    pub(super) fn by_group(&self) -> HashMap<String, usize> {
        self.0.lock().groups.clone()
    }

    pub(super) fn has_of(&self, shard: Shard) -> bool {
        self.0.lock().shards.contains_key(&shard)
    }

    /// Jobs that have been in hand for `at_least`.
    pub(super) fn jobs(&self, at_least: Duration) -> Vec<JobId> {
        let all = self.0.lock();
        let old = all
            .jobs
            .iter()
            .filter(|(_, held)| held.since.elapsed() >= at_least);
        old.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn jobs_of(&self, shard: Shard) -> Vec<JobId> {
        let all = self.0.lock();
        let of_shard = all.jobs.iter().filter(|(_, held)| held.shard == shard);
        of_shard.map(|(id, _)| id.clone()).collect()
    }

    /// Says that a job shall not begin here any more.
    pub(super) fn let_go(&self, id: &JobId) {
        if let Some(held) = self.0.lock().jobs.get(id) {
            held.let_go.cancel();
        }
    }

    /// Notes why a job in hand waits.
    pub(super) fn waits(&self, id: &JobId, reason: &str, delay: Duration) {
        if let Some(held) = self.0.lock().jobs.get_mut(id) {
            held.trouble = Some(Trouble::new(reason, delay));
        }
    }

    /// Notes that a job has ended, and why that is not recorded.
    pub(super) fn ended(&self, id: &JobId, reason: &str, delay: Duration) {
        if let Some(held) = self.0.lock().jobs.get_mut(id) {
            let ended = true;
            held.trouble = Some(Trouble {
                ended,
                ..Trouble::new(reason, delay)
            });
        }
    }

    /// Notes that a job in hand is tried again.
    pub(super) fn tried(&self, id: &JobId) {
        if let Some(held) = self.0.lock().jobs.get_mut(id) {
            held.trouble = None;
        }
    }

    /// Why a job waits, as far as this process knows.
    pub(super) fn trouble(&self, id: &JobId) -> Option<Trouble> {
        self.0.lock().jobs.get(id)?.trouble.clone()
    }

    /// Why a group is not tried now.
    pub(super) fn trouble_of(&self, group: &str) -> Option<Trouble> {
        let all = self.0.lock();
        let pause = all.paused.get(group)?;
        Some(pause.trouble.clone())
    }

    /// Puts a group off, for nothing of it can run now; answers for how long.
    pub(super) fn pause(&self, group: &str, reason: &str) -> Duration {
        let mut all = self.0.lock();
        let tries = match all.paused.get(group) {
            // Others of the same moment tell nothing new.
            Some(pause) if pause.until > Instant::now() => pause.tries,
            Some(pause) => pause.tries.saturating_add(1),
            None => 1,
        };
        let delay = backoff(tries);
        let pause = Pause {
            until: Instant::now() + delay,
            tries,
            trouble: Trouble::new(reason, delay),
        };
        if all.paused.len() >= PAUSED_GROUPS {
            all.paused.retain(|_, pause| pause.until > Instant::now());
        }
        if all.paused.len() < PAUSED_GROUPS {
            all.paused.insert(group.to_owned(), pause);
        }
        delay
    }

    /// Notes that a group runs.
    pub(super) fn runs(&self, group: &str) {
        self.0.lock().paused.remove(group);
    }

    /// Groups to leave alone now, and those of which one job shows whether they run again.
    pub(super) fn paused(&self) -> (HashSet<String>, HashSet<String>) {
        let (all, now) = (self.0.lock(), Instant::now());
        let (mut skip, mut one_of) = (HashSet::new(), HashSet::new());
        for (group, pause) in &all.paused {
            match pause.until > now {
                true => skip.insert(group.clone()),
                false => one_of.insert(group.clone()),
            };
        }
        (skip, one_of)
    }
}

impl Trouble {
    fn new(reason: &str, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self {
            reason: reason.to_owned(),
            next_try_ms: now_ms().saturating_add(delay),
            ended: false,
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut all = self.hand.0.lock();
        one_less(&mut all.shards, self.shard);
        one_less(&mut all.groups, std::mem::take(&mut self.group));
        match self.awaited_at {
            Some(depth) => one_less(&mut all.awaited, depth),
            None => all.in_turn -= 1,
        }
        if all
            .jobs
            .get(&self.id)
            .is_some_and(|held| held.number == self.number)
        {
            all.jobs.remove(&self.id);
        }
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut left) = counts.entry(key) {
        *left.get_mut() -= 1;
        if *left.get() == 0 {
            left.remove();
        }
    }
}

/// How long to wait before the try after so many: exponential, bounded, and spread so that those
/// who failed together do not try together.
pub(super) fn backoff(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let mut byte = [u8::MAX];
    // Without random bytes all wait the whole time.
    let _ = getrandom::fill(&mut byte);
    let spread = 0.5 + f64::from(byte[0]) / 510.0;
    doubled.min(LONGEST_PAUSE).mul_f64(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was mended must be taken up soon, and what was not must not keep a processor busy.
    #[test]
    fn pauses_grow_to_a_bound() {
        for tries in [1, 2, 10, u32::MAX] {
            let pause = backoff(tries);
            assert!(
                pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE,
                "{tries}: {pause:?}"
            );
        }
        assert!(backoff(10) >= LONGEST_PAUSE / 2);
    }

    /// Counts that were not given back would stop a node from claiming, one job at a time.
    #[test]
    fn what_is_not_in_hand_any_more_counts_nowhere() {
        let hand = Hand::default();
        let (one, two) = (Shard(1), Shard(2));
        let first = hand.take(&"a".into(), one, "app", None);
        let second = hand.take(&"b".into(), two, "app", Some(3));
        assert_eq!((hand.in_turn(), hand.by_group()["app"]), (1, 2));
        hand.let_go(&"b".into());
        assert!(second.let_go.is_cancelled() && !first.let_go.is_cancelled());
        drop((first, second));
        assert!(!hand.has_of(one) && !hand.has_of(two) && hand.by_group().is_empty());
        assert!(hand.awaited().is_empty() && hand.jobs(Duration::ZERO).is_empty());
    }

    #[test]
    fn a_group_that_cannot_run_is_tried_by_one_of_its_jobs() {
        let hand = Hand::default();
        hand.pause("app", "its component is damaged");
        assert!(hand.paused().0.contains("app"));
        assert!(hand.trouble_of("app").is_some());
        hand.runs("app");
        assert_eq!(hand.paused(), Default::default());
    }
}
