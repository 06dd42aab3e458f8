//! What only the database file can be asked: its version, damage, several processes, group commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use lydian_store::{
    Accepted, Error, Guard, JobStore, Leases, MetaStore, Outcome, Range, SqliteOptions,
    SqliteStore, Store, Write,
};
use tempfile::TempDir;

use crate::bed::job;

fn open(path: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(path, SqliteOptions::default())
}

fn database() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("meta.sqlite");
    (dir, path)
}

fn put(key: &str, value: &str) -> Vec<Write> {
    vec![Write::Put(key.into(), value.to_owned().into())]
}

/// An older release must not guess at what a newer one wrote.
#[tokio::test]
async fn a_newer_schema_is_refused_by_name_and_number() {
    let (_dir, path) = database();
    open(&path)
        .unwrap()
        .commit(vec![], put("a", "1"))
        .await
        .unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 7).unwrap();
    drop(raw);
    let error = open(&path).err().unwrap();
    let Error::NewerSchema {
        found: 7,
        supported: 2,
        path: named,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*named, path);
    assert!(error.hint().unwrap().contains("release"));
    // Refusing changed nothing.
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 2).unwrap();
    drop(raw);
    assert!(
        open(&path)
            .unwrap()
            .get(&"a".into())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn another_programs_database_is_refused_untouched() {
    let (_dir, path) = database();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(raw);
    assert!(matches!(open(&path), Err(Error::NotOurs { path: named }) if named == path));
    let raw = rusqlite::Connection::open(&path).unwrap();
    let tables: i64 = raw
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let (_dir, path) = database();
    std::fs::write(
        &path,
        "not a database at all, but long enough to be looked at".repeat(100),
    )
    .unwrap();
    let error = open(&path).err().unwrap();
    assert!(
        matches!(&error, Error::CorruptDatabase { path: named, .. } if *named == path),
        "{error}"
    );
}

/// Pages overwritten by a failing disk end in an error that names the file, not in a panic or wrong data.
#[tokio::test]
async fn a_damaged_database_is_named() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    for n in 0..200 {
        store
            .commit(vec![], put(&format!("key {n}"), &"x".repeat(500)))
            .await
            .unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 * 4..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = match open(&path) {
        Ok(store) => store
            .scan(Range::prefix(&"".into()), 500)
            .await
            .unwrap_err(),
        Err(error) => error,
    };
    assert!(
        matches!(&error, Error::CorruptDatabase { path: named, .. } if *named == path),
        "{error}"
    );
}

#[tokio::test]
async fn a_reopened_database_has_everything_and_counts_on() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let rev = store.commit(vec![], put("a", "1")).await.unwrap().rev;
    let shard = crate::bed::shard("square");
    store
        .acquire(&shard.lease(), &"n1".into(), Duration::from_secs(60))
        .await
        .unwrap();
    store.enqueue(vec![job("j")]).await.unwrap();
    let claimed = store.claim(shard, 1, 9).await.unwrap().remove(0);
    drop(store);
    assert!(
        !path.with_extension("sqlite-wal").exists(),
        "closed means the log is folded in"
    );
    let store = open(&path).unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().rev, rev);
    assert!(store.commit(vec![], put("b", "1")).await.unwrap().rev > rev);
    // Claims were in memory: the job is free again, for whoever holds the lease now.
    let epoch = store
        .acquire(&shard.lease(), &"n1".into(), Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(epoch, 2);
    let late = store
        .finish(vec![(
            "j".into(),
            claimed.attempt,
            Outcome::Failed("".into()),
        )])
        .await
        .unwrap();
    assert_eq!(late, [Accepted::Stale]);
    assert_eq!(store.claim(shard, epoch, 9).await.unwrap().len(), 1);
}

/// Two processes on one file: guards, revisions and epochs are the file's.
#[tokio::test]
async fn two_processes_lose_no_increment_and_share_one_history() {
    let (_dir, path) = database();
    let stores = [open(&path).unwrap(), open(&path).unwrap()];
    stores[0].commit(vec![], put("n", "0")).await.unwrap();
    let mut changes = stores[0].changes("".into(), 0);
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let store = stores[worker % 2].clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    increment(&store).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let newest = loop {
        let change = changes.next().await.unwrap().unwrap();
        if change.rev == stores[1].rev().await.unwrap() {
            break change;
        }
    };
    assert_eq!(newest.value.unwrap(), "160");
    assert_eq!(newest.rev, 161);
}

