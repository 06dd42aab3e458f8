//! Asking about calls: get, cancel, list, logs, explain.
//!
//! A durable call is the store's to tell of, and this node's memory adds what only it knows: output so far,
//! limits, usage. A synchronous call is in memory only, and its value went to its caller.

use crate::calls::id::CallId;
use crate::calls::log::LogRing;
use crate::calls::record::{Call, Kind, State};
use crate::calls::spawn::job_info;
use crate::calls::spawn::payload::{Ended, result_type};
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use crate::resolve::environment;
use lydian_api::v1;
use lydian_engine::{Failure, FailureKind};
use lydian_store::{Cancelled, Job, JobFilter, JobState};
use prost::Message;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait of one `Get`: a caller that wants to wait longer asks again.
pub(crate) const MAX_GET_WAIT: Duration = Duration::from_secs(60 * 60);
/// A sandbox gives way within a tick of its clock; a call that is not stopped by then is recorded as cancelled without
/// what it has used.
const LONGEST_STOP: Duration = Duration::from_secs(1);
/// Calls in a listing that names no number, and at most.
const DEFAULT_LISTED: u32 = 100;
const MAX_LISTED: u32 = 10_000;
/// How often it is looked whether a queued call has begun to print.
const LOOK_FOR_START: Duration = Duration::from_millis(100);

/// Where a call's output is.
pub(crate) enum Output {
    /// In memory, and perhaps more to come.
    Live(Arc<LogRing>),
    /// Kept with the result of a durable call.
    Kept(Vec<v1::LogChunk>),
}

impl Core {
    /// `Calls.Get`.
    pub(crate) async fn get_call(
        &self,
        request: v1::GetCallRequest,
    ) -> Result<v1::GetCallResponse, Error> {
        let wait = Duration::from_millis(request.timeout_ms).min(MAX_GET_WAIT);
        if let Some(job) = self.job(&request.call).await? {
            let ended = self.job_end(&request.call, wait).await?;
            // Asked again: it may have ended, or begun, while it was waited for.
            let job = self.job(&request.call).await?.unwrap_or(job);
            let outcome = match ended {
                Some(ended) => self.job_outcome(ended).await?,
                None => None,
            };
            return Ok(v1::GetCallResponse {
                info: Some(self.job_info(&job)),
                outcome,
            });
        }
        let call = self.remembered(&request.call)?;
        // The outcome is absent when the wait is over first.
        let _ = tokio::time::timeout(wait, call.ended()).await;
        let progress = call.progress();
        if progress.state == State::Succeeded && call.kind != Kind::Session {
            return Err(Error::ResultNotKept { call: request.call });
        }
        let outcome = progress.failure.map(|failure| v1::Outcome {
            result: Some(v1::outcome::Result::Failure(convert::failure(failure))),
            usage: progress.usage.as_ref().map(convert::usage),
        });
        Ok(v1::GetCallResponse {
            info: Some(call_info(&call)),
            outcome,
        })
    }

    /// `Calls.Cancel`. Its own way: it needs no sandbox, no queue and no lock that a guest could hold.
    pub(crate) async fn cancel_call(
        &self,
        request: v1::CancelRequest,
    ) -> Result<v1::CancelResponse, Error> {
        let local = self.find(&request.call);
        if let Some(call) = local.as_ref().filter(|call| call.kind != Kind::Spawn) {
            let was_running = call.running();
            call.cancel.cancel();
            return Ok(v1::CancelResponse { was_running });
        }
        let Some(job) = self.job(&request.call).await? else {
            return Err(Error::CallNotFound { call: request.call });
        };
        if let Some(call) = local.filter(|call| call.in_sandbox()) {
            call.cancel.cancel();
            // The attempt records its end itself, with what it has used and printed.
            self.job_end(&request.call, LONGEST_STOP).await?;
            let state = self.job(&request.call).await?.map(|job| job.state);
            if state == Some(JobState::Cancelled) {
                return Ok(v1::CancelResponse { was_running: true });
            }
        }
        let text = format!("function `{}` was cancelled", job_info(&job).function);
        let ended = Ended::failure(convert::failure(Failure::new(FailureKind::Cancelled, text)));
        let reason = ended.encode_to_vec().into();
        // First the record, so that the interrupted attempt's own report comes too late.
        let cancelled = self.store.jobs().cancel(&job.id, reason).await?;
        if let Some(call) = self.find(&request.call) {
            call.cancel.cancel();
        }
        Ok(v1::CancelResponse {
            was_running: matches!(cancelled, Cancelled::Now { .. }),
        })
    }

