//! `JobStore` on SQLite.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::claims::{Claims, Locked};
use super::rows::{self, COLUMNS, JOB, JobRow};
use super::{Failed, SqliteStore, Tx, writer};
use crate::clock::storable;
use crate::jobs::{Attempts, GROUPS_AT_ONCE, OF_GROUP_AT_ONCE, Waiting, due_after, share, too_far};
use crate::notify::POLL;
use crate::{
    Accepted, Attempt, Back, Cancelled, Claimed, Conflict, Depth, Enqueued, Epoch, Error,
    FunctionKey, Job, JobFilter, JobId, JobState, JobStore, NewJob, Outcome, Result, Retried,
    Shard, Turn, Turned,
};

/// Whether a job is due at `?2`. One that was put off by longer than `?3` allows was so before a
/// step of the clock.
const DUE: &str = "(due_ms <= ?2 OR (broken > 0 AND due_ms > ?3))";

/// Ended jobs forgotten in one transaction.
const EXPIRY: u32 = 1_000;

#[async_trait]
impl JobStore for SqliteStore {
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>> {
        let bytes = jobs.iter().map(size).sum();
        self.write(bytes, move |tx| {
            jobs.into_iter().map(|job| enqueue(tx, job)).collect()
        })
        .await
    }

    async fn claim(&self, shard: Shard, epoch: Epoch, max: u32) -> Result<Vec<Claimed>> {
        let (claims, now) = (self.0.claims.clone(), self.0.clock.now_ms());
        let taken = self
            .read(move |connection| {
                let which = Which::Oldest(max as usize);
                claim(connection, claims, shard, epoch, which, now)
            })
            .await?;
        Ok(taken.keep())
    }

    async fn claim_in_turn(&self, turn: Turn) -> Result<Turned> {
        let (claims, now) = (self.0.claims.clone(), self.0.clock.now_ms());
        let (taken, after, more) = self
            .read(move |connection| claim_in_turn(connection, claims, turn, now))
            .await?;
        let claimed = taken.keep();
        Ok(Turned {
            claimed,
            after,
            more,
        })
    }

    async fn claim_these(
        &self,
        shard: Shard,
        epoch: Epoch,
        ids: Vec<JobId>,
    ) -> Result<Vec<Claimed>> {
        let (claims, now) = (self.0.claims.clone(), self.0.clock.now_ms());
        let taken = self
            .read(move |connection| {
                claim(connection, claims, shard, epoch, Which::These(&ids), now)
            })
            .await?;
        Ok(taken.keep())
    }

    async fn unclaim(&self, jobs: Vec<JobId>) -> Result<()> {
        let claims = self.0.claims.clone();
        self.read(move |connection| {
            for id in &jobs {
                if let Some(row) = find(connection, id)? {
                    claims.release(row.job.shard, row.seq);
                }
            }
            Ok(())
        })
        .await
    }

    async fn started(&self, attempts: Vec<(JobId, Attempt)>) -> Result<Vec<Accepted>> {
        self.write(0, move |tx| {
            attempts
                .into_iter()
                .map(|(id, attempt)| started(tx, &id, attempt))
                .collect()
        })
        .await
    }

    async fn retry(
        &self,
        id: JobId,
        attempt: Attempt,
        due_at_ms: u64,
        failure: Bytes,
    ) -> Result<Retried> {
        self.write(failure.len() as u64, move |tx| {
            retry(tx, id, attempt, due_at_ms, failure)
        })
        .await
    }

    async fn give_back(&self, id: JobId, attempt: Attempt, back: Back) -> Result<Accepted> {
        let bytes = back.reason.as_ref().map_or(0, String::len) as u64;
        self.write(bytes, move |tx| give_back(tx, &id, attempt, &back))
            .await
    }

