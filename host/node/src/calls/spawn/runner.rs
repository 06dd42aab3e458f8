//! Claims due jobs of the shards this node leases, and runs them.
//!
//! One task looks for work when poked and now and then; each job it claims is a task. The number of jobs in
//! hand is bounded, so a queue of a million costs the memory of a few hundred. Jobs that functions wait for have a
//! bound of their own at each depth (see [`super::wanted`]): those at the bottom wait for nobody, so all come to an end.

use super::payload::{Ended, Payload};
use super::results::State;
use crate::calls::invoke::{Checked, Running};
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::{Kind, NewCall};
use crate::clock::now_ms;
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use bytes::Bytes;
use lydian_api::v1;
use lydian_engine::{Failure, FailureKind, Outcome};
use lydian_store::{Accepted, Claimed, Conflict, Epoch, Shard};
use lydian_value::Digest;
use parking_lot::Mutex;
use prost::Message;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a shard stays with a node that is silent.
const LEASE: Duration = Duration::from_secs(15);
/// How often leases are renewed: two may fail before one lapses.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for jobs that nobody poked about: those of a node that is gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// What is kept of a job's output, with its result.
const KEPT_LOG_BYTES: usize = 64 << 10;

pub(super) struct Runner {
    core: Arc<Core>,
    held: HashMap<Shard, Epoch>,
    renewed: Instant,
    in_hand: JoinSet<()>,
    counts: Arc<Mutex<Counts>>,
}

/// Jobs claimed and not ended.
#[derive(Default)]
struct Counts {
    /// Of those that came in their turn.
    in_turn: usize,
    /// Of those that were claimed because a function waits for them, by their depth.
    awaited: HashMap<u32, usize>,
    shards: HashMap<Shard, usize>,
}

/// Counts for one job as long as it is in hand.
struct InHand {
    counts: Arc<Mutex<Counts>>,
    shard: Shard,
    awaited_at: Option<u32>,
}

impl Runner {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            held: HashMap::new(),
            renewed: Instant::now(),
            in_hand: JoinSet::new(),
            counts: Arc::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let core = self.core.clone();
        let spawner = &core.spawner;
        loop {
            tokio::select! {
                () = spawner.stopping.cancelled() => break,
                () = spawner.poke.notified() => {}
                Some(_) = self.in_hand.join_next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for durable calls"
                );
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
        while self.in_hand.join_next().await.is_some() {}
        self.release(|_, _| true).await;
        spawner.stopped.cancel();
    }

    async fn look(&mut self) -> Result<(), lydian_store::Error> {
        self.renew().await?;
        self.look_for_awaited().await?;
        let core = self.core.clone();
        let spawner = &core.spawner;
        let (any, mark) = spawner.wanted.own_now();
        if !spawner.all && !any && self.held.is_empty() {
            return Ok(());
        }
        let mut shards = core.store.jobs().due_shards().await?;
        if !spawner.all {
            shards = spawner.wanted.own_of(shards, mark);
        }
        for shard in shards {
            let in_turn = self.counts.lock().in_turn;
            let room = core.options.max_spawned_in_hand.saturating_sub(in_turn);
            if room == 0 {
                break;
            }
            let Some(epoch) = self.epoch(shard).await? else {
                continue;
            };
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            let claimed = core.store.jobs().claim(shard, epoch, room).await;
            for claimed in self.claimed(shard, claimed)? {
                self.take(claimed, None);
            }
        }
        if !spawner.all {
            self.release(|shard, counts| {
                !spawner.wanted.has_own(shard) && !counts.shards.contains_key(&shard)
            })
            .await;
        }
        Ok(())
    }

    /// Claims what functions wait for, however much else is in hand.
    async fn look_for_awaited(&mut self) -> Result<(), lydian_store::Error> {
        let core = self.core.clone();
        let max = core.options.max_spawned_in_hand;
        let mut in_hand = self.counts.lock().awaited.clone();
        let awaited = core.spawner.wanted.take_awaited(|depth| {
            let count = in_hand.entry(depth).or_default();
            *count += 1;
            *count <= max
        });
        for (shard, depths) in awaited {
            let Some(epoch) = self.epoch(shard).await? else {
                continue;
            };
            let ids = depths.keys().cloned().collect();
            let claimed = core.store.jobs().claim_these(shard, epoch, ids).await;
            for claimed in self.claimed(shard, claimed)? {
                let depth = depths.get(&claimed.job.id).copied();
                self.take(claimed, depth);
            }
        }
        Ok(())
    }

    /// What was claimed of a shard; nothing when it is not this node's any more.
    fn claimed(
        &mut self,
        shard: Shard,
        claimed: Result<Vec<Claimed>, lydian_store::Error>,
    ) -> Result<Vec<Claimed>, lydian_store::Error> {
        match claimed {
            Err(lydian_store::Error::Conflict(Conflict::Epoch { .. })) => {
                self.held.remove(&shard);
                Ok(Vec::new())
            }
            claimed => claimed,
        }
    }