async fn increment(store: &SqliteStore) {
    loop {
        let entry = store.get(&"n".into()).await.unwrap().unwrap();
        let n: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        match store
            .commit(
                vec![Guard::RevIs("n".into(), entry.rev)],
                put("n", &(n + 1).to_string()),
            )
            .await
        {
            Ok(_) => return,
            Err(Error::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A waiter gets no wake-up from another process; it looks for itself.
#[tokio::test]
async fn a_waiter_sees_the_end_reported_by_another_process() {
    let (_dir, path) = database();
    let (one, two) = (open(&path).unwrap(), open(&path).unwrap());
    one.enqueue(vec![job("j")]).await.unwrap();
    let id = "j".into();
    let (result, _) = tokio::join!(
        one.result(&id, Duration::from_secs(60)),
        two.cancel(&id, "x".into())
    );
    assert_eq!(result.unwrap(), Some(Outcome::Cancelled("x".into())));
}

/// Operations that share a transaction share its fate only when the database fails.
#[tokio::test]
async fn a_refused_commit_does_not_disturb_those_beside_it() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    store.commit(vec![], put("taken", "1")).await.unwrap();
    let commits = (0..200).map(|n| {
        let guard = if n % 2 == 0 {
            Guard::Absent("taken".into())
        } else {
            Guard::Absent("free".into())
        };
        store.commit(vec![guard], put(&format!("key {n}"), "1"))
    });
    let results = futures::future::join_all(commits).await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), n % 2 == 1, "{n}");
        assert_eq!(
            store
                .get(&format!("key {n}").into())
                .await
                .unwrap()
                .is_some(),
            n % 2 == 1,
            "{n}"
        );
    }
    // Each had a revision of its own, in spite of the shared transaction.
    let mut revs: Vec<_> = results
        .iter()
        .flatten()
        .map(|committed| committed.rev)
        .collect();
    revs.dedup();
    assert_eq!(revs.len(), 100);
}

/// One huge commit must not leave a huge log beside the database for good.
#[tokio::test]
async fn the_log_is_cut_back_after_a_large_commit() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let log = || {
        std::fs::metadata(path.with_extension("sqlite-wal"))
            .unwrap()
            .len()
    };
    store
        .commit(
            vec![],
            vec![Write::Put("large".into(), vec![7; 40 << 20].into())],
        )
        .await
        .unwrap();
    assert!(log() > 40 << 20);
    for n in 0..3 {
        store
            .commit(vec![], put(&format!("small {n}"), "1"))
            .await
            .unwrap();
    }
    assert!(log() <= 16 << 20);
}

/// A caller that went away must not take the claimed jobs with it.
#[tokio::test]
async fn a_claim_nobody_waited_for_is_given_back() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let shard = crate::bed::shard("square");
    let epoch = store
        .acquire(&shard.lease(), &"n1".into(), Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    store
        .enqueue((0..50).map(|n| job(&format!("j{n}"))).collect())
        .await
        .unwrap();
    for _ in 0..20 {
        let mut claim = Box::pin(store.claim(shard, epoch, 50));
        assert!(futures::poll!(&mut claim).is_pending());
    }
    let mut claimed = 0;
    while claimed < 50 {
        claimed += store.claim(shard, epoch, 50).await.unwrap().len();
    }
    assert_eq!(claimed, 50);
}

#[tokio::test]
async fn a_store_in_a_directory_that_cannot_be_made_says_so() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file).await.err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
}

/// The tables of the first release, with a job that waits and one that ended.
const VERSION_1: &str = "
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('rev', 0), ('compacted', 0);
CREATE TABLE keys (
    key BLOB NOT NULL UNIQUE, rev INTEGER NOT NULL, value BLOB, at_ms INTEGER NOT NULL);
