//! The wire encoding: values as bytes, laid out by their type alone.
//!
//! Little-endian, unaligned, no tags, deterministic. A length (of a list, map or string; the index of a case) is an unsigned
//! LEB128 of a `u32` in its shortest form. NaNs have one bit pattern each. Nothing may follow a value.
//!
//! | type | bytes |
//! | --- | --- |
//! | bool | 0 or 1 |
//! | integers, f32, f64 | fixed width |
//! | char | the scalar value as u32 |
//! | string | length, UTF-8 |
//! | list | length, items; `list<T, N>` has no length |
//! | map | length, entries of key and value, in the order of the keys' bytes; no key twice |
//! | record, tuple, arguments | fields in order |
//! | variant, enum | case index, payload |
//! | option, result | 0 (none, ok) or 1 (some, err), payload |
//! | flags | one bit each, `ceil(n / 8)` bytes, unused bits 0 |
//! | own, borrow, stream, future, error-context | u32 |
//!
//! Three walks over a type and bytes live here: [`encode`] from a [`Value`], [`decode`] to one, and [`check`], which
//! builds nothing. All three count depth and bytes the same way, so what one accepts the others do.

mod check;
mod decode;
mod encode;
mod entries;
pub(crate) mod packed;
mod read;

pub(crate) use encode::Encoder;
pub use entries::Entries;
pub(crate) use read::Keys;
pub use read::Reader;

use bytes::Bytes;

use crate::{Error, Limits, Type, Value};

/// Which way a value goes: streams, futures and error contexts exist in results only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Arguments,
    Result,
}

pub(crate) const NAN_F32: u32 = 0x7fc0_0000;
pub(crate) const NAN_F64: u64 = 0x7ff8_0000_0000_0000;

/// The first allocation for a list whose items are not packed; the rest grows with the items that are really there.
pub(crate) const FIRST_ITEMS: usize = 256;

/// Appends a length or case index in its wire form. A length beyond `u32` is written as `u32::MAX`, which no reader takes.
pub fn len_prefix(len: usize, out: &mut Vec<u8>) {
    let mut rest = u32::try_from(len).unwrap_or(u32::MAX);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes of a flags type with this many flags.
pub(crate) fn flag_bytes(flags: usize) -> usize {
    flags.div_ceil(8)
}

impl Type {
    /// The wire encoding of this value.
    pub fn encode(&self, value: &Value, limits: &Limits) -> Result<Bytes, Error> {
        let mut encoder = Encoder::new(limits, Side::Result);
        encoder.value(self, value)?;
        Ok(encoder.finish())
    }

    /// The value these bytes encode.
    pub fn decode(&self, bytes: &[u8], limits: &Limits) -> Result<Value, Error> {
        let mut reader = Reader::new(bytes, limits)?;
        let value = reader.value(self)?;
        reader.finish()?;
        Ok(value)
    }

    /// Whether these bytes encode a value of the type, without building it. Takes no time for lists of integers, and one
    /// vectorised pass for lists of floats, whose NaNs are checked.
    pub fn check(&self, bytes: &[u8], limits: &Limits) -> Result<(), Error> {
        let mut reader = Reader::new(bytes, limits)?;
        reader.skip(self)?;
        reader.finish()
    }
}