    async fn keep_blobs(
        &self,
        id: JobId,
        attempt: Attempt,
        blobs: Vec<Digest>,
    ) -> Result<Accepted> {
        let added: Vec<u8> = blobs.iter().flat_map(|one| *one.as_bytes()).collect();
        self.write(added.len() as u64, move |tx| {
            let Some(row) = current(tx, &id, attempt)? else {
                return Ok(Accepted::Stale);
            };
            tx.sql(|connection| {
                // `||` makes text of two blobs, so it is told that they are none.
                let mut update = connection.prepare_cached(
                    "UPDATE calls SET blobs = CAST(blobs || ?2 AS BLOB) WHERE seq = ?1",
                )?;
                update.execute(params![row.seq, added])?;
                Ok(Accepted::Yes)
            })
        })
        .await
    }

    async fn finish(&self, done: Vec<(JobId, Attempt, Outcome)>) -> Result<Vec<Accepted>> {
        let bytes = done
            .iter()
            .map(|(_, _, outcome)| outcome.bytes().len() as u64)
            .sum();
        self.write(bytes, move |tx| {
            done.into_iter()
                .map(|(id, attempt, outcome)| finish(tx, id, attempt, &outcome))
                .collect()
        })
        .await
    }

    async fn cancel(&self, id: &JobId, reason: Bytes) -> Result<Cancelled> {
        let (id, claims) = (id.clone(), self.0.claims.clone());
        self.write(reason.len() as u64, move |tx| {
            let row = tx.sql(|connection| find(connection, &id))?;
            let Some(row) = row else {
                return Err(Error::JobNotFound { id });
            };
            if row.job.state.ended() {
                return Ok(Cancelled::AlreadyEnded);
            }
            let running = shown(&claims, &row).state == JobState::Running;
            end(tx, &row, row.attempts.recorded, &Outcome::Cancelled(reason))?;
            Ok(Cancelled::Now { running })
        })
        .await
    }

    async fn job(&self, id: &JobId) -> Result<Option<Job>> {
        let (id, claims) = (id.clone(), self.0.claims.clone());
        self.read(move |connection| Ok(find(connection, &id)?.map(|row| shown(&claims, &row))))
            .await
    }

    async fn ended(&self, ids: Vec<JobId>) -> Result<Vec<JobId>> {
        self.read(move |connection| {
            let mut runs =
                connection.prepare_cached("SELECT 1 FROM calls WHERE id = ?1 AND state = 0")?;
            let mut ended = Vec::new();
            for id in ids {
                if !runs.exists([id.as_str()])? {
                    ended.push(id);
                }
            }
            Ok(ended)
        })
        .await
    }

    async fn result(&self, id: &JobId, wait: Duration) -> Result<Option<Outcome>> {
        let look = || {
            let id = id.clone();
            self.read(move |connection| {
                let mut select =
                    connection.prepare_cached("SELECT state, outcome FROM calls WHERE id = ?1")?;
                let found = select.query_row([id.as_str()], rows::outcome).optional()?;
                found.ok_or_else(|| Error::JobNotFound { id }.into())
            })
        };
        let watch = || self.watch_ends();
        self.0.hub.wait_for_end(id, wait, watch, look).await
    }

