//! `MetaStore` on SQLite.

use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use super::jobs::{enqueue, finish, is_current};
use super::{Failed, Shared, SqliteStore, Tx};
use crate::clock::{millis, storable};
use crate::notify::POLL;
use crate::{
    Accepted, Change, Committed, Conflict, Entry, Error, Guard, Key, MetaStore, Page, Range,
    Result, Rev, Write,
};

/// Changes read at a time.
const CHANGES: usize = 256;

/// Deletions forgotten in one transaction.
const COMPACTION: u32 = 1_000;

#[async_trait]
impl MetaStore for SqliteStore {
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Committed> {
        let bytes = writes.iter().map(size).sum();
        self.write(bytes, move |tx| {
            guards.iter().try_for_each(|guard| check(tx, guard))?;
            check_finishes(tx, &writes)?;
            apply(tx, writes)
        })
        .await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let key = key.clone();
        self.read(move |connection| {
            let select = "SELECT rev, value FROM keys WHERE key = ?1 AND value IS NOT NULL";
            let entry = |row: &rusqlite::Row<'_>| {
                Ok(Entry {
                    rev: row.get(0)?,
                    value: bytes(row, 1)?,
                })
            };
            Ok(connection
                .prepare_cached(select)?
                .query_row([key.as_bytes()], entry)
                .optional()?)
        })
        .await
    }

    async fn scan(&self, range: Range, limit: u32) -> Result<Page> {
        self.read(move |connection| {
            let limit = limit.clamp(1, u32::MAX - 1);
            let rev = counter(connection, "rev")?;
            let mut select = connection.prepare_cached(
                "SELECT key, rev, value FROM keys WHERE key >= ?1 AND (?2 IS NULL OR key < ?2)
                 AND value IS NOT NULL ORDER BY key LIMIT ?3",
            )?;
            let end = range.end.as_ref().map(Key::as_bytes);
            let rows =
                select.query_map(params![range.start.as_bytes(), end, limit + 1], |row| {
                    let entry = Entry {
                        rev: row.get(1)?,
                        value: bytes(row, 2)?,
                    };
                    Ok((Key::from(row.get::<_, Vec<u8>>(0)?), entry))
                })?;
            let mut items: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let next = if items.len() > limit as usize {
                items.pop().map(|(key, _)| key)
            } else {
                None
            };
            Ok(Page { items, next, rev })
        })
        .await
    }

    async fn rev(&self) -> Result<Rev> {
        self.read(|connection| Ok(counter(connection, "rev")?))
            .await
    }

    fn changes(&self, prefix: Key, since: Rev) -> BoxStream<'static, Result<Change>> {
        // The feed does not keep the store open: it ends when the last handle is gone.
        let feed = Feed {
            store: std::sync::Arc::downgrade(&self.0),
            commits: self.0.hub.commits(),
            prefix,
            after: (storable(since), Key::from("")),
            whole_rev: true,
        };
        stream::unfold(Some(feed), |feed| async move { feed?.next().await })
            .flat_map(stream::iter)
            .boxed()
    }

    async fn compact(&self, keep: Duration) -> Result<u64> {
        let before = self.0.clock.now_ms().saturating_sub(millis(keep));
        let mut forgotten = 0;
        loop {
            let count = self
                .write(0, move |tx| {
                    tx.sql(|connection| compact(connection, before))
                })
                .await?;
            forgotten += count as u64;
            if count < COMPACTION as usize {
                return Ok(forgotten);
            }
        }
    }
}

/// A reader of changes.
struct Feed {
    store: Weak<Shared>,
    commits: watch::Receiver<Rev>,
    prefix: Key,
    /// The last change reported: a page may end within a revision.
    after: (Rev, Key),
    /// Everything of `after.0` was reported.
    whole_rev: bool,
}

impl Feed {
    /// The next changes, as soon as there are any. None: the store is closed.
    async fn next(mut self) -> Option<(Vec<Result<Change>>, Option<Self>)> {
        loop {
            self.commits.borrow_and_update();
            let store = SqliteStore(self.store.upgrade()?);
            let (prefix, (rev, key), whole) =
                (self.prefix.clone(), self.after.clone(), self.whole_rev);
            let page = store
                .read(move |connection| changes(connection, &prefix, rev, &key, whole))
                .await;
            drop(store);
            let (changes, rev) = match page {
                Ok(page) => page,
                Err(error) => return Some((vec![Err(error)], None)),
            };
            if changes.len() < CHANGES {
                (self.after, self.whole_rev) = ((rev, Key::from("")), true);
            } else if let Some(last) = changes.last() {
                (self.after, self.whole_rev) = ((last.rev, last.key.clone()), false);
            }
            if !changes.is_empty() {
                return Some((changes.into_iter().map(Ok).collect(), Some(self)));
            }
            // Another process's commit gives no hint.
            if let Ok(Err(_)) = tokio::time::timeout(POLL, self.commits.changed()).await {
                return None;
            }
        }
    }
}

