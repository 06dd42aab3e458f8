//! Durable calls: recorded before they are answered, run at least once, their result kept.
//!
//! | file | what |
//! | --- | --- |
//! | [`payload`] | what a job's bytes hold |
//! | [`runner`] | claims due jobs |
//! | [`job`] | runs one, and records its end |
//! | [`verdict`] | what an error on the way means: an end, a pause, or never |
//! | [`hand`] | the jobs in hand, and why some of them wait |
//! | [`shards`] | which jobs this node may claim, beside other nodes |
//! | [`results`] | records how jobs ended, and reads it |
//! | [`wanted`] | whose jobs this process runs, and which before others |
//! | [`identity`] | which node this is to the store |
//!
//! A job is pinned to the version that was current when it was spawned: a later deploy changes
//! nothing for it, and its component is kept from collection. An attempt is recorded before it
//! runs, so a job that takes its node down again and again is failed after [`MAX_LOST`] instead of
//! run for ever; one that was only waiting when the node died is simply claimed again. What the
//! platform breaks on the way to the function is no attempt, and no outcome. The store takes one
//! outcome per attempt token.
//!
//! Not here: retries of failed attempts, which come with a later release.

mod hand;
mod identity;
mod job;
pub(crate) mod payload;
mod results;
mod runner;
mod shards;
mod verdict;
mod wanted;

use crate::calls::invoke::Checked;
use crate::calls::nested::lineage::{Lineage, Root};
use crate::calls::record::State;
use crate::core::Core;
use crate::ephemeral::is_ephemeral;
use crate::error::Error;
use crate::manifest::Manifest;
use bytes::Bytes;
use hand::Hand;
pub(crate) use hand::Trouble;
use identity::Identity;
use lydian_api::v1;
use lydian_store::{Enqueued, FunctionKey, Job, JobId, JobState, NewJob, Shard};
use lydian_value::Digest;
use payload::{Details, Payload};
use prost::Message;
use runner::Runner;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wanted::Wanted;

/// Attempts whose node died under them before the job is failed: a poisonous one kills no more
/// nodes than this. A node that stops in order does not count.
const MAX_LOST: u32 = 10;

/// Arguments and results above this go to the blob store: the database is for small records.
const INLINE_BYTES: usize = 64 << 10;

/// Longest name a caller may give a request.
const MAX_KEY_BYTES: usize = 256;

/// The node's side of durable calls.
pub(crate) struct Spawner {
    identity: Identity,
    /// Whether all due jobs are run, as a node does, or those only that this process recorded.
    all: bool,
    wanted: Wanted,
    hand: Hand,
    /// Where a process that runs its own jobs only records them.
    own_shard: Option<Shard>,
    /// Told when there may be something to claim.
    poke: Notify,
    /// Set when the node stops: what is interrupted from then on is handed back, not failed.
    pub(crate) stopping: CancellationToken,
    /// Set when the runner has handed everything back.
    stopped: CancellationToken,
}

impl Spawner {
    pub(crate) fn new(
        data: &crate::options::Data,
        all: bool,
    ) -> Result<Self, crate::node::StartError> {
        let mut number = [0];
        getrandom::fill(&mut number).map_err(|_| crate::node::StartError::Random)?;
        Ok(Self {
            identity: Identity::of(data)?,
            all,
            wanted: Wanted::default(),
            hand: Hand::default(),
            own_shard: (!all).then(|| Shard::own(number[0])),
            poke: Notify::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        })
    }

    /// Starts to claim and run due jobs.
    pub(crate) fn start(core: &Arc<Core>) {
        tokio::spawn(Runner::new(core.clone()).run());
    }

    /// Stops claiming. What runs goes on until it is cancelled.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Says that a function waits for a job; one that nobody has claimed is claimed before others.
    pub(crate) fn awaited(&self, job: &Job, depth: u32) {
        let here = self.all || self.wanted.has_own(job.shard);
        if job.state == JobState::Queued && here {
            let details = Details::decode(job.details.clone()).unwrap_or_default();
            self.wanted.awaited(job, details.depth.max(depth));
            self.poke.notify_one();
        }
    }

