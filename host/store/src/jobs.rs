//! `JobStore`: durable calls. Recorded before they are answered, run at least once, finished once.
//!
//! A job is queued until an outcome is accepted. It belongs to one of [`SHARDS`] shards by its id,
//! so that one function's work spreads over nodes, and to a group, by which claims are fair; the
//! node that holds the shard's lease claims its jobs into memory, which writes nothing: ownership
//! is the lease, and an attempt is named by the lease's epoch and a number. Only the current
//! attempt's outcome is accepted, so an owner that lost its lease, or an attempt that was given up,
//! changes nothing.
//!
//! What is in memory is lost in a crash, and meant to be: the next epoch claims those jobs again.
//! An attempt that may take its owner down is recorded with [`JobStore::started`] and then counts.
//! One that could not run is given back with [`JobStore::give_back`] and does not.
//!
//! A job that is due at once is so whatever the clock says later, and results are kept by the time
//! that passes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use crate::leases::name;
use crate::{Epoch, LeaseName, Result};

/// Number of shards that nodes share: enough for 256 nodes, few enough to look at each every
/// second.
pub const SHARDS: usize = 256;

/// Number of shards of processes that run their own jobs only, beyond those that nodes share.
pub const OWN_SHARDS: usize = 256;

/// The longest an attempt that could not run is put off: a due time further away is a step of the
/// clock.
pub const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Groups looked at in one turn.
pub(crate) const GROUPS_AT_ONCE: usize = 256;

/// Jobs of one group looked at in one turn.
pub(crate) const OF_GROUP_AT_ONCE: usize = 64;

/// How long results are kept unless the store is told otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

name!(
    /// A job's name, chosen by the caller, unique in the installation; the id of its call.
    JobId
);

/// Part of the job space, owned by one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

impl Shard {
    /// The shard of a job that names none.
    pub fn of(id: &JobId) -> Self {
        Self(u16::from(
            blake3::hash(id.as_str().as_bytes()).as_bytes()[0],
        ))
    }

    /// One of the shards that nodes leave to a process which runs its own jobs only, while it holds
    /// it.
    pub fn own(number: u8) -> Self {
        Self(SHARDS as u16 + u16::from(number))
    }

    /// Whether it is one of those.
    pub fn is_own(self) -> bool {
        usize::from(self.0) >= SHARDS
    }

    /// Those that nodes share.
    pub fn shared() -> impl Iterator<Item = Self> {
        (0..SHARDS as u16).map(Self)
    }

    /// The shard of this lease.
    pub fn of_lease(lease: &LeaseName) -> Option<Self> {
        let number = lease.as_str().strip_prefix("shard/")?.parse().ok()?;
        (usize::from(number) < SHARDS + OWN_SHARDS).then_some(Self(number))
    }

    /// The lease whose holder claims this shard's jobs.
    pub fn lease(self) -> LeaseName {
        format!("shard/{:03}", self.0).into()
    }
}

/// What a job runs, and the scope of its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    pub environment: String,
    /// Empty for a component called by its digest.
    pub app: String,
    /// The function's name; with the component's digest in front when `app` is empty.
    pub function: String,
}

/// A job to record.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub function: FunctionKey,
    /// None: by its id, among those that nodes share.
    pub shard: Option<Shard>,
    /// Claims are shared fairly between groups: an app's version, a component.
    pub group: String,
    /// What to run it with; opaque here. Above some 100 KB better a blob named in `blobs`.
    pub payload: Bytes,
    /// A few bytes that listings carry; opaque here.
    pub details: Bytes,
    /// A second job of the same function with the same key is a duplicate, until the first expires.
    pub idempotency_key: Option<String>,
    /// What a repeated request with the same key must have in common with the first.
    pub request: Option<Digest>,
    /// Not claimed before this time (milliseconds since 1970). None: at once.
    pub due_at_ms: Option<u64>,
    /// From 1. After so many attempts a retry fails the job instead; as many may take their owner
    /// down.
    pub max_attempts: u32,
    /// Blobs it needs; collection spares them while the job is kept. A result may add others.
    pub blobs: Vec<Digest>,
}

