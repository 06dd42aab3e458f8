//! What only the database file can be asked: its version, damage, several processes, group commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use lydian_store::{
    Accepted, Error, Guard, JobStore, Leases, MetaStore, Outcome, Range, Shard, SqliteOptions,
    SqliteStore, Store, Write,
};
use tempfile::TempDir;

use crate::bed::{function, job};

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
        supported: 1,
        path: named,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*named, path);
    assert!(error.hint().unwrap().contains("release"));
    // Refusing changed nothing.
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
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
    let shard = Shard::of(&function("square"));
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
    let shard = Shard::of(&function("square"));
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
