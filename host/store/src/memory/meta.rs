//! `MetaStore` in memory.

use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{MemoryStore, Slot, State};
use crate::clock::millis;
use crate::{
    Change, Committed, Conflict, Entry, Error, Guard, Key, MetaStore, Page, Range, Result, Rev,
    Write,
};

#[async_trait]
impl MetaStore for MemoryStore {
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Committed> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        guards.iter().try_for_each(|guard| state.check(guard))?;
        state.check_finishes(&writes)?;
        let next = state.rev + 1;
        let mut enqueued = Vec::new();
        let mut ended = Vec::new();
        let mut changed = false;
        for write in writes {
            match write {
                Write::Put(key, value) => changed |= state.put(key, Some(value), next, now),
                Write::Delete(key) => changed |= state.put(key, None, next, now),
                Write::Enqueue(job) => enqueued.push(state.enqueue(job, now)),
                Write::Finish(id, attempt, outcome) => {
                    state.finish(&id, attempt, outcome, now, self.0.steady.now_ms());
                    ended.push(id);
                }
            }
        }
        if changed {
            state.rev = next;
        }
        let rev = state.rev;
        drop(state);
        self.0.hub.committed(rev);
        ended.iter().for_each(|id| self.0.hub.ended(id));
        Ok(Committed { rev, enqueued })
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.0.state.lock().keys.get(key).and_then(Slot::entry))
    }

    async fn scan(&self, range: Range, limit: u32) -> Result<Page> {
        let state = self.0.state.lock();
        let end = range.end.map_or(Bound::Unbounded, Bound::Excluded);
        if matches!(&end, Bound::Excluded(end) if *end <= range.start) {
            return Ok(Page {
                items: Vec::new(),
                next: None,
                rev: state.rev,
            });
        }
        let mut live = state
            .keys
            .range((Bound::Included(range.start), end))
            .filter_map(|(key, slot)| Some((key.clone(), slot.entry()?)));
        let items: Vec<_> = live.by_ref().take(limit.max(1) as usize).collect();
        let next = live.next().map(|(key, _)| key);
        Ok(Page {
            items,
            next,
            rev: state.rev,
        })
    }

    async fn rev(&self) -> Result<Rev> {
        Ok(self.0.state.lock().rev)
    }

    fn changes(&self, prefix: Key, since: Rev) -> BoxStream<'static, Result<Change>> {
        let (store, commits) = (self.clone(), self.0.hub.commits());
        let batches = stream::unfold(Some((store, commits, since)), move |position| {
            let prefix = prefix.clone();
            async move {
                let (store, mut commits, mut since) = position?;
                loop {
                    commits.borrow_and_update();
                    match store.0.state.lock().changes(&prefix, since) {
                        Err(error) => return Some((vec![Err(error)], None)),
                        Ok((rev, changes)) => {
                            since = rev;
                            if !changes.is_empty() {
                                let changes = changes.into_iter().map(Ok).collect();
                                return Some((changes, Some((store.clone(), commits, since))));
                            }
                        }
                    }
                    commits.changed().await.ok()?;
                }
            }
        });
        batches.flat_map(stream::iter).boxed()
    }

    async fn compact(&self, keep: Duration) -> Result<u64> {
        let before = self.0.clock.now_ms().saturating_sub(millis(keep));
        let mut state = self.0.state.lock();
        let old = |slot: &Slot| slot.value.is_none() && slot.at_ms <= before;
        let deleted = state.keys.iter().filter(|(_, slot)| old(slot));
        let gone: Vec<_> = deleted.map(|(key, slot)| (slot.rev, key.clone())).collect();
        for change in &gone {
            state.keys.remove(&change.1);
            state.changed.remove(change);
            state.compacted = state.compacted.max(change.0);
        }
        Ok(gone.len() as u64)
    }
}

impl State {
    fn put(&mut self, key: Key, value: Option<Bytes>, rev: Rev, at_ms: u64) -> bool {
        let changes = value.is_some() || self.live(&key).is_some();
        if changes {
            self.changed.insert((rev, key.clone()));
            if let Some(before) = self.keys.insert(key.clone(), Slot { rev, value, at_ms })
                && before.rev != rev
            {
                self.changed.remove(&(before.rev, key));
            }
        }
        changes
    }

    fn changes(&self, prefix: &Key, since: Rev) -> Result<(Rev, Vec<Change>)> {
        if since < self.compacted {
            return Err(Error::Compacted {
                since,
                oldest: self.compacted,
            });
        }
        let newer = self
            .changed
            .range((since.saturating_add(1), Key::from(""))..);
        let changes = newer
            .filter(|(_, key)| key.starts_with(prefix))
            .map(|(rev, key)| Change {
                rev: *rev,
                key: key.clone(),
                value: self.keys.get(key).and_then(|slot| slot.value.clone()),
            });
        Ok((self.rev, changes.collect()))
    }

    /// Every `Finish` must name a current attempt, and no job twice, before anything is written.
    fn check_finishes(&self, writes: &[Write]) -> Result<(), Conflict> {
        let mut seen = std::collections::HashSet::new();
        for write in writes {
            if let Write::Finish(id, attempt, _) = write
                && (!seen.insert(id) || !self.is_current(id, *attempt))
            {
                return Err(Conflict::Stale { job: id.clone() });
            }
        }
        Ok(())
    }
}

impl Slot {
    fn entry(&self) -> Option<Entry> {
        Some(Entry {
            rev: self.rev,
            value: self.value.clone()?,
        })
    }
}
