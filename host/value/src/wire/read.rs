//! A cursor over wire bytes: the primitives every reader of the encoding shares, and the budgets it keeps.

use std::cmp::Ordering;

use super::{NAN_F32, NAN_F64, Side, packed};
use crate::{Error, ErrorKind, Limits};

/// Reads wire bytes from front to back. Also what [`Wit::decode`](crate::Wit::decode) reads from.
///
/// Every method fails without panicking on any bytes, and allocates nothing larger than the bytes it consumed.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: u32,
    /// [`Value`](crate::Value)s that may still be built.
    values: usize,
    /// List items without bytes that may still be read: they cost time although the input pays nothing for them.
    free_items: usize,
    limits: Limits,
    pub(super) side: Side,
}

/// The keys of a map as they are read: each must come after the one before, in the order of their
/// bytes.
#[derive(Default)]
pub(crate) struct Keys<'a>(Option<&'a [u8]>);

impl<'a> Keys<'a> {
    /// Takes the key that `read` reads.
    pub(crate) fn next<T>(
        &mut self,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = reader.pos;
        let key = read(reader).map_err(|error| error.in_field("key"))?;
        let bytes = reader.since(start);
        match self.0.map(|before| before.cmp(bytes)) {
            None | Some(Ordering::Less) => {}
            Some(Ordering::Equal) => return Err(Error::new(ErrorKind::Duplicate).in_field("key")),
            Some(Ordering::Greater) => {
                return Err(reader.malformed("keys of a map are not in the order of their bytes"));
            }
        }
        self.0 = Some(bytes);
        Ok(key)
    }
}

