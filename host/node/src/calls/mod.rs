//! Calls: from a checked request to an outcome that is recorded.
//!
//! | file | what |
//! | --- | --- |
//! | [`invoke`] | one call, one answer; the way every other kind takes for each of its inputs |
//! | [`run`] | the same with what happens on the way |
//! | [`map`] | many inputs over one stream |
//! | [`nested`] | calls that functions make |
//! | [`seat`] | where a call runs: a sandbox of its own, or a kept one |
//! | [`session`] | several calls in one sandbox |
//! | [`spawn`] | durable calls |
//! | [`query`] | asking about calls, and cancelling them |
//! | [`record`], [`recent`], [`log`], [`id`] | what is known of calls |
//!
//! Nothing here knows gRPC services; messages are used as plain structs.

pub(crate) mod id;
pub(crate) mod invoke;
pub(crate) mod log;
pub(crate) mod map;
pub(crate) mod nested;
pub(crate) mod query;
pub(crate) mod recent;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod seat;
pub(crate) mod session;
pub(crate) mod spawn;