    async fn depth(&self, function: &FunctionKey) -> Result<Depth> {
        let function = function.clone();
        self.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT count(*), min(created_ms) FROM calls
                 WHERE state = 0 AND environment = ?1 AND app = ?2 AND function = ?3",
            )?;
            let FunctionKey {
                environment,
                app,
                function,
            } = &function;
            Ok(select.query_row([environment, app, function], |row| {
                Ok(Depth {
                    count: row.get(0)?,
                    oldest_ms: row.get(1)?,
                })
            })?)
        })
        .await
    }

    async fn list(&self, filter: JobFilter, limit: u32) -> Result<Vec<Job>> {
        let claims = self.0.claims.clone();
        self.read(move |connection| list(connection, &claims, &filter, limit as usize))
            .await
    }

    async fn due_shards(&self) -> Result<Vec<Shard>> {
        let now = self.0.clock.now_ms();
        self.read(move |connection| {
            // Steps through the index from one shard with jobs to the next.
            let mut select = connection.prepare_cached(
                "WITH RECURSIVE waiting (shard) AS (
                    SELECT min(shard) FROM calls WHERE state = 0
                    UNION ALL
                    SELECT (SELECT min(shard) FROM calls WHERE state = 0 AND shard > waiting.shard)
                    FROM waiting WHERE waiting.shard IS NOT NULL)
                 SELECT shard FROM waiting WHERE EXISTS
                    (SELECT 1 FROM calls WHERE state = 0 AND shard = waiting.shard
                        AND (due_ms <= ?1 OR (broken > 0 AND due_ms > ?2)))",
            )?;
            let shards = select.query_map([now, too_far(now)], |row| row.get(0).map(Shard))?;
            Ok(shards.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn live_blobs(&self) -> Result<Vec<Digest>> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT blobs FROM calls WHERE blobs <> x''")?;
            let rows = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            let mut live = Vec::new();
            for bytes in rows {
                live.extend(rows::digests(&bytes?));
            }
            Ok(live)
        })
        .await
    }

    async fn expire(&self) -> Result<u64> {
        let steady = self.0.steady.now_ms();
        let before = steady.saturating_sub(self.0.retention_ms);
        let mut forgotten = 0;
        loop {
            let expire = "DELETE FROM calls WHERE seq IN
                (SELECT seq FROM calls WHERE ended_steady_ms IS NOT NULL AND ended_steady_ms <= ?1 LIMIT ?2)";
            let count = self
                .write(0, move |tx| {
                    let now = tx.now_ms;
                    tx.sql(|connection| {
                        writer::keep_time(connection, steady, now)?;
                        Ok(connection
                            .prepare_cached(expire)?
                            .execute(params![before, EXPIRY])?)
                    })
                })
                .await?;
            forgotten += count as u64;
            if count < EXPIRY as usize {
                return Ok(forgotten);
            }
        }
    }
}

impl SqliteStore {
    /// Looks for ends that other processes record, once for all who wait here, as long as anybody
    /// does.
    fn watch_ends(&self) {
        if !self.0.hub.watch() {
            return;
        }
        let (hub, store) = (self.0.hub.clone(), Arc::downgrade(&self.0));
        tokio::spawn(async move {
            while let Some(ids) = hub.awaited() {
                tokio::time::sleep(POLL).await;
                // Not kept from closing by this.
                let Some(shared) = store.upgrade() else {
                    return;
                };
                match SqliteStore(shared).ended(ids).await {
                    Ok(ended) => ended.iter().for_each(|id| hub.ended(id)),
                    Err(error) => tracing::debug!(%error, "cannot look for ends"),
                }
            }
        });
    }
}

/// About what a job adds to the file.
pub(super) fn size(job: &NewJob) -> u64 {
    (job.payload.len() + job.details.len() + 32 * job.blobs.len()) as u64
}

