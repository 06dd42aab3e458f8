//! Random sequences of operations: SQLite must answer like memory, word for word.
//!
//! Operations name what they act on by small numbers, so that they often meet: the same few keys, functions,
//! nodes and jobs, revisions and attempts that were seen before. Closing and opening the file is an
//! operation too; of what is in memory it may lose the claims only.

use std::time::Duration;

use futures::StreamExt;
use lydian_store::{
    Attempt, Clock, Guard, JobFilter, JobId, JobState, Key, MemoryStore, NewJob, Outcome, Range,
    Rev, Shard, SqliteOptions, SqliteStore, Write,
};
use lydian_value::Digest;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::bed::{Engine, START_MS, function};

/// Long enough ago to matter within a sequence.
const RETENTION: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
enum Op {
    Commit(Vec<GuardOf>, Vec<WriteOf>),
    Scan(u8, u8),
    Changes(u8, usize),
    Compact(u8),
    Enqueue(Vec<JobOf>),
    Claim(u8, u8, u8),
    Unclaim(usize),
    Started(Vec<usize>),
    Retry(usize, u8),
    Finish(Vec<usize>),
    Cancel(u8),
    Look(u8),
    List(Option<bool>, u8, u8),
    Expire,
    Acquire(u8, u8, u8),
    RenewAll(u8),
    Release(u8, u8, u8),
    Advance(u16),
    Reopen,
}

#[derive(Debug, Clone)]
enum GuardOf {
    Absent(u8),
    RevIs(u8, usize),
    EpochIs(u8, u8),
}

#[derive(Debug, Clone)]
enum WriteOf {
    Put(u8, u8),
    Delete(u8),
    Enqueue(JobOf),
    Finish(usize),
}

#[derive(Debug, Clone)]
struct JobOf {
    id: u8,
    function: u8,
    key: Option<u8>,
    due: Option<u8>,
    max_attempts: u32,
    blob: Option<u8>,
}

fn a_job() -> impl Strategy<Value = JobOf> {
    let key = prop::option::of(0..3u8);
    let due = prop::option::of(0..30u8);
    (0..12u8, 0..2u8, key, due, 1..4u32, prop::option::of(0..3u8)).prop_map(
        |(id, function, key, due, max_attempts, blob)| JobOf {
            id,
            function,
            key,
            due,
            max_attempts,
            blob,
        },
    )
}

fn a_guard() -> impl Strategy<Value = GuardOf> {
    prop_oneof![
        (0..5u8).prop_map(GuardOf::Absent),
        (0..5u8, any::<usize>()).prop_map(|(key, rev)| GuardOf::RevIs(key, rev)),
        (0..2u8, 0..4u8).prop_map(|(function, epoch)| GuardOf::EpochIs(function, epoch)),
    ]
}

fn a_write() -> impl Strategy<Value = WriteOf> {
    prop_oneof![
        4 => (0..5u8, any::<u8>()).prop_map(|(key, value)| WriteOf::Put(key, value)),
        2 => (0..5u8).prop_map(WriteOf::Delete),
        1 => a_job().prop_map(WriteOf::Enqueue),
        1 => any::<usize>().prop_map(WriteOf::Finish),
    ]
}

