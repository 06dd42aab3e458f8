//! A running host: admission, calls, logs, deployments, and the API in front of them.
//!
//! ```text
//! connection --serve--> api (tonic) --> core: resolve -> check -> admit --> engine
//!                                         |                                   |
//!                                       store  <-- durable calls, apps        +--> outcome: recorded, answered
//! ```
//!
//! [`Node::start`] with [`Options`] gives a [`Node`]; [`Node::serve`] answers its port, [`Node::routes`] a client
//! in the same process. Arrows point one way: `api` knows calls, calls know engine and store, neither of those
//! knows this crate. Synchronous calls touch no database.

mod admission;
mod api;
mod budget;
mod calls;
mod checks;
mod clock;
mod convert;
mod core;
mod deploy;
mod ephemeral;
mod error;
mod manifest;
mod mounts;
mod node;
mod options;
mod prepare;
mod resolve;
mod serve;
mod warm;

pub use error::Error;
pub use lydian_engine::{Limits, WASMTIME_VERSION};
pub use node::{Node, StartError};
pub use options::{Data, Options};
pub use serve::token::{BadToken, Token};
