//! The writer: one thread, one connection, group commit.
//!
//! The thread takes an operation and whatever else has arrived, does all of it in one transaction, flushes
//! once, and only then answers each. When the last round had company it waits up to [`LINGER`] for as many
//! again: producers that were just answered are about to come back. A lone producer never waits.
//!
//! Large operations go alone: one that does not fit on the disk, or takes long, costs nobody else. An
//! operation that is refused (a guard, a stale attempt) has written nothing and does not
//! disturb the others of its round; a failure of the database takes the whole round back.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::claims::Claims;
use super::{Failed, schema, sql_error};
use crate::clock::Steady;
use crate::notify::Hub;
use crate::{Clock, Epoch, Error, JobId, LeaseName, Result, Rev, Shard};

/// Operations in one transaction: beyond this, flushing is no longer what costs.
const GROUP: usize = 256;

/// From this size on an operation has a round of its own.
const LARGE_BYTES: u64 = 1 << 20;

/// The longest a round waits for company.
const LINGER: Duration = Duration::from_millis(2);

/// Hands operations to the thread; dropped, it lets the thread finish them and close the database.
pub(super) struct Writer {
    queue: Option<Sender<Box<dyn Op>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn spawn(
        connection: Connection,
        path: Arc<Path>,
        (clock, steady): (Clock, Steady),
        claims: Arc<Claims>,
        hub: Arc<Hub>,
    ) -> Result<Self> {
        let (queue, operations) = channel();
        let thread_path = path.clone();
        let thread = std::thread::Builder::new()
            .name("lydian-store".into())
            .spawn(move || {
                Thread {
                    connection,
                    path,
                    clock,
                    steady,
                    claims,
                    hub,
                    company: 1,
                }
                .run(&operations)
            })
            .map_err(|error| Error::io("start the writer of", &*thread_path, error))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs `work` in the next round. `bytes` is about what it writes, for the report of a full disk.
    pub(super) async fn run<T, F>(&self, bytes: u64, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let op = Operation {
            bytes,
            work: Some(work),
            answer: None,
            reply,
        };
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        queue.send(Box::new(op)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is queued: an operation of any result type.
trait Op: Send {
    fn bytes(&self) -> u64;
    /// Does the work; an error here is the database's and undoes the round.
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    /// Answers, with the work's result once it is durable, or with what became of the round.
    fn answer(self: Box<Self>, round: Result<()>);
}

struct Operation<T, F> {
    bytes: u64,
    work: Option<F>,
    answer: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&mut Tx<'_>) -> Result<T> + Send> Op for Operation<T, F> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let answer = work(tx);
        if let Err(error) = &answer
            && error.is_of_database()
        {
            return Err(error.clone());
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn answer(self: Box<Self>, round: Result<()>) {
        let Self { answer, reply, .. } = *self;
        // Whoever asked may have stopped waiting.
        let _ = reply.send(round.and_then(|()| answer.unwrap_or(Err(Error::Closed))));
    }
}

struct Thread {
    connection: Connection,
    path: Arc<Path>,
    clock: Clock,
    steady: Steady,
    claims: Arc<Claims>,
    hub: Arc<Hub>,
    /// Operations of the last round.
    company: usize,
}

impl Thread {
    fn run(mut self, operations: &Receiver<Box<dyn Op>>) {
        let mut held = None;
        while let Some(first) = held.take().or_else(|| operations.recv().ok()) {
            let mut round = vec![first];
            held = self.gather(operations, &mut round);
            self.company = round.len();
            let (result, effects) = match self.commit(&mut round) {
                Ok(effects) => (Ok(()), effects),
                Err(error) => {
                    tracing::warn!(%error, operations = round.len(), "a round of writes failed");
                    (Err(error), Effects::default())
                }
            };
            // Claims go before the answers: who is told that a job was retried can claim it at once.
            effects
                .released
                .iter()
                .for_each(|(shard, seq)| self.claims.release(*shard, *seq));
            round.into_iter().for_each(|op| op.answer(result.clone()));
            if effects.rev > 0 {
                self.hub.committed(effects.rev);
            }
            effects.ended.iter().for_each(|id| self.hub.ended(id));
        }
        // So that the next process counts on from here.
        let (steady, wall) = (self.steady.now_ms(), self.clock.now_ms());
        if let Err(error) = keep_time(&self.connection, steady, wall) {
            tracing::debug!(%error, "the time that has passed was not noted");
        }
    }

    /// Fills the round up. Answers with a large operation that must wait for the next.
    fn gather(
        &self,
        operations: &Receiver<Box<dyn Op>>,
        round: &mut Vec<Box<dyn Op>>,
    ) -> Option<Box<dyn Op>> {
        let large = |op: &dyn Op| op.bytes() >= LARGE_BYTES;
        let alone = round.iter().any(|op| large(&**op));
        let deadline = Instant::now() + LINGER;
        while round.len() < GROUP && !alone {
            let next = if round.len() < self.company {
                operations.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            } else {
                operations.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            };
            match next {
                Ok(op) if large(&*op) => return Some(op),
                Ok(op) => round.push(op),
                Err(_) => return None,
            }
        }
        None
    }

    fn commit(&mut self, round: &mut [Box<dyn Op>]) -> Result<Effects> {
        let bytes = round.iter().map(|op| op.bytes()).sum();
        self.sql("BEGIN IMMEDIATE", bytes)?;
        let current = schema::check_version(&self.connection, &self.path);
        let effects = current
            .and_then(|()| self.apply(round))
            .and_then(|effects| {
                self.sql("COMMIT", bytes)?;
                Ok(effects)
            });
        // A failed COMMIT may or may not have ended the transaction.
        if effects.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        effects
    }

    fn apply(&self, round: &mut [Box<dyn Op>]) -> Result<Effects> {
        let mut tx = Tx {
            connection: &self.connection,
            path: &self.path,
            now_ms: self.clock.now_ms(),
            steady_ms: self.steady.now_ms(),
            bytes: 0,
            rev: None,
            effects: Effects::default(),
        };
        for op in round {
            tx.bytes = op.bytes();
            op.apply(&mut tx)?;
        }
        tx.save_rev()?;
        Ok(tx.effects)
    }

    fn sql(&self, statement: &str, bytes: u64) -> Result<()> {
        self.connection
            .execute_batch(statement)
            .map_err(|error| sql_error(error, &self.path, bytes))
    }
}

/// What a round has to do once it is durable.
#[derive(Default)]
struct Effects {
    /// The newest revision, when keys changed.
    rev: Rev,
    ended: Vec<JobId>,
    released: Vec<(Shard, i64)>,
}

/// The transaction of a round, as one operation sees it.
pub(super) struct Tx<'a> {
    connection: &'a Connection,
    path: &'a Path,
    pub(super) now_ms: u64,
    /// By the count of the time that passed.
    pub(super) steady_ms: u64,
    bytes: u64,
    /// The current revision once it was read, and whether the round raised it.
    rev: Option<(Rev, bool)>,
    effects: Effects,
}

impl Tx<'_> {
    /// Runs statements; a failure becomes the store's error.
    pub(super) fn sql<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failed>) -> Result<T> {
        work(self.connection).map_err(|failed| failed.at(self.path, self.bytes))
    }

    pub(super) fn rev(&mut self) -> Result<Rev> {
        if let Some((rev, _)) = self.rev {
            return Ok(rev);
        }
        let rev = self.sql(|connection| Ok(super::meta::counter(connection, "rev")?))?;
        self.rev = Some((rev, false));
        Ok(rev)
    }

    /// Makes `rev` the current revision.
    pub(super) fn advance(&mut self, rev: Rev) {
        self.rev = Some((rev, true));
    }

    fn save_rev(&mut self) -> Result<()> {
        let Some((rev, true)) = self.rev else {
            return Ok(());
        };
        self.effects.rev = rev;
        self.sql(|connection| {
            connection
                .prepare_cached("UPDATE counts SET value = ?1 WHERE name = 'rev'")?
                .execute([rev])?;
            Ok(())
        })
    }

    /// The epoch in which the lease is held.
    pub(super) fn epoch(&self, lease: &LeaseName) -> Result<Option<Epoch>> {
        self.sql(|connection| Ok(epoch(connection, lease)?))
    }

    /// Once durable: the job ended, and is nobody's any more.
    pub(super) fn ended(&mut self, id: JobId, shard: Shard, seq: i64) {
        self.effects.ended.push(id);
        self.released(shard, seq);
    }

    /// Once durable: the job can be claimed again.
    pub(super) fn released(&mut self, shard: Shard, seq: i64) {
        self.effects.released.push((shard, seq));
    }
}

/// The epoch in which the lease is held.
pub(super) fn epoch(connection: &Connection, lease: &LeaseName) -> rusqlite::Result<Option<Epoch>> {
    connection
        .prepare_cached("SELECT epoch FROM owners WHERE name = ?1 AND node IS NOT NULL")?
        .query_row(params![lease.as_str()], |row| row.get(0))
        .optional()
}

/// How much of a time without a process counts as passed: the clock alone tells of it, and may have
/// been stepped.
const LONGEST_GAP: Duration = Duration::from_secs(24 * 60 * 60);

/// The count of the time that passed, as it goes on from what the file has; of a new one, from the
/// clock.
pub(super) fn steady(
    connection: &Connection,
    clock: &Clock,
    retention_ms: u64,
) -> rusqlite::Result<Steady> {
    let kept = |name: &str| {
        connection
            .query_row("SELECT value FROM counts WHERE name = ?1", [name], |row| {
                row.get::<_, u64>(0)
            })
            .optional()
    };
    let wall = clock.now_ms();
    let from = match (kept("steady")?, kept("steady_wall")?) {
        (Some(steady), Some(noted)) => {
            let longest = crate::clock::millis(LONGEST_GAP).min(retention_ms / 2);
            steady + wall.saturating_sub(noted).min(longest)
        }
        _ => wall,
    };
    Ok(Steady::from(clock.clone(), from))
}

/// Notes how far the count has come. It never goes back, whichever process notes it.
pub(super) fn keep_time(
    connection: &Connection,
    steady_ms: u64,
    wall_ms: u64,
) -> rusqlite::Result<()> {
    let mut keep = connection.prepare_cached(
        "INSERT INTO counts VALUES ('steady', ?1), ('steady_wall', ?2) ON CONFLICT (name)
         DO UPDATE SET value = CASE name WHEN 'steady' THEN max(value, excluded.value) ELSE excluded.value END",
    )?;
    keep.execute(params![steady_ms, wall_ms]).map(drop)
}