fn an_op() -> impl Strategy<Value = Op> {
    use prop::collection::vec;
    prop_oneof![
        6 => (vec(a_guard(), 0..2), vec(a_write(), 0..4)).prop_map(|(guards, writes)| Op::Commit(guards, writes)),
        1 => (0..4u8, 1..4u8).prop_map(|(prefix, limit)| Op::Scan(prefix, limit)),
        1 => (0..4u8, any::<usize>()).prop_map(|(prefix, since)| Op::Changes(prefix, since)),
        1 => (0..20u8).prop_map(Op::Compact),
        4 => vec(a_job(), 1..4).prop_map(Op::Enqueue),
        5 => (0..2u8, 0..4u8, 1..4u8).prop_map(|(function, epoch, max)| Op::Claim(function, epoch, max)),
        1 => any::<usize>().prop_map(Op::Unclaim),
        3 => vec(any::<usize>(), 1..3).prop_map(Op::Started),
        3 => (any::<usize>(), 0..20u8).prop_map(|(attempt, due)| Op::Retry(attempt, due)),
        3 => vec(any::<usize>(), 1..3).prop_map(Op::Finish),
        1 => (0..12u8).prop_map(Op::Cancel),
        2 => (0..12u8).prop_map(Op::Look),
        1 => (any::<Option<bool>>(), 0..6u8, 1..9u8).prop_map(|(app, state, limit)| Op::List(app, state, limit)),
        1 => Just(Op::Expire),
        4 => (0..2u8, 0..2u8, 5..40u8).prop_map(|(function, node, ttl)| Op::Acquire(function, node, ttl)),
        1 => (0..2u8).prop_map(Op::RenewAll),
        1 => (0..2u8, 0..2u8, 0..4u8).prop_map(|(function, node, epoch)| Op::Release(function, node, epoch)),
        2 => (0..9_000u16).prop_map(Op::Advance),
        1 => Just(Op::Reopen),
    ]
}

/// What earlier answers told: later operations refer to it by number.
#[derive(Default)]
struct Seen {
    revs: Vec<Rev>,
    attempts: Vec<(JobId, Attempt)>,
    /// Newest epoch of each function's lease.
    epochs: [u64; 2],
}

impl Seen {
    fn rev(&self, number: usize) -> Rev {
        if self.revs.is_empty() {
            0
        } else {
            self.revs[number % self.revs.len()]
        }
    }

    fn attempt(&self, number: usize) -> (JobId, Attempt) {
        match self.attempts.len() {
            0 => (
                id(number as u8 % 12),
                Attempt {
                    epoch: 1,
                    number: 1,
                },
            ),
            len => self.attempts[number % len].clone(),
        }
    }

    /// The newest epoch, or one or two before, or one that never was.
    fn epoch(&self, function: u8, age: u8) -> u64 {
        (self.epochs[usize::from(function)] + 1).saturating_sub(u64::from(age))
    }

    fn guard(&self, guard: &GuardOf) -> Guard {
        match *guard {
            GuardOf::Absent(number) => Guard::Absent(key(number)),
            GuardOf::RevIs(number, rev) => Guard::RevIs(key(number), self.rev(rev)),
            GuardOf::EpochIs(function, age) => {
                Guard::EpochIs(shard(function).lease(), self.epoch(function, age))
            }
        }
    }

    fn write(&self, write: &WriteOf) -> Write {
        match write {
            WriteOf::Put(number, value) => Write::Put(key(*number), vec![*value].into()),
            WriteOf::Delete(number) => Write::Delete(key(*number)),
            WriteOf::Enqueue(job) => Write::Enqueue(new_job(job)),
            WriteOf::Finish(number) => {
                let (id, attempt) = self.attempt(*number);
                Write::Finish(id, attempt, outcome(*number))
            }
        }
    }
}

fn key(number: u8) -> Key {
    ["a", "a/b", "a/c", "b", "b/\u{7f}"][usize::from(number)].into()
}

fn prefix(number: u8) -> Key {
    ["", "a", "a/", "b"][usize::from(number)].into()
}

fn id(number: u8) -> JobId {
    format!("job-{number}").into()
}

fn name(number: u8) -> &'static str {
    ["square", "cube"][usize::from(number)]
}

fn shard(number: u8) -> Shard {
    crate::bed::shard(name(number))
}