CREATE INDEX keys_by_rev ON keys (rev, key);
CREATE TABLE leases (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, node TEXT, until_ms INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL, app TEXT NOT NULL, function TEXT NOT NULL, shard INTEGER NOT NULL,
    idempotency_key TEXT, state INTEGER NOT NULL, attempts INTEGER NOT NULL, open_epoch INTEGER,
    max_attempts INTEGER NOT NULL, created_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL,
    started_ms INTEGER, finished_ms INTEGER,
    details BLOB NOT NULL, blobs BLOB NOT NULL, payload BLOB NOT NULL, outcome BLOB);
CREATE INDEX jobs_due ON jobs (shard, due_ms, seq) WHERE state = 0;
CREATE INDEX jobs_waiting ON jobs (environment, app, function, created_ms) WHERE state = 0;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (environment, app, function, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_app ON jobs (environment, app, seq);
CREATE INDEX jobs_ended ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;
CREATE INDEX jobs_with_blobs ON jobs (seq) WHERE blobs <> x'';
INSERT INTO jobs (id, environment, app, function, shard, state, attempts, max_attempts, created_ms, due_ms,
    finished_ms, details, blobs, payload, outcome) VALUES
    ('waits', 'main', 'app', 'f', 7, 0, 0, 10, 5, 5, NULL, x'', x'', x'01', NULL),
    ('ended', 'main', 'app', 'f', 7, 1, 1, 10, 5, 5, 6, x'', x'', x'01', x'02');
PRAGMA application_id = 0x4c59444e;
PRAGMA user_version = 1;";

/// A data directory of the first release is taken over whole, and a process of that release that
/// still has it open writes nothing any more.
#[tokio::test]
async fn a_database_of_the_first_release_is_brought_up() {
    let (_dir, path) = database();
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
    old.execute_batch(VERSION_1).unwrap();
    let store = open(&path).unwrap();
    let ended = store.result(&"ended".into(), Duration::ZERO).await.unwrap();
    assert_eq!(ended, Some(Outcome::Succeeded(vec![2].into())));
    let shard = lydian_store::Shard(7);
    let epoch = store
        .acquire(&shard.lease(), &"n1".into(), Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let turn = lydian_store::Turn {
        held: vec![(shard, epoch)],
        room: 9,
        ..Default::default()
    };
    let claimed = store.claim_in_turn(turn).await.unwrap().claimed.remove(0);
    assert_eq!(claimed.job.id, "waits".into());
    let done = (claimed.job.id, claimed.attempt, Outcome::Failed("".into()));
    assert_eq!(store.finish(vec![done]).await.unwrap(), [Accepted::Yes]);
    store.commit(vec![], put("a", "1")).await.unwrap();
    for write in [
        "UPDATE jobs SET state = 2",
        "UPDATE leases SET node = 'old'",
        "UPDATE counters SET value = 9 WHERE name = 'rev'",
    ] {
        assert!(old.execute_batch(write).is_err(), "{write}");
    }
}

/// A process that has the file open while a later release brings it further must not write by the
/// rules it knows.
#[tokio::test]
async fn nothing_is_written_to_a_newer_schema() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    store.commit(vec![], put("a", "1")).await.unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 3).unwrap();
    let refused = store.commit(vec![], put("a", "2")).await.unwrap_err();
    assert!(
        matches!(refused, Error::NewerSchema { found: 3, .. }),
        "{refused}"
    );
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().value, "1");
}

/// The count of the time that passed goes on over a restart, and takes little on trust of a clock
/// that moved while nobody watched.
#[tokio::test]
async fn a_clock_that_was_set_ahead_between_two_runs_deletes_nothing() {
    use crate::bed::{START_MS, WEEK};
    let (_dir, path) = database();
    let clock = lydian_store::Clock::manual(START_MS);
    let open = || {
        let options = SqliteOptions {
            clock: clock.clone(),
            retention: WEEK,
        };
        SqliteStore::open(&path, options).unwrap()
    };
    let store = open();
    store.enqueue(vec![job("a")]).await.unwrap();
    store.cancel(&"a".into(), "x".into()).await.unwrap();
    drop(store);
    clock.step_to(START_MS + 400 * 86_400_000);
    let store = open();
    assert_eq!(store.expire().await.unwrap(), 0);
    drop(store);
    clock.advance(WEEK);
    let store = open();
    clock.advance(WEEK);
    assert_eq!(store.expire().await.unwrap(), 1);
}
