//! Rows of the table `jobs` as Rust values.

use lydian_value::Digest;
use rusqlite::Row;

use crate::jobs::Attempts;
use crate::{FunctionKey, Job, JobId, JobState, Outcome, Shard};

/// What [`job`] reads, in its order.
pub(super) const JOB: &str =
    "seq, id, environment, app, function, shard, details, idempotency_key, state,
    attempts, open_epoch, max_attempts, created_ms, due_ms, started_ms, finished_ms,
    lost, broken, waiting";
/// Columns of [`JOB`].
pub(super) const COLUMNS: usize = 19;

/// A job as stored: `running` still to be told from the claims.
pub(super) struct JobRow {
    pub(super) seq: i64,
    pub(super) job: Job,
    pub(super) attempts: Attempts,
}

pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let attempts = Attempts {
        recorded: row.get(9)?,
        open: row.get(10)?,
        lost: row.get(16)?,
        broken: row.get(17)?,
    };
    let created_at_ms = row.get(12)?;
    let job = Job {
        id: JobId::from(row.get::<_, String>(1)?),
        function: FunctionKey {
            environment: row.get(2)?,
            app: row.get(3)?,
            function: row.get(4)?,
        },
        shard: Shard(row.get(5)?),
        details: super::meta::bytes(row, 6)?,
        idempotency_key: row.get(7)?,
        state: state(row.get(8)?),
        attempts: attempts.recorded,
        max_attempts: row.get(11)?,
        broken: attempts.broken,
        waiting: row.get(18)?,
        created_at_ms,
        due_at_ms: match row.get(13)? {
            0 => created_at_ms,
            due => due,
        },
        started_at_ms: row.get(14)?,
        finished_at_ms: row.get(15)?,
    };
    Ok(JobRow {
        seq: row.get(0)?,
        job,
        attempts,
    })
}

/// As stored: 0 until the job ends.
pub(super) fn state_number(state: JobState) -> u8 {
    match state {
        JobState::Queued | JobState::Running => 0,
        JobState::Succeeded => 1,
        JobState::Failed => 2,
        JobState::Cancelled => 3,
    }
}

fn state(number: u8) -> JobState {
    match number {
        1 => JobState::Succeeded,
        2 => JobState::Failed,
        3 => JobState::Cancelled,
        _ => JobState::Queued,
    }
}

/// How a job ended, from its state and outcome; none while it has not.
pub(super) fn outcome(row: &Row<'_>) -> rusqlite::Result<Option<Outcome>> {
    let bytes = row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default().into();
    Ok(match state(row.get(0)?) {
        JobState::Succeeded => Some(Outcome::Succeeded(bytes)),
        JobState::Failed => Some(Outcome::Failed(bytes)),
        JobState::Cancelled => Some(Outcome::Cancelled(bytes)),
        JobState::Queued | JobState::Running => None,
    })
}

/// Digests one after the other.
pub(super) fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    bytes
        .chunks_exact(32)
        .filter_map(|raw| Digest::try_from(raw).ok())
}