fn new_job(job: &JobOf) -> NewJob {
    NewJob {
        id: id(job.id),
        function: function(name(job.function)),
        shard: Some(shard(job.function)),
        group: name(job.function).to_owned(),
        request: job.key.map(|_| Digest::of(&[job.id % 2])),
        payload: vec![job.id].into(),
        details: vec![job.function].into(),
        idempotency_key: job.key.map(|key| format!("key {key}")),
        due_at_ms: job.due.map(|due| START_MS + 1_000 * u64::from(due)),
        max_attempts: job.max_attempts,
        blobs: job
            .blob
            .map(|blob| Digest::of(&[blob]))
            .into_iter()
            .collect(),
    }
}

fn outcome(number: usize) -> Outcome {
    match number % 3 {
        0 => Outcome::Succeeded(vec![number as u8].into()),
        1 => Outcome::Failed(vec![number as u8].into()),
        _ => Outcome::Cancelled(vec![number as u8].into()),
    }
}

/// Does one operation and says everything it answered.
async fn run(store: &dyn Engine, op: &Op, seen: &Seen, now_ms: u64) -> String {
    let seconds = |n: u8| Duration::from_secs(u64::from(n));
    let node = |n: u8| format!("node-{n}").into();
    match op {
        Op::Commit(guards, writes) => {
            let guards = guards.iter().map(|guard| seen.guard(guard)).collect();
            let writes = writes.iter().map(|write| seen.write(write)).collect();
            format!("{:?}", store.commit(guards, writes).await)
        }
        Op::Scan(number, limit) => {
            let mut range = Some(Range::prefix(&prefix(*number)));
            let mut text = String::new();
            while let Some(next) = range.take() {
                let page = store.scan(next.clone(), u32::from(*limit)).await.unwrap();
                text += &format!("{page:?}");
                range = page.next.map(|start| next.starting_at(start));
            }
            text
        }
        Op::Changes(number, since) => changes(store, &prefix(*number), seen.rev(*since)).await,
        Op::Compact(keep) => format!("{:?}", store.compact(seconds(*keep)).await),
        Op::Enqueue(jobs) => format!(
            "{:?}",
            store.enqueue(jobs.iter().map(new_job).collect()).await
        ),
        Op::Claim(function, age, max) => {
            let epoch = seen.epoch(*function, *age);
            format!(
                "{:?}",
                store.claim(shard(*function), epoch, u32::from(*max)).await
            )
        }
        Op::Unclaim(number) => format!("{:?}", store.unclaim(vec![seen.attempt(*number).0]).await),
        Op::Started(numbers) => {
            let attempts = numbers.iter().map(|number| seen.attempt(*number)).collect();
            format!("{:?}", store.started(attempts).await)
        }
        Op::Retry(number, due) => {
            let (id, attempt) = seen.attempt(*number);
            let due_at_ms = now_ms + 1_000 * u64::from(*due);
            format!(
                "{:?}",
                store.retry(id, attempt, due_at_ms, vec![*due].into()).await
            )
        }
        Op::Finish(numbers) => {
            let done = numbers.iter().map(|number| {
                let (id, attempt) = seen.attempt(*number);
                (id, attempt, outcome(*number))
            });
            format!("{:?}", store.finish(done.collect()).await)
        }
        Op::Cancel(number) => format!("{:?}", store.cancel(&id(*number), "why".into()).await),
        Op::Look(number) => {
            let (job, result) = (
                store.job(&id(*number)).await,
                store.result(&id(*number), Duration::ZERO).await,
            );
            let (depth, due) = (
                store.depth(&function("square")).await,
                store.due_shards().await,
            );
            let holder = store.holder(&shard(0).lease()).await;
            format!(
                "{job:?} {result:?} {depth:?} {due:?} {holder:?} {:?}",
                store.rev().await
            )
        }
        Op::List(app, state, limit) => {
            use JobState::{Cancelled, Failed, Queued, Running, Succeeded};
            let states = [Queued, Running, Succeeded, Failed, Cancelled];
            let filter = JobFilter {
                environment: app.map(|_| "main".into()),
                app: app.map(|demo| if demo { "demo".into() } else { "other".into() }),
                state: states.get(usize::from(*state)).copied(),
            };
            let mut live = store.live_blobs().await.unwrap();
            live.sort();
            format!("{:?} {live:?}", store.list(filter, u32::from(*limit)).await)
        }
        Op::Expire => format!("{:?}", store.expire().await),
        Op::Acquire(function, number, ttl) => {
            format!(
                "{:?}",
                store
                    .acquire(&shard(*function).lease(), &node(*number), seconds(*ttl))
                    .await
            )
        }
        Op::RenewAll(number) => format!("{:?}", store.renew_all(&node(*number)).await),
        Op::Release(function, number, age) => {
            let epoch = seen.epoch(*function, *age);
            format!(
                "{:?}",
                store
                    .release(&shard(*function).lease(), &node(*number), epoch)
                    .await
            )
        }
        Op::Advance(_) | Op::Reopen => String::new(),
    }
}

