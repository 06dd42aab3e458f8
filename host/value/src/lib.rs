//! WIT types and values, and their three spellings: wire bytes, JSON and WAVE.
//!
//! Everything is driven by a [`Type`]: the wire encoding carries no tags, so the same bytes mean nothing without the
//! type, and equal values have equal bytes. Values cross the platform as wire bytes; [`Value`] is for the edges,
//! where someone writes or reads a single value, and [`Wit`] takes Rust types to wire bytes and back without it.
//!
//! | from \ to | wire | value | text |
//! | --- | --- | --- | --- |
//! | wire | [`Type::check`] | [`Type::decode`] | [`json::to_string`], [`wave::to_string`] |
//! | value | [`Type::encode`] | | [`json::print`], [`wave::print`] |
//! | text | | [`json::from_str`], [`wave::parse`] | |
//! | Rust | [`Wit::encode`], [`Args`] | | |
//!
//! Always true: a decoder never panics, never recurses deeper than [`Limits::depth`], and never holds more memory than
//! a small multiple of its input. Not here: anything that runs a component.

mod arguments;
mod digest;
mod error;
mod example;
mod func;
#[cfg(feature = "inspect")]
mod inspect;
mod interface;
pub mod json;
mod limits;
mod matching;
mod text;
mod ty;
mod ty_json;
mod ty_text;
mod value;
pub mod wave;
mod wire;
mod wit;

pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use func::{ExportPath, FuncType, Param};
#[cfg(feature = "inspect")]
pub use inspect::{InspectError, inspect};
pub use interface::{Interface, NoFunction};
pub use limits::Limits;
pub use matching::Args;
pub use ty::{Case, Enum, Field, Flags, Label, Record, ResultType, Type, Variant};
pub use value::Value;
pub use wire::{Reader, len_prefix};
pub use wit::{Handle, Wit, from_wire, to_wire};
