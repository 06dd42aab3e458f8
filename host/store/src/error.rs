//! What can go wrong in the store, in the terms its callers branch on.
//!
//! Errors are `Clone`: one failed transaction answers every operation that was grouped into it.
//! The texts name paths and are for the node's log and for local tools; what a remote client may
//! see is decided by the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use lydian_value::Digest;

use crate::{Epoch, JobId, Key, LeaseName, Rev};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store did not do what it was asked. [`Error::hint`] says how to mend it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A guard did not hold; nothing was written. Read again and decide anew.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// A blob's bytes no longer have its digest. It was moved aside and is not served.
    #[error("corrupt entry: blob `{digest}` does not have its digest; moved to `{quarantine}`")]
    CorruptEntry { digest: Digest, quarantine: PathBuf },
    /// The database file is damaged.
    #[error("corrupt database: `{path}` cannot be read")]
    CorruptDatabase {
        path: PathBuf,
        source: Arc<rusqlite::Error>,
    },
    /// A record's bytes mean nothing.
    #[error("corrupt entry: record `{key}` cannot be read: {reason}")]
    CorruptRecord { key: Key, reason: String },
    /// No room for a write; nothing of it is visible.
    #[error("disk full: no room{} at `{path}`", room(*.bytes))]
    DiskFull { path: PathBuf, bytes: u64 },
    /// The data was written by a later release.
    #[error(
        "`{path}` has schema version {found}, newer than {supported}, the newest this release reads"
    )]
    NewerSchema {
        path: PathBuf,
        found: u32,
        supported: u32,
    },
    /// The file is a database, but not one of this program.
    #[error("`{path}` is not a lydian database")]
    NotOurs { path: PathBuf },
    /// Other users can get at what is to be kept from them, and it is not ours to close.
    #[error("`{path}` is open to other users")]
    Shared { path: PathBuf },
    #[error("blob `{digest}` is not in the store")]
    BlobNotFound { digest: Digest },
    /// The bytes given for a blob are others than its name says. None of them were kept.
    #[error("the uploaded bytes have digest `{actual}`, not `{expected}`")]
    DigestMismatch { expected: Digest, actual: Digest },
    /// More or fewer bytes than announced.
    #[error("blob `{digest}` was announced with {announced} bytes, got {got}")]
    SizeMismatch {
        digest: Digest,
        announced: u64,
        got: u64,
    },
    #[error("blob `{digest}` has {bytes} bytes, over the limit of {limit} bytes")]
    BlobTooLarge {
        digest: Digest,
        bytes: u64,
        limit: u64,
    },
    #[error("job `{id}` does not exist or its result has expired")]
    JobNotFound { id: JobId },
    #[error("app `{app}` is not in environment `{environment}`")]
    AppNotFound { environment: String, app: String },
    #[error("app `{app}` in environment `{environment}` has no version {version}")]
    VersionNotFound {
        environment: String,
        app: String,
        version: u64,
    },
    /// The content of the first version cannot be rolled back.
    #[error("app `{app}` in environment `{environment}` {}", no_earlier(*.version, *.origin))]
    NoEarlierVersion {
        environment: String,
        app: String,
        version: u64,
        /// The version whose content the current one has.
        origin: u64,
    },
    /// The `if_version` guard of a deploy did not hold.
    #[error("app `{app}` in environment `{environment}` is at version {current}, not {expected}")]
    VersionChanged {
        environment: String,
        app: String,
        expected: u64,
        current: u64,
    },
    #[error("`{name}` is not a valid {what} name")]
    InvalidName { what: &'static str, name: String },
    #[error("the manifest is not JSON: {reason}")]
    InvalidManifest { reason: String },
    /// A watcher asked for changes older than what is still kept; it must read everything again.
    #[error("changes since revision {since} are gone, the oldest kept follow {oldest}")]
    Compacted { since: Rev, oldest: Rev },
    /// A file operation failed. Whether a write took place is unknown.
    #[error("cannot {action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: Arc<io::Error>,
    },
    /// The database failed. Whether a write took place is unknown.
    #[error("database `{path}` failed")]
    Database {
        path: PathBuf,
        source: Arc<rusqlite::Error>,
    },
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
}

