//! What can go wrong, as one enum: refused requests, a node that cannot be reached, calls that failed.
//!
//! [`Error::code`] is stable and meant for programs; the `Display` text names the thing and is meant
//! for people; [`Error::hints`] says what to do next and is shown apart (see [`Error::report`]). A
//! function that answered its own WIT `err(…)` is not an error here: it is a result.

use crate::failure::Failure;
use lydian_api::ErrorExt;
use lydian_api::v1::ErrorDetail;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use tonic::Code;

/// How the generated clients begin their text when the connection is gone for good.
const NOT_READY: &str = "Service was not ready";

/// How the gRPC library begins its text about an answer that is not gRPC; the HTTP status follows.
const NO_GRPC: &str = "grpc-status header missing, mapped from HTTP status code ";

/// The outcome of everything this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request gave no answer.
///
/// ```no_run
/// # async fn example(square: lydian_client::Function) {
/// use lydian_client::{Error, FailureKind};
/// match square.call::<_, u64>((4u64,)).await {
///     Ok(value) => println!("{value}"),
///     Err(Error::Failed(failure)) if failure.kind == FailureKind::Timeout => println!("too slow"),
///     Err(error) => eprintln!("{}", error.report()),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such app, function, call, component or environment.
    #[error("{0}")]
    NotFound(Box<Refusal>),
    /// No valid token, or one that does not cover this. The same answer whether or not the thing exists.
    #[error("{0}")]
    NotAllowed(Box<Refusal>),
    /// The request itself is wrong: an argument's type, a name, a URL, a component that is not one.
    #[error("{0}")]
    InvalidArgument(Box<Refusal>),
    /// The state of things forbids it: another version is current, the app is stopped.
    #[error("{0}")]
    Conflict(Box<Refusal>),
    /// The node is full, or going away; the same request may succeed later or elsewhere.
    #[error("{0}")]
    Unavailable(Box<Refusal>),
    /// The node could not be reached, or went away before it answered.
    #[error("cannot reach the node at `{}`", .0.url)]
    Unreachable(#[source] Box<Unreachable>),
    /// The function ran and failed: it trapped, was stopped at a limit, or was cancelled.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The call had not finished when the wait for it was over. The call goes on.
    #[error("call `{call}` is not done{}", after(*.waited))]
    Timeout {
        /// The id of the call.
        call: String,
        /// How long was waited; zero when it was only polled.
        waited: Duration,
    },
    /// The node, or this client, broke its own rules.
    #[error("{0}")]
    Internal(Box<Refusal>),
}

/// A request that was turned down: what a person reads, and what a program branches on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Stable, kebab-case: `app-not-found`, `wrong-argument-type`.
    pub code: Cow<'static, str>,
    /// One line, lower case, names the thing.
    pub message: String,
    /// What it is about: the app, the argument's path. May be empty.
    pub subject: String,
    /// What to do next.
    pub hints: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code: Cow::Borrowed(code),
            message: message.into(),
            subject: String::new(),
            hints: Vec::new(),
        })
    }

    pub(crate) fn about(mut self: Box<Self>, subject: impl Into<String>) -> Box<Self> {
        self.subject = subject.into();
        self
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hints.push(hint.into());
        self
    }
}

/// Which node did not answer, and what the network said.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreachable {
    /// The URL that was tried; `embedded` for a node in this process.
    pub url: String,
    hints: Vec<String>,
    cause: String,
}