    fn take(&mut self, claimed: Claimed, awaited_at: Option<u32>) {
        let counted = InHand::new(&self.counts, claimed.job.shard, awaited_at);
        let core = self.core.clone();
        self.in_hand.spawn(async move {
            run_job(core, claimed).await;
            drop(counted);
        });
    }

    async fn epoch(&mut self, shard: Shard) -> Result<Option<Epoch>, lydian_store::Error> {
        if let Some(epoch) = self.held.get(&shard) {
            return Ok(Some(*epoch));
        }
        let node = &self.core.spawner.identity.node;
        let epoch = self
            .core
            .store
            .leases()
            .acquire(&shard.lease(), node, LEASE)
            .await?;
        if let Some(epoch) = epoch {
            self.held.insert(shard, epoch);
        }
        Ok(epoch)
    }

    async fn renew(&mut self) -> Result<(), lydian_store::Error> {
        if self.held.is_empty() || self.renewed.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        let held = self
            .core
            .store
            .leases()
            .renew_all(&self.core.spawner.identity.node)
            .await?;
        self.renewed = Instant::now();
        self.held.retain(|shard, epoch| {
            let lease = shard.lease();
            held.iter()
                .any(|(name, renewed)| *name == lease && renewed == epoch)
        });
        Ok(())
    }

    /// Gives up the shards of which it is true.
    async fn release(&mut self, unused: impl Fn(Shard, &Counts) -> bool) {
        let (leases, node) = (self.core.store.leases(), &self.core.spawner.identity.node);
        let given_up: Vec<_> = {
            let counts = self.counts.lock();
            let of_shard = |shard: &Shard, _: &mut Epoch| unused(*shard, &counts);
            self.held.extract_if(of_shard).collect()
        };
        for (shard, epoch) in given_up {
            if let Err(error) = leases.release(&shard.lease(), node, epoch).await {
                tracing::debug!(%error, "a lease was not given up; it lapses by itself");
            }
        }
    }
}

