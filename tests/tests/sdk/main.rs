//! One program over every back end: threads, a node inside the process, a node over a socket. Equal results.
//!
//! The apps are the guests' own source, taken here as their clients; the nodes have the components made of it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests end where they fail; an app's functions are public"
)]

mod backends;
mod calls;
mod classes;
mod imports;
mod later;
mod modules;
mod names;
mod nested;
mod panics;

#[path = "../../guests/rust/sdk.rs"]
mod sdk;

#[path = "../../guests/rust/sdk_calls.rs"]
mod sdk_calls;

#[path = "../../guests/rust/sdk_classes.rs"]
mod sdk_classes;

#[path = "../../guests/rust/sdk_modules.rs"]
mod sdk_modules;

#[path = "../../guests/rust/sdk_names.rs"]
mod sdk_names;