impl Unreachable {
    pub(crate) fn new(url: &str, cause: &(dyn std::error::Error + 'static)) -> Box<Self> {
        Box::new(Self {
            url: url.to_owned(),
            hints: vec![
                "start a node with `lydian up`, or set `LYDIAN_URL` to one that runs".to_owned(),
            ],
            cause: innermost(cause),
        })
    }

    /// Something listens at `url` that is no node, or a proxy that lets nothing through to one.
    pub(crate) fn no_node(url: &str, how: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            url: url.to_owned(),
            hints: vec![
                "check host and port: `lydian up` prints the URL of its node; a proxy in between must pass on gRPC over HTTP/2"
                    .to_owned(),
            ],
            cause: format!("something listens there that does not speak Lydian's gRPC: {how}"),
        })
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Unreachable {}

/// The cause at the bottom is the one that says something: "connection refused", not "transport error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// Whether a connection ended, as those of nodes do, too.
fn broke(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<std::io::Error>() || error.source().is_some_and(broke)
}

impl Error {
    /// Whether the node is not there now, and did not do what it was asked, or not so that anybody
    /// would know.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unavailable(refusal) => matches!(&*refusal.code, "draining" | "unavailable"),
            _ => false,
        }
    }

    /// A stable, kebab-case code: `unreachable`, `app-not-found`, `wrong-argument-type`, `timeout`.
    pub fn code(&self) -> &str {
        match self {
            Self::NotFound(r)
            | Self::NotAllowed(r)
            | Self::InvalidArgument(r)
            | Self::Conflict(r)
            | Self::Unavailable(r)
            | Self::Internal(r) => &r.code,
            Self::Unreachable(_) => "unreachable",
            Self::Failed(failure) => failure.kind.code(),
            Self::Timeout { .. } => "not-done",
        }
    }

    /// What to do next, one sentence each; empty when nothing helps.
    pub fn hints(&self) -> &[String] {
        match self {
            Self::NotFound(r)
            | Self::NotAllowed(r)
            | Self::InvalidArgument(r)
            | Self::Conflict(r)
            | Self::Unavailable(r)
            | Self::Internal(r) => &r.hints,
            Self::Unreachable(u) => &u.hints,
            Self::Failed(failure) => &failure.hints,
            Self::Timeout { .. } => &[],
        }
    }

    /// What the error is about, where it says so: an app, or the path of an argument.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::NotFound(r)
            | Self::NotAllowed(r)
            | Self::InvalidArgument(r)
            | Self::Conflict(r)
            | Self::Unavailable(r)
            | Self::Internal(r) => Some(r.subject.as_str()).filter(|s| !s.is_empty()),
            Self::Timeout { call, .. } => Some(call),
            Self::Unreachable(_) | Self::Failed(_) => None,
        }
    }

    /// The error as a terminal shows it: the text, its cause, then one `hint:` line each.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    /// Reads the node's refusal. `url` is the node that was asked.
    pub(crate) fn from_status(status: tonic::Status, url: &str) -> Self {
        // Only an error that arose on this side of the wire has a source.
        if let Some(cause) = std::error::Error::source(&status) {
            return Self::Unreachable(Unreachable::new(url, cause));
        }
        if status.message().starts_with(NOT_READY) {
            return Self::Unreachable(Unreachable::new(url, &status));
        }
        if let Some(http) = status.message().strip_prefix(NO_GRPC) {
            let how = format!("it answers with HTTP status {http}");
            return Self::Unreachable(Unreachable::no_node(url, how));
        }
        let ErrorDetail {
            code,
            subject,
            hints,
        } = status.lydian();
        let refusal = Box::new(Refusal {
            code: if code.is_empty() {
                Cow::Borrowed(default_code(status.code()))
            } else {
                Cow::Owned(code)
            },
            message: status.message().to_owned(),
            subject,
            hints,
        });
        match status.code() {
            Code::NotFound => Self::NotFound(refusal),
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAllowed(refusal),
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument(refusal),
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => {
                Self::Conflict(refusal)
            }
            Code::Unavailable | Code::ResourceExhausted => Self::Unavailable(refusal),
            _ => Self::Internal(refusal),
        }
    }

    /// Reads the first answer of something that may be no node at all, and is not known to be one by its refusal.
    pub(crate) fn of_a_stranger(status: tonic::Status, url: &str) -> Self {
        let how = match std::error::Error::source(&status) {
            Some(cause) if broke(cause) => return Self::from_status(status, url),
            // What came is not HTTP/2.
            Some(cause) => innermost(cause),
            None if status.message().starts_with(NO_GRPC) => {
                return Self::from_status(status, url);
            }
            None => status.message().to_owned(),
        };
        Self::Unreachable(Unreachable::no_node(url, how))
    }

    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::Internal(Refusal::new("bad-answer", message))
    }
}

