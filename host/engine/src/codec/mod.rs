//! Values between the wire encoding and guest memory, without a value in between.
//!
//! wasmtime's typed functions are generic over `Lower` and `Lift`, whose methods are handed everything needed at run
//! time: the type, the memory, `realloc`. [`Args`] and [`Answer`] implement them for *any* function, driven by a
//! [`Plan`] that is built from wasmtime's own type information on the function's first call:
//!
//! ```text
//! wire bytes --Args--> flat values, guest memory --run--> flat values, guest memory --Answer--> wire bytes
//! ```
//!
//! Packed lists of numbers cross as one copy; everything else is one walk over the plan.
//!
//! Always true: every offset and length that comes from the guest is checked against its memory, every length that
//! comes from the wire against the bytes that are left; the result stops growing at the payload limit.
//! The bytes given need not have been checked before.

mod answer;
mod args;
mod item;
mod lift;
mod lower;
mod plan;
mod wire;

pub(crate) use answer::{MAX_FLAT_ASYNC, call, call_concurrent, run_out, tasks_over};
pub(crate) use args::Args;
pub(crate) use item::{Batch, ByteEnd, Item, StreamEnd};
pub(crate) use plan::{MAX_DEPTH, MAX_VALUE_BYTES, Node, Plan};
pub(crate) use wire::Malformed;
