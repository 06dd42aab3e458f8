//! `JobStore` in memory.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use super::{MemoryStore, Seq, State, StoredJob};
use crate::clock::storable;
use crate::jobs::{Attempts, GROUPS_AT_ONCE, OF_GROUP_AT_ONCE, Waiting, due_after, share, too_far};
use crate::{
    Accepted, Attempt, Back, Cancelled, Claimed, Conflict, Depth, Enqueued, Epoch, Error,
    FunctionKey, Job, JobFilter, JobId, JobState, JobStore, NewJob, Outcome, Result, Retried,
    Shard, Turn, Turned,
};

#[async_trait]
impl JobStore for MemoryStore {
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        Ok(jobs
            .into_iter()
            .map(|job| state.enqueue(job, now))
            .collect())
    }

    async fn claim(&self, shard: Shard, epoch: Epoch, max: u32) -> Result<Vec<Claimed>> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let due = state.due_of(shard, now);
        let free = due.filter(|seq| !state.is_claimed(shard, epoch, *seq));
        let free = free.take(max as usize).collect();
        state.claim(shard, epoch, free)
    }

    async fn claim_in_turn(&self, turn: Turn) -> Result<Turned> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let groups = state.groups(&turn.after);
        let after = groups.last().cloned().unwrap_or_default();
        let mut cut = groups.len() == GROUPS_AT_ONCE;
        let held = turn.held.iter().copied().collect();
        let mut waiting = Vec::new();
        for group in groups
            .into_iter()
            .filter(|group| !turn.skip.contains(group))
        {
            let jobs = state.of_group(&group, &held, now);
            cut |= jobs.len() == OF_GROUP_AT_ONCE;
            waiting.push(Waiting::new(&turn, &group, jobs));
        }
        let (chosen, left) = share(waiting, turn.room, turn.beyond);
        let more = !left && cut && !chosen.is_empty();
        let mut claimed = Vec::new();
        for (seq, shard, epoch) in chosen {
            claimed.extend(state.claim(shard, epoch, vec![seq]).unwrap_or_default());
        }
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
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let known = ids.iter().filter_map(|id| state.ids.get(id).copied());
        let free = |seq: &Seq| {
            let due = state.jobs.get(seq).is_some_and(|stored| {
                let (of, at) = stored.place();
                of == shard && stored.is_due(now) && state.due.contains(&(of, at, *seq))
            });
            due && !state.is_claimed(shard, epoch, *seq)
        };
        let free = known.filter(free).collect();
        state.claim(shard, epoch, free)
    }

    async fn unclaim(&self, jobs: Vec<JobId>) -> Result<()> {
        let mut state = self.0.state.lock();
        jobs.iter().for_each(|id| state.drop_claim(id));
        Ok(())
    }

    async fn started(&self, attempts: Vec<(JobId, Attempt)>) -> Result<Vec<Accepted>> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        Ok(attempts
            .into_iter()
            .map(|(id, attempt)| match state.current(&id, attempt) {
                Some(stored) => {
                    stored.attempts = stored.attempts.start(attempt);
                    stored.job.started_at_ms.get_or_insert(now);
                    stored.job.waiting = None;
                    Accepted::Yes
                }
                None => Accepted::Stale,
            })
            .collect())
    }

    async fn retry(
        &self,
        id: JobId,
        attempt: Attempt,
        due_at_ms: u64,
        failure: Bytes,
    ) -> Result<Retried> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let Some(stored) = state.current(&id, attempt) else {
            return Ok(Retried::Stale);
        };
        stored.attempts = stored.attempts.give_up(attempt);
        if attempt.number >= stored.job.max_attempts {
            let steady = self.0.steady.now_ms();
            state.end(&id, Outcome::Failed(failure), now, steady);
            drop(state);
            self.0.hub.ended(&id);
            return Ok(Retried::Failed);
        }
        state.put_off(&id, storable(due_at_ms));
        Ok(Retried::Queued)
    }

    async fn give_back(&self, id: JobId, attempt: Attempt, back: Back) -> Result<Accepted> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let Some(stored) = state.current(&id, attempt) else {
            return Ok(Accepted::Stale);
        };
        stored.attempts = stored.attempts.give_back(attempt, back.ran);
        stored.job.waiting = back.reason;
        state.put_off(&id, due_after(back.delay, now));
        Ok(Accepted::Yes)
    }

    async fn keep_blobs(
        &self,
        id: JobId,
        attempt: Attempt,
        blobs: Vec<Digest>,
    ) -> Result<Accepted> {
        let mut state = self.0.state.lock();
        Ok(match state.current(&id, attempt) {
            Some(stored) => {
                stored.blobs.extend(blobs);
                Accepted::Yes
            }
            None => Accepted::Stale,
        })
    }

    async fn finish(&self, done: Vec<(JobId, Attempt, Outcome)>) -> Result<Vec<Accepted>> {
        let (now, steady) = (self.0.clock.now_ms(), self.0.steady.now_ms());
        let ids: Vec<_> = done.iter().map(|(id, ..)| id.clone()).collect();
        let mut state = self.0.state.lock();
        let accepted = done
            .into_iter()
            .map(|(id, attempt, outcome)| state.finish(&id, attempt, outcome, now, steady))
            .collect();
        drop(state);
        ids.iter().for_each(|id| self.0.hub.ended(id));
        Ok(accepted)
    }

    async fn cancel(&self, id: &JobId, reason: Bytes) -> Result<Cancelled> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let job = state
            .job(id)
            .ok_or_else(|| Error::JobNotFound { id: id.clone() })?;
        if job.state.ended() {
            return Ok(Cancelled::AlreadyEnded);
        }
        state.end(id, Outcome::Cancelled(reason), now, self.0.steady.now_ms());
        drop(state);
        self.0.hub.ended(id);
        Ok(Cancelled::Now {
            running: job.state == JobState::Running,
        })
    }

    async fn job(&self, id: &JobId) -> Result<Option<Job>> {
        Ok(self.0.state.lock().job(id))
    }

    async fn ended(&self, ids: Vec<JobId>) -> Result<Vec<JobId>> {
        let state = self.0.state.lock();
        let ended = |id: &JobId| state.job(id).is_none_or(|job| job.state.ended());
        Ok(ids.into_iter().filter(ended).collect())
    }

    async fn result(&self, id: &JobId, wait: Duration) -> Result<Option<Outcome>> {
        let look = || async {
            let state = self.0.state.lock();
            let seq = state
                .ids
                .get(id)
                .ok_or_else(|| Error::JobNotFound { id: id.clone() })?;
            Ok(state
                .jobs
                .get(seq)
                .and_then(|stored| stored.outcome.clone()))
        };
        self.0.hub.wait_for_end(id, wait, || {}, look).await
    }

    async fn depth(&self, function: &FunctionKey) -> Result<Depth> {
        let state = self.0.state.lock();
        let waiting = state.jobs.values().map(|stored| &stored.job);
        let mut depth = Depth::default();
        for job in waiting.filter(|job| job.function == *function && !job.state.ended()) {
            depth.count += 1;
            depth.oldest_ms = Some(
                depth
                    .oldest_ms
                    .map_or(job.created_at_ms, |old| old.min(job.created_at_ms)),
            );
        }
        Ok(depth)
    }

    async fn list(&self, filter: JobFilter, limit: u32) -> Result<Vec<Job>> {
        let state = self.0.state.lock();
        let jobs = state
            .jobs
            .iter()
            .rev()
            .map(|(seq, stored)| state.shown(*seq, stored));
        Ok(jobs
            .filter(|job| filter.admits(job))
            .take(limit as usize)
            .collect())
    }

    async fn due_shards(&self) -> Result<Vec<Shard>> {
        let now = self.0.clock.now_ms();
        let state = self.0.state.lock();
        let mut shards = Vec::new();
        let mut place = Bound::Unbounded;
        while let Some((shard, ..)) = state.due.range((place, Bound::Unbounded)).next() {
            shards.extend(state.due_of(*shard, now).next().map(|_| *shard));
            place = Bound::Excluded((*shard, u64::MAX, Seq::MAX));
        }
        Ok(shards)
    }

    async fn live_blobs(&self) -> Result<Vec<Digest>> {
        let state = self.0.state.lock();
        Ok(state
            .jobs
            .values()
            .flat_map(|stored| stored.blobs.iter().copied())
            .collect())
    }

    async fn expire(&self) -> Result<u64> {
        let steady = self.0.steady.now_ms();
        let old = |stored: &StoredJob| {
            stored
                .ended_steady_ms
                .is_some_and(|at| at + self.0.retention_ms <= steady)
        };
        let mut state = self.0.state.lock();
        let gone: Vec<_> = state
            .jobs
            .iter()
            .filter(|(_, stored)| old(stored))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in &gone {
            state.forget(*seq);
        }
        Ok(gone.len() as u64)
    }
}