pub(super) fn enqueue(tx: &Tx<'_>, job: NewJob) -> Result<Enqueued> {
    let now = tx.now_ms;
    tx.sql(|connection| {
        let FunctionKey { environment, app, function } = &job.function;
        let mut taken = connection.prepare_cached("SELECT id FROM calls WHERE id = ?1")?;
        let mut by_key = connection.prepare_cached(
            "SELECT id, request FROM calls WHERE environment = ?1 AND app = ?2 AND function = ?3 AND idempotency_key = ?4",
        )?;
        let present: Option<String> = taken.query_row([job.id.as_str()], |row| row.get(0)).optional()?;
        if let Some(id) = present {
            return Ok(Enqueued::Duplicate(id.into()));
        }
        if let Some(key) = &job.idempotency_key {
            let found = by_key.query_row([environment, app, function, key], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
            });
            if let Some((id, request)) = found.optional()? {
                let same = match (&request, &job.request) {
                    (Some(first), Some(again)) => first[..] == again.as_bytes()[..],
                    // Recorded by a release that did not note it.
                    _ => true,
                };
                return Ok(match same {
                    true => Enqueued::Duplicate(id.into()),
                    false => Enqueued::OtherRequest(id.into()),
                });
            }
        }
        let blobs: Vec<u8> = job.blobs.iter().flat_map(|digest| *digest.as_bytes()).collect();
        let mut insert = connection.prepare_cached(
            "INSERT INTO calls (id, environment, app, function, shard, idempotency_key, state, attempts,
                max_attempts, created_ms, due_ms, details, blobs, payload, in_group, request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        insert.execute(params![
            job.id.as_str(),
            environment,
            app,
            function,
            job.shard.unwrap_or_else(|| Shard::of(&job.id)).0,
            job.idempotency_key,
            job.max_attempts,
            now,
            job.due_at_ms.map_or(0, |due| if due <= now { 0 } else { storable(due) }),
            &job.details[..],
            blobs,
            &job.payload[..],
            job.group,
            job.request.as_ref().map(|digest| &digest.as_bytes()[..]),
        ])?;
        Ok(Enqueued::New(job.id))
    })
}

pub(super) fn is_current(tx: &Tx<'_>, id: &JobId, attempt: Attempt) -> Result<bool> {
    current(tx, id, attempt).map(|row| row.is_some())
}

/// The job, if this is its current attempt.
fn current(tx: &Tx<'_>, id: &JobId, attempt: Attempt) -> Result<Option<JobRow>> {
    let Some(row) = tx.sql(|connection| find(connection, id))? else {
        return Ok(None);
    };
    let current = !row.job.state.ended()
        && tx.epoch(&row.job.shard.lease())? == Some(attempt.epoch)
        && row.attempts.current(attempt.epoch) == attempt;
    Ok(current.then_some(row))
}

fn started(tx: &Tx<'_>, id: &JobId, attempt: Attempt) -> Result<Accepted> {
    let Some(row) = current(tx, id, attempt)? else {
        return Ok(Accepted::Stale);
    };
    let now = tx.now_ms;
    tx.sql(|connection| {
        let mut update = connection.prepare_cached(
            "UPDATE calls SET attempts = ?2, open_epoch = ?3, started_ms = ifnull(started_ms, ?4), lost = ?5, waiting = NULL
             WHERE seq = ?1",
        )?;
        let attempts = row.attempts.start(attempt);
        update.execute(params![row.seq, attempts.recorded, attempts.open, now, attempts.lost])?;
        Ok(Accepted::Yes)
    })
}

fn retry(
    tx: &mut Tx<'_>,
    id: JobId,
    attempt: Attempt,
    due_at_ms: u64,
    failure: Bytes,
) -> Result<Retried> {
    let Some(row) = current(tx, &id, attempt)? else {
        return Ok(Retried::Stale);
    };
    let attempts = row.attempts.give_up(attempt);
    if attempt.number >= row.job.max_attempts {
        end(tx, &row, attempts.recorded, &Outcome::Failed(failure))?;
        return Ok(Retried::Failed);
    }
    tx.sql(|connection| {
        let mut update = connection.prepare_cached(
            "UPDATE calls SET attempts = ?2, open_epoch = NULL, due_ms = ?3, lost = ?4 WHERE seq = ?1",
        )?;
        let due = storable(due_at_ms);
        Ok(update.execute(params![row.seq, attempts.recorded, due, attempts.lost])?)
    })?;
    tx.released(row.job.shard, row.seq);
    Ok(Retried::Queued)
}