/// Whether a job was recorded or had been before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    New(JobId),
    /// The id, or the function's idempotency key, is taken by this job.
    Duplicate(JobId),
    /// The idempotency key is taken by this job, which was another request.
    OtherRequest(JobId),
}

/// One try at a job: the owner's epoch and the number of the try, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    pub epoch: Epoch,
    pub number: u32,
}

/// A job in its owner's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub job: Job,
    pub payload: Bytes,
    pub group: String,
    pub attempt: Attempt,
    /// Attempts whose owner went down under them.
    pub lost: u32,
}

impl Claimed {
    /// It took as many owners down as it may. To be finished as failed, not run.
    pub fn exhausted(&self) -> bool {
        self.lost >= self.job.max_attempts
    }
}

/// An attempt that ends without an outcome, and not because of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// It ran and was interrupted, so it counts as an attempt; if not, it does not.
    pub ran: bool,
    /// How long to put the job off, at most [`LONGEST_DELAY`].
    pub delay: Duration,
    /// What to show of a job that waits; none clears what was there.
    pub reason: Option<String>,
}

/// What to claim next, and for whom.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Shards to claim from, each with the epoch its lease is held in.
    pub held: Vec<(Shard, Epoch)>,
    /// Jobs at most.
    pub room: usize,
    /// Beyond that, one job of each group that has none in hand, so many at most.
    pub beyond: usize,
    /// Jobs in hand, by group: groups with fewer come first.
    pub in_hand: HashMap<String, usize>,
    /// Groups that are not to be claimed from now.
    pub skip: HashSet<String>,
    /// Groups of which there is to be one in hand at most.
    pub one_of: HashSet<String>,
    /// Groups after this one in their order come first, when there are too many to look at all.
    pub after: String,
}

/// What a turn gave.
#[derive(Debug, Default)]
pub struct Turned {
    pub claimed: Vec<Claimed>,
    /// For the next turn.
    pub after: String,
    /// There may be more to claim.
    pub more: bool,
}

/// How a job ended; the bytes are opaque here. Above some 100 KB better blobs named with [`JobStore::keep_blobs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded(Bytes),
    Failed(Bytes),
    Cancelled(Bytes),
}

impl Outcome {
    pub fn state(&self) -> JobState {
        match self {
            Self::Succeeded(_) => JobState::Succeeded,
            Self::Failed(_) => JobState::Failed,
            Self::Cancelled(_) => JobState::Cancelled,
        }
    }

    /// What was reported with it.
    pub fn bytes(&self) -> &Bytes {
        let (Self::Succeeded(bytes) | Self::Failed(bytes) | Self::Cancelled(bytes)) = self;
        bytes
    }
}

/// Whether a report about an attempt counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    Yes,
    /// Not the current attempt, or the job has ended; nothing was changed.
    Stale,
}

/// What became of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// Queued again, due at the time given.
    Queued,
    /// That was the last permitted attempt: the job failed, with the outcome given.
    Failed,
    Stale,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job ended as cancelled; `running` when its owner had claimed it and must be told.
    Now {
        running: bool,
    },
    AlreadyEnded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    Queued,
    /// Claimed in this process, or reported as started.
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What is known of a job, without its payload and outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub function: FunctionKey,
    pub shard: Shard,
    pub details: Bytes,
    pub idempotency_key: Option<String>,
    pub state: JobState,
    /// Attempts that were started and recorded.
    pub attempts: u32,
    pub max_attempts: u32,
    /// Attempts that could not run, apart from those above.
    pub broken: u32,
    /// Why it waits, when its last attempt could not run.
    pub waiting: Option<String>,
    pub created_at_ms: u64,
    pub due_at_ms: u64,
    pub started_at_ms: Option<u64>,
    pub finished_at_ms: Option<u64>,
}

/// How much waits for a function: queued or running, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub count: u64,
    /// When the oldest was recorded (milliseconds since 1970).
    pub oldest_ms: Option<u64>,
}

