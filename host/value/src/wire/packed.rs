//! Lists of fixed-width numbers as one copy between memory and wire bytes.

use std::fmt::Display;

use super::Reader;
use crate::{Error, Type};

/// A number whose memory on a little-endian machine is its wire form, and for which any bytes are a value.
///
/// # Safety
/// The type has no padding, no invalid bit patterns, and `to_wire` swaps exactly its bytes.
pub(crate) unsafe trait Plain: Copy + Default {
    /// The number whose native bytes are the little-endian ones of `self`; its own inverse.
    fn to_wire(self) -> Self;
}

macro_rules! plain {
    ($($int:ty)*) => {
        $(
            // SAFETY: primitive integers have no padding and no invalid bit patterns; `to_le` only swaps bytes.
            unsafe impl Plain for $int {
                fn to_wire(self) -> Self {
                    self.to_le()
                }
            }
        )*
    };
}

plain! { i8 u8 i16 u16 i32 u32 i64 u64 }

// SAFETY: floats have no padding and no invalid bit patterns; their bits are swapped as an integer's.
unsafe impl Plain for f32 {
    fn to_wire(self) -> Self {
        f32::from_bits(self.to_bits().to_le())
    }
}

// SAFETY: as for `f32`.
unsafe impl Plain for f64 {
    fn to_wire(self) -> Self {
        f64::from_bits(self.to_bits().to_le())
    }
}

/// Appends the numbers' wire bytes.
pub(crate) fn extend<T: Plain>(out: &mut Vec<u8>, items: &[T]) {
    if cfg!(target_endian = "big") {
        let swapped: Vec<T> = items.iter().map(|item| item.to_wire()).collect();
        out.extend_from_slice(memory(&swapped));
    } else {
        out.extend_from_slice(memory(items));
    }
}

/// The numbers these wire bytes hold; bytes beyond a whole number of items are ignored.
pub(crate) fn collect<T: Plain>(bytes: &[u8]) -> Vec<T> {
    let len = bytes.len() / size_of::<T>();
    let mut items = Vec::<T>::with_capacity(len);
    // SAFETY: the vector has room for `len` items, `bytes` holds at least `len * size_of::<T>()`, the two do not overlap,
    // and by `Plain` any bytes are initialised items.
    unsafe {
        std::ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            items.as_mut_ptr().cast::<u8>(),
            len * size_of::<T>(),
        );
        items.set_len(len);
    }
    if cfg!(target_endian = "big") {
        items.iter_mut().for_each(|item| *item = item.to_wire());
    }
    items
}

fn memory<T: Plain>(items: &[T]) -> &[u8] {
    // SAFETY: by `Plain` the items have no padding, so all their bytes are initialised; `u8` has no alignment.
    unsafe { std::slice::from_raw_parts(items.as_ptr().cast::<u8>(), size_of_val(items)) }
}

/// Numbers looked at together: enough for the vector unit, few enough to stop early.
const BLOCK: usize = 1024;

/// Whether all NaNs among these f32 wire bytes have the canonical bits.
pub(crate) fn canonical_f32(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK * 4).all(|block| {
        !block.as_chunks::<4>().0.iter().fold(false, |bad, item| {
            let bits = u32::from_le_bytes(*item);
            bad | ((bits & 0x7fff_ffff > 0x7f80_0000) & (bits != super::NAN_F32))
        })
    })
}

/// Whether all NaNs among these f64 wire bytes have the canonical bits.
pub(crate) fn canonical_f64(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK * 8).all(|block| {
        !block.as_chunks::<8>().0.iter().fold(false, |bad, item| {
            let bits = u64::from_le_bytes(*item);
            bad | ((bits & 0x7fff_ffff_ffff_ffff > 0x7ff0_0000_0000_0000)
                & (bits != super::NAN_F64))
        })
    })
}

/// Appends floats, each NaN in its canonical form.
pub(crate) fn extend_f32(out: &mut Vec<u8>, items: &[f32]) {
    let start = out.len();
    extend(out, items);
    if canonical_f32(&out[start..]) {
        return;
    }
    for item in out[start..].as_chunks_mut::<4>().0 {
        if f32::from_le_bytes(*item).is_nan() {
            *item = super::NAN_F32.to_le_bytes();
        }
    }
}

/// Appends floats, each NaN in its canonical form.
pub(crate) fn extend_f64(out: &mut Vec<u8>, items: &[f64]) {
    let start = out.len();
    extend(out, items);
    if canonical_f64(&out[start..]) {
        return;
    }
    for item in out[start..].as_chunks_mut::<8>().0 {
        if f64::from_le_bytes(*item).is_nan() {
            *item = super::NAN_F64.to_le_bytes();
        }
    }
}

/// Takes the numbers of a list one by one.
pub(crate) trait NumberSink {
    fn integer(&mut self, index: usize, value: impl Display);
    fn f32(&mut self, index: usize, value: f32);
    fn f64(&mut self, index: usize, value: f64);
}

/// Reads a list of `len` numbers of this type into the sink.
pub(crate) fn for_each(
    item: &Type,
    len: usize,
    r: &mut Reader<'_>,
    sink: &mut impl NumberSink,
) -> Result<(), Error> {
    macro_rules! integers {
        ($int:ty) => {{
            let bytes = r.packed::<{ size_of::<$int>() }>(len)?;
            let items = bytes.as_chunks::<{ size_of::<$int>() }>().0.iter();
            let numbers = items.map(|item| <$int>::from_le_bytes(*item));
            numbers
                .enumerate()
                .for_each(|(index, number)| sink.integer(index, number));
        }};
    }
    match item {
        Type::U8 => integers!(u8),
        Type::S8 => integers!(i8),
        Type::U16 => integers!(u16),
        Type::S16 => integers!(i16),
        Type::U32 => integers!(u32),
        Type::S32 => integers!(i32),
        Type::U64 => integers!(u64),
        Type::S64 => integers!(i64),
        Type::F32 => {
            let items = r.packed_f32(len)?.as_chunks::<4>().0.iter().enumerate();
            items.for_each(|(index, item)| sink.f32(index, f32::from_le_bytes(*item)));
        }
        _ => {
            let items = r.packed_f64(len)?.as_chunks::<8>().0.iter().enumerate();
            items.for_each(|(index, item)| sink.f64(index, f64::from_le_bytes(*item)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One copy must give the same bytes as item by item.
    #[test]
    fn a_block_copy_is_the_items_little_endian() {
        let items = [1u32, 0x0102_0304, u32::MAX];
        let mut out = vec![9];
        extend(&mut out, &items);
        let expected: Vec<u8> = std::iter::once(9)
            .chain(items.iter().flat_map(|i| i.to_le_bytes()))
            .collect();
        assert_eq!(out, expected);
        assert_eq!(collect::<u32>(&out[1..]), items);
        assert_eq!(collect::<u32>(&[]), Vec::<u32>::new());
    }

    /// A list of floats hashes the same whatever NaN the machine made.
    #[test]
    fn every_nan_is_written_canonically() {
        let mut out = Vec::new();
        extend_f32(&mut out, &[1.0, f32::from_bits(0xffc0_0001), f32::INFINITY]);
        assert!(canonical_f32(&out));
        assert_eq!(&out[4..8], &super::super::NAN_F32.to_le_bytes());
        let mut out = Vec::new();
        extend_f64(
            &mut out,
            &[1.0, f64::from_bits(0x7ff0_0000_0000_0001), -f64::INFINITY],
        );
        assert!(canonical_f64(&out));
        assert_eq!(&out[16..24], &(-f64::INFINITY).to_le_bytes());
    }
}