fn give_back(tx: &mut Tx<'_>, id: &JobId, attempt: Attempt, back: &Back) -> Result<Accepted> {
    let Some(row) = current(tx, id, attempt)? else {
        return Ok(Accepted::Stale);
    };
    let attempts = row.attempts.give_back(attempt, back.ran);
    let due = due_after(back.delay, tx.now_ms);
    tx.sql(|connection| {
        let mut update = connection.prepare_cached(
            "UPDATE calls SET attempts = ?2, open_epoch = NULL, due_ms = ?3, lost = ?4, broken = ?5, waiting = ?6
             WHERE seq = ?1",
        )?;
        let Attempts { recorded, lost, broken, .. } = attempts;
        Ok(update.execute(params![row.seq, recorded, due, lost, broken, back.reason])?)
    })?;
    tx.released(row.job.shard, row.seq);
    Ok(Accepted::Yes)
}

pub(super) fn finish(
    tx: &mut Tx<'_>,
    id: JobId,
    attempt: Attempt,
    outcome: &Outcome,
) -> Result<Accepted> {
    let Some(row) = current(tx, &id, attempt)? else {
        return Ok(Accepted::Stale);
    };
    end(tx, &row, row.attempts.give_up(attempt).recorded, outcome)?;
    Ok(Accepted::Yes)
}

fn end(tx: &mut Tx<'_>, row: &JobRow, attempts: u32, outcome: &Outcome) -> Result<()> {
    let (now, steady) = (tx.now_ms, tx.steady_ms);
    tx.sql(|connection| {
        let mut update = connection.prepare_cached(
            "UPDATE calls SET state = ?2, attempts = ?3, open_epoch = NULL, finished_ms = ?4, outcome = ?5,
                waiting = NULL, ended_steady_ms = ?6
             WHERE seq = ?1",
        )?;
        let state = rows::state_number(outcome.state());
        Ok(update.execute(params![row.seq, state, attempts, now, &outcome.bytes()[..], steady])?)
    })?;
    tx.ended(row.job.id.clone(), row.job.shard, row.seq);
    Ok(())
}

fn find(connection: &Connection, id: &JobId) -> Result<Option<JobRow>, Failed> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {JOB} FROM calls WHERE id = ?1"))?;
    Ok(select.query_row([id.as_str()], rows::job).optional()?)
}

/// The job as its claims make it.
fn shown(claims: &Claims, row: &JobRow) -> Job {
    let mut job = row.job.clone();
    let running = row.attempts.open.is_some() || claims.contains(job.shard, row.seq);
    if job.state == JobState::Queued && running {
        job.state = JobState::Running;
    }
    job
}

/// Claimed jobs on their way to the caller; claims that never reach it are given back.
struct Taken {
    claims: Arc<Claims>,
    jobs: Vec<(i64, Claimed)>,
}

impl Taken {
    fn keep(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.jobs)
            .into_iter()
            .map(|(_, claimed)| claimed)
            .collect()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.jobs
            .iter()
            .for_each(|(seq, claimed)| self.claims.release(claimed.job.shard, *seq));
    }
}

/// What to claim of a shard.
enum Which<'a> {
    /// So many at most.
    Oldest(usize),
    These(&'a [JobId]),
}

fn claim(
    connection: &Connection,
    claims: Arc<Claims>,
    shard: Shard,
    epoch: Epoch,
    which: Which<'_>,
    now: u64,
) -> Result<Taken, Failed> {
    let mut taken = Taken::none(&claims);
    let mut locked = claims.lock();
    let lease = shard.lease();
    if writer::epoch(connection, &lease)? != Some(epoch) {
        return Err(Conflict::Epoch { lease, epoch }.into());
    }
    let claimed = locked.in_epoch(shard, epoch);
    let free = match which {
        Which::Oldest(max) => oldest(connection, claimed, shard, now, max)?,
        Which::These(ids) => these(connection, claimed, shard, now, ids)?,
    };
    for seq in free {
        taken.take(connection, &mut locked, seq, shard, epoch)?;
    }
    Ok(taken)
}

