//! One suite per seam, run over every engine of it; then what only one engine can be asked.
//!
//! - `meta`, `jobs`, `leases`, `blobs`, `mesh`, `catalog`: conformance. A new engine adds a bed and passes them.
//! - `model`: random sequences of operations, SQLite against memory.
//! - `directory`, `database`: damage, full disks, several processes.
//! - `crash`: kill -9 while writes are acknowledged. The power cuts are in the workspace's `tests/lossyfs`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends this way"
)]

mod bed;
mod blobs;
mod catalog;
mod crash;
mod database;
mod directory;
mod jobs;
mod leases;
mod mesh;
mod meta;
mod model;
mod private;
mod workload;
