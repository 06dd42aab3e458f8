//! The embedded engine: SQLite with a write-ahead log, flushed at every commit.
//!
//! - One writer thread does every write; what arrives together is committed together ([`writer`]).
//! - Reads go to a few connections of their own and see the last commit.
//! - Claims of jobs and waiting are in memory; everything else is in the file.
//!
//! Several processes may open the same file: revisions, guards and epochs are the database's, and watchers
//! look at it every half second for what others committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::clock::{Steady, millis};
use crate::notify::Hub;
use crate::{Clock, DEFAULT_RETENTION, Error, Result};

mod claims;
mod jobs;
mod leases;
mod meta;
mod readers;
mod rows;
mod schema;
mod writer;

use claims::Claims;
use readers::Readers;
use writer::{Tx, Writer};

#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub clock: Clock,
    /// How long results of ended jobs are kept.
    pub retention: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            retention: DEFAULT_RETENTION,
        }
    }
}

/// One database file; clones share it. The last one dropped waits for writes under way and closes it.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    clock: Clock,
    steady: Steady,
    retention_ms: u64,
    /// Dropped before the writer: only the last connection can fold the log into the file, and it must
    /// be one that may write.
    readers: Arc<Readers>,
    writer: Writer,
    claims: Arc<Claims>,
    hub: Arc<Hub>,
}

impl SqliteStore {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// [`Error::NewerSchema`], [`Error::NotOurs`], [`Error::CorruptDatabase`], [`Error::DiskFull`].
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        let path: Arc<Path> = path.as_ref().into();
        schema::close_to_others(&path)?;
        let mut connection = schema::connect(&path)?;
        schema::prepare(&mut connection, &path)?;
        let retention_ms = millis(options.retention);
        let steady = writer::steady(&connection, &options.clock, retention_ms)
            .map_err(|error| sql_error(error, &path, 0))?;
        let (claims, hub) = (Arc::new(Claims::default()), Arc::new(Hub::new()));
        let writer = Writer::spawn(
            connection,
            path.clone(),
            (options.clock.clone(), steady.clone()),
            claims.clone(),
            hub.clone(),
        )?;
        Ok(Self(Arc::new(Shared {
            clock: options.clock,
            steady,
            retention_ms,
            writer,
            readers: Arc::new(Readers::new(path)),
            claims,
            hub,
        })))
    }

    /// Runs `work` in the next group commit; answers when it is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.writer.run(bytes, work).await
    }

    /// Runs `work` on one snapshot.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T> {
        self.0.readers.run(work).await
    }
}

/// What a statement can end with before the database's path is known.
#[derive(Debug)]
enum Failed {
    Sql(rusqlite::Error),
    /// Not the database's doing: a guard, a missing job.
    Other(Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<crate::Conflict> for Failed {
    fn from(conflict: crate::Conflict) -> Self {
        Self::Other(conflict.into())
    }
}

impl Failed {
    /// In the terms of [`Error`]; `bytes` is what was to be written.
    fn at(self, path: &Path, bytes: u64) -> Error {
        match self {
            Self::Sql(error) => sql_error(error, path, bytes),
            Self::Other(error) => error,
        }
    }
}

fn sql_error(error: rusqlite::Error, path: &Path, bytes: u64) -> Error {
    use rusqlite::ErrorCode;
    let path: PathBuf = path.into();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::DiskFull { path, bytes },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::CorruptDatabase {
            path,
            source: Arc::new(error),
        },
        _ => Error::Database {
            path,
            source: Arc::new(error),
        },
    }
}