/// One page of changes after a revision, or after a key within it; and the revision of the snapshot.
fn changes(
    connection: &Connection,
    prefix: &Key,
    rev: Rev,
    key: &Key,
    whole_rev: bool,
) -> Result<(Vec<Change>, Rev), Failed> {
    let oldest = counter(connection, "compacted")?;
    if rev < oldest {
        return Err(Error::Compacted { since: rev, oldest }.into());
    }
    let from = if whole_rev {
        (storable(rev + 1), Key::from(""))
    } else {
        (rev, key.successor())
    };
    let mut select = connection.prepare_cached(
        "SELECT rev, key, value FROM keys WHERE (rev, key) >= (?1, ?2)
         AND key >= ?3 AND (?4 IS NULL OR key < ?4) ORDER BY rev, key LIMIT ?5",
    )?;
    let end = prefix.after_prefix();
    let end = end.as_ref().map(Key::as_bytes);
    let rows = select.query_map(
        params![
            from.0,
            from.1.as_bytes(),
            prefix.as_bytes(),
            end,
            CHANGES as u32
        ],
        |row| {
            let value = row.get::<_, Option<Vec<u8>>>(2)?.map(Bytes::from);
            Ok(Change {
                rev: row.get(0)?,
                key: row.get::<_, Vec<u8>>(1)?.into(),
                value,
            })
        },
    )?;
    Ok((
        rows.collect::<rusqlite::Result<_>>()?,
        counter(connection, "rev")?,
    ))
}

pub(super) fn counter(connection: &Connection, name: &str) -> rusqlite::Result<Rev> {
    let select = "SELECT value FROM counts WHERE name = ?1";
    connection
        .prepare_cached(select)?
        .query_row([name], |row| row.get(0))
}

pub(super) fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

/// About what a write adds to the file.
fn size(write: &Write) -> u64 {
    let bytes = match write {
        Write::Put(key, value) => key.as_bytes().len() + value.len(),
        Write::Delete(key) => key.as_bytes().len(),
        Write::Enqueue(job) => return super::jobs::size(job),
        Write::Finish(_, _, outcome) => outcome.bytes().len(),
    };
    bytes as u64
}

fn check(tx: &Tx<'_>, guard: &Guard) -> Result<()> {
    let conflict = match guard {
        Guard::Absent(key) => live(tx, key)?.map(|found| Conflict::Exists {
            key: key.clone(),
            found,
        }),
        Guard::RevIs(key, expected) => {
            let (key, expected, found) = (key.clone(), *expected, live(tx, key)?);
            (found != Some(expected)).then_some(Conflict::Changed {
                key,
                expected,
                found,
            })
        }
        Guard::EpochIs(lease, epoch) => {
            (tx.epoch(lease)? != Some(*epoch)).then(|| Conflict::Epoch {
                lease: lease.clone(),
                epoch: *epoch,
            })
        }
    };
    conflict.map_or(Ok(()), |conflict| Err(conflict.into()))
}

/// The revision of a key that is not deleted.
fn live(tx: &Tx<'_>, key: &Key) -> Result<Option<Rev>> {
    tx.sql(|connection| {
        let select = "SELECT rev FROM keys WHERE key = ?1 AND value IS NOT NULL";
        Ok(connection
            .prepare_cached(select)?
            .query_row([key.as_bytes()], |row| row.get(0))
            .optional()?)
    })
}

/// Every `Finish` must name a current attempt, and no job twice, before anything is written.
fn check_finishes(tx: &Tx<'_>, writes: &[Write]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for write in writes {
        if let Write::Finish(id, attempt, _) = write
            && (!seen.insert(id) || !is_current(tx, id, *attempt)?)
        {
            return Err(Conflict::Stale { job: id.clone() }.into());
        }
    }
    Ok(())
}

fn apply(tx: &mut Tx<'_>, writes: Vec<Write>) -> Result<Committed> {
    let next = tx.rev()? + 1;
    let mut enqueued = Vec::new();
    let mut changed = false;
    for write in writes {
        match write {
            Write::Put(key, value) => changed |= put(tx, &key, &value, next)?,
            Write::Delete(key) => changed |= delete(tx, &key, next)?,
            Write::Enqueue(job) => enqueued.push(enqueue(tx, job)?),
            Write::Finish(id, attempt, outcome) => match finish(tx, id.clone(), attempt, &outcome)?
            {
                Accepted::Yes => {}
                Accepted::Stale => return Err(Conflict::Stale { job: id }.into()),
            },
        }
    }
    if changed {
        tx.advance(next);
    }
    Ok(Committed {
        rev: tx.rev()?,
        enqueued,
    })
}

fn put(tx: &Tx<'_>, key: &Key, value: &[u8], rev: Rev) -> Result<bool> {
    tx.sql(|connection| {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO keys (key, rev, value, at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE SET rev = ?2, value = ?3, at_ms = ?4",
        )?;
        upsert.execute(params![key.as_bytes(), rev, value, tx.now_ms])?;
        Ok(true)
    })
}

fn delete(tx: &Tx<'_>, key: &Key, rev: Rev) -> Result<bool> {
    tx.sql(|connection| {
        let mut update = connection.prepare_cached(
            "UPDATE keys SET rev = ?2, value = NULL, at_ms = ?3 WHERE key = ?1 AND value IS NOT NULL",
        )?;
        Ok(update.execute(params![key.as_bytes(), rev, tx.now_ms])? > 0)
    })
}

fn compact(connection: &Connection, before_ms: u64) -> Result<usize, Failed> {
    let mut old = connection.prepare_cached(
        "SELECT rowid, rev FROM keys WHERE value IS NULL AND at_ms <= ?1 ORDER BY rev LIMIT ?2",
    )?;
    let rows: Vec<(i64, Rev)> = old
        .query_map(params![before_ms, COMPACTION], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM keys WHERE rowid = ?1")?;
    for (rowid, _) in &rows {
        delete.execute([rowid])?;
    }
    if let Some((_, rev)) = rows.last() {
        connection.execute(
            "UPDATE counts SET value = max(value, ?1) WHERE name = 'compacted'",
            [rev],
        )?;
    }
    Ok(rows.len())
}