impl Taken {
    fn none(claims: &Arc<Claims>) -> Self {
        Self {
            claims: claims.clone(),
            jobs: Vec::new(),
        }
    }

    fn take(
        &mut self,
        connection: &Connection,
        locked: &mut Locked<'_>,
        seq: i64,
        shard: Shard,
        epoch: Epoch,
    ) -> Result<(), Failed> {
        let mut select = connection.prepare_cached(&format!(
            "SELECT {JOB}, payload, in_group FROM calls WHERE seq = ?1"
        ))?;
        let (row, payload, group) = select.query_row([seq], |row| {
            let payload = super::meta::bytes(row, COLUMNS)?;
            Ok((rows::job(row)?, payload, row.get(COLUMNS + 1)?))
        })?;
        let job = Job {
            state: JobState::Running,
            ..row.job
        };
        locked.in_epoch(shard, epoch).insert(seq);
        self.jobs.push((
            seq,
            Claimed {
                job,
                payload,
                group,
                attempt: row.attempts.current(epoch),
                lost: row.attempts.lost(epoch),
            },
        ));
        Ok(())
    }
}

fn claim_in_turn(
    connection: &Connection,
    claims: Arc<Claims>,
    turn: Turn,
    now: u64,
) -> Result<(Taken, String, bool), Failed> {
    let mut taken = Taken::none(&claims);
    let mut locked = claims.lock();
    let held: HashMap<Shard, Epoch> = turn.held.iter().copied().collect();
    let groups = groups(connection, &turn.after)?;
    let after = groups.last().cloned().unwrap_or_default();
    // What is left of a group that had more than is looked at.
    let mut cut = groups.len() == GROUPS_AT_ONCE;
    let mut waiting = Vec::new();
    for group in groups
        .into_iter()
        .filter(|group| !turn.skip.contains(group))
    {
        let jobs = of_group(connection, &mut locked, &group, &held, now)?;
        cut |= jobs.len() == OF_GROUP_AT_ONCE;
        waiting.push(Waiting::new(&turn, &group, jobs));
    }
    let (chosen, left) = share(waiting, turn.room, turn.beyond);
    let more = !left && cut && !chosen.is_empty();
    let mut is_held = HashMap::new();
    for (seq, shard, epoch) in chosen {
        let is_held = match is_held.entry(shard) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                *place.insert(writer::epoch(connection, &shard.lease())? == Some(epoch))
            }
        };
        if is_held {
            taken.take(connection, &mut locked, seq, shard, epoch)?;
        }
    }
    drop(locked);
    Ok((taken, after, more))
}

/// Groups with something to do, in their order from `after` on and then from the first.
fn groups(connection: &Connection, after: &str) -> Result<Vec<String>, Failed> {
    let mut next = connection.prepare_cached(
        "SELECT in_group FROM calls WHERE state = 0 AND in_group > ?1 ORDER BY in_group LIMIT 1",
    )?;
    let mut first = connection
        .prepare_cached("SELECT in_group FROM calls WHERE state = 0 ORDER BY in_group LIMIT 1")?;
    let mut groups: Vec<String> = Vec::new();
    let mut from_first = false;
    let mut place = Some(after.to_owned());
    while groups.len() < GROUPS_AT_ONCE {
        let found: Option<String> = match &place {
            Some(place) => next.query_row([place], |row| row.get(0)).optional()?,
            None => first.query_row([], |row| row.get(0)).optional()?,
        };
        match found {
            Some(group) if from_first && group.as_str() > after => break,
            Some(group) => {
                place = Some(group.clone());
                groups.push(group);
            }
            None if from_first => break,
            None => (from_first, place) = (true, None),
        }
    }
    Ok(groups)
}