/// All changes up to now: a last one is made to know where they end.
async fn changes(store: &dyn Engine, prefix: &Key, since: Rev) -> String {
    let mut last = prefix.as_bytes().to_vec();
    last.extend(b"/last");
    let last = Key::from(last);
    store
        .commit(vec![], vec![Write::Put(last.clone(), "".into())])
        .await
        .unwrap();
    let mut changes = store.changes(prefix.clone(), since);
    let mut text = String::new();
    loop {
        let change = changes.next().await.unwrap();
        text += &format!("{change:?}");
        match change {
            Ok(change) if change.key != last => {}
            _ => return text,
        }
    }
}

struct Pair {
    clock: Clock,
    model: MemoryStore,
    sqlite: Option<SqliteStore>,
    seen: Seen,
    dir: TempDir,
}

impl Pair {
    fn new() -> Self {
        let (clock, dir) = (Clock::manual(START_MS), TempDir::new().unwrap());
        let model = MemoryStore::with(clock.clone(), RETENTION);
        let mut pair = Self {
            clock,
            model,
            sqlite: None,
            seen: Seen::default(),
            dir,
        };
        pair.open();
        pair
    }

    fn open(&mut self) {
        self.sqlite = None;
        let options = SqliteOptions {
            clock: self.clock.clone(),
            retention: RETENTION,
        };
        self.sqlite =
            Some(SqliteStore::open(self.dir.path().join("meta.sqlite"), options).unwrap());
    }

    async fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let now = self.clock.now_ms();
        let expected = run(&self.model, op, &self.seen, now).await;
        let got = run(self.sqlite.as_ref().unwrap(), op, &self.seen, now).await;
        prop_assert_eq!(&got, &expected, "{:?}", op);
        self.learn(op).await;
        Ok(())
    }

    /// Notes revisions, epochs and attempts for later operations, and does what is not the stores' doing.
    async fn learn(&mut self, op: &Op) {
        use lydian_store::{JobStore, Leases, MetaStore};
        match op {
            Op::Commit(..) => self.seen.revs.push(self.model.rev().await.unwrap()),
            Op::Acquire(function, ..) => {
                if let Some(lease) = self.model.holder(&shard(*function).lease()).await.unwrap() {
                    self.seen.epochs[usize::from(*function)] = lease.epoch;
                }
            }
            Op::Claim(function, age, _) => {
                let epoch = self.seen.epoch(*function, *age);
                for number in 0..12 {
                    // Every number an attempt could have; most are stale, as they should be.
                    let attempts = self
                        .model
                        .job(&id(number))
                        .await
                        .unwrap()
                        .map_or(0, |job| job.attempts);
                    let attempt = Attempt {
                        epoch,
                        number: attempts + 1,
                    };
                    self.seen.attempts.push((id(number), attempt));
                }
            }
            Op::Advance(by) => self.clock.advance(Duration::from_millis(u64::from(*by))),
            Op::Reopen => {
                self.open();
                self.model.unclaim((0..12).map(id).collect()).await.unwrap();
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_like_memory(ops in prop::collection::vec(an_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for op in &ops {
                pair.step(op).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}