impl State {
    pub(super) fn enqueue(&mut self, new: NewJob, now: u64) -> Enqueued {
        let idempotency = new
            .idempotency_key
            .clone()
            .map(|key| (new.function.clone(), key));
        let stored = |seq: &Seq| self.jobs.get(seq);
        if let Some(stored) = self.ids.get(&new.id).and_then(stored) {
            return Enqueued::Duplicate(stored.job.id.clone());
        }
        let taken = idempotency
            .as_ref()
            .and_then(|key| self.idempotency.get(key));
        if let Some(stored) = taken.and_then(stored) {
            let id = stored.job.id.clone();
            return match (stored.request, new.request) {
                (Some(first), Some(again)) if first != again => Enqueued::OtherRequest(id),
                _ => Enqueued::Duplicate(id),
            };
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let job = Job {
            id: new.id.clone(),
            shard: new.shard.unwrap_or_else(|| Shard::of(&new.id)),
            function: new.function,
            details: new.details,
            idempotency_key: new.idempotency_key,
            state: JobState::Queued,
            attempts: 0,
            max_attempts: new.max_attempts,
            broken: 0,
            waiting: None,
            created_at_ms: now,
            due_at_ms: match new.due_at_ms {
                Some(due) if due > now => storable(due),
                _ => 0,
            },
            started_at_ms: None,
            finished_at_ms: None,
        };
        self.due.insert((job.shard, job.due_at_ms, seq));
        self.waiting.insert((new.group.clone(), job.due_at_ms, seq));
        self.ids.insert(new.id.clone(), seq);
        self.idempotency.extend(idempotency.map(|key| (key, seq)));
        let (payload, blobs) = (new.payload, new.blobs);
        let stored = StoredJob {
            job,
            payload,
            group: new.group,
            request: new.request,
            attempts: Attempts::default(),
            outcome: None,
            ended_steady_ms: None,
            blobs,
        };
        self.jobs.insert(seq, stored);
        Enqueued::New(new.id)
    }

    fn is_claimed(&self, shard: Shard, epoch: Epoch, seq: Seq) -> bool {
        let claims = self.claims.get(&shard);
        claims.is_some_and(|(of, claimed)| *of == epoch && claimed.contains(&seq))
    }

    /// Claims what is due and not claimed; what is named twice, once.
    fn claim(&mut self, shard: Shard, epoch: Epoch, mut free: Vec<Seq>) -> Result<Vec<Claimed>> {
        let lease = shard.lease();
        if self.epoch(&lease) != Some(epoch) {
            return Err(Conflict::Epoch { lease, epoch }.into());
        }
        let claims = self.claims.entry(shard).or_default();
        if claims.0 != epoch {
            *claims = (epoch, Default::default());
        }
        free.retain(|seq| claims.1.insert(*seq));
        Ok(free
            .iter()
            .filter_map(|seq| self.claimed(*seq, epoch))
            .collect())
    }

    pub(super) fn finish(
        &mut self,
        id: &JobId,
        attempt: Attempt,
        outcome: Outcome,
        now: u64,
        steady: u64,
    ) -> Accepted {
        let Some(stored) = self.current(id, attempt) else {
            return Accepted::Stale;
        };
        stored.attempts = stored.attempts.give_up(attempt);
        self.end(id, outcome, now, steady);
        Accepted::Yes
    }

    pub(super) fn is_current(&self, id: &JobId, attempt: Attempt) -> bool {
        let stored = self.ids.get(id).and_then(|seq| self.jobs.get(seq));
        stored.is_some_and(|stored| {
            !stored.job.state.ended()
                && self.epoch(&stored.job.shard.lease()) == Some(attempt.epoch)
                && stored.attempts.current(attempt.epoch) == attempt
        })
    }

    fn current(&mut self, id: &JobId, attempt: Attempt) -> Option<&mut StoredJob> {
        if !self.is_current(id, attempt) {
            return None;
        }
        self.ids.get(id).and_then(|seq| self.jobs.get_mut(seq))
    }

    fn end(&mut self, id: &JobId, outcome: Outcome, now: u64, steady: u64) {
        self.drop_claim(id);
        let Some(seq) = self.ids.get(id).copied() else {
            return;
        };
        let Some(stored) = self.jobs.get_mut(&seq) else {
            return;
        };
        stored.job.state = outcome.state();
        stored.job.finished_at_ms = Some(now);
        stored.job.waiting = None;
        stored.ended_steady_ms = Some(steady);
        stored.outcome = Some(outcome);
        let (shard, due_at_ms) = stored.place();
        let group = stored.group.clone();
        self.due.remove(&(shard, due_at_ms, seq));
        self.waiting.remove(&(group, due_at_ms, seq));
    }

    /// Queues a job again.
    fn put_off(&mut self, id: &JobId, due_at_ms: u64) {
        self.drop_claim(id);
        let Some(seq) = self.ids.get(id).copied() else {
            return;
        };
        let Some(stored) = self.jobs.get_mut(&seq) else {
            return;
        };
        let (shard, before) = stored.place();
        stored.job.due_at_ms = due_at_ms;
        let group = stored.group.clone();
        self.due.remove(&(shard, before, seq));
        self.due.insert((shard, due_at_ms, seq));
        self.waiting.remove(&(group.clone(), before, seq));
        self.waiting.insert((group, due_at_ms, seq));
    }

    /// Due jobs of a shard, in the order of claiming.
    fn due_of(&self, shard: Shard, now: u64) -> impl Iterator<Item = Seq> {
        let all = self.due.range((shard, 0, 0)..=(shard, u64::MAX, Seq::MAX));
        let due = move |seq: &Seq| {
            let stored = self.jobs.get(seq);
            stored.is_some_and(|stored| stored.is_due(now))
        };
        all.map(|(_, _, seq)| *seq).filter(due)
    }

    /// Groups with something to do, in their order from `after` on and then from the first.
    fn groups(&self, after: &str) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        let mut place = Bound::Excluded((after.to_owned(), u64::MAX, Seq::MAX));
        let mut from_first = false;
        while groups.len() < GROUPS_AT_ONCE {
            let next = self.waiting.range((place.clone(), Bound::Unbounded)).next();
            match next {
                Some((group, ..)) if from_first && group.as_str() > after => break,
                Some((group, ..)) => {
                    groups.push(group.clone());
                    place = Bound::Excluded((group.clone(), u64::MAX, Seq::MAX));
                }
                None if from_first => break,
                None => (from_first, place) = (true, Bound::Unbounded),
            }
        }
        groups
    }