/// Jobs of a group that can be claimed: some of those that were put off and are due again, then the
/// oldest others.
fn of_group(
    connection: &Connection,
    locked: &mut Locked<'_>,
    group: &str,
    held: &HashMap<Shard, Epoch>,
    now: u64,
) -> Result<Vec<(i64, Shard, Epoch)>, Failed> {
    let mut late = connection.prepare_cached(
        "SELECT seq, shard FROM calls WHERE state = 0 AND in_group = ?1 AND due_ms > 0
            AND (due_ms <= ?2 OR (broken > 0 AND due_ms > ?3))
         ORDER BY due_ms, seq",
    )?;
    let mut at_once = connection.prepare_cached(
        "SELECT seq, shard FROM calls WHERE state = 0 AND in_group = ?1 AND due_ms = 0 ORDER BY seq",
    )?;
    let mut free = Vec::new();
    let mut take = |rows: &mut rusqlite::Rows<'_>, max: usize| -> Result<(), Failed> {
        while free.len() < max
            && let Some(row) = rows.next()?
        {
            let (seq, shard) = (row.get(0)?, Shard(row.get(1)?));
            if let Some(epoch) = held.get(&shard)
                && !locked.in_epoch(shard, *epoch).contains(&seq)
            {
                free.push((seq, shard, *epoch));
            }
        }
        Ok(())
    };
    take(
        &mut late.query(params![group, now, too_far(now)])?,
        OF_GROUP_AT_ONCE / 4,
    )?;
    take(&mut at_once.query([group])?, OF_GROUP_AT_ONCE)?;
    Ok(free)
}

/// The oldest due jobs that are not claimed.
fn oldest(
    connection: &Connection,
    claimed: &HashSet<i64>,
    shard: Shard,
    now: u64,
    max: usize,
) -> Result<Vec<i64>, Failed> {
    let mut due = connection.prepare_cached(&format!(
        "SELECT seq FROM calls WHERE state = 0 AND shard = ?1 AND {DUE} ORDER BY due_ms, seq"
    ))?;
    let mut rows = due.query(params![shard.0, now, too_far(now)])?;
    let mut free: Vec<i64> = Vec::new();
    while free.len() < max
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        if !claimed.contains(&seq) {
            free.push(seq);
        }
    }
    Ok(free)
}

/// Those of `ids` that are due and not claimed.
fn these(
    connection: &Connection,
    claimed: &HashSet<i64>,
    shard: Shard,
    now: u64,
    ids: &[JobId],
) -> Result<Vec<i64>, Failed> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT seq FROM calls WHERE id = ?4 AND state = 0 AND shard = ?1 AND {DUE}"
    ))?;
    let mut free: Vec<i64> = Vec::new();
    for id in ids {
        let found = find.query_row(params![shard.0, now, too_far(now), id.as_str()], |row| {
            row.get(0)
        });
        let found: Option<i64> = found.optional()?;
        free.extend(found.filter(|seq| !claimed.contains(seq) && !free.contains(seq)));
    }
    Ok(free)
}

fn list(
    connection: &Connection,
    claims: &Claims,
    filter: &JobFilter,
    limit: usize,
) -> Result<Vec<Job>, Failed> {
    let mut conditions = String::from("1");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let state = filter.state.map(rows::state_number);
    if let Some(environment) = &filter.environment {
        conditions += " AND environment = ?";
        values.push(environment);
    }
    if let Some(app) = &filter.app {
        conditions += " AND app = ?";
        values.push(app);
    }
    if let Some(state) = &state {
        conditions += " AND state = ?";
        values.push(state);
    }
    let query = format!("SELECT {JOB} FROM calls WHERE {conditions} ORDER BY seq DESC");
    let mut select = connection.prepare_cached(&query)?;
    let mut jobs = Vec::new();
    let mut rows = select.query(&values[..])?;
    while jobs.len() < limit
        && let Some(row) = rows.next()?
    {
        let job = shown(claims, &rows::job(row)?);
        // Queued and running are told apart by the claims only.
        if filter.admits(&job) {
            jobs.push(job);
        }
    }
    Ok(jobs)
}