    /// Returns once every job in this process's hands was finished or handed back.
    pub(crate) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

impl Core {
    /// `Calls.Spawn`.
    pub(crate) async fn spawn(
        self: &Arc<Self>,
        request: v1::SpawnRequest,
    ) -> Result<v1::SpawnResponse, Error> {
        if self.admission.draining() {
            return Err(Error::Draining);
        }
        if request.idempotency_key.len() > MAX_KEY_BYTES {
            return Err(Error::invalid(
                "idempotency_key",
                format!("is longer than {MAX_KEY_BYTES} bytes"),
            ));
        }
        let checked = self
            .check(request.target.as_ref(), request.limits.as_ref())
            .await?;
        let lineage =
            Lineage::of_client(request.target.as_ref(), request.depth, request.traceparent);
        let key = request.idempotency_key.clone();
        // Not the version, which a client may look up again before it repeats a request.
        let sent = Digest::of(&request.args);
        let args = checked.arguments(request.args)?;
        let (mut job, _) = self
            .new_job(&checked, args, request.limits, &lineage)
            .await?;
        if !key.is_empty() {
            (job.idempotency_key, job.request) = (Some(key), Some(sent));
        }
        self.enqueue(job).await
    }

    /// The same for a function's call, whose arguments are not checked yet; answers its id.
    pub(crate) async fn spawn_nested(
        &self,
        checked: Checked,
        args: Bytes,
        lineage: &Lineage,
    ) -> Result<String, Error> {
        if self.admission.draining() {
            return Err(Error::Draining);
        }
        let args = checked.arguments(args)?;
        let (job, root) = self.new_job(&checked, args, None, lineage).await?;
        if let Some(root) = root {
            self.roots.remember(&root);
        }
        Ok(self.enqueue(job).await?.call)
    }

    async fn enqueue(&self, job: NewJob) -> Result<v1::SpawnResponse, Error> {
        let key = job.idempotency_key.clone().unwrap_or_default();
        let shard = job.shard.unwrap_or_else(|| Shard::of(&job.id));
        let (id, duplicate) = match self.store.jobs().enqueue(vec![job]).await?.pop() {
            Some(Enqueued::New(id)) => (id, false),
            Some(Enqueued::Duplicate(id)) => (id, true),
            Some(Enqueued::OtherRequest(id)) => {
                let text = format!(
                    "`{key}` is the key of call `{id}` of this function, which has other arguments"
                );
                return Err(Error::invalid("idempotency_key", text));
            }
            None => return Err(Error::Internal("the call store gave no answer".into())),
        };
        if !self.spawner.all {
            let shard = match duplicate {
                true => self.job(id.as_str()).await?.map_or(shard, |job| job.shard),
                false => shard,
            };
            self.spawner.wanted.recorded(shard, id.clone());
        }
        self.spawner.poke.notify_one();
        Ok(v1::SpawnResponse {
            call: id.to_string(),
            duplicate,
        })
    }

    async fn new_job(
        &self,
        checked: &Checked,
        args: Bytes,
        limits: Option<v1::Limits>,
        lineage: &Lineage,
    ) -> Result<(NewJob, Option<Arc<Root>>), Error> {
        if args.len() as u64 > checked.limits.payload_bytes {
            return Err(Error::ArgumentsTooLarge {
                bytes: args.len() as u64,
                limit: checked.limits.payload_bytes,
            });
        }
        if let Some(failure) = checked.refusal(&args, lineage.depth) {
            return Err(Error::invalid("depth", failure.message));
        }
        let target = &checked.target;
        let mut blobs = vec![target.digest];
        let mut payload = Payload::new(target, limits, lineage);
        if is_ephemeral(&target.place.app) {
            // It is in memory only, and the call may outlive it.
            let manifest = self.resolver.manifest_of(target).await?;
            let trees = Manifest::parse(&manifest)?;
            let trees = trees.mounts().iter().map(|point| point.tree).collect();
            blobs.extend(self.mounts.live(trees).await?);
            (payload.manifest, payload.whole) = (manifest, true);
        }
        if args.len() > INLINE_BYTES {
            let digest = self.store.blobs().put(args).await?;
            payload.args_blob = digest.as_bytes().to_vec().into();
            blobs.push(digest);
        } else {
            payload.args = args;
        }
        let group = group(checked, lineage);
        let job = NewJob {
            id: self.ids.next(crate::clock::now_ms()).to_string().into(),
            function: function_key(checked, lineage),
            shard: self.spawner.own_shard,
            group: group.clone(),
            payload: payload.encode_to_vec().into(),
            details: Details::of(target, lineage, group).encode_to_vec().into(),
            idempotency_key: None,
            request: None,
            due_at_ms: None,
            max_attempts: MAX_LOST,
            blobs,
        };
        Ok((job, lineage.root.clone()))
    }