    /// Jobs of a group that can be claimed: some of those that were put off and are due again, then
    /// the oldest others.
    fn of_group(
        &self,
        group: &str,
        held: &HashMap<Shard, Epoch>,
        now: u64,
    ) -> Vec<(Seq, Shard, Epoch)> {
        let range = |from, to| {
            let all = self
                .waiting
                .range((group.to_owned(), from, 0)..=(group.to_owned(), to, Seq::MAX));
            all.filter_map(move |(_, _, seq)| {
                let stored = self.jobs.get(seq).filter(|stored| stored.is_due(now))?;
                let epoch = held.get(&stored.job.shard)?;
                let free = !self.is_claimed(stored.job.shard, *epoch, *seq);
                free.then_some((*seq, stored.job.shard, *epoch))
            })
        };
        let mut free: Vec<_> = range(1, u64::MAX).take(OF_GROUP_AT_ONCE / 4).collect();
        let room = OF_GROUP_AT_ONCE - free.len();
        free.extend(range(0, 0).take(room));
        free
    }

    fn drop_claim(&mut self, id: &JobId) {
        let Some(seq) = self.ids.get(id) else { return };
        let shard = self.jobs.get(seq).map(|stored| stored.job.shard);
        if let Some((_, claimed)) = shard.and_then(|shard| self.claims.get_mut(&shard)) {
            claimed.remove(seq);
        }
    }

