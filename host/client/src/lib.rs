//! The host SDK of Lydian: call functions that run in sandboxes, on a node or in this process.
//!
//! # The shortest program
//!
//! ```no_run
//! use lydian_client::{Client, Result};
//!
//! # async fn example() -> Result<()> {
//! let client = Client::connect("http://127.0.0.1:7070").await?;
//! let square = client.function("math", "square").await?;
//! let sixteen: u64 = square.call((4u64,)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `lydian up` starts the node, `lydian deploy math.wasm` deploys the app; both can be done from here, too.
//!
//! # Which node
//!
//! - [`Client::connect`]: one that runs somewhere.
//! - `Client::embedded`, with the feature `embedded`: one in this process, without a socket. It brings the
//!   whole engine with it, so it is not on by default.
//! - [`Client::from_env`]: what `LYDIAN_URL` says. A program that uses it runs on either.
//!
//! All behave the same; one test suite runs over both. [`blocking`] has the same without `async`.
//!
//! # Code to call
//!
//! A component is sent once, by its hash ([`Client::put`]), and can be called at once, without grants
//! ([`Client::component_function`]). Deployed under a name ([`Client::deploy`]), it becomes a version of an
//! app: an immutable one, to which one can [roll back](Client::rollback). A [`Function`] found by
//! [`Client::function`] follows the app's current version.
//!
//! ```no_run
//! # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use lydian_client::Deploy;
//!
//! let digest = client.put(std::fs::read("math.wasm")?).await?;
//! let cube: u64 = client.component_function(digest, "cube").await?.call((3u64,)).await?;
//! let deployed = client.deploy(Deploy::new("math", digest).message("first")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Arguments and results
//!
//! A tuple of Rust types goes in, a Rust type comes out; `()` is no result, a WIT `result` is a `Result`.
//! They are compared with the function's type before anything is sent, and a mismatch names its place:
//! `config.rate: expected f64, found string`. Own types derive [`Wit`](derive@Wit), and [`bindgen!`] makes
//! types and methods from WIT. What is only known when the program runs goes in and out as [`Values`],
//! [`Json`], [`Wave`] or [`Wire`]; see [`forms`].
//!
//! # Ways to call
//!
//! | | |
//! | --- | --- |
//! | [`Function::call`] | one result; dropping the future cancels the call |
//! | [`Function::invoke`] | the same, with its cost and what it printed |
//! | [`Function::run`] | output as it is written, then the result |
//! | [`Function::stream`] | the items of a `stream<T>` result |
//! | [`Function::map`] | many inputs; ordered or not, failures raised or returned, memory flat |
//! | [`Function::spawn`] | recorded, runs whether or not this program lives; see [`Call`], [`gather`] |
//! | [`Client::session`] | several calls in one sandbox, with resources that live between them |
//!
//! ```no_run
//! # async fn example(train: lydian_client::Function) -> lydian_client::Result<()> {
//! use futures::TryStreamExt;
//! use lydian_client::{Call, Limits};
//! use std::time::Duration;
//!
//! let quick = train.with_limits(Limits::new().timeout(Duration::from_secs(10)));
//! let mut scores = quick.map::<_, f64, _>((1..=20u32).map(|depth| (depth,))).unordered().with_index();
//! while let Some((index, score)) = scores.try_next().await? {
//!     println!("depth {}: {score}", index + 1);
//! }
//!
//! let call = train.with_idempotency_key("nightly").spawn((30u32,)).await?;
//! let later = Call::from_id(train.client(), call.id());
//! let score: f64 = later.get(Duration::from_secs(60)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When something fails
//!
//! One enum, [`Error`]: branch on the variant or on [`Error::code`], show [`Error::report`]. A function that
//! trapped or was stopped is [`Error::Failed`], with the [`Failure`]; everything else means that it did not
//! run. A node that went away is [`Error::Unreachable`]: requests that only read are tried again by
//! themselves, calls are not, for they may have run.
#![warn(missing_docs)]

mod apps;
mod blobs;
pub mod blocking;
mod call;
mod client;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod failure;
pub mod forms;
mod function;
mod limits;
mod logs;
mod lookup;
mod map;
mod nodeinfo;
mod run;
mod session;
mod ship;
mod stream;
mod transport;
mod typed;

pub use apps::{
    App, AppState, Change, ChangeKind, ClassInfo, Code, CompileInfo, Deploy, Deployed, Description,
    EntrypointInfo, EphemeralApp, FunctionInfo, MountInfo, Swapped, Version,
};
pub use call::{Call, CallFilter, CallInfo, CallKind, CallState, Explanation, gather};
pub use client::{Client, DEFAULT_ENVIRONMENT, DEFAULT_URL};
#[cfg(feature = "embedded")]
pub use embedded::Options;
pub use error::{Error, Refusal, Report, Result, Unreachable};
pub use failure::{Failure, FailureKind, Start, Usage};
pub use forms::{Input, Json, Output, Values, Wave, Wire};
pub use function::{Answer, Function};
pub use limits::Limits;
pub use logs::{LogChunk, LogSource, LogStream, Tail};
#[cfg(feature = "macros")]
pub use lydian_client_macros::{Wit, bindgen};
pub use lydian_value::{Digest, FuncType, Handle, Type, Value, Wit};
pub use map::{Collect, Indexed, Map, MapSummary, OnFailure, Raise};
pub use nodeinfo::{Check, CheckStatus, NodeInfo};
pub use run::{Event, Finished, Items, Run};
pub use session::{Resource, Session};
pub use stream::ResultStream;

#[doc(hidden)]
pub mod __private {
    //! For the code that the macros make.
    pub use crate::typed::{Args, Origin, Reader, Type, ValueError as Error, Wit, len_prefix};
}
