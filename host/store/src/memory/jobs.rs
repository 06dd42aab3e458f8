//! `JobStore` in memory.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use super::{MemoryStore, Seq, State, StoredJob};
use crate::clock::storable;
use crate::jobs::Attempts;
use crate::{
    Accepted, Attempt, Cancelled, Claimed, Conflict, Depth, Enqueued, Epoch, Error, FunctionKey,
    Job, JobFilter, JobId, JobState, JobStore, NewJob, Outcome, Result, Retried, Shard,
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
        let due = state.due.range((shard, 0, 0)..=(shard, now, Seq::MAX));
        let free = due
            .map(|(_, _, seq)| *seq)
            .filter(|seq| !state.is_claimed(shard, epoch, *seq));
        let free = free.take(max as usize).collect();
        state.claim(shard, epoch, free)
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
            let place = state.jobs.get(seq).map(StoredJob::place);
            let due = place.is_some_and(|(of, at)| {
                of == shard && at <= now && state.due.contains(&(of, at, *seq))
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
            state.end(&id, JobState::Failed, Outcome::Failed(failure), now);
            drop(state);
            self.0.hub.ended(&id);
            return Ok(Retried::Failed);
        }
        let before = stored.place();
        stored.job.due_at_ms = storable(due_at_ms);
        let after = stored.place();
        if let Some(seq) = state.ids.get(&id).copied() {
            state.due.remove(&(before.0, before.1, seq));
            state.due.insert((after.0, after.1, seq));
        }
        state.drop_claim(&id);
        Ok(Retried::Queued)
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
        let now = self.0.clock.now_ms();
        let ids: Vec<_> = done.iter().map(|(id, ..)| id.clone()).collect();
        let mut state = self.0.state.lock();
        let accepted = done
            .into_iter()
            .map(|(id, attempt, outcome)| state.finish(&id, attempt, outcome, now))
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
        state.end(id, JobState::Cancelled, Outcome::Cancelled(reason), now);
        drop(state);
        self.0.hub.ended(id);
        Ok(Cancelled::Now {
            running: job.state == JobState::Running,
        })
    }

    async fn job(&self, id: &JobId) -> Result<Option<Job>> {
        Ok(self.0.state.lock().job(id))
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
        self.0.hub.wait_for_end(id, wait, look).await
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
        let due = |shard: &Shard| {
            state
                .due
                .range((*shard, 0, 0)..=(*shard, now, Seq::MAX))
                .next()
                .is_some()
        };
        Ok(Shard::all().filter(due).collect())
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
        let before = self.0.clock.now_ms().saturating_sub(self.0.retention_ms);
        let mut state = self.0.state.lock();
        let old = |stored: &StoredJob| stored.job.finished_at_ms.is_some_and(|at| at <= before);
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
        let taken = self
            .ids
            .get(&new.id)
            .or_else(|| self.idempotency.get(idempotency.as_ref()?));
        if let Some(stored) = taken.and_then(|seq| self.jobs.get(seq)) {
            return Enqueued::Duplicate(stored.job.id.clone());
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let job = Job {
            id: new.id.clone(),
            shard: Shard::of(&new.function),
            function: new.function,
            details: new.details,
            idempotency_key: new.idempotency_key,
            state: JobState::Queued,
            attempts: 0,
            max_attempts: new.max_attempts,
            created_at_ms: now,
            due_at_ms: storable(new.due_at_ms.unwrap_or(now)),
            started_at_ms: None,
            finished_at_ms: None,
        };
        self.due.insert((job.shard, job.due_at_ms, seq));
        self.ids.insert(new.id.clone(), seq);
        self.idempotency.extend(idempotency.map(|key| (key, seq)));
        let (payload, blobs) = (new.payload, new.blobs);
        let stored = StoredJob {
            job,
            payload,
            attempts: Attempts::default(),
            outcome: None,
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
    ) -> Accepted {
        let Some(stored) = self.current(id, attempt) else {
            return Accepted::Stale;
        };
        stored.attempts = stored.attempts.give_up(attempt);
        self.end(id, outcome.state(), outcome, now);
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

    fn end(&mut self, id: &JobId, state: JobState, outcome: Outcome, now: u64) {
        self.drop_claim(id);
        let Some(seq) = self.ids.get(id).copied() else {
            return;
        };
        let Some(stored) = self.jobs.get_mut(&seq) else {
            return;
        };
        stored.job.state = state;
        stored.job.finished_at_ms = Some(now);
        stored.outcome = Some(outcome);
        let (shard, due_at_ms) = stored.place();
        self.due.remove(&(shard, due_at_ms, seq));
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
            attempt,
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
    fn place(&self) -> (Shard, u64) {
        (self.job.shard, self.job.due_at_ms)
    }
}
