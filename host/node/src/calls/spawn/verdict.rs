//! What an error or a failure means for a durable call: the one place that decides.
//!
//! An outcome is final only when the function ran and ended. Everything else on the way is the
//! platform's: the call is kept and tried again, unless what it names can never run. Both matches
//! name every case, so that a new error has to be thought about here.

use crate::error::Error;
use lydian_engine::FailureKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The function ran and ended.
    Ended,
    /// It could not run, for a reason that can pass.
    CouldNotRun(Because),
    /// What it names does not exist, or it was given what does not fit.
    NeverRuns,
}

/// What stood in the way, and so what else it stands in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// The node: its disk, its room. Other calls fare no better.
    OfNode,
    /// The component or its app's record: other calls of the same version fare no better.
    OfTarget,
}

impl Verdict {
    pub(super) fn of_error(error: &Error) -> Self {
        use Because::{OfNode, OfTarget};
        match error {
            // The store was asked, not a copy of it.
            Error::AppNotFound { .. } | Error::FunctionNotFound { .. } => Self::NeverRuns,
            Error::InvalidRequest { .. }
            | Error::Arguments { .. }
            | Error::ArgumentsTooLarge { .. }
            | Error::AboveCeiling { .. }
            | Error::CallNotFound { .. }
            | Error::ResultNotKept { .. } => Self::NeverRuns,
            // It was there and could be run when the call was recorded: a deploy of the same
            // content, a repaired disk or another release brings it back.
            Error::ComponentNotFound { .. }
            | Error::ComponentDamaged { .. }
            | Error::VersionDamaged { .. }
            | Error::ComponentRefused { .. }
            | Error::NotPrepared { .. }
            | Error::TooManyCompilations { .. }
            | Error::Manifest { .. }
            | Error::AppStopped { .. } => Self::CouldNotRun(OfTarget),
            Error::QueueFull { .. }
            | Error::NoSandbox { .. }
            | Error::NoMemory { .. }
            | Error::PayloadBudget { .. }
            | Error::TooManyEphemeral { .. }
            | Error::Draining
            | Error::NoToken
            | Error::WrongToken
            | Error::HostNotAllowed { .. }
            | Error::Internal(_) => Self::CouldNotRun(OfNode),
            Error::Store(error) => Self::of_store(error),
        }
    }

    fn of_store(error: &lydian_store::Error) -> Self {
        use lydian_store::Error as Store;
        match error {
            Store::AppNotFound { .. } | Store::VersionNotFound { .. } => Self::NeverRuns,
            Store::CorruptRecord { .. }
            | Store::CorruptEntry { .. }
            | Store::BlobNotFound { .. } => Self::CouldNotRun(Because::OfTarget),
            // Files, the database, a full disk. The store's errors may grow; a new one is no
            // outcome of a function.
            _ => Self::CouldNotRun(Because::OfNode),
        }
    }

    pub(super) fn of_failure(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Trap
            | FailureKind::Timeout
            | FailureKind::Cpu
            | FailureKind::Memory
            | FailureKind::Payload
            | FailureKind::Output
            | FailureKind::Handles
            | FailureKind::HostCall
            | FailureKind::Cancelled
            | FailureKind::HostPanic
            | FailureKind::Exited
            | FailureKind::Stack
            | FailureKind::Depth
            | FailureKind::Arguments => Self::Ended,
            // The node stopped, or had no sandbox or no memory for it.
            FailureKind::Interrupted | FailureKind::NodeFull => Self::CouldNotRun(Because::OfNode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    /// A call that never ran must not have failed for good because a disk was full or slow for a
    /// moment.
    #[test]
    fn nothing_of_the_platforms_is_an_outcome() {
        let digest = lydian_value::Digest::of(b"component");
        let (path, source) = ("/data".into(), Arc::new(io::Error::other("EIO")));
        let passing = [
            lydian_store::Error::DiskFull { path, bytes: 1 }.into(),
            lydian_store::Error::Io {
                action: "read",
                path: "/data".into(),
                source,
            }
            .into(),
            lydian_store::Error::BlobNotFound { digest }.into(),
            lydian_store::Error::Closed.into(),
            Error::TooManyCompilations { waiting: 9 },
            Error::PayloadBudget { bytes: 1, limit: 1 },
            Error::ComponentDamaged { digest },
            Error::ComponentNotFound { digest },
            Error::Draining,
        ];
        for error in passing {
            let verdict = Verdict::of_error(&error);
            assert!(
                matches!(verdict, Verdict::CouldNotRun(_)),
                "{error}: {verdict:?}"
            );
        }
        let never: Error = lydian_store::Error::VersionNotFound {
            environment: "main".into(),
            app: "app".into(),
            version: 3,
        }
        .into();
        assert_eq!(Verdict::of_error(&never), Verdict::NeverRuns);
        assert_eq!(Verdict::of_failure(FailureKind::Trap), Verdict::Ended);
        assert_ne!(Verdict::of_failure(FailureKind::NodeFull), Verdict::Ended);
    }
}