/// Whoever only looked has not waited.
fn after(waited: Duration) -> String {
    match waited {
        Duration::ZERO => " yet".to_owned(),
        waited => format!(" after {waited:?}"),
    }
}

/// The code of a status that carries no detail: one from a proxy, or from the gRPC library itself.
fn default_code(code: Code) -> &'static str {
    match code {
        Code::NotFound => "not-found",
        Code::PermissionDenied => "not-allowed",
        Code::Unauthenticated => "no-token",
        Code::InvalidArgument => "invalid-argument",
        Code::OutOfRange => "message-too-large",
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => "conflict",
        Code::Unavailable => "unavailable",
        Code::ResourceExhausted => "overloaded",
        Code::Unimplemented => "not-supported",
        _ => "internal",
    }
}

impl From<lydian_value::Error> for Error {
    fn from(error: lydian_value::Error) -> Self {
        let refusal = Refusal::new("wrong-argument-type", error.to_string()).about(error.path());
        let refusal = error.hints().into_iter().fold(refusal, Refusal::hint);
        Self::InvalidArgument(refusal)
    }
}

/// An [`Error`] laid out over several lines; made by [`Error::report`].
#[derive(Debug)]
pub struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        for hint in self.0.hints() {
            write!(f, "\nhint: {hint}")?;
        }
        if let Self(Error::Failed(failure)) = self
            && !failure.backtrace.is_empty()
        {
            write!(f, "\n{}", failure.backtrace.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs branch on the variant and the code, people read the text and the hint.
    #[test]
    fn a_refusal_keeps_code_text_subject_and_hints() {
        let detail = ErrorDetail::new("app-not-found", "swep").hint("did you mean `sweep`?");
        let status = lydian_api::error::status(Code::NotFound, "no app `swep`", &detail);
        let error = Error::from_status(status, "http://here");
        assert!(matches!(error, Error::NotFound(_)));
        assert_eq!(error.code(), "app-not-found");
        assert_eq!(error.subject(), Some("swep"));
        assert_eq!(
            error.report().to_string(),
            "no app `swep`\nhint: did you mean `sweep`?"
        );
    }

    /// "After 0ns" is what a clock says, not a person.
    #[test]
    fn a_look_is_not_a_wait() {
        let not_done = |waited| {
            Error::Timeout {
                call: "c1".into(),
                waited,
            }
            .to_string()
        };
        assert_eq!(not_done(Duration::ZERO), "call `c1` is not done yet");
        assert_eq!(
            not_done(Duration::from_secs(2)),
            "call `c1` is not done after 2s"
        );
    }

    /// A proxy's status has no detail; it must still be told apart.
    #[test]
    fn a_foreign_status_gets_a_code_of_its_kind() {
        let error = Error::from_status(tonic::Status::unimplemented("what?"), "http://here");
        assert_eq!(error.code(), "not-supported");
    }

    /// Some other server's "not found" is about a path, not about an app.
    #[test]
    fn an_answer_that_is_not_grpc_is_no_nodes() {
        let status = tonic::Status::unimplemented(format!("{NO_GRPC}404"));
        let error = Error::from_status(status, "http://here");
        assert_eq!(error.code(), "unreachable");
        let text = error.report().to_string();
        assert!(text.contains("`http://here`"), "{text}");
        assert!(text.contains("HTTP status 404"), "{text}");
    }

    /// An error that arose on this side names the node and the fix, not "transport error".
    #[test]
    fn a_broken_connection_names_the_node_and_the_fix() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let status = tonic::Status::from_error(Box::new(refused));
        let error = Error::from_status(status, "http://10.0.0.1:7070");
        assert_eq!(error.code(), "unreachable");
        let text = error.report().to_string();
        assert!(
            text.starts_with("cannot reach the node at `http://10.0.0.1:7070`: refused"),
            "{text}"
        );
        assert!(text.contains("lydian up"), "{text}");
    }
}