    fn job(&self, id: &JobId) -> Option<Job> {
        let seq = *self.ids.get(id)?;
        self.jobs.get(&seq).map(|stored| self.shown(seq, stored))
    }

    fn shown(&self, seq: Seq, stored: &StoredJob) -> Job {
        let claimed = self
            .claims
            .get(&stored.job.shard)
            .is_some_and(|(_, claimed)| claimed.contains(&seq));
        let running = claimed || stored.attempts.open.is_some();
        let mut job = stored.job.clone();
        job.attempts = stored.attempts.recorded;
        job.broken = stored.attempts.broken;
        if job.due_at_ms == 0 {
            job.due_at_ms = job.created_at_ms;
        }
        if job.state == JobState::Queued && running {
            job.state = JobState::Running;
        }
        job
    }

    fn claimed(&self, seq: Seq, epoch: Epoch) -> Option<Claimed> {
        let stored = self.jobs.get(&seq)?;
        let attempt = stored.attempts.current(epoch);
        Some(Claimed {
            job: self.shown(seq, stored),
            payload: stored.payload.clone(),
            group: stored.group.clone(),
            attempt,
            lost: stored.attempts.lost(epoch),
        })
    }

    fn forget(&mut self, seq: Seq) {
        let Some(stored) = self.jobs.remove(&seq) else {
            return;
        };
        self.ids.remove(&stored.job.id);
        if let Some(key) = stored.job.idempotency_key {
            self.idempotency.remove(&(stored.job.function, key));
        }
    }
}

impl StoredJob {
    /// One that was put off by longer than it can be was so before a step of the clock.
    fn is_due(&self, now: u64) -> bool {
        let due = self.job.due_at_ms;
        due <= now || self.attempts.broken > 0 && due > too_far(now)
    }

    fn place(&self) -> (Shard, u64) {
        (self.job.shard, self.job.due_at_ms)
    }
}
