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
//! ```
//! use lydian_value::{FuncType, Limits, Type, from_wire, wave};
//!
//! let limits = Limits::default();
//! let square = FuncType::new("square", [("x", Type::U64)], Some(Type::U64));
//! let args = square.args_from_wave(&["12"], &limits)?;
//! let wire = square.encode_args(&args, &limits)?;
//! assert_eq!(from_wire::<(u64,)>(&wire, &limits)?, (12,));
//! assert_eq!(wave::to_string(&Type::U64, &144u64.to_le_bytes(), &limits)?, "144");
//! # Ok::<(), lydian_value::Error>(())
//! ```
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
#[cfg(feature = "inspect")]
mod measure;
#[cfg(feature = "inspect")]
mod nesting;
mod text;
mod ty;
mod ty_json;
mod ty_text;
mod type_docs;
mod value;
pub mod wave;
mod wire;
mod wit;
mod wit_docs;

pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use func::{ExportPath, FuncType, Param};
#[cfg(feature = "inspect")]
pub use inspect::{InspectError, inspect, wit_functions};
pub use interface::{Interface, NoFunction};
pub use limits::Limits;
pub use lydian_spelling::{names, units};
pub use matching::Args;
#[cfg(feature = "inspect")]
pub use nesting::{TypeNesting, type_nesting};
pub use ty::{Case, Enum, Field, Flags, Label, Record, ResultType, Type, Variant};
pub use value::Value;
pub use wire::{Entries, Reader, len_prefix};
pub use wit::{Handle, Wit, from_wire, to_wire};
pub use wit_docs::with_docs;
