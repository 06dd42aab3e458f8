//! Wire bytes into guest memory and flat values.

use super::plan::{Kind, Node, Scalar, ScalarKind, Variant};
use super::wire::{Malformed, Reader};
use crate::current;
use std::mem::MaybeUninit;
use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{InterfaceType, LowerContext};
use wasmtime::component::{Lower, ResourceAny};
use wasmtime::{Result, ValRaw, bail};

/// Most bytes one allocation in a guest may be asked for; lengths beyond it cannot be stated in a 32-bit memory anyway.
const MAX_ALLOCATION: usize = (1 << 31) - 1;

/// Bytes of one list that are put together before they are copied; the host's memory is not for whole lists.
const STAGE_BYTES: usize = 32 << 10;

/// Strings and the like that wait to be copied; a list of a million of them is no reason to keep a million pointers.
const MOST_DUE: usize = 1024;

/// One walk over the arguments.
pub(super) struct Lowering<'a, 'cx, T: 'static> {
    cx: &'a mut LowerContext<'cx, T>,
    wire: Reader<'a>,
    /// Whether the guest's strings are UTF-8, as nearly all are.
    utf8: bool,
    /// Values that are being put together: those of the innermost list are last.
    stage: Vec<u8>,
    /// Bytes that go to the guest as they are, and where to; copied many at a time, as [`Lowering::store`] says why.
    due: Vec<(usize, &'a [u8])>,
}

