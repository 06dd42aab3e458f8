//! The host SDK of Lydian.
#![warn(missing_docs)]

mod apps;
mod blobs;
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
mod stream;
mod transport;
mod typed;

pub use apps::{
    App, AppState, Change, ChangeKind, Code, CompileInfo, Deploy, Deployed, Description,
    FunctionInfo, Version,
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
    pub use crate::typed::{Origin, Reader, Type, ValueError as Error, Wit, len_prefix};
}
