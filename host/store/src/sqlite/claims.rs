//! Which jobs this process has claimed: in memory only, one set per shard and epoch.

use std::collections::{HashMap, HashSet};

use parking_lot::{Mutex, MutexGuard};

use crate::{Epoch, Shard};

/// Claims of all shards, behind a lock that is held while the database is read: a job that ended or
/// was retried meanwhile cannot be claimed on the strength of an older snapshot.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<Shard, OfShard>>);

#[derive(Default)]
pub(super) struct OfShard {
    epoch: Epoch,
    jobs: HashSet<i64>,
}

/// All claims, while nobody else sees or changes them.
pub(super) struct Locked<'a>(MutexGuard<'a, HashMap<Shard, OfShard>>);

impl Claims {
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked(self.0.lock())
    }

    pub(super) fn release(&self, shard: Shard, seq: i64) {
        if let Some(of_shard) = self.0.lock().get_mut(&shard) {
            of_shard.jobs.remove(&seq);
        }
    }

    pub(super) fn contains(&self, shard: Shard, seq: i64) -> bool {
        let all = self.0.lock();
        all.get(&shard).is_some_and(|of| of.jobs.contains(&seq))
    }
}

impl Locked<'_> {
    /// The claims of this epoch; those of an earlier one are void.
    pub(super) fn in_epoch(&mut self, shard: Shard, epoch: Epoch) -> &mut HashSet<i64> {
        let of_shard = self.0.entry(shard).or_default();
        if of_shard.epoch != epoch {
            of_shard.epoch = epoch;
            of_shard.jobs.clear();
        }
        &mut of_shard.jobs
    }
}