impl<'a, 'cx, T: 'static> Lowering<'a, 'cx, T> {
    pub(super) fn new(cx: &'a mut LowerContext<'cx, T>, wire: &'a [u8]) -> Lowering<'a, 'cx, T> {
        let utf8 = cx.options().string_encoding == StringEncoding::Utf8;
        Lowering {
            cx,
            wire: Reader::new(wire),
            utf8,
            stage: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Writes all arguments as one record into memory of its own and answers where.
    pub(super) fn indirect(&mut self, node: &Node) -> Result<u32> {
        let offset = self.allocate(node.align, node.size)?;
        self.store(node, 1, offset)?;
        Ok(offset as u32)
    }

    /// Copies what is due, and refuses bytes that no argument has used.
    pub(super) fn finish(mut self) -> Result<()> {
        self.copy_due()?;
        Ok(self.wire.finish()?)
    }

    /// Copies `bytes` to `offset` before the guest runs.
    fn copy(&mut self, offset: usize, bytes: &'a [u8]) -> Result<()> {
        self.due.push((offset, bytes));
        if self.due.len() < MOST_DUE {
            return Ok(());
        }
        self.copy_due()
    }

    fn copy_due(&mut self) -> Result<()> {
        if self.due.is_empty() {
            return Ok(());
        }
        let memory = self.cx.as_slice_mut();
        for (offset, bytes) in self.due.drain(..) {
            window(memory, offset, bytes.len())?.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes `count` values, one after the other, from `offset` on.
    ///
    /// They are put together on the stage and copied a block at a time: looking up where a guest's memory is costs more than
    /// a field, and has to be done again after each allocation.
    fn store(&mut self, node: &Node, count: usize, offset: usize) -> Result<()> {
        let start = self.stage.len();
        let most = (STAGE_BYTES / node.size.max(1)).max(1);
        let mut done = 0;
        while done < count {
            if done > 0 {
                current::checkpoint()?;
            }
            let block = most.min(count - done);
            let bytes = block * node.size;
            self.stage.resize(start + bytes, 0);
            for index in 0..block {
                self.put(node, start + index * node.size)?;
            }
            window(self.cx.as_slice_mut(), offset + done * node.size, bytes)?
                .copy_from_slice(&self.stage[start..start + bytes]);
            self.stage.truncate(start);
            done += block;
        }
        Ok(())
    }

    /// Puts one value on the stage at `at`, where there is room for it.
    fn put(&mut self, node: &Node, at: usize) -> Result<()> {
        if node.plain {
            let slot = &mut self.stage[at..at + node.size];
            return Ok(write_plain(node, &mut self.wire, slot)?);
        }
        match &node.kind {
            Kind::String => {
                let pair = self.string()?;
                self.put_pair(at, pair);
            }
            Kind::List(item) | Kind::Map(item) => {
                let pair = self.list(item)?;
                self.put_pair(at, pair);
            }
            Kind::FixedList(item, len) => {
                for index in 0..*len as usize {
                    self.put(item, at + index * item.size)?;
                }
            }
            Kind::Record(fields) => {
                for field in fields {
                    self.put(&field.node, at + field.offset)?;
                }
            }
            Kind::Variant(variant) => {
                let case = read_case(variant, &mut self.wire)?;
                put_tag(variant, case, &mut self.stage[at..]);
                if let Some(payload) = &variant.cases[case as usize] {
                    self.put(payload, at + variant.payload_offset)?;
                }
            }
            Kind::Handle(ty) => {
                let index = self.own_or_borrow(*ty)?.get_u32();
                self.stage[at..at + 4].copy_from_slice(&index.to_le_bytes());
            }
            _ => bail!(Malformed::Stream),
        }
        Ok(())
    }

    fn put_pair(&mut self, at: usize, (pointer, len): (u32, u32)) {
        self.stage[at..at + 4].copy_from_slice(&pointer.to_le_bytes());
        self.stage[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
    }

    /// Writes one value as core values, the first into `flat[0]`. Slots that the case of a variant does not use stay zero.
    pub(super) fn flatten(&mut self, node: &Node, flat: &mut [ValRaw]) -> Result<()> {
        match &node.kind {
            Kind::String => {
                let pair = self.string()?;
                flatten_pair(flat, pair);
            }
            Kind::List(item) | Kind::Map(item) => {
                let pair = self.list(item)?;
                flatten_pair(flat, pair);
            }
            Kind::FixedList(item, len) => {
                let width = item.flat.unwrap_or(0);
                for index in 0..*len as usize {
                    self.flatten(item, &mut flat[index * width..])?;
                }
            }
            Kind::Record(fields) => {
                let mut next = 0;
                for field in fields {
                    self.flatten(&field.node, &mut flat[next..])?;
                    next += field.node.flat.unwrap_or(0);
                }
            }
            Kind::Variant(variant) => {
                let case = read_case(variant, &mut self.wire)?;
                flat[0] = ValRaw::u32(case);
                if let Some(payload) = &variant.cases[case as usize] {
                    self.flatten(payload, &mut flat[1..])?;
                }
            }
            Kind::Handle(ty) => flat[0] = self.own_or_borrow(*ty)?,
            Kind::Flags(count) => {
                let mut bytes = [0; 4];
                for word in 0..count.div_ceil(32) {
                    let bits = (count - word * 32).min(32);
                    let wire = self.wire.take(bits.div_ceil(8) as usize)?;
                    check_flags(wire, bits)?;
                    bytes.fill(0);
                    bytes[..wire.len()].copy_from_slice(wire);
                    flat[word as usize] = ValRaw::u32(u32::from_le_bytes(bytes));
                }
            }
            Kind::Bool | Kind::Int { .. } | Kind::F32 | Kind::F64 | Kind::Char => {
                flat[0] = self.scalar(node)?
            }
            Kind::Stream(..) | Kind::Future(..) | Kind::ErrorContext => bail!(Malformed::Stream),
        }
        Ok(())
    }

    fn scalar(&mut self, node: &Node) -> Result<ValRaw> {
        let mut bytes = [0; 8];
        write_plain(node, &mut self.wire, &mut bytes[..node.size])?;
        let raw = u64::from_le_bytes(bytes);
        Ok(match (&node.kind, node.size) {
            (Kind::Int { signed: true }, 1) => ValRaw::i32((raw as i8).into()),
            (Kind::Int { signed: true }, 2) => ValRaw::i32((raw as i16).into()),
            (Kind::F64, _) => ValRaw::f64(raw),
            // Zero-extended: what `f32` and the unsigned integers want as well.
            _ => ValRaw::u64(raw),
        })
    }

    fn string(&mut self) -> Result<(u32, u32)> {
        let len = self.wire.len()? as usize;
        let text = std::str::from_utf8(self.wire.take(len)?).map_err(|_| Malformed::Utf8)?;
        if !self.utf8 {
            return self.transcode(text);
        }
        let offset = self.allocate(1, len)?;
        self.copy(offset, text.as_bytes())?;
        Ok((offset as u32, len as u32))
    }

    /// UTF-16 and Latin-1 guests, which wasmtime knows how to serve.
    fn transcode(&mut self, text: &str) -> Result<(u32, u32)> {
        let mut pair = MaybeUninit::uninit();
        text.linear_lower_to_flat(self.cx, InterfaceType::String, &mut pair)?;
        // SAFETY: `linear_lower_to_flat` has initialised both slots, as it returned `Ok`.
        let [offset, len]: [ValRaw; 2] = unsafe { pair.assume_init() };
        Ok((offset.get_u32(), len.get_u32()))
    }

    fn list(&mut self, item: &Node) -> Result<(u32, u32)> {
        let len = self.wire.len()?;
        let count = len as usize;
        // Nothing is allocated for a length that the bytes cannot back.
        if count
            .checked_mul(item.min_wire)
            .is_none_or(|bytes| bytes > self.wire.remaining())
        {
            bail!(Malformed::Truncated);
        }
        let bytes = count
            .checked_mul(item.size)
            .filter(|bytes| *bytes <= MAX_ALLOCATION)
            .ok_or(Malformed::Length)?;
        let offset = self.allocate(item.align, bytes)?;
        self.fill(item, count, offset, bytes)?;
        Ok((offset as u32, len))
    }

    fn fill(&mut self, item: &Node, count: usize, offset: usize, bytes: usize) -> Result<()> {
        if !item.plain {
            return self.store(item, count, offset);
        }
        if item.packed || matches!(item.kind, Kind::F32 | Kind::F64) {
            let wire = self.wire.take(bytes)?;
            return self.copy(offset, wire);
        }
        let memory = window(self.cx.as_slice_mut(), offset, bytes)?;
        if item.size > 0 {
            for slot in memory.chunks_exact_mut(item.size) {
                write_plain(item, &mut self.wire, slot)?;
            }
        }
        Ok(())
    }

    /// The offset is within memory for `bytes`: wasmtime checks what `realloc` answers.
    fn allocate(&mut self, align: u32, bytes: usize) -> Result<usize> {
        self.cx.realloc(0, 0, align, bytes)
    }

    /// The guest's own index for a handle of the caller's.
    fn own_or_borrow(&mut self, ty: InterfaceType) -> Result<ValRaw> {
        let handle = self.handle(ty)?;
        let mut slot = MaybeUninit::uninit();
        handle.linear_lower_to_flat(self.cx, ty, &mut slot)?;
        // SAFETY: `linear_lower_to_flat` has initialised the slot, as it returned `Ok`.
        Ok(unsafe { slot.assume_init() })
    }

    fn handle(&mut self, ty: InterfaceType) -> Result<ResourceAny> {
        let handle = u32::from_le_bytes(self.wire.array()?);
        let given_away = matches!(ty, InterfaceType::Own(_));
        Ok(current::take_handle(handle, given_away).ok_or(Malformed::Handle(handle))?)
    }
}

/// Writes a value that needs no allocation. `slot` is exactly its size; gaps are left as they are.
fn write_plain(node: &Node, wire: &mut Reader<'_>, slot: &mut [u8]) -> Result<(), Malformed> {
    if let Some(scalars) = &node.scalars {
        return scalars
            .iter()
            .try_for_each(|scalar| write_scalar(*scalar, wire, slot));
    }
    match &node.kind {
        Kind::Flags(count) => {
            let bits = wire.take(count.div_ceil(8) as usize)?;
            check_flags(bits, *count)?;
            slot.fill(0);
            slot[..bits.len()].copy_from_slice(bits);
        }
        Kind::FixedList(item, _) if item.size > 0 => {
            for slot in slot.chunks_exact_mut(item.size) {
                write_plain(item, wire, slot)?;
            }
        }
        Kind::Record(fields) => {
            for field in fields {
                write_plain(
                    &field.node,
                    wire,
                    &mut slot[field.offset..][..field.node.size],
                )?;
            }
        }
        Kind::Variant(variant) => {
            let case = read_case(variant, wire)?;
            put_tag(variant, case, slot);
            if let Some(payload) = &variant.cases[case as usize] {
                write_plain(
                    payload,
                    wire,
                    &mut slot[variant.payload_offset..][..payload.size],
                )?;
            }
        }
        // Not plain, so never here; an empty fixed list has nothing to write.
        _ => {}
    }
    Ok(())
}

#[inline]
fn write_scalar(
    Scalar { at, kind }: Scalar,
    wire: &mut Reader<'_>,
    slot: &mut [u8],
) -> Result<(), Malformed> {
    match kind {
        ScalarKind::One => slot[at] = wire.array::<1>()?[0],
        ScalarKind::Two => slot[at..at + 2].copy_from_slice(&wire.array::<2>()?),
        ScalarKind::Four | ScalarKind::F32 => slot[at..at + 4].copy_from_slice(&wire.array::<4>()?),
        ScalarKind::Eight | ScalarKind::F64 => {
            slot[at..at + 8].copy_from_slice(&wire.array::<8>()?)
        }
        ScalarKind::Bool => match wire.array()? {
            [value @ (0 | 1)] => slot[at] = value,
            _ => return Err(Malformed::Range),
        },
        ScalarKind::Char => {
            let bytes = wire.array()?;
            char::from_u32(u32::from_le_bytes(bytes)).ok_or(Malformed::Range)?;
            slot[at..at + 4].copy_from_slice(&bytes);
        }
    }
    Ok(())
}

#[inline]
fn put_tag(variant: &Variant, case: u32, slot: &mut [u8]) {
    let tag = usize::from(variant.tag);
    slot[..tag].copy_from_slice(&case.to_le_bytes()[..tag]);
}

/// Options and results have one byte on the wire, which is what the length form of 0 and 1 is as well.
#[inline]
fn read_case(variant: &Variant, wire: &mut Reader<'_>) -> Result<u32, Malformed> {
    let case = wire.len()?;
    if (case as usize) < variant.cases.len() {
        Ok(case)
    } else {
        Err(Malformed::Range)
    }
}

/// Bits beyond the last flag are zero, so that equal values have equal bytes.
fn check_flags(bytes: &[u8], count: u32) -> Result<(), Malformed> {
    let used = count % 8;
    match bytes.last() {
        Some(last) if used != 0 && last >> used != 0 => Err(Malformed::Range),
        _ => Ok(()),
    }
}

fn flatten_pair(flat: &mut [ValRaw], (pointer, len): (u32, u32)) {
    flat[0] = ValRaw::i64(pointer.into());
    flat[1] = ValRaw::i64(len.into());
}

/// `realloc`'s answer was checked, but memory may only be trusted to be as large as it is now.
fn window(memory: &mut [u8], offset: usize, size: usize) -> Result<&mut [u8]> {
    match memory
        .get_mut(offset..)
        .and_then(|rest| rest.get_mut(..size))
    {
        Some(window) => Ok(window),
        None => bail!("an argument lies outside the guest's memory"),
    }
}