/// Which guard did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    #[error("conflict: `{key}` already exists, at revision {found}")]
    Exists { key: Key, found: Rev },
    #[error("conflict: `{key}` is not at revision {expected} but {}", at(.found))]
    Changed {
        key: Key,
        expected: Rev,
        found: Option<Rev>,
    },
    #[error("conflict: lease `{lease}` is not held in epoch {epoch}")]
    Epoch { lease: LeaseName, epoch: Epoch },
    #[error("conflict: the attempt is not the current one of job `{job}`")]
    Stale { job: JobId },
}

fn no_earlier(version: u64, origin: u64) -> String {
    match version == origin {
        true => format!("has no version before {version}"),
        false => {
            format!("is at version {version}, which is version {origin} again; none is before that")
        }
    }
}

fn room(bytes: u64) -> String {
    match bytes {
        // Not a write, but a name that was to be made or flushed.
        0 => String::new(),
        bytes => format!(" for {bytes} bytes"),
    }
}

fn at(found: &Option<Rev>) -> String {
    found.map_or("absent".into(), |rev| format!("at {rev}"))
}

impl Error {
    /// What the user can do about it, as one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::CorruptEntry { .. } => "upload the same bytes again: the entry is then whole",
            Self::CorruptDatabase { .. } => "restore the file from a backup; check the disk",
            Self::CorruptRecord { .. } => "deploy the app again: its record is then rebuilt",
            Self::DiskFull { .. } => {
                "free space on the file system of the data directory; `lydian doctor` tells how much is left"
            }
            Self::NewerSchema { .. } => "run a release at least as new as the one that wrote it",
            Self::NotOurs { .. } => "point the data directory at an empty or a lydian directory",
            Self::Shared { .. } => {
                "set `LYDIAN_HOME` to a directory of its own that belongs to this user"
            }
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                "upload again from the start"
            }
            Self::InvalidName { .. } => {
                "use 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or digit"
            }
            Self::NoEarlierVersion {
                version, origin, ..
            } if version == origin => "it is the first: deploy what shall run in its place",
            Self::NoEarlierVersion { .. } => {
                "name the version: `lydian app rollback APP VERSION`; `lydian app history APP` lists them"
            }
            Self::VersionChanged { .. } => {
                "someone else deployed: look at the history, then deploy again"
            }
            _ => return None,
        })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source: Arc::new(source),
        }
    }

    /// As [`Error::io`], for a write of `bytes`: a full disk or quota gets its own case.
    pub(crate) fn write(path: &Path, bytes: u64, action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.into(),
                bytes,
            },
            _ => Self::io(action, path, source),
        }
    }

    /// Whether the database failed, as opposed to refusing.
    pub(crate) fn is_of_database(&self) -> bool {
        matches!(
            self,
            Self::Database { .. } | Self::DiskFull { .. } | Self::CorruptDatabase { .. }
        )
    }
}

/// Shows bytes that are mostly text.
pub(crate) fn lossy(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that could not be made had no bytes; "no room for 0 bytes" would be nonsense.
    #[test]
    fn a_full_disk_tells_the_bytes_there_were_and_a_command_there_is() {
        let full = |bytes| Error::DiskFull {
            path: "/data".into(),
            bytes,
        };
        assert_eq!(full(0).to_string(), "disk full: no room at `/data`");
        assert_eq!(
            full(7).to_string(),
            "disk full: no room for 7 bytes at `/data`"
        );
        assert!(
            full(0)
                .hint()
                .is_some_and(|hint| hint.contains("`lydian doctor`"))
        );
    }
}
