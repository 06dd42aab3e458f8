//! What people write by hand in more than one place, each with one rule: names, durations and
//! sizes.
//!
//! The command, manifests and the SDK's attributes all read these. It is a crate of its own,
//! without dependencies, because proc-macros are built with it.

pub mod names;
pub mod units;
