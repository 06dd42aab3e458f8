//! What this process has to do with jobs besides running any: those it recorded itself, and those its functions wait for.
//!
//! - **Own.** A program that embeds a node for a moment runs its own jobs and leaves those of others to their node.
//!   It goes by shards, as claims do: while it has a job of its own in one, no other process can claim from it, so it
//!   takes what else is due there, which are jobs of the same function, or seldom of another.
//! - **Awaited.** A function that waits for a recorded call holds a sandbox meanwhile, and its job a place among those in
//!   hand. Were the other behind so many that wait likewise, all would wait for ever, so it is claimed before them.

use crate::admission::MAX_DEPTH;
use lydian_store::{Job, JobId, Shard};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

/// Jobs of interest, by shard.
#[derive(Default)]
pub(super) struct Wanted(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    own: HashMap<Shard, HashSet<JobId>>,
    awaited: HashMap<Shard, HashMap<JobId, u32>>,
}

impl Wanted {
    /// Notes a job that this process recorded or asked for again.
    pub(super) fn recorded(&self, shard: Shard, id: JobId) {
        self.0.lock().own.entry(shard).or_default().insert(id);
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

    /// Of the shards with due jobs, those of own ones. In the others all own ones have ended, wherever they ran.
    pub(super) fn own_of(&self, mut due: Vec<Shard>) -> Vec<Shard> {
        let mut lists = self.0.lock();
        lists.own.retain(|shard, _| due.contains(shard));
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
