//! `JobStore`: durable calls. Recorded before they are answered, run at least once, finished once.
//!
//! A job is queued until an outcome is accepted. It belongs to one of [`SHARDS`] shards by its function;
//! the node that holds the shard's lease claims its jobs into memory, which writes nothing: ownership
//! is the lease, and an attempt is named by the lease's epoch and a number. Only the current attempt's
//! outcome is accepted, so an owner that lost its lease, or an attempt that was given up, changes nothing.
//!
//! What is in memory is lost in a crash, and meant to be: the next epoch claims those jobs again. An
//! attempt that may take its owner down is recorded with [`JobStore::started`] and then counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use crate::leases::name;
use crate::{Epoch, LeaseName, Result};

/// Number of shards: enough for 256 nodes to share the work, few enough to look at each every second.
pub const SHARDS: usize = 256;

/// How long results are kept unless the store is told otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

name!(
    /// A job's name, chosen by the caller, unique in the installation; the id of its call.
    JobId
);

/// Part of the job space, owned by one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u8);

impl Shard {
    /// The shard of a function's jobs.
    pub fn of(function: &FunctionKey) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [&function.environment, &function.app, &function.function] {
            hasher
                .update(&(part.len() as u64).to_le_bytes())
                .update(part.as_bytes());
        }
        Self(hasher.finalize().as_bytes()[0])
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
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
    /// What to run it with; opaque here. Above some 100 KB better a blob named in `blobs`.
    pub payload: Bytes,
    /// A few bytes that listings carry; opaque here.
    pub details: Bytes,
    /// A second job of the same function with the same key is a duplicate, until the first expires.
    pub idempotency_key: Option<String>,
    /// Not claimed before this time (milliseconds since 1970). None: at once.
    pub due_at_ms: Option<u64>,
    /// From 1. After so many attempts a retry fails the job instead.
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
    pub attempt: Attempt,
}

impl Claimed {
    /// All permitted attempts were started before, the last one without an end: it took its owner down.
    /// To be finished as failed, not run.
    pub fn exhausted(&self) -> bool {
        self.attempt.number > self.job.max_attempts
    }
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

    /// Forgets jobs that ended longer ago than results are kept; returns how many.
    async fn expire(&self) -> Result<u64>;
}

/// The stored part of an attempt's life; the rule both engines apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// Attempts recorded as started, or ended by a retry.
    pub(crate) recorded: u32,
    /// The epoch of the last recorded one while it runs; none when it was given up.
    pub(crate) open: Option<Epoch>,
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

    pub(crate) fn start(self, attempt: Attempt) -> Self {
        Self {
            recorded: attempt.number,
            open: Some(attempt.epoch),
        }
    }

    pub(crate) fn give_up(self, attempt: Attempt) -> Self {
        Self {
            recorded: attempt.number,
            open: None,
        }
    }
}
