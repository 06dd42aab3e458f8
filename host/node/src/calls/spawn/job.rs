//! One claimed job, from the claim until its end is recorded or it was handed back.
//!
//! What keeps it from running keeps it: see [`super::verdict`]. It is then tried again, here where
//! the node itself is in trouble, or queued again for later where its component is; never is an end
//! recorded that the function did not come to. An end that cannot be recorded is kept in memory,
//! with the lease, until it is.

use super::hand::{InHand, backoff};
use super::payload::{Ended, Payload};
use super::results::State;
use super::verdict::{Because, Verdict};
use crate::calls::invoke::{Checked, Running};
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::{Kind, NewCall};
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use bytes::Bytes;
use futures::FutureExt;
use lydian_api::v1;
use lydian_engine::{Failure, FailureKind, Outcome};
use lydian_store::{Accepted, Back, Claimed};
use lydian_value::Digest;
use prost::Message;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause of a call in line for a sandbox after the line was full or its turn did not come.
const LINE_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause before the end of a call is recorded again: the function ran, and only this is
/// missing.
const LONGEST_RECORD_PAUSE: Duration = Duration::from_secs(2);
/// How long the end of a call is kept that cannot be recorded while the node stops.
const RECORD_WHILE_STOPPING: Duration = Duration::from_secs(60);
/// What is kept of a job's output, with its result.
const KEPT_LOG_BYTES: usize = 64 << 10;

/// What became of an attempt.
enum End {
    Ended(Box<Ended>, State),
    /// Not run: someone shall run it.
    HandBack,
    /// Interrupted by the node's end: someone shall run it again.
    Interrupted,
    /// Another owner has the job now, or it was ended.
    Lost,
    /// Could not run.
    Broken {
        because: Because,
        reason: String,
        /// The attempt was recorded as started, so it has to be taken back.
        started: bool,
    },
}

pub(super) async fn carry_through(core: Arc<Core>, claimed: Claimed, in_hand: InHand) {
    let carried = AssertUnwindSafe(carry(&core, &claimed, &in_hand.let_go));
    if carried.catch_unwind().await.is_err() {
        tracing::error!(id = %claimed.job.id, "a task that ran a durable call panicked");
        core.forget_attempt(&claimed.job.id);
        let reason = "an internal error kept it from running; the node's log has more";
        let delay = backoff(claimed.job.broken.saturating_add(1));
        let back = put_off(&core, &claimed, delay, reason);
        if AssertUnwindSafe(back).catch_unwind().await.is_err() {
            let _ = core
                .store
                .jobs()
                .unclaim(vec![claimed.job.id.clone()])
                .await;
        }
    }
    drop(in_hand);
}

async fn carry(core: &Arc<Core>, claimed: &Claimed, let_go: &CancellationToken) {
    let (id, hand) = (&claimed.job.id, &core.spawner.hand);
    let mut tries = claimed.job.broken;
    loop {
        let (because, reason, started) = match attempt(core, claimed, let_go).await {
            End::Ended(ended, state) => {
                hand.runs(&claimed.group);
                return record(core, claimed, *ended, state).await;
            }
            End::HandBack => return hand_back(core, claimed).await,
            End::Interrupted => return interrupted(core, claimed).await,
            End::Lost => return core.spawner.wanted.ended(&claimed.job),
            End::Broken {
                because,
                reason,
                started,
            } => (because, reason, started),
        };
        core.forget_attempt(id);
        tries = tries.saturating_add(1);
        let mut delay = backoff(tries);
        tracing::warn!(%id, reason, "a durable call cannot run; it is tried again");
        if because == Because::OfTarget {
            delay = delay.max(hand.pause(&claimed.group, &reason));
        }
        // Of a node in trouble nobody needs to know but this node, which tries again where it is.
        let queued_again = started || because == Because::OfTarget;
        if queued_again && put_off(core, claimed, delay, &reason).await {
            return;
        }
        hand.waits(id, &reason, delay);
        tokio::select! {
            () = tokio::time::sleep(delay) => hand.tried(id),
            () = let_go.cancelled() => return hand_back(core, claimed).await,
            () = core.spawner.stopping.cancelled() => return hand_back(core, claimed).await,
        }
    }
}

/// Queues a job again for later; false when that cannot be recorded now.
async fn put_off(core: &Core, claimed: &Claimed, delay: Duration, reason: &str) -> bool {
    let back = Back {
        ran: false,
        delay,
        reason: Some(reason.to_owned()),
    };
    let id = claimed.job.id.clone();
    let given_back = core.store.jobs().give_back(id, claimed.attempt, back).await;
    given_back.is_ok()
}

/// Hands a job back that did not run.
async fn hand_back(core: &Core, claimed: &Claimed) {
    core.forget_attempt(&claimed.job.id);
    let _ = core
        .store
        .jobs()
        .unclaim(vec![claimed.job.id.clone()])
        .await;
}

/// Ends the attempt without ending the job, which is queued again at once.
async fn interrupted(core: &Core, claimed: &Claimed) {
    core.forget_attempt(&claimed.job.id);
    let back = Back {
        ran: true,
        delay: Duration::ZERO,
        reason: None,
    };
    let (jobs, id) = (core.store.jobs(), claimed.job.id.clone());
    if let Err(error) = jobs.give_back(id, claimed.attempt, back).await {
        tracing::warn!(id = %claimed.job.id, %error, "cannot hand a call back; it is claimed again by the next owner");
    }
}

