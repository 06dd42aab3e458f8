//! Why a call gave no result: one type, natively and inside guests.

use std::fmt;

/// The outcome of everything that goes over the platform.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call gave no result.
///
/// A function that answered its own `Err` is no error here: that is its result.
///
/// ```
/// # fn show(error: lydian::Error) {
/// use lydian::ErrorKind;
/// match error.kind() {
///     ErrorKind::Timeout => println!("too slow"),
///     _ => eprintln!("{error:#}"), // with its hints
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    #[cfg(not(target_family = "wasm"))]
    source: Option<Box<lydian_client::Error>>,
}

/// What a program branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such app, function or call in this environment.
    NotFound,
    /// It exists, and the caller may not call it.
    NotAllowed,
    /// An argument or a result is of another type, or too large.
    InvalidArgument,
    /// The function ran, and trapped or was stopped at one of its limits.
    Failed,
    /// Time was over: the function's limit, the caller's own, or the wait for a result.
    Timeout,
    /// Somebody cancelled it.
    Cancelled,
    /// Calls were nested deeper than the platform allows.
    Depth,
    /// The root call has used up what it may call.
    Budget,
    /// The node stopped under the call; whether it ran to its end is not known.
    Interrupted,
    /// The node cannot be reached, or cannot take the call now.
    Unavailable,
}

impl Error {
    /// An error of one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_hints(kind, message, Vec::new())
    }

    /// The same, with what to do about it.
    pub fn with_hints(kind: ErrorKind, message: impl Into<String>, hints: Vec<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints,
            #[cfg(not(target_family = "wasm"))]
            source: None,
        }
    }

    /// What a program branches on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One sentence that names the thing.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it; may be empty.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

/// The sentence; with `{:#}` the hints follow, a line each.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for hint in &self.hints {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    #[cfg(not(target_family = "wasm"))]
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().and_then(std::error::Error::source)
    }
}

/// So that `?` works in a function whose own error is a text.
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.message
    }
}

#[cfg(not(target_family = "wasm"))]
impl From<lydian_client::Error> for Error {
    fn from(error: lydian_client::Error) -> Self {
        use lydian_client::Error as Client;
        let kind = match &error {
            Client::NotFound(_) => ErrorKind::NotFound,
            Client::NotAllowed(_) => ErrorKind::NotAllowed,
            Client::InvalidArgument(_) => ErrorKind::InvalidArgument,
            Client::Timeout { .. } => ErrorKind::Timeout,
            Client::Failed(failure) => ErrorKind::from(failure.kind),
            _ => ErrorKind::Unavailable,
        };
        Self {
            kind,
            message: error.to_string(),
            hints: error.hints().to_vec(),
            source: Some(Box::new(error)),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl From<lydian_client::FailureKind> for ErrorKind {
    fn from(kind: lydian_client::FailureKind) -> Self {
        use lydian_client::FailureKind as Failure;
        match kind {
            Failure::Timeout => Self::Timeout,
            Failure::Cancelled => Self::Cancelled,
            Failure::Interrupted => Self::Interrupted,
            Failure::Depth => Self::Depth,
            Failure::Arguments => Self::InvalidArgument,
            _ => Self::Failed,
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl From<lydian_client::Failure> for Error {
    fn from(failure: lydian_client::Failure) -> Self {
        Self::with_hints(failure.kind.into(), failure.message, failure.hints)
    }
}