impl InHand {
    fn new(counts: &Arc<Mutex<Counts>>, shard: Shard, awaited_at: Option<u32>) -> Self {
        let mut all = counts.lock();
        *all.shards.entry(shard).or_default() += 1;
        match awaited_at {
            Some(depth) => *all.awaited.entry(depth).or_default() += 1,
            None => all.in_turn += 1,
        }
        Self {
            counts: counts.clone(),
            shard,
            awaited_at,
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut all = self.counts.lock();
        if let Entry::Occupied(mut left) = all.shards.entry(self.shard) {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
        match self.awaited_at {
            Some(depth) => *all.awaited.entry(depth).or_default() -= 1,
            None => all.in_turn -= 1,
        }
    }
}

/// What became of an attempt.
enum End {
    Ended(Box<Ended>, State),
    /// Not run: someone shall run it.
    HandBack,
    /// Interrupted by the node's end: someone shall run it again.
    Interrupted,
    /// Another owner has the job now.
    Lost,
}

async fn run_job(core: Arc<Core>, claimed: Claimed) {
    let id = claimed.job.id.clone();
    let end = match attempt_job(&core, &claimed).await {
        Ok(end) => end,
        Err(error) => failed(Failure::new(
            FailureKind::Interrupted,
            format!("the call could not be run: {error}"),
        )),
    };
    let (mut ended, state) = match end {
        End::Ended(ended, state) => (ended, state),
        End::HandBack => {
            let _ = core.store.jobs().unclaim(vec![id]).await;
            return;
        }
        End::Interrupted => return give_back(&core, &claimed).await,
        End::Lost => return core.spawner.wanted.ended(&claimed.job),
    };
    // The work is done; only a store that stays broken makes it be done again.
    for pause in 1..=10 {
        match core.record(&claimed, &mut ended, state).await {
            Ok(()) => {
                core.spawner.wanted.ended(&claimed.job);
                return;
            }
            Err(error) => tracing::warn!(%id, %error, "cannot record a result, trying again"),
        }
        tokio::time::sleep(STORE_PAUSE * pause).await;
    }
    let _ = core.store.jobs().unclaim(vec![id]).await;
}

/// Ends the attempt without ending the job, which is queued again at once.
async fn give_back(core: &Core, claimed: &Claimed) {
    let (jobs, id) = (core.store.jobs(), claimed.job.id.clone());
    // The last attempt is left open, for ending it would end the job; the next owner counts it.
    let given_back = match claimed.attempt.number < claimed.job.max_attempts {
        true => jobs
            .retry(id, claimed.attempt, now_ms(), Bytes::new())
            .await
            .map(drop),
        false => jobs.unclaim(vec![id]).await,
    };
    if let Err(error) = given_back {
        tracing::warn!(id = %claimed.job.id, %error, "cannot hand a call back; it is claimed again by the next owner");
    }
}

async fn attempt_job(core: &Arc<Core>, claimed: &Claimed) -> Result<End, Error> {
    if claimed.exhausted() {
        let times = claimed.job.max_attempts;
        let text =
            format!("the node went down under the call {times} times; it is not tried again");
        return Ok(failed(
            Failure::new(FailureKind::Interrupted, text).hint("look at the node's log"),
        ));
    }
    let payload = Payload::decode(claimed.payload.clone())
        .map_err(|_| Error::Internal("the recorded call cannot be read".into()))?;
    let checked = check(core, &payload).await?;
    let id = claimed
        .job
        .id
        .as_str()
        .parse()
        .map_err(|_| Error::Internal("the call's id is malformed".into()))?;
    let running = core.begin_as(NewCall {
        id,
        kind: Kind::Spawn,
        target: checked.target.clone(),
        limits: checked.limits,
        attempt: claimed.attempt.number,
        lineage: lineage(core, &payload)?,
        cancel: CancellationToken::new(),
        log_bytes: core.options.call_log_bytes,
    });
    let seat = loop {
        match core.seat(&running.call).await {
            Ok(seat) => break seat,
            Err(Error::Draining) => return Ok(End::HandBack),
            // A durable call has time.
            Err(_) => tokio::time::sleep(STORE_PAUSE).await,
        }
    };
    // Not begun when the node stops, so it need not begin here.
    if core.spawner.stopping.is_cancelled() {
        core.leave(seat);
        return Ok(End::HandBack);
    }
    let started = core
        .store
        .jobs()
        .started(vec![(claimed.job.id.clone(), claimed.attempt)])
        .await?;
    if started.contains(&Accepted::Stale) {
        return Ok(End::Lost);
    }
    if running.call.is_interrupted() {
        return Ok(End::Interrupted);
    }
    if running.call.cancel.is_cancelled() {
        return Ok(End::Lost);
    }
    // Not before it runs: what is in line must not hold much.
    let args = arguments(core, &payload).await?;
    let sink = running.sink(None);
    let outcome = running.run(seat, args, sink).await;
    if outcome.result.is_err() && running.call.is_interrupted() {
        return Ok(End::Interrupted);
    }
    Ok(ended(&running, outcome))
}

/// The pinned function, and its limits as the spawn lowered them.
async fn check(core: &Core, payload: &Payload) -> Result<Checked, Error> {
    let target = v1::Target {
        code: Some(match payload.app.as_str() {
            "" => v1::target::Code::Component(payload.component.clone()),
            app => v1::target::Code::App(v1::AppRef {
                environment: payload.environment.clone(),
                app: app.to_owned(),
                version: payload.version,
            }),
        }),
        function: payload.function.clone(),
        environment: payload.environment.clone(),
    };
    let target = core.resolver.accepted_function(&target).await?;
    core.limited(target, payload.limits.as_ref())
}

/// What led to the call when it was recorded. It has its own time, whatever its caller has.
fn lineage(core: &Core, payload: &Payload) -> Result<Lineage, Error> {
    let root = match payload.root.as_str() {
        "" => None,
        root => Some(core.roots.find(root, payload.root_left)?),
    };
    Ok(Lineage {
        depth: payload.depth,
        parent: payload.parent.parse().ok(),
        environment: payload.environment.clone(),
        traceparent: payload.traceparent.clone(),
        root,
        deadline: None,
    })
}

async fn arguments(core: &Core, payload: &Payload) -> Result<Bytes, Error> {
    if payload.args_blob.is_empty() {
        return Ok(payload.args.clone());
    }
    let digest = Digest::try_from(&payload.args_blob[..]).map_err(|error| {
        Error::Internal(format!("the recorded arguments cannot be found: {error}"))
    })?;
    Ok(core.store.blobs().get(&digest).await?)
}

fn ended(running: &Running, outcome: Outcome) -> End {
    let state = match &outcome.result {
        Ok(_) => State::Succeeded,
        Err(failure) if failure.kind == FailureKind::Cancelled => State::Cancelled,
        Err(_) => State::Failed,
    };
    let ended = Ended {
        outcome: Some(convert::outcome(outcome)),
        log: kept_log(running),
        limits: Some(convert::limits(&running.call.limits)),
        value_blob: Bytes::new(),
    };
    End::Ended(Box::new(ended), state)
}

fn failed(failure: Failure) -> End {
    End::Ended(
        Box::new(Ended::failure(convert::failure(failure))),
        State::Failed,
    )
}

/// The newest output, up to a bound.
fn kept_log(running: &Running) -> Vec<v1::LogChunk> {
    let Some(log) = running.call.log_if_any() else {
        return Vec::new();
    };
    let mut chunks = log.kept();
    let mut bytes = 0;
    let fitting = chunks.iter().rev().take_while(|chunk| {
        bytes += chunk.data.len();
        bytes <= KEPT_LOG_BYTES
    });
    let first = chunks.len() - fitting.count();
    let mut kept = chunks.split_off(first);
    if let Some(oldest) = kept.first_mut() {
        let dropped = chunks
            .iter()
            .map(|chunk| chunk.missed_bytes + chunk.data.len() as u64);
        oldest.missed_bytes += dropped.sum::<u64>();
        oldest.truncated |= oldest.missed_bytes > 0;
    }
    kept
}