    /// Stops the attempt at a job in this process, whose end would not count.
    fn stop_job(&self, id: &JobId) {
        self.spawner.hand.let_go(id);
        let call = id.as_str().parse().ok();
        if let Some(call) = call.and_then(|id| self.recent.find(id)) {
            call.cancel.cancel();
        }
    }

    /// Forgets an attempt that did not end: the call is queued, and its next attempt is told of
    /// instead.
    fn forget_attempt(&self, id: &JobId) {
        if let Ok(id) = id.as_str().parse() {
            self.recent.forget(id);
        }
    }

    /// Why a call that has not ended waits, as far as this process knows.
    pub(crate) fn trouble(&self, job: &Job) -> Option<Trouble> {
        if job.state.ended() {
            return None;
        }
        let hand = &self.spawner.hand;
        hand.trouble(&job.id).or_else(|| {
            let waiting = job
                .waiting
                .as_ref()
                .filter(|_| job.state == JobState::Queued);
            let stored = waiting.map(|reason| Trouble {
                reason: reason.clone(),
                next_try_ms: job.due_at_ms,
                ended: false,
            });
            let details = Details::decode(job.details.clone()).unwrap_or_default();
            let group = hand.trouble_of(&details.group);
            stored.or(group.filter(|_| job.state == JobState::Queued))
        })
    }

    /// What is known of a durable call; `None` when there is none of that id.
    pub(crate) async fn job(&self, call: &str) -> Result<Option<Job>, Error> {
        Ok(self.store.jobs().job(&JobId::from(call)).await?)
    }
}

/// Jobs of one function share an order and the scope of idempotency keys, whatever the version.
fn function_key(checked: &Checked, lineage: &Lineage) -> FunctionKey {
    let target = &checked.target;
    let function = match target.place.app.as_str() {
        "" => format!("{}/{}", target.digest, target.name()),
        _ => target.name().to_owned(),
    };
    FunctionKey {
        environment: payload::environment(target, lineage).to_owned(),
        app: target.place.app.clone(),
        function,
    }
}

/// What claims are fair between: the versions of apps, and components without one.
fn group(checked: &Checked, lineage: &Lineage) -> String {
    let target = &checked.target;
    let (environment, place) = (payload::environment(target, lineage), &target.place);
    match place.app.as_str() {
        "" => format!("{environment}//{}", target.digest),
        app => format!("{environment}/{app}@{}", place.version),
    }
}

/// A durable call as listings show it.
pub(crate) fn job_info(job: &Job) -> v1::CallInfo {
    let details = Details::decode(job.details.clone()).unwrap_or_default();
    v1::CallInfo {
        call: job.id.to_string(),
        environment: job.function.environment.clone(),
        app: job.function.app.clone(),
        version: details.version,
        function: details.function,
        state: match job.state {
            JobState::Queued => State::Queued,
            JobState::Running => State::Running,
            JobState::Succeeded => State::Succeeded,
            JobState::Failed => State::Failed,
            JobState::Cancelled => State::Cancelled,
        }
        .into(),
        kind: v1::call_info::Kind::Spawn.into(),
        created_at_ms: job.created_at_ms,
        started_at_ms: job.started_at_ms.unwrap_or_default(),
        finished_at_ms: job.finished_at_ms.unwrap_or_default(),
        attempt: job.attempts,
        broken_starts: job.broken,
        waiting_reason: String::new(),
        next_try_at_ms: 0,
        result_signature: details.result_signature,
        result_type_json: details.result_type_json,
        parent: details.parent,
        depth: details.depth,
    }
}
