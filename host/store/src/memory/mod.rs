//! The engine in memory: for tests, and for nodes that keep nothing. One lock, one state; also the model
//! that the SQLite engine is compared with.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::{Steady, millis};
use crate::jobs::Attempts;
use crate::notify::Hub;
use crate::{
    Clock, Conflict, DEFAULT_RETENTION, Epoch, FunctionKey, Guard, Job, JobId, Key, LeaseName,
    NodeId, Outcome, Rev, Shard,
};

mod jobs;
mod leases;
mod meta;

/// Everything in memory; clones share it.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    clock: Clock,
    steady: Steady,
    retention_ms: u64,
    state: Mutex<State>,
    hub: Hub,
}

#[derive(Default)]
struct State {
    rev: Rev,
    /// Deletions up to this revision may have been forgotten.
    compacted: Rev,
    keys: BTreeMap<Key, Slot>,
    /// The same keys by when they changed.
    changed: BTreeSet<(Rev, Key)>,
    leases: BTreeMap<LeaseName, LeaseSlot>,
    jobs: BTreeMap<Seq, StoredJob>,
    next_seq: Seq,
    ids: HashMap<JobId, Seq>,
    idempotency: HashMap<(FunctionKey, String), Seq>,
    /// Jobs that have not ended, in the order of claiming.
    due: BTreeSet<(Shard, u64, Seq)>,
    /// The same by group.
    waiting: BTreeSet<(String, u64, Seq)>,
    claims: HashMap<Shard, (Epoch, HashSet<Seq>)>,
}

/// Order of recording.
type Seq = u64;

/// A key's newest state; deleted keys stay until compaction.
struct Slot {
    rev: Rev,
    value: Option<Bytes>,
    at_ms: u64,
}

struct LeaseSlot {
    epoch: Epoch,
    /// None: given up.
    node: Option<NodeId>,
    until_ms: u64,
    ttl_ms: u64,
}

struct StoredJob {
    /// `state` is queued or the end; whether it runs is derived.
    job: Job,
    payload: Bytes,
    group: String,
    request: Option<lydian_value::Digest>,
    attempts: Attempts,
    outcome: Option<Outcome>,
    blobs: Vec<lydian_value::Digest>,
    /// When it ended, by the time that passed.
    ended_steady_ms: Option<u64>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::with(Clock::system(), DEFAULT_RETENTION)
    }

    /// With another clock, and results kept for `retention`.
    pub fn with(clock: Clock, retention: Duration) -> Self {
        let (state, hub) = (Mutex::default(), Hub::new());
        let steady = Steady::from(clock.clone(), clock.now_ms());
        Self(Arc::new(Shared {
            clock,
            steady,
            retention_ms: millis(retention),
            state,
            hub,
        }))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn check(&self, guard: &Guard) -> Result<(), Conflict> {
        match guard {
            Guard::Absent(key) => match self.live(key) {
                Some(found) => Err(Conflict::Exists {
                    key: key.clone(),
                    found,
                }),
                None => Ok(()),
            },
            Guard::RevIs(key, expected) => match self.live(key) {
                Some(rev) if rev == *expected => Ok(()),
                found => Err(Conflict::Changed {
                    key: key.clone(),
                    expected: *expected,
                    found,
                }),
            },
            Guard::EpochIs(lease, epoch) if self.epoch(lease) != Some(*epoch) => {
                Err(Conflict::Epoch {
                    lease: lease.clone(),
                    epoch: *epoch,
                })
            }
            Guard::EpochIs(..) => Ok(()),
        }
    }

    /// The revision of a key that is not deleted.
    fn live(&self, key: &Key) -> Option<Rev> {
        self.keys
            .get(key)
            .filter(|slot| slot.value.is_some())
            .map(|slot| slot.rev)
    }

    /// The epoch in which the lease is held.
    fn epoch(&self, lease: &LeaseName) -> Option<Epoch> {
        self.leases
            .get(lease)
            .filter(|slot| slot.node.is_some())
            .map(|slot| slot.epoch)
    }
}
