//! The binary, driven as a process: what it prints where, and how it exits.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests end where they fail"
)]

mod bad_input;
mod catalog;
mod cut_short;
mod full_disk;
mod hints;
mod limits;
mod map;
mod mounts;
mod new;
mod node;
mod run;
mod serve;
mod shell;
mod support;
mod terminal;
mod up;
mod usage;
