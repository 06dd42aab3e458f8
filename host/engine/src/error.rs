//! Why a component cannot be made ready, or an engine not started. What a guest does wrong is a [`Failure`](crate::Failure).

use crate::compile;
use lydian_value::Digest;
use std::sync::Arc;

/// Why a component or an engine is not to be had. Cheap to clone: all who waited for one component get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its bytes could not be had, were refused, or did not compile.
    #[error(transparent)]
    Compile(compile::Error),
    /// Its exports cannot be described, or their types are too large.
    #[error("component `{}` has an interface that cannot be used: {reason}", component.short())]
    Interface {
        /// Which one.
        component: Digest,
        /// Why.
        reason: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// It needs something that nobody provides.
    #[error("component `{}` imports {}, which is not provided", component.short(), names(imports))]
    MissingImports {
        /// Which one.
        component: Digest,
        /// What it imports in vain: `acme:db/query@1.0.0`.
        imports: Vec<String>,
        /// For each kind of import, what would provide it.
        hints: Vec<String>,
    },
    /// It does not fit the engine, though it compiled.
    #[error("component `{}` cannot be linked: {reason}", component.short())]
    Link {
        /// Which one.
        component: Digest,
        /// Why.
        reason: String,
    },
    /// One sandbox of it takes more of a pool than the pool has.
    #[error("component `{}` needs {needs} {what} at once, and this node has {has}", component.short())]
    TooLarge {
        /// Which one.
        component: Digest,
        /// `places for sandboxes` or `stacks`.
        what: &'static str,
        /// What one sandbox takes.
        needs: u32,
        /// What there is.
        has: u32,
    },
    /// It exports no function of that name.
    #[error(transparent)]
    NoFunction(#[from] lydian_value::NoFunction),
    /// The machine does not give the engine what it needs.
    #[error("cannot start the engine: {what}")]
    Start {
        /// What could not be had.
        what: String,
        /// What to do about it.
        hint: String,
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// What to do about it, each a sentence.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Error::Compile(error) => error.hint().into_iter().map(str::to_owned).collect(),
            Error::Interface { hints, .. } | Error::MissingImports { hints, .. } => hints.clone(),
            Error::Start { hint, .. } => vec![hint.clone()],
            Error::NoFunction(error) => error.hints(),
            Error::Link { .. } => Vec::new(),
            Error::TooLarge { .. } => {
                vec!["start the node with a larger `--max-sandboxes`".to_owned()]
            }
        }
    }
}

impl From<compile::Error> for Error {
    fn from(error: compile::Error) -> Error {
        match error {
            compile::Error::Interface {
                component,
                reason,
                hints,
            } => Error::Interface {
                component,
                reason,
                hints,
            },
            other => Error::Compile(other),
        }
    }
}

fn names(imports: &[String]) -> String {
    let quoted: Vec<String> = imports.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