/// Records how the job ended, however long that takes: the function is not run again for it.
async fn record(core: &Core, claimed: &Claimed, mut ended: Ended, mut state: State) {
    let (id, hand) = (&claimed.job.id, &core.spawner.hand);
    let mut tries = 0;
    let mut stopping = None;
    loop {
        match core.record(claimed, &mut ended, state).await {
            Ok(()) => return core.spawner.wanted.ended(&claimed.job),
            Err(lydian_store::Error::BlobTooLarge { bytes, limit, .. }) => {
                let text = format!(
                    "the result takes {bytes} bytes, over the {limit} bytes that the node keeps"
                );
                let failure =
                    Failure::new(FailureKind::Payload, text).hint("answer less, or in parts");
                (ended, state) = (Ended::failure(convert::failure(failure)), State::Failed);
                continue;
            }
            Err(error) => {
                tracing::warn!(%id, %error, "cannot record a result, trying again");
                let reason = format!(
                    "it has ended, and its outcome cannot be recorded: {}",
                    Error::from(error)
                );
                tries += 1;
                let delay = backoff(tries).min(LONGEST_RECORD_PAUSE);
                hand.ended(id, &reason, delay);
                tokio::time::sleep(delay).await;
            }
        }
        if core.spawner.stopping.is_cancelled() {
            let since: &mut Instant = stopping.get_or_insert_with(Instant::now);
            if since.elapsed() > RECORD_WHILE_STOPPING {
                let _ = core.store.jobs().unclaim(vec![id.clone()]).await;
                return;
            }
        }
    }
}

async fn attempt(core: &Arc<Core>, claimed: &Claimed, let_go: &CancellationToken) -> End {
    if claimed.exhausted() {
        let times = claimed.job.max_attempts;
        let text =
            format!("the node went down under the call {times} times; it is not tried again");
        return failed(Failure::new(FailureKind::Interrupted, text).hint("look at the node's log"));
    }
    let Some((payload, id)) = readable(claimed) else {
        return never("its record cannot be read");
    };
    match begin(core, claimed, &payload, id).await {
        Ok(running) => run(core, claimed, &payload, running, let_go).await,
        Err(error) => broken(&error),
    }
}

fn readable(claimed: &Claimed) -> Option<(Payload, crate::calls::id::CallId)> {
    let payload = Payload::decode(claimed.payload.clone()).ok()?;
    Some((payload, claimed.job.id.as_str().parse().ok()?))
}

/// Finds what the job names, as it was when it was recorded.
async fn begin(
    core: &Arc<Core>,
    claimed: &Claimed,
    payload: &Payload,
    id: crate::calls::id::CallId,
) -> Result<Running, Error> {
    let checked = check(core, payload).await?;
    Ok(core.begin_as(NewCall {
        id,
        kind: Kind::Spawn,
        target: checked.target.clone(),
        limits: checked.limits,
        attempt: claimed.attempt.number,
        lineage: lineage(core, payload)?,
        cancel: CancellationToken::new(),
        log_bytes: core.options.call_log_bytes,
    }))
}

async fn run(
    core: &Arc<Core>,
    claimed: &Claimed,
    payload: &Payload,
    running: Running,
    let_go: &CancellationToken,
) -> End {
    let seat = loop {
        let seat = tokio::select! {
            biased;
            () = let_go.cancelled() => return End::HandBack,
            seat = core.seat(&running.call) => seat,
        };
        match seat {
            Ok(seat) => break seat,
            Err(Error::Draining) => return End::HandBack,
            // A durable call has time.
            Err(Error::QueueFull { .. } | Error::NoSandbox { .. }) => {
                tokio::time::sleep(LINE_PAUSE).await;
            }
            Err(error) => return broken(&error),
        }
    };
    // Not begun when the node stops, or shall not begin here any more.
    if core.spawner.stopping.is_cancelled() || let_go.is_cancelled() {
        core.leave(seat);
        return End::HandBack;
    }
    // Not before it has its place, for what is in line must not hold much; and before it counts as
    // started.
    let args = match arguments(core, payload).await {
        Ok(args) => args,
        Err(error) => {
            core.leave(seat);
            return broken(&error);
        }
    };
    let attempt = vec![(claimed.job.id.clone(), claimed.attempt)];
    match core.store.jobs().started(attempt).await {
        Ok(accepted) if accepted.contains(&Accepted::Stale) => {
            core.leave(seat);
            return End::Lost;
        }
        Ok(_) => {}
        // Whether it counts as started is not known, and does not matter: this node tries it again.
        Err(error) => {
            core.leave(seat);
            return broken(&error.into());
        }
    }
    if running.call.is_interrupted() {
        return End::Interrupted;
    }
    if running.call.cancel.is_cancelled() {
        return End::Lost;
    }
    let sink = running.sink(None);
    let outcome = running.run(seat, args, sink).await;
    if let Err(failure) = &outcome.result {
        if running.call.is_interrupted() {
            return End::Interrupted;
        }
        if let Verdict::CouldNotRun(because) = Verdict::of_failure(failure.kind) {
            return End::Broken {
                because,
                reason: failure.message.clone(),
                started: true,
            };
        }
    }
    ended(&running, outcome)
}

/// What an error on the way to the sandbox means.
fn broken(error: &Error) -> End {
    match Verdict::of_error(error) {
        Verdict::CouldNotRun(because) => End::Broken {
            because,
            reason: error.to_string(),
            started: false,
        },
        Verdict::NeverRuns | Verdict::Ended => never(&error.to_string()),
    }
}

/// The pinned function, and its limits as the spawn lowered them.
async fn check(core: &Core, payload: &Payload) -> Result<Checked, Error> {
    let target = core.resolver.recorded(payload).await?;
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

/// As they were recorded. They were checked then.
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

/// The end of a call that can never run.
fn never(reason: &str) -> End {
    let text = format!("the call could not be run: {reason}");
    failed(
        Failure::new(FailureKind::Interrupted, text)
            .hint("spawn it again, of what is deployed now"),
    )
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
