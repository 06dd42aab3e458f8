//! Which jobs this process has claimed: in memory only, one set per shard and epoch.

use std::collections::HashSet;

use parking_lot::{Mutex, MutexGuard};

use crate::{Epoch, SHARDS, Shard};

/// Claims of all shards, each behind a lock that is held while its database is read: a job that ended or was
/// retried meanwhile cannot be claimed on the strength of an older snapshot.
pub(super) struct Claims(Vec<Mutex<OfShard>>);

#[derive(Default)]
pub(super) struct OfShard {
    epoch: Epoch,
    jobs: HashSet<i64>,
}

impl Claims {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(super) fn of(&self, shard: Shard) -> MutexGuard<'_, OfShard> {
        // There is one for each value a shard can have.
        self.0[usize::from(shard.0)].lock()
    }

    pub(super) fn release(&self, shard: Shard, seq: i64) {
        self.of(shard).jobs.remove(&seq);
    }

    pub(super) fn contains(&self, shard: Shard, seq: i64) -> bool {
        self.of(shard).jobs.contains(&seq)
    }
}

impl OfShard {
    /// The claims of this epoch; those of an earlier one are void.
    pub(super) fn in_epoch(&mut self, epoch: Epoch) -> &mut HashSet<i64> {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.jobs.clear();
        }
        &mut self.jobs
    }
}
