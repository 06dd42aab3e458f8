//! Errors as a guest reads them.

use crate::error::Error as Refused;
use lydian_api::v1::{self, failure::Kind};
use lydian_engine::calls::{Error, ErrorKind};
use lydian_engine::{Failure, FailureKind};
use tonic::Code;

/// The call was not taken.
pub(super) fn refused(error: Refused) -> Error {
    let kind = match error.code() {
        Code::NotFound => ErrorKind::NotFound,
        // What is wrong with the target's component is nothing the caller could change about its arguments.
        Code::InvalidArgument if !is_components(&error) => ErrorKind::InvalidArgument,
        _ => ErrorKind::Unavailable,
    };
    let answer = Error::new(kind, error.to_string());
    error.detail().hints.into_iter().fold(answer, Error::hint)
}

fn is_components(error: &Refused) -> bool {
    matches!(
        error,
        Refused::ComponentRefused { .. } | Refused::Manifest { .. }
    )
}

/// The function cannot be called from another.
pub(super) fn unreturned(name: &str) -> Error {
    let text = format!(
        "function `{name}` takes or gives resources or streams, which do not leave their sandbox"
    );
    Error::new(ErrorKind::NotAllowed, text).hint("pass lists and records instead")
}

/// The call ran, or was stopped.
pub(super) fn failed(failure: Failure) -> Error {
    let answer = Error::new(kind(failure.kind), failure.message);
    failure.hints.into_iter().fold(answer, Error::hint)
}

/// The same of a call that was recorded, or of an input of a map.
pub(super) fn recorded(failure: v1::Failure) -> Error {
    let kind = match failure.kind() {
        Kind::Timeout => ErrorKind::Timeout,
        Kind::Cancelled => ErrorKind::Cancelled,
        Kind::Depth => ErrorKind::Depth,
        Kind::Interrupted => ErrorKind::Interrupted,
        Kind::Arguments => ErrorKind::InvalidArgument,
        Kind::NodeFull => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    };
    let answer = Error::new(kind, failure.message);
    failure.hints.into_iter().fold(answer, Error::hint)
}

fn kind(kind: FailureKind) -> ErrorKind {
    match kind {
        FailureKind::Timeout => ErrorKind::Timeout,
        FailureKind::Cancelled => ErrorKind::Cancelled,
        FailureKind::Depth => ErrorKind::Depth,
        FailureKind::Interrupted => ErrorKind::Interrupted,
        FailureKind::Arguments => ErrorKind::InvalidArgument,
        FailureKind::NodeFull => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}
