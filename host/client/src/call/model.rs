//! What the node says about calls, as plain data.

use crate::apps::time;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::failure::{Failure, FailureKind, Usage};
use crate::limits::Limits;
use lydian_api::v1;
use lydian_value::Type;
use std::fmt;
use std::time::SystemTime;

pub(super) fn result_type(info: &v1::CallInfo) -> Result<Option<Type>> {
    if info.result_type_json.is_empty() {
        return Ok(None);
    }
    let ty = serde_json::from_slice(&info.result_type_json);
    ty.map(Some)
        .map_err(|error| Error::broken(format!("cannot read the type of a result: {error}")))
}

/// Which calls [`Client::calls`] lists.
///
/// ```
/// use lydian_client::{CallFilter, CallState};
/// let failed = CallFilter::default().app("math").state(CallState::Failed).limit(20);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct CallFilter {
    app: String,
    state: Option<CallState>,
    limit: u32,
}

impl CallFilter {
    /// Only of this app.
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = app.into();
        self
    }

    /// Only those in this state.
    pub fn state(mut self, state: CallState) -> Self {
        self.state = Some(state);
        self
    }

    /// At most so many; zero leaves the number to the node.
    pub fn limit(mut self, calls: u32) -> Self {
        self.limit = calls;
        self
    }
}

impl Client {
    /// The calls of this environment that the node remembers, newest first.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// for call in client.calls(lydian_client::CallFilter::default()).await? {
    ///     println!("{} {} {}", call.call, call.function, call.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn calls(&self, filter: CallFilter) -> Result<Vec<CallInfo>> {
        let state = filter.state.map(v1::call_info::State::from);
        let request = v1::ListCallsRequest {
            environment: self.environment().to_owned(),
            app: filter.app,
            state: state.unwrap_or_default().into(),
            limit: filter.limit,
        };
        let response = self
            .read(|| {
                let mut calls = self.calls_api();
                let request = request.clone();
                async move { calls.list(request).await }
            })
            .await?;
        response.calls.into_iter().map(CallInfo::try_from).collect()
    }
}

/// What a call is and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallInfo {
    /// Its id.
    pub call: String,
    /// The environment of its app.
    pub environment: String,
    /// Its app; empty for a component that is not deployed.
    pub app: String,
    /// The app's version it runs.
    pub version: u64,
    /// Its function.
    pub function: String,
    /// How far it has come.
    pub state: CallState,
    /// How it was made.
    pub kind: CallKind,
    /// When the node took it.
    pub created_at: SystemTime,
    /// When it first had a sandbox.
    pub started_at: Option<SystemTime>,
    /// When it was done.
    pub finished_at: Option<SystemTime>,
    /// How many attempts there were, this one included.
    pub attempt: u32,
    /// The type of its result; none when it has none.
    pub result_type: Option<Type>,
    /// The call whose function made it; empty when a client did.
    pub parent: String,
    /// How many calls led to it; 0 for a client's.
    pub depth: u32,
    /// What kept the last start of a queued call from running; empty when nothing did.
    pub waiting_reason: String,
    /// When a call with such a reason is started again.
    pub next_try_at: Option<SystemTime>,
    /// Starts that broke before the function ran; they are no attempts.
    pub broken_starts: u32,
}

impl TryFrom<v1::CallInfo> for CallInfo {
    type Error = Error;

    fn try_from(info: v1::CallInfo) -> Result<Self> {
        let when = |ms: u64| (ms > 0).then(|| time(ms));
        Ok(Self {
            result_type: result_type(&info)?,
            state: CallState::from(info.state()),
            kind: CallKind::from(info.kind()),
            created_at: time(info.created_at_ms),
            started_at: when(info.started_at_ms),
            finished_at: when(info.finished_at_ms),
            attempt: info.attempt,
            parent: info.parent,
            depth: info.depth,
            next_try_at: when(info.next_try_at_ms),
            waiting_reason: info.waiting_reason,
            broken_starts: info.broken_starts,
            call: info.call,
            environment: info.environment,
            app: info.app,
            version: info.version,
            function: info.function,
        })
    }
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallState {
    /// It waits for a sandbox.
    Queued,
    /// It runs.
    Running,
    /// It has a result.
    Succeeded,
    /// It failed for the last time.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// A state this client is too old to know.
    Unknown,
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => FailureKind::Cancelled.code(),
            Self::Unknown => "unknown",
        })
    }
}

impl From<v1::call_info::State> for CallState {
    fn from(state: v1::call_info::State) -> Self {
        use v1::call_info::State;
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::Unspecified => Self::Unknown,
        }
    }
}

impl From<CallState> for v1::call_info::State {
    fn from(state: CallState) -> Self {
        match state {
            CallState::Queued => Self::Queued,
            CallState::Running => Self::Running,
            CallState::Succeeded => Self::Succeeded,
            CallState::Failed => Self::Failed,
            CallState::Cancelled => Self::Cancelled,
            CallState::Unknown => Self::Unspecified,
        }
    }
}

/// How a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// One call, one answer.
    Invoke,
    /// Many inputs.
    Map,
    /// Recorded.
    Spawn,
    /// Several calls in one sandbox.
    Session,
    /// A kind this client is too old to know.
    Unknown,
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invoke => "invoke",
            Self::Map => "map",
            Self::Spawn => "spawn",
            Self::Session => "session",
            Self::Unknown => "unknown",
        })
    }
}

impl From<v1::call_info::Kind> for CallKind {
    fn from(kind: v1::call_info::Kind) -> Self {
        use v1::call_info::Kind;
        match kind {
            Kind::Invoke => Self::Invoke,
            Kind::Map => Self::Map,
            Kind::Spawn => Self::Spawn,
            Kind::Session => Self::Session,
            Kind::Unspecified => Self::Unknown,
        }
    }
}

/// Where the time of a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The call.
    pub info: CallInfo,
    /// Where its time went; none while it has not ended, and where a call that was cancelled was not there to tell.
    pub usage: Option<Usage>,
    /// Why it has no result.
    pub failure: Option<Failure>,
    /// Why its sandbox was fresh, warm or cold: a sentence.
    pub start_reason: String,
    /// The limits that were in force.
    pub limits: Limits,
}
