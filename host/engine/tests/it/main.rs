//! The engine through its public interface, with real components: ordinary ones, and ones that mean harm.
//!
//! One binary, one engine: linking wasmtime once is enough, and a process has one engine in production as well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod compile;
mod errors;
mod files;
mod hostile;
mod ledger;
mod limits;
mod sessions;
mod streams;
mod support;
mod values;
mod wasi;
