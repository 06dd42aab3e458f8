//! Sandboxes for WASI components: compiled once, mapped from disk, started in microseconds, held to their limits.
//!
//! ```text
//! component bytes --compile (jailed)--> artifact --map--> Component --invoke--> sandbox --> Outcome
//! ```
//!
//! [`Engine::prepare`] makes a [`Component`] ready; [`Engine::invoke`] calls one of its functions in a fresh sandbox;
//! [`Engine::run`] does so for results with streams; [`Engine::open`] keeps a sandbox for several calls.
//!
//! Always true: a guest reaches nothing that its [`Grants`] do not name and uses no more than its [`Limits`] say; guests run
//! on threads of their own. Not here: the network, the catalog, who may call what.

mod artifact;
mod backtrace;
mod cache;
pub mod calls;
mod checks;
mod codec;
pub mod compile;
mod component;
mod config;
mod current;
mod descriptors;
mod egress;
mod engine;
mod error;
mod files;
mod grants;
mod handles;
mod host;
mod imports;
mod interface;
mod invoke;
mod keeper;
mod kept;
mod layout;
mod ledger;
mod limit;
mod limits;
mod machine;
mod network;
mod outbound;
mod outcome;
mod output;
mod pace;
mod panic;
mod pool;
mod retained;
mod sandbox;
pub mod scan;
mod session;
mod stdio;
mod streams;
mod ticker;
mod wasi;
mod watch;

pub use checks::{Check, CheckStatus};
pub use component::{Component, Function, Prepared};
pub use engine::{Engine, Options, Stats};
pub use error::Error;
pub use grants::{Directory, Grants, HostPort, InvalidHostPort, Mount};
pub use invoke::{Invocation, Reserved, Run};
pub use keeper::Held;
pub use kept::Kept;
pub use ledger::{Charge, Freed, Ledger};
pub use limits::Limits;
pub use outcome::{Failure, FailureKind, Outcome, Start, Usage};
pub use output::{OutputBuffer, OutputChunk, OutputSink, OutputStream};
pub use pool::PoolOptions;
pub use session::{Session, SessionOptions};
pub use streams::{Items, StreamItems};

/// The version of wasmtime that guests run on: `48.0.8`.
pub const WASMTIME_VERSION: &str = wasmtime::component::__internal::wasmtime_environ::VERSION;
