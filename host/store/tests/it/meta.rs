//! Conformance of `MetaStore`.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use lydian_store::{Conflict, Error, Guard, Key, Outcome, Range, Write};

use crate::bed::{Engine, conformance, job};

fn put(key: &str, value: &str) -> Write {
    Write::Put(key.into(), Bytes::copy_from_slice(value.as_bytes()))
}

async fn value(store: &dyn Engine, key: &str) -> Option<String> {
    let entry = store.get(&key.into()).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

fn conflict(result: Result<impl std::fmt::Debug, Error>) -> Conflict {
    match result.unwrap_err() {
        Error::Conflict(conflict) => conflict,
        other => panic!("expected a conflict, got {other}"),
    }
}

/// All keys under a prefix, in pages of `limit`.
async fn keys(store: &dyn Engine, prefix: &str, limit: u32) -> Vec<String> {
    let range = Range::prefix(&prefix.into());
    let mut page = store.scan(range.clone(), limit).await.unwrap();
    let mut keys = Vec::new();
    loop {
        assert!(page.items.len() <= limit as usize);
        keys.extend(page.items.iter().map(|(key, _)| key.to_string()));
        let Some(next) = page.next else { return keys };
        page = store
            .scan(range.clone().starting_at(next), limit)
            .await
            .unwrap();
    }
}

conformance! { Bed:
    /// The revision a reader sees is the one its writer was told.
    async fn a_commit_is_read_back_with_its_revision(bed) {
        let first = bed.store.commit(vec![], vec![put("a", "1"), put("b", "2")]).await.unwrap();
        let second = bed.store.commit(vec![], vec![put("a", "3")]).await.unwrap();
        assert!(second.rev > first.rev);
        assert_eq!(bed.store.get(&"a".into()).await.unwrap().unwrap().rev, second.rev);
        assert_eq!(bed.store.get(&"b".into()).await.unwrap().unwrap().rev, first.rev);
        assert_eq!(value(&*bed.store, "a").await.as_deref(), Some("3"));
        assert_eq!(bed.store.rev().await.unwrap(), second.rev);
        assert_eq!(value(&*bed.store, "c").await, None);
    }

    /// Two heads move together or not at all.
    async fn a_failed_guard_writes_nothing(bed) {
        let rev = bed.store.commit(vec![], vec![put("a", "1")]).await.unwrap().rev;
        let writes = || vec![put("b", "2"), Write::Enqueue(job("j"))];
        let absent = bed.store.commit(vec![Guard::Absent("a".into())], writes()).await;
        assert_eq!(conflict(absent), Conflict::Exists { key: "a".into(), found: rev });
        let moved = bed.store.commit(vec![Guard::RevIs("a".into(), rev + 1)], writes()).await;
        let expected = Conflict::Changed { key: "a".into(), expected: rev + 1, found: Some(rev) };
        assert_eq!(conflict(moved), expected);
        let missing = bed.store.commit(vec![Guard::RevIs("b".into(), rev)], writes()).await;
        assert_eq!(conflict(missing), Conflict::Changed { key: "b".into(), expected: rev, found: None });
        let lease = "scheduler".into();
        let epoch = bed.store.commit(vec![Guard::EpochIs("scheduler".into(), 1)], writes()).await;
        assert_eq!(conflict(epoch), Conflict::Epoch { lease, epoch: 1 });
        assert_eq!(value(&*bed.store, "b").await, None);
        assert_eq!(bed.store.job(&"j".into()).await.unwrap(), None);
        assert_eq!(bed.store.rev().await.unwrap(), rev);
    }

    async fn guards_that_hold_let_the_commit_through(bed) {
        let node = "n1".into();
        let epoch = bed.store.acquire(&"scheduler".into(), &node, Duration::from_secs(9)).await.unwrap();
        let rev = bed.store.commit(vec![Guard::Absent("a".into())], vec![put("a", "1")]).await.unwrap().rev;
        let guards = vec![
            Guard::RevIs("a".into(), rev),
            Guard::Absent("b".into()),
            Guard::EpochIs("scheduler".into(), epoch.unwrap()),
        ];
        bed.store.commit(guards, vec![put("b", "2")]).await.unwrap();
        assert_eq!(value(&*bed.store, "b").await.as_deref(), Some("2"));
    }

    /// A lease that was given up guards nothing, even before somebody else takes it.
    async fn a_released_lease_fails_its_guard(bed) {
        let (name, node) = ("scheduler".into(), "n1".into());
        let epoch = bed.store.acquire(&name, &node, Duration::from_secs(9)).await.unwrap().unwrap();
        assert!(bed.store.release(&name, &node, epoch).await.unwrap());
        let commit = bed.store.commit(vec![Guard::EpochIs(name, epoch)], vec![put("a", "1")]).await;
        assert!(matches!(conflict(commit), Conflict::Epoch { .. }));
    }

    async fn a_deleted_key_is_absent_and_can_come_back(bed) {
        bed.store.commit(vec![], vec![put("a", "1")]).await.unwrap();
        let deleted = bed.store.commit(vec![], vec![Write::Delete("a".into())]).await.unwrap().rev;
        assert_eq!(value(&*bed.store, "a").await, None);
        assert_eq!(keys(&*bed.store, "", 10).await, Vec::<String>::new());
        let again = bed.store.commit(vec![Guard::Absent("a".into())], vec![put("a", "2")]).await.unwrap();
        assert!(again.rev > deleted);
    }

    /// Revisions count changes, so that watchers are not woken for nothing.
    async fn deleting_an_absent_key_is_no_change(bed) {
        let before = bed.store.commit(vec![], vec![put("a", "1")]).await.unwrap().rev;
        let after = bed.store.commit(vec![], vec![Write::Delete("b".into())]).await.unwrap().rev;
        assert_eq!(before, after);
    }

    /// Writes of one commit happen in order.
    async fn the_last_write_to_a_key_wins(bed) {
        let writes = vec![put("a", "1"), Write::Delete("a".into()), put("a", "2"), put("b", "1")];
        bed.store.commit(vec![], writes).await.unwrap();
        bed.store.commit(vec![], vec![put("b", "2"), Write::Delete("b".into())]).await.unwrap();
        assert_eq!(value(&*bed.store, "a").await.as_deref(), Some("2"));
        assert_eq!(value(&*bed.store, "b").await, None);
    }

    async fn scanning_pages_through_a_prefix_in_order(bed) {
        let names = ["a/1", "a/2", "a/3", "a/30", "a/4", "b/1", "a"];
        for name in names {
            bed.store.commit(vec![], vec![put(name, name)]).await.unwrap();
        }
        for limit in 1..7 {
            assert_eq!(keys(&*bed.store, "a/", limit).await, ["a/1", "a/2", "a/3", "a/30", "a/4"]);
        }
        assert_eq!(keys(&*bed.store, "a/", u32::MAX).await.len(), 5);
        assert_eq!(keys(&*bed.store, "c", 3).await, Vec::<String>::new());
        assert_eq!(keys(&*bed.store, "", 3).await.len(), names.len());
    }

    /// Keys are bytes: no collation, no terminator, no upper end lost.
    async fn keys_may_hold_any_bytes(bed) {
        let names: Vec<Vec<u8>> = vec![vec![0], vec![0, 0], vec![0, 255], vec![255], vec![255, 255], vec![]];
        for name in &names {
            let write = Write::Put(name.clone().into(), name.clone().into());
            bed.store.commit(vec![], vec![write]).await.unwrap();
        }
        for name in &names {
            assert_eq!(bed.store.get(&name.clone().into()).await.unwrap().unwrap().value, name);
        }
        let under = bed.store.scan(Range::prefix(&vec![255].into()), 9).await.unwrap();
        assert_eq!(under.items.len(), 2);
        let under = bed.store.scan(Range::prefix(&vec![0].into()), 9).await.unwrap();
        assert_eq!(under.items.len(), 3);
    }

    /// A result and the head it moves are one: whoever sees one sees both.
    async fn keys_jobs_and_leases_share_a_transaction(bed) {
        let shard = crate::bed::shard("square");
        let epoch = bed.store.acquire(&shard.lease(), &"n1".into(), Duration::from_secs(9)).await.unwrap().unwrap();
        let committed = bed.store.commit(vec![], vec![Write::Enqueue(job("j")), put("head", "1")]).await.unwrap();
        assert_eq!(committed.enqueued.len(), 1);
        let claimed = bed.store.claim(shard, epoch, 9).await.unwrap().remove(0);
        let finish = |n| {
            let outcome = Outcome::Succeeded("done".into());
            vec![Write::Finish("j".into(), claimed.attempt, outcome), put("head", n)]
        };
        bed.store.commit(vec![], finish("2")).await.unwrap();
        assert_eq!(value(&*bed.store, "head").await.as_deref(), Some("2"));
        let result = bed.store.result(&"j".into(), Duration::ZERO).await.unwrap();
        assert_eq!(result, Some(Outcome::Succeeded("done".into())));
        let again = bed.store.commit(vec![], finish("3")).await;
        assert_eq!(conflict(again), Conflict::Stale { job: "j".into() });
        assert_eq!(value(&*bed.store, "head").await.as_deref(), Some("2"));
    }

    async fn finishing_a_job_twice_in_one_commit_is_refused(bed) {
        let shard = crate::bed::shard("square");
        let epoch = bed.store.acquire(&shard.lease(), &"n1".into(), Duration::from_secs(9)).await.unwrap().unwrap();
        bed.store.enqueue(vec![job("j")]).await.unwrap();
        let claimed = bed.store.claim(shard, epoch, 9).await.unwrap().remove(0);
        let finish = || Write::Finish("j".into(), claimed.attempt, Outcome::Failed("".into()));
        let twice = bed.store.commit(vec![], vec![finish(), finish()]).await;
        assert_eq!(conflict(twice), Conflict::Stale { job: "j".into() });
        assert_eq!(bed.store.result(&"j".into(), Duration::ZERO).await.unwrap(), None);
    }

    /// A cache that reads everything and then watches from the page's revision misses nothing.
    async fn changes_tell_every_changed_key_in_order(bed) {
        bed.store.commit(vec![], vec![put("a/1", "old"), put("b/1", "x")]).await.unwrap();
        let since = bed.store.scan(Range::prefix(&"a/".into()), 9).await.unwrap().rev;
        let mut changes = bed.store.changes("a/".into(), since);
        bed.store.commit(vec![], vec![put("b/2", "x")]).await.unwrap();
        bed.store.commit(vec![], vec![put("a/2", "new"), put("a/3", "new")]).await.unwrap();
        bed.store.commit(vec![], vec![Write::Delete("a/1".into())]).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let change = changes.next().await.unwrap().unwrap();
            seen.push((change.key.to_string(), change.value.is_some()));
        }
        assert_eq!(seen, [("a/2".into(), true), ("a/3".into(), true), ("a/1".into(), false)]);
        let write = bed.store.commit(vec![], vec![put("a/4", "late")]);
        let (change, written) = tokio::join!(changes.next(), write);
        assert_eq!(change.unwrap().unwrap().rev, written.unwrap().rev);
    }

    /// One commit can change more keys than are read at a time; all share one revision.
    async fn a_large_commit_is_told_whole(bed) {
        let mut changes = bed.store.changes("k/".into(), 0);
        let writes: Vec<_> = (0..1_000).map(|n| put(&format!("k/{n:04}"), "x")).collect();
        let rev = bed.store.commit(vec![], writes).await.unwrap().rev;
        for n in 0..1_000 {
            let change = changes.next().await.unwrap().unwrap();
            assert_eq!((change.key.to_string(), change.rev), (format!("k/{n:04}"), rev));
        }
    }

    /// Many writers at once, one watcher: every last state arrives, revisions never go back.
    async fn concurrent_commits_leave_no_gap(bed) {
        let mut changes = bed.store.changes("k/".into(), 0);
        let writers = (0..16).map(|writer| {
            let store = bed.store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for n in 0..20 {
                    let write = put(&format!("k/{writer}/{n}"), "x");
                    let rev = store.commit(vec![], vec![write]).await.unwrap().rev;
                    assert!(rev > last);
                    last = rev;
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let (mut seen, mut last) = (std::collections::HashSet::new(), 0);
        while seen.len() < 320 {
            let change = changes.next().await.unwrap().unwrap();
            assert!(change.rev >= last);
            last = change.rev;
            seen.insert(change.key);
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }

    /// Of writers that race for one revision exactly one wins.
    async fn compare_and_swap_loses_no_increment(bed) {
        bed.store.commit(vec![], vec![put("n", "0")]).await.unwrap();
        let workers: Vec<_> = (0..8).map(|_| {
            let store = bed.store.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    loop {
                        let entry = store.get(&"n".into()).await.unwrap().unwrap();
                        let n: u64 = String::from_utf8(entry.value.to_vec()).unwrap().parse().unwrap();
                        let guard = Guard::RevIs("n".into(), entry.rev);
                        match store.commit(vec![guard], vec![put("n", &(n + 1).to_string())]).await {
                            Ok(_) => break,
                            Err(Error::Conflict(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        }).collect();
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(value(&*bed.store, "n").await.as_deref(), Some("200"));
    }

    /// What was forgotten cannot be told: the watcher must start again, and is told so.
    async fn compaction_forgets_old_deletions_only(bed) {
        let first = bed.store.commit(vec![], vec![put("a", "1"), put("b", "1")]).await.unwrap().rev;
        bed.store.commit(vec![], vec![Write::Delete("a".into())]).await.unwrap();
        bed.clock.advance(Duration::from_secs(100));
        let late = bed.store.commit(vec![], vec![Write::Delete("b".into())]).await.unwrap().rev;
        assert_eq!(bed.store.compact(Duration::from_secs(50)).await.unwrap(), 1);
        let gone = bed.store.changes("".into(), first).next().await.unwrap();
        assert!(matches!(gone, Err(Error::Compacted { since, .. }) if since == first), "{gone:?}");
        let change = bed.store.changes("".into(), late - 1).next().await.unwrap().unwrap();
        assert_eq!((change.key, change.value), (Key::from("b"), None));
    }
}
