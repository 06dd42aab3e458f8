//! Where a node keeps what must outlive it: blobs, the catalog, durable calls, ownership.
//!
//! | seam | keeps | embedded engine |
//! | --- | --- | --- |
//! | [`MetaStore`] | keys with revisions, guarded transactions, a change feed | SQLite |
//! | [`JobStore`] | durable calls, in the same transactions | SQLite |
//! | [`Leases`] | who owns what, under which epoch | SQLite |
//! | [`BlobStore`] | immutable bytes by digest | a directory |
//! | [`Mesh`] | nodes and calls between them | this process |
//!
//! [`Store`] puts them together and [`Catalog`] is the typed view of environments, apps and versions.
//! Every seam has a second engine in memory ([`Store::memory`]) and one conformance suite that both pass.
//! Always true: what was answered is on the disk, and a crash at any moment leaves the rest absent or
//! whole. No wasmtime here, and no network.

mod blobs;
mod catalog;
mod clock;
mod error;
mod jobs;
mod leases;
mod memory;
mod mesh;
mod meta;
mod notify;
mod private;
mod sqlite;
mod store;

pub use blobs::{
    BlobStore, DEFAULT_MAX_BLOB_BYTES, FsBlobs, FsBlobsOptions, LiveSet, MemoryBlobs, Reader,
    Swept, Upload,
};
pub use catalog::{
    App, AppState, Catalog, DEFAULT_ENVIRONMENT, Deployed, NewVersion, Version, check_name,
};
pub use clock::Clock;
pub use error::{Conflict, Error, Result};
pub use jobs::{
    Accepted, Attempt, Back, Cancelled, Claimed, DEFAULT_RETENTION, Depth, Enqueued, FunctionKey,
    Job, JobFilter, JobId, JobState, JobStore, LONGEST_DELAY, NewJob, OWN_SHARDS, Outcome, Retried,
    SHARDS, Shard, Turn, Turned,
};
pub use leases::{Epoch, Lease, LeaseName, Leases, NodeId};
pub use memory::MemoryStore;
pub use mesh::{
    Handler, LocalMesh, Member, Members, Membership, Mesh, MeshError, Request, ResponseStream,
};
pub use meta::{Change, Committed, Entry, Guard, Key, MetaStore, Page, Range, Rev, Write};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{Options, Store};
