//! The gRPC schema `lydian.v1` and its generated code.
//!
//! - [`v1`]: messages, clients and servers, made from `proto/lydian/v1/lydian.proto` by
//!   `cargo run -p lydian-api --example generate` and checked in (`tests/generated.rs` compares).
//! - [`error`]: a refusal as code, subject and hints, to and from [`tonic::Status`].
//! - [`size`]: what both ends agree on about message and window sizes.
//! - [`convert`]: short constructors and the few conversions that need no other crate.

pub mod convert;
pub mod error;
pub mod size;

/// The messages, clients and servers of package `lydian.v1`. Every `bytes` field is a
/// [`bytes::Bytes`], so payloads pass through without a copy.
#[allow(
    clippy::all,
    missing_docs,
    rust_2018_idioms,
    unreachable_pub,
    reason = "generated code"
)]
pub mod v1 {
    include!("gen/lydian.v1.rs");
}

pub use error::ErrorExt;

/// The schema as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/lydian.v1.fds");

/// The port a node listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7070;