    /// `Calls.List`.
    pub(crate) async fn list_calls(
        &self,
        request: v1::ListCallsRequest,
    ) -> Result<v1::ListCallsResponse, Error> {
        let limit = match request.limit {
            0 => DEFAULT_LISTED,
            limit => limit.min(MAX_LISTED),
        };
        let mut calls = Vec::new();
        // Bare components belong to no environment, so they are seen from each.
        let everywhere = request.environment.is_empty();
        let environments = [Some(request.environment.clone()), Some(String::new())];
        let environments = match (everywhere, request.app.is_empty()) {
            (true, _) => &[None][..],
            (false, true) => &environments,
            (false, false) => &environments[..1],
        };
        let filters = environments.iter().flat_map(|environment| {
            let with = |state: &Option<JobState>| JobFilter {
                environment: environment.clone(),
                app: Some(request.app.clone()).filter(|name| !name.is_empty()),
                state: *state,
            };
            job_states(request.state())
                .iter()
                .map(with)
                .collect::<Vec<_>>()
        });
        for filter in filters.collect::<Vec<_>>() {
            let jobs = self.store.jobs().list(filter, limit).await?;
            calls.extend(
                jobs.iter()
                    .map(|job| self.job_info(job))
                    .filter(|call| wanted(call, &request)),
            );
        }
        let durable: HashSet<String> = calls.iter().map(|call| call.call.clone()).collect();
        let local = self.recent.all();
        let local = local
            .iter()
            .filter(|call| call.kind != Kind::Spawn)
            .map(|call| call_info(call));
        calls.extend(local.filter(|call| wanted(call, &request) && !durable.contains(&call.call)));
        // Ids begin with the time.
        calls.sort_unstable_by(|a, b| b.call.cmp(&a.call));
        calls.truncate(limit as usize);
        Ok(v1::ListCallsResponse { calls })
    }

