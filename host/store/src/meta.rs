//! `MetaStore`: all mutable truth, as revisioned keys in one transaction domain with jobs and leases.
//!
//! A *head* (what a volume or an app currently is) is a key whose value names immutable blobs. Every
//! commit that writes gets one revision, larger than all before it, assigned in commit order.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::lossy;
use crate::{Attempt, Enqueued, Epoch, JobId, LeaseName, NewJob, Outcome, Result};

/// A revision: position in the store's history. 0 is before the first commit.
pub type Rev = u64;

/// A key: bytes, ordered bytewise. Paths separated by `/` by convention.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The smallest key after every key with this prefix; none when the prefix is empty or all `0xff`.
    pub(crate) fn after_prefix(&self) -> Option<Key> {
        let kept = self.0.iter().rposition(|byte| *byte != 0xff)?;
        let mut end = self.0[..=kept].to_vec();
        end[kept] += 1;
        Some(end.into())
    }

    /// The smallest key greater than this one.
    pub(crate) fn successor(&self) -> Key {
        let mut next = self.0.to_vec();
        next.push(0);
        next.into()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lossy(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What must hold at the moment of a commit.
#[derive(Debug, Clone)]
pub enum Guard {
    Absent(Key),
    RevIs(Key, Rev),
    /// The lease is held, in this epoch.
    EpochIs(LeaseName, Epoch),
}

/// One write of a commit.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a commit has few writes, and a job in one is about to be written anyway"
)]
pub enum Write {
    Put(Key, Bytes),
    /// Deleting an absent key is no change.
    Delete(Key),
    /// A duplicate (see [`NewJob`]) does not stop the commit; it shows in [`Committed::enqueued`].
    Enqueue(NewJob),
    /// Refuses the whole commit with [`crate::Conflict::Stale`] unless the attempt is the current one.
    Finish(JobId, Attempt, Outcome),
}

/// The answer to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Revision of the keys written; the store's current one when none were.
    pub rev: Rev,
    /// One per [`Write::Enqueue`], in order.
    pub enqueued: Vec<Enqueued>,
}

/// A key's value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub rev: Rev,
    pub value: Bytes,
}

/// Keys from `start` on, before `end`.
#[derive(Debug, Clone)]
pub struct Range {
    pub start: Key,
    pub end: Option<Key>,
}

impl Range {
    pub fn prefix(prefix: &Key) -> Self {
        Self {
            start: prefix.clone(),
            end: prefix.after_prefix(),
        }
    }

    /// The rest of this range, from `start` on; for the next page.
    pub fn starting_at(self, start: Key) -> Self {
        Self { start, ..self }
    }
}

/// Part of a range, in key order, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<(Key, Entry)>,
    /// Where the next page starts; none when the range is exhausted.
    pub next: Option<Key>,
    /// The store's revision at that moment: watch [`MetaStore::changes`] from the first page's.
    pub rev: Rev,
}

/// One key's newer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub rev: Rev,
    pub key: Key,
    /// None: deleted.
    pub value: Option<Bytes>,
}

/// Keys with revisions, guarded multi-key transactions, and a feed of changes.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// Checks the guards and does all writes in one transaction, or none of them. Durable on return.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] when a guard does not hold or a `Finish` is stale.
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Committed>;

    async fn get(&self, key: &Key) -> Result<Option<Entry>>;

    /// Up to `limit` keys of the range, at least one page entry as long as there are any.
    async fn scan(&self, range: Range, limit: u32) -> Result<Page>;

    /// The current revision.
    async fn rev(&self) -> Result<Rev>;

    /// The newer state of every key under `prefix` that changed after `since`, in order of revision,
    /// then everything that changes from there on. No changed key is ever missed; a key changed twice
    /// between two reads is reported once, with its newest state, and a state may be reported twice.
    ///
    /// # Errors
    /// Ends with [`crate::Error::Compacted`] when deletions after `since` have been forgotten.
    fn changes(&self, prefix: Key, since: Rev) -> BoxStream<'static, Result<Change>>;

    /// Forgets deletions older than `keep`; returns how many. Watchers further behind start again.
    async fn compact(&self, keep: std::time::Duration) -> Result<u64>;
}
