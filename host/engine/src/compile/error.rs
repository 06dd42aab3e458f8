//! Why a component could not be made ready to run.

use std::sync::Arc;
use std::time::Duration;

use lydian_value::Digest;

use crate::{artifact, scan};

/// Cheap to clone: everyone who waits for one component gets the same answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The static checks refused it.
    #[error(transparent)]
    Refused(#[from] scan::Error),
    /// Its bytes could not be had.
    #[error("cannot read component `{}`", component.short())]
    Source {
        component: Digest,
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes are other ones than those that were asked for.
    #[error("the bytes of component `{}` are damaged: their digest is `{}`", expected.short(), found.short())]
    WrongDigest { expected: Digest, found: Digest },
    /// It does not validate, or uses a feature that is off.
    #[error("the component is not valid: {message}")]
    Invalid { message: String },
    /// It is valid, but its exports cannot be described, or their types are too large.
    #[error("component `{}` has an interface that cannot be used: {reason}", component.short())]
    Interface {
        component: Digest,
        reason: String,
        hints: Vec<String>,
    },
    /// Compiling took more memory than one component may.
    #[error("compiling the component took more than {} MiB of memory", limit_bytes >> 20)]
    OutOfMemory { limit_bytes: u64 },
    /// Compiling took longer than one component may.
    #[error("compiling the component took longer than {} s", limit.as_secs_f64())]
    OutOfTime { limit: Duration },
    /// The native code is larger than any sensible component's.
    #[error(
        "the component compiles to {bytes} bytes of native code, more than the limit of {limit_bytes}"
    )]
    ArtifactTooLarge { bytes: u64, limit_bytes: u64 },
    /// The compiler broke on it.
    #[error("the compiler crashed on the component ({how})")]
    Crashed { how: String },
    /// The tenant's line is full.
    #[error("{waiting} compilations wait already")]
    Crowded { waiting: usize },
    /// The machine did not start a worker.
    #[error("cannot start a process to compile in")]
    Start { source: Arc<std::io::Error> },
    /// The program ran its `main` instead of a worker.
    #[error("the program did not become a compile worker when it was started again")]
    NotAWorker,
    /// Worker and engine would not understand each other's code.
    #[error("the compile worker is configured differently from the engine")]
    Mismatch,
    /// The directory of artifacts cannot be used at all.
    #[error(transparent)]
    Store(#[from] artifact::Error),
}

impl Error {
    /// What to do about it, as one sentence; `None` where the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::WrongDigest { .. } => Some("put the component again: the stored copy is damaged"),
            Self::Invalid { .. } => Some("check it with `wasm-tools validate --features all`"),
            Self::OutOfMemory { .. } | Self::OutOfTime { .. } | Self::ArtifactTooLarge { .. } => {
                Some(
                    "split very large functions, build with `--release`, or raise the node's compile limits",
                )
            }
            Self::Crashed { .. } => {
                Some("this is a bug in the compiler: please report it with the component")
            }
            Self::Start { .. } => {
                Some("check the limits on processes and memory, and that `/proc` is mounted")
            }
            Self::Crowded { .. } => Some("deploy fewer components at once"),
            Self::NotAWorker => {
                Some("link `lydian-engine` statically into the program that starts the engine")
            }
            Self::Source { .. } | Self::Mismatch | Self::Interface { .. } => None,
        }
    }

    /// Whether it was refused only for using async, which the other engine allows.
    pub(crate) fn asks_for_async(&self) -> bool {
        const FEATURES: [&str; 2] = ["component model async", "component model error-context"];
        matches!(self, Self::Invalid { message } if FEATURES.iter().any(|feature| message.contains(feature)))
    }

    /// Whether the component itself is at fault, so that trying again soon can only fail again.
    #[must_use]
    pub fn is_components_fault(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::Invalid { .. }
                | Self::Interface { .. }
                | Self::OutOfMemory { .. }
                | Self::OutOfTime { .. }
                | Self::ArtifactTooLarge { .. }
                | Self::Crashed { .. }
        )
    }
}