impl<'a> Reader<'a> {
    /// Reads these bytes as a result; refuses more than [`Limits::bytes`].
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        if bytes.len() > limits.bytes {
            return Err(ErrorKind::TooManyBytes {
                limit: limits.bytes,
            }
            .into());
        }
        let (values, free_items) = (limits.values, limits.bytes);
        Ok(Self {
            bytes,
            pos: 0,
            depth: 0,
            values,
            free_items,
            limits: *limits,
            side: Side::Result,
        })
    }

    /// Refuses what only results may hold.
    pub(crate) fn for_arguments(mut self) -> Self {
        self.side = Side::Arguments;
        self
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next byte, not taken.
    pub(crate) fn next_byte(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// Fails unless everything was read.
    pub fn finish(&self) -> Result<(), Error> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(self.malformed("bytes follow the value"))
        }
    }

    /// An error at the current position.
    pub fn malformed(&self, reason: &'static str) -> Error {
        ErrorKind::Malformed {
            offset: self.pos,
            reason,
        }
        .into()
    }

    /// Runs `read` one level deeper.
    pub fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > self.limits.max_depth() {
            return Err(ErrorKind::TooDeep {
                limit: self.limits.max_depth(),
            }
            .into());
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Runs `read` for each of `len` items, one level deeper, naming the item in its error.
    pub fn items(
        &mut self,
        len: usize,
        mut read: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.nested(|r| {
            for index in 0..len {
                let before = r.pos;
                read(r).map_err(|error| error.in_item(index))?;
                if r.pos == before {
                    r.count_free_item()?;
                }
            }
            Ok(())
        })
    }

    /// What was read since `start`, a position from before.
    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.pos).unwrap_or_default()
    }

    fn count_free_item(&mut self) -> Result<(), Error> {
        let Some(left) = self.free_items.checked_sub(1) else {
            return Err(ErrorKind::TooManyBytes {
                limit: self.limits.bytes,
            }
            .into());
        };
        self.free_items = left;
        Ok(())
    }

    pub(super) fn count_value(&mut self) -> Result<(), Error> {
        let Some(left) = self.values.checked_sub(1) else {
            return Err(ErrorKind::TooManyValues {
                limit: self.limits.values,
            }
            .into());
        };
        self.values = left;
        Ok(())
    }

    /// The next `len` bytes as they are.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let Some(taken) = self.bytes.get(self.pos..).and_then(|rest| rest.get(..len)) else {
            return Err(self.malformed("ends early"));
        };
        self.pos += len;
        Ok(taken)
    }

    /// The bytes of `len` numbers of `width` bytes each.
    pub(crate) fn take_packed(&mut self, len: usize, width: usize) -> Result<&'a [u8], Error> {
        match len.checked_mul(width) {
            Some(bytes) => self.take(bytes),
            None => Err(self.malformed("ends early")),
        }
    }

    /// The bytes of `len` integers of `WIDTH` bytes each.
    pub(crate) fn packed<const WIDTH: usize>(&mut self, len: usize) -> Result<&'a [u8], Error> {
        self.take_packed(len, WIDTH)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some(taken) = self
            .bytes
            .get(self.pos..)
            .and_then(|rest| rest.first_chunk::<N>())
        else {
            return Err(self.malformed("ends early"));
        };
        self.pos += N;
        Ok(*taken)
    }

    pub fn bool(&mut self) -> Result<bool, Error> {
        self.bit("bool is neither 0 nor 1")
    }

    /// The byte before the payload of an option or result.
    pub fn second_case(&mut self) -> Result<bool, Error> {
        self.bit("case is neither 0 nor 1")
    }

    fn bit(&mut self, otherwise: &'static str) -> Result<bool, Error> {
        match self.bytes.get(self.pos) {
            Some(byte @ 0..=1) => {
                self.pos += 1;
                Ok(*byte == 1)
            }
            Some(_) => Err(self.malformed(otherwise)),
            None => Err(self.malformed("ends early")),
        }
    }

    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn s8(&mut self) -> Result<i8, Error> {
        self.array().map(i8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn s16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn s32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn s64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn f32(&mut self) -> Result<f32, Error> {
        let bits = self.u32()?;
        let value = f32::from_bits(bits);
        if value.is_nan() && bits != NAN_F32 {
            return Err(self.malformed("NaN is not canonical"));
        }
        Ok(value)
    }

    pub fn f64(&mut self) -> Result<f64, Error> {
        let bits = self.u64()?;
        let value = f64::from_bits(bits);
        if value.is_nan() && bits != NAN_F64 {
            return Err(self.malformed("NaN is not canonical"));
        }
        Ok(value)
    }

    pub fn char(&mut self) -> Result<char, Error> {
        let scalar = self.u32()?;
        char::from_u32(scalar).ok_or_else(|| self.malformed("char is not a Unicode scalar value"))
    }

    /// A length or case index.
    #[allow(clippy::len_without_is_empty, reason = "reads a length, is not one")]
    pub fn len(&mut self) -> Result<usize, Error> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            let part = u32::from(byte & 0x7f);
            if shift == 28 && part > 0xf {
                return Err(self.malformed("length does not fit 32 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("length is not in its shortest form"));
                }
                return Ok(value as usize);
            }
        }
        Err(self.malformed("length does not fit 32 bits"))
    }

    /// The index of one of `count` cases.
    pub fn case(&mut self, count: usize) -> Result<usize, Error> {
        let index = self.len()?;
        if index < count {
            Ok(index)
        } else {
            Err(self.malformed("no case has this index"))
        }
    }

    /// A length and that many bytes: `list<u8>`.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let len = self.len()?;
        self.take(len)
    }

    pub fn str(&mut self) -> Result<&'a str, Error> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("string is not UTF-8"))
    }

    /// The bytes of `count` flags, whose unused bits are 0.
    pub fn flags(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let bytes = self.take(super::flag_bytes(count))?;
        let used_in_last = count % 8;
        match bytes.last() {
            Some(last) if used_in_last > 0 && last >> used_in_last != 0 => {
                Err(self.malformed("unused bits of the flags are set"))
            }
            _ => Ok(bytes),
        }
    }

    /// The bytes of `len` f32s, whose NaNs are canonical.
    pub(crate) fn packed_f32(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let bytes = self.take_packed(len, 4)?;
        if packed::canonical_f32(bytes) {
            Ok(bytes)
        } else {
            Err(self.malformed("NaN is not canonical"))
        }
    }

    /// The bytes of `len` f64s, whose NaNs are canonical.
    pub(crate) fn packed_f64(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let bytes = self.take_packed(len, 8)?;
        if packed::canonical_f64(bytes) {
            Ok(bytes)
        } else {
            Err(self.malformed("NaN is not canonical"))
        }
    }
}