/// Which jobs to list; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    pub environment: Option<String>,
    pub app: Option<String>,
    pub state: Option<JobState>,
}

impl JobFilter {
    pub(crate) fn admits(&self, job: &Job) -> bool {
        self.environment
            .as_ref()
            .is_none_or(|environment| *environment == job.function.environment)
            && self.app.as_ref().is_none_or(|app| *app == job.function.app)
            && self.state.is_none_or(|state| state == job.state)
    }
}

/// Durable jobs, in the same transaction domain as [`crate::MetaStore`].
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Records the jobs, in one transaction; durable on return. One answer each, in order.
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>>;

    /// Up to `max` due jobs of the shard that this process has not claimed in this epoch, oldest first.
    /// Writes nothing. A claim lasts until the job ends, is retried or unclaimed, or the epoch does.
    ///
    /// # Errors
    /// [`crate::Conflict::Epoch`] when the shard's lease is not held in that epoch.
    async fn claim(&self, shard: Shard, epoch: Epoch, max: u32) -> Result<Vec<Claimed>>;

    /// As [`JobStore::claim`], over many shards, fairly by group: while there is room, a job of the
    /// group with the fewest in hand is next. Shards whose lease is not held in the epoch given are
    /// left out.
    async fn claim_in_turn(&self, turn: Turn) -> Result<Turned>;

    /// As [`JobStore::claim`], of these jobs only, in their order; what cannot be claimed now is left out.
    async fn claim_these(
        &self,
        shard: Shard,
        epoch: Epoch,
        ids: Vec<JobId>,
    ) -> Result<Vec<Claimed>>;

    /// Hands claimed jobs back without having run them, so that they can be claimed again.
    async fn unclaim(&self, jobs: Vec<JobId>) -> Result<()>;

    /// Records that attempts run, so that they count even if their owner dies.
    async fn started(&self, attempts: Vec<(JobId, Attempt)>) -> Result<Vec<Accepted>>;

    /// Ends an attempt without ending its job, which is due again at `due_at_ms`; ends the job with
    /// `failure` when no attempts are left.
    async fn retry(
        &self,
        id: JobId,
        attempt: Attempt,
        due_at_ms: u64,
        failure: Bytes,
    ) -> Result<Retried>;

    /// Ends an attempt that could not run, or was interrupted: the job is queued again, for this or
    /// another owner.
    async fn give_back(&self, id: JobId, attempt: Attempt, back: Back) -> Result<Accepted>;

    /// Adds blobs to those the job needs, as a result that is too large for a record; to be called before the result
    /// that names them is recorded. Collection spares them while the job is kept.
    async fn keep_blobs(&self, id: JobId, attempt: Attempt, blobs: Vec<Digest>)
    -> Result<Accepted>;

    /// Ends jobs. Only the current attempt's outcome is taken.
    async fn finish(&self, done: Vec<(JobId, Attempt, Outcome)>) -> Result<Vec<Accepted>>;

    /// Ends a job as cancelled, claimed or not.
    ///
    /// # Errors
    /// [`crate::Error::JobNotFound`].
    async fn cancel(&self, id: &JobId, reason: Bytes) -> Result<Cancelled>;

    async fn job(&self, id: &JobId) -> Result<Option<Job>>;

    /// Those of `ids` that have ended, or are not known.
    async fn ended(&self, ids: Vec<JobId>) -> Result<Vec<JobId>>;

    /// How the job ended; waits up to `wait` for it to end. None: it has not.
    ///
    /// # Errors
    /// [`crate::Error::JobNotFound`].
    async fn result(&self, id: &JobId, wait: Duration) -> Result<Option<Outcome>>;

    async fn depth(&self, function: &FunctionKey) -> Result<Depth>;

    /// Newest first.
    async fn list(&self, filter: JobFilter, limit: u32) -> Result<Vec<Job>>;

    /// Shards with due jobs, claimed or not.
    async fn due_shards(&self) -> Result<Vec<Shard>>;

    /// Blobs that kept jobs name.
    async fn live_blobs(&self) -> Result<Vec<Digest>>;

    /// Forgets jobs that ended longer ago than results are kept, by the time that has passed since,
    /// not by the clock; returns how many.
    async fn expire(&self) -> Result<u64>;
}

