//! A real node, driven through its public API over a socket, by the client that users have.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests end where they fail"
)]

mod calls;
mod classes;
mod connections;
mod examples;
mod hostile;
mod mounts;
mod support;
mod values;