    /// `Calls.Explain`.
    pub(crate) async fn explain(
        &self,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Error> {
        if let Some(job) = self.job(&request.call).await? {
            let ended = self
                .job_end(&request.call, Duration::ZERO)
                .await?
                .unwrap_or_default();
            let local = self
                .find(&request.call)
                .map(|call| convert::limits(&call.limits));
            let (usage, failure) = match ended.outcome {
                Some(outcome) => (outcome.usage, outcome.result.and_then(failure_of)),
                None => (None, None),
            };
            return Ok(explained(
                self.job_info(&job),
                usage,
                failure,
                ended.limits.or(local),
            ));
        }
        let call = self.remembered(&request.call)?;
        let progress = call.progress();
        let usage = progress.usage.as_ref().map(convert::usage);
        let failure = progress.failure.map(convert::failure);
        Ok(explained(
            call_info(&call),
            usage,
            failure,
            Some(convert::limits(&call.limits)),
        ))
    }

    /// `Calls.Logs`.
    pub(crate) async fn call_output(&self, request: &v1::CallLogsRequest) -> Result<Output, Error> {
        loop {
            if let Some(call) = self.find(&request.call) {
                return Ok(Output::Live(call.log().clone()));
            }
            let Some(job) = self.job(&request.call).await? else {
                return Err(Error::CallNotFound {
                    call: request.call.clone(),
                });
            };
            if job.state.ended() || !request.follow {
                let ended = self.job_end(&request.call, Duration::ZERO).await?;
                return Ok(Output::Kept(
                    ended.map(|ended| ended.log).unwrap_or_default(),
                ));
            }
            // Queued, or running on another node: its end brings its output.
            self.job_end(&request.call, LOOK_FOR_START).await?;
        }
    }

    fn find(&self, call: &str) -> Option<Arc<Call>> {
        self.recent.find(call.parse::<CallId>().ok()?)
    }

    fn remembered(&self, call: &str) -> Result<Arc<Call>, Error> {
        self.find(call).ok_or_else(|| Error::CallNotFound {
            call: call.to_owned(),
        })
    }

    /// A job as the store has it, with what this node knows besides.
    fn job_info(&self, job: &Job) -> v1::CallInfo {
        let mut info = job_info(job);
        if let Some(call) = self
            .find(&info.call)
            .filter(|_| job.state == JobState::Running)
        {
            let progress = call.progress();
            if progress.state == State::Queued {
                info.state = State::Queued.into();
            }
            info.started_at_ms = info.started_at_ms.max(progress.started_at_ms);
            if progress.state != State::Queued {
                info.attempt = info.attempt.max(call.attempt);
            }
        }
        if let Some(trouble) = self.trouble(job) {
            info.waiting_reason = trouble.reason;
            info.next_try_at_ms = trouble.next_try_ms;
            if !trouble.ended {
                info.state = State::Queued.into();
            }
        }
        info
    }
}

/// A call of this node as listings show it.
fn call_info(call: &Call) -> v1::CallInfo {
    let progress = call.progress();
    let (result_signature, result_type_json) = result_type(&call.target);
    v1::CallInfo {
        call: call.id.to_string(),
        environment: call.target.place.environment.clone(),
        app: call.target.place.app.clone(),
        version: call.target.place.version,
        function: call.target.name().to_owned(),
        state: progress.state.into(),
        kind: call.kind.into(),
        created_at_ms: call.created_at_ms,
        started_at_ms: progress.started_at_ms,
        finished_at_ms: progress.finished_at_ms,
        attempt: call.attempt,
        broken_starts: 0,
        waiting_reason: String::new(),
        next_try_at_ms: 0,
        result_signature,
        result_type_json,
        parent: parent(call.lineage.parent),
        depth: call.lineage.depth,
    }
}

fn parent(parent: Option<CallId>) -> String {
    parent.map_or_else(String::new, |parent| parent.to_string())
}

fn explained(
    info: v1::CallInfo,
    usage: Option<v1::Usage>,
    failure: Option<v1::Failure>,
    limits: Option<v1::Limits>,
) -> v1::ExplainResponse {
    let start_reason = match &usage {
        _ if !info.waiting_reason.is_empty() => "it could not be started yet",
        _ if info.started_at_ms == 0 => convert::start_reason(v1::usage::Start::Unspecified),
        Some(usage) => convert::start_reason(usage.start()),
        None => "not known",
    };
    v1::ExplainResponse {
        info: Some(info),
        usage,
        failure,
        start_reason: start_reason.to_owned(),
        limits,
    }
}

fn failure_of(result: v1::outcome::Result) -> Option<v1::Failure> {
    match result {
        v1::outcome::Result::Failure(failure) => Some(failure),
        v1::outcome::Result::Value(_) => None,
    }
}

/// What to ask the store for. A job it counts as running, because this node has claimed it, may still wait for a
/// sandbox, which only this node knows.
fn job_states(state: State) -> &'static [Option<JobState>] {
    match state {
        State::Unspecified => &[None],
        State::Queued => &[Some(JobState::Queued), Some(JobState::Running)],
        State::Running => &[Some(JobState::Running)],
        State::Succeeded => &[Some(JobState::Succeeded)],
        State::Failed => &[Some(JobState::Failed)],
        State::Cancelled => &[Some(JobState::Cancelled)],
    }
}

fn wanted(call: &v1::CallInfo, request: &v1::ListCallsRequest) -> bool {
    let of_environment = request.environment.is_empty()
        || call.app.is_empty()
        || environment(&request.environment) == call.environment;
    of_environment
        && (request.app.is_empty() || request.app == call.app)
        && (request.state() == State::Unspecified || request.state() == call.state())
}
