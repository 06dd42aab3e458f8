//! Tables, their version, and how connections are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Failed, sql_error};
use crate::private::close_file;
use crate::{Error, Result};

/// Written to `user_version`. A database with a higher one is refused; lower ones are brought up step by step.
const VERSION: u32 = 2;

/// Tells our databases from others: `LYDN`.
const APPLICATION_ID: i32 = 0x4c59_444e;

/// How long one process waits for another's transaction. Ours take milliseconds.
const BUSY: Duration = Duration::from_secs(10);

/// Every commit is flushed before it is answered. The log is cut back after a large one.
const PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 16777216;";

/// Version 2. Times are milliseconds since 1970, those named `steady` by the store's own count of
/// the time that passed. Deleted keys stay with no value until compaction, so that watchers learn
/// of them. A call's `open_epoch` is the epoch of the attempt last started, while it runs; a
/// `due_ms` of 0 is at once.
const TABLES: &str = "
CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counts VALUES ('rev', 0), ('compacted', 0);

CREATE TABLE keys (
    key BLOB NOT NULL UNIQUE, rev INTEGER NOT NULL, value BLOB, at_ms INTEGER NOT NULL);
CREATE INDEX keys_by_rev ON keys (rev, key);

CREATE TABLE owners (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, node TEXT, until_ms INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL, app TEXT NOT NULL, function TEXT NOT NULL, shard INTEGER NOT NULL,
    idempotency_key TEXT, state INTEGER NOT NULL, attempts INTEGER NOT NULL, open_epoch INTEGER,
    max_attempts INTEGER NOT NULL, created_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL,
    started_ms INTEGER, finished_ms INTEGER,
    details BLOB NOT NULL, blobs BLOB NOT NULL, payload BLOB NOT NULL, outcome BLOB,
    in_group TEXT NOT NULL DEFAULT '', request BLOB, lost INTEGER NOT NULL DEFAULT 0,
    broken INTEGER NOT NULL DEFAULT 0, waiting TEXT, ended_steady_ms INTEGER);
CREATE INDEX jobs_due ON calls (shard, due_ms, seq) WHERE state = 0;
CREATE INDEX jobs_waiting ON calls (environment, app, function, created_ms) WHERE state = 0;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON calls (environment, app, function, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_app ON calls (environment, app, seq);
CREATE INDEX jobs_with_blobs ON calls (seq) WHERE blobs <> x'';
CREATE INDEX calls_in_turn ON calls (in_group, due_ms, seq, shard, broken) WHERE state = 0;
CREATE INDEX calls_ended ON calls (ended_steady_ms) WHERE ended_steady_ms IS NOT NULL;
";

/// From version 1 to 2. Tables that every write touches get other names: a process of an earlier
/// release that has the file open does not look at its version again, and must not write by the
/// rules it knows.
const TO_VERSION_2: &str = "
ALTER TABLE counters RENAME TO counts;
ALTER TABLE leases RENAME TO owners;
ALTER TABLE jobs RENAME TO calls;
ALTER TABLE calls ADD COLUMN in_group TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN request BLOB;
ALTER TABLE calls ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN broken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN waiting TEXT;
ALTER TABLE calls ADD COLUMN ended_steady_ms INTEGER;
UPDATE calls SET in_group = environment || '/' || app WHERE state = 0;
UPDATE calls SET due_ms = 0 WHERE state = 0 AND due_ms <= created_ms;
UPDATE calls SET ended_steady_ms = finished_ms WHERE finished_ms IS NOT NULL;
DROP INDEX jobs_ended;
CREATE INDEX calls_in_turn ON calls (in_group, due_ms, seq, shard, broken) WHERE state = 0;
CREATE INDEX calls_ended ON calls (ended_steady_ms) WHERE ended_steady_ms IS NOT NULL;
";

/// Makes the file its user's alone before SQLite does: it makes its log as open as the database is.
pub(super) fn close_to_others(path: &Path) -> Result<()> {
    close_file(path)?;
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let beside = Path::new(&name);
        if beside.exists() {
            close_file(beside)?;
        }
    }
    Ok(())
}

/// A connection to the file, created if need be.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    let failed = |error| sql_error(error, path, 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, Failed> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // KiB: the kernel has the pages anyway, and an idle node should be small.
    connection.pragma_update(None, "cache_size", -512)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Sets the writer's connection up, and makes or checks the tables.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |error| sql_error(error, path, 0);
    connection.execute_batch(PRAGMAS).map_err(failed)?;
    if version(connection).map_err(failed)? == (APPLICATION_ID, VERSION) {
        return Ok(());
    }
    // Looked at again under the write lock: another process may be making the tables.
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let tables: u32 = tx
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    match version(&tx).map_err(failed)? {
        (APPLICATION_ID, VERSION) => Ok(()),
        (APPLICATION_ID, 1) => {
            tx.execute_batch(TO_VERSION_2).map_err(failed)?;
            tx.pragma_update(None, "user_version", VERSION)
                .map_err(failed)?;
            tx.commit().map_err(failed)
        }
        (APPLICATION_ID, found) => Err(newer(path, found)),
        (0, 0) if tables == 0 => {
            tx.execute_batch(TABLES).map_err(failed)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)
                .map_err(failed)?;
            tx.pragma_update(None, "user_version", VERSION)
                .map_err(failed)?;
            tx.commit().map_err(failed)
        }
        _ => Err(Error::NotOurs { path: path.into() }),
    }
}

/// Whether the file is still of the version that this release writes: another process may have
/// brought it further.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<()> {
    let version = connection
        .prepare_cached("PRAGMA user_version")
        .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)));
    match version.map_err(|error| sql_error(error, path, 0))? {
        VERSION => Ok(()),
        found => Err(newer(path, found)),
    }
}

fn newer(path: &Path, found: u32) -> Error {
    Error::NewerSchema {
        path: path.into(),
        found,
        supported: VERSION,
    }
}

fn version(connection: &Connection) -> rusqlite::Result<(i32, u32)> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let user = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))?;
    Ok((number("application_id")?, user))
}
