//! What this process has to do with jobs besides running any: those it recorded itself, and those its functions wait for.
//!
//! - **Own.** A program that embeds a node for a moment runs its own jobs and leaves those of
//!   others to their node. It goes by shards, as claims do: what it records is in a shard that
//!   nodes leave alone while it holds it, and what else is due there, which two programs that chose
//!   the same one may see, is run as well.
//! - **Awaited.** A function that waits for a recorded call holds a sandbox meanwhile, and its job a place among those in
//!   hand. Were the other behind so many that wait likewise, all would wait for ever, so it is claimed before them.

use crate::admission::MAX_DEPTH;
use lydian_store::{Job, JobId, Shard};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

/// Jobs of interest, by shard. A job is noted after it is recorded.
#[derive(Default)]
pub(super) struct Wanted(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// How many own ones were noted.
    recorded: u64,
    own: HashMap<Shard, HashSet<JobId>>,
    awaited: HashMap<Shard, HashMap<JobId, u32>>,
}

impl Wanted {
    /// Notes a job that this process recorded or asked for again.
    pub(super) fn recorded(&self, shard: Shard, id: JobId) {
        let mut lists = self.0.lock();
        lists.recorded += 1;
        lists.own.entry(shard).or_default().insert(id);
    }

    /// Forgets a job that ended.
    pub(super) fn ended(&self, job: &Job) {
        let own = &mut self.0.lock().own;
        if let Some(ids) = own.get_mut(&job.shard) {
            ids.remove(&job.id);
            if ids.is_empty() {
                own.remove(&job.shard);
            }
        }
    }

    /// Whether a job of this process is in the shard, as far as it knows.
    pub(super) fn has_own(&self, shard: Shard) -> bool {
        self.0.lock().own.contains_key(&shard)
    }

    /// Whether there is anything to look for, and a mark of this moment.
    pub(super) fn own_now(&self) -> (bool, u64) {
        let lists = self.0.lock();
        (!lists.own.is_empty(), lists.recorded)
    }

    /// Of the shards that had due jobs after the moment `mark`, those of own ones. In the others all own ones have ended,
    /// wherever they ran; unless some were recorded since, which may be younger than what is known of shards.
    pub(super) fn own_of(&self, mut due: Vec<Shard>, mark: u64) -> Vec<Shard> {
        let mut lists = self.0.lock();
        if lists.recorded == mark {
            lists.own.retain(|shard, _| due.contains(shard));
        }
        due.retain(|shard| lists.own.contains_key(shard));
        due
    }

    /// Notes that a function waits for a job that is not claimed; `depth` is the job's. To be repeated now and then:
    /// what cannot be claimed is forgotten.
    pub(super) fn awaited(&self, job: &Job, depth: u32) {
        let mut lists = self.0.lock();
        let of_shard = lists.awaited.entry(job.shard).or_default();
        of_shard.insert(job.id.clone(), depth.min(MAX_DEPTH));
    }

    /// Takes out what is waited for and for which `room` has a place.
    pub(super) fn take_awaited(
        &self,
        mut room: impl FnMut(u32) -> bool,
    ) -> Vec<(Shard, HashMap<JobId, u32>)> {
        let awaited = &mut self.0.lock().awaited;
        let taken = awaited.iter_mut().map(|(shard, jobs)| {
            let jobs = jobs.extract_if(|_, depth| room(*depth)).collect();
            (*shard, jobs)
        });
        let taken = taken.collect();
        awaited.retain(|_, jobs| !jobs.is_empty());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job recorded while it was asked which shards have any must not be forgotten because of an older answer.
    #[test]
    fn own_jobs_are_forgotten_only_by_what_is_younger_than_they() {
        let (wanted, one, two) = (Wanted::default(), Shard(1), Shard(2));
        wanted.recorded(one, "a".into());
        let (any, mark) = wanted.own_now();
        assert!(any);
        wanted.recorded(two, "b".into());
        assert_eq!(wanted.own_of(vec![one], mark), [one]);
        assert!(wanted.has_own(two));
        let (_, mark) = wanted.own_now();
        assert_eq!(wanted.own_of(vec![two, Shard(3)], mark), [two]);
        assert!(!wanted.has_own(one));
    }
}