/// The stored part of an attempt's life; the rule both engines apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// Attempts recorded as started, or ended by a retry.
    pub(crate) recorded: u32,
    /// The epoch of the last recorded one while it runs; none when it was given up.
    pub(crate) open: Option<Epoch>,
    /// Earlier ones whose owner went down under them.
    pub(crate) lost: u32,
    /// Those that could not run.
    pub(crate) broken: u32,
}

impl Attempts {
    /// The attempt the owner in `epoch` has, or would get by a claim.
    pub(crate) fn current(self, epoch: Epoch) -> Attempt {
        let number = match self.open {
            Some(open) if open == epoch => self.recorded,
            _ => self.recorded.saturating_add(1),
        };
        Attempt { epoch, number }
    }

    /// Attempts whose owner went down under them, as the owner in `epoch` sees it.
    pub(crate) fn lost(self, epoch: Epoch) -> u32 {
        let last = self.open.is_some_and(|open| open != epoch);
        self.lost.saturating_add(u32::from(last))
    }

    pub(crate) fn start(self, attempt: Attempt) -> Self {
        Self {
            recorded: attempt.number,
            open: Some(attempt.epoch),
            lost: self.lost(attempt.epoch),
            ..self
        }
    }

    pub(crate) fn give_up(self, attempt: Attempt) -> Self {
        Self {
            recorded: attempt.number,
            open: None,
            lost: self.lost(attempt.epoch),
            ..self
        }
    }

    pub(crate) fn give_back(self, attempt: Attempt, ran: bool) -> Self {
        let given_up = self.give_up(attempt);
        match ran {
            true => given_up,
            false => Self {
                recorded: attempt.number.saturating_sub(1),
                broken: self.broken.saturating_add(1),
                ..given_up
            },
        }
    }
}

/// When a job that is put off is due; 0 is at once, whatever the clock says later.
pub(crate) fn due_after(delay: Duration, now_ms: u64) -> u64 {
    match delay.min(LONGEST_DELAY) {
        Duration::ZERO => 0,
        delay => now_ms + crate::clock::millis(delay),
    }
}

/// Due times after this are a step of the clock, where the job was put off by this store.
pub(crate) fn too_far(now_ms: u64) -> u64 {
    now_ms + crate::clock::millis(LONGEST_DELAY)
}

/// What there is to claim of a group, oldest first, jobs that were put off before others.
pub(crate) struct Waiting<S> {
    in_hand: usize,
    jobs: std::vec::IntoIter<S>,
}

impl<S> Waiting<S> {
    pub(crate) fn new(turn: &Turn, group: &str, mut jobs: Vec<S>) -> Self {
        let in_hand = turn.in_hand.get(group).copied().unwrap_or_default();
        if turn.one_of.contains(group) {
            jobs.truncate(1_usize.saturating_sub(in_hand));
        }
        Self {
            in_hand,
            jobs: jobs.into_iter(),
        }
    }
}

/// Shares `room` between groups: the next job is of the one with the fewest in hand. Then `beyond`,
/// one for each that has none. Answers whether something was left.
pub(crate) fn share<S>(mut groups: Vec<Waiting<S>>, room: usize, beyond: usize) -> (Vec<S>, bool) {
    let mut chosen = Vec::new();
    let by_hand = |groups: &[Waiting<S>]| {
        let fewest = groups.iter().enumerate();
        let fewest = fewest.filter(|(_, group)| group.jobs.len() > 0);
        fewest
            .min_by_key(|(_, group)| group.in_hand)
            .map(|(place, _)| place)
    };
    while let Some(place) = by_hand(&groups) {
        let group = &mut groups[place];
        let allowed =
            chosen.len() < room || group.in_hand == 0 && chosen.len() < room.saturating_add(beyond);
        if !allowed {
            return (chosen, true);
        }
        group.in_hand += 1;
        chosen.extend(group.jobs.next());
    }
    (chosen, false)
}
