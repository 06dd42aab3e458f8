//! Guest memory and flat values into wire bytes.

use super::plan::{Kind, Node, Scalar, ScalarKind, Variant};
use super::wire::push_len;
use crate::current;
use crate::ledger::{Charge, FREE_BYTES};
use crate::limit::LimitHit;
use bytes::Bytes;
use lydian_value::Entries;
use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{InterfaceType, LiftContext};
use wasmtime::component::{FutureReader, Lift, ResourceAny, StreamReader};
use wasmtime::{Result, ValRaw, bail};

/// A result is read so far before the clocks are looked at again: about a millisecond, in
/// empty strings.
const CHECK_BYTES: usize = 64 << 10;

/// One walk over a result.
pub(super) struct Lifting<'a, 'cx> {
    cx: &'a mut LiftContext<'cx>,
    memory: &'cx [u8],
    out: Vec<u8>,
    /// `out` never grows past this.
    limit: usize,
    /// The size of `out` at which clocks are looked at, and more room is taken on the ledger.
    next_check: usize,
    /// Room taken so far.
    charge: Option<Charge>,
    /// Whether the guest's strings are UTF-8, as nearly all are.
    utf8: bool,
}

impl<'a, 'cx> Lifting<'a, 'cx> {
    /// `memory` is empty for a function whose options name none; nothing of it is read then.
    pub(super) fn new(cx: &'a mut LiftContext<'cx>, limit: usize) -> Lifting<'a, 'cx> {
        let memory = if cx.options().memory().is_some() {
            cx.memory()
        } else {
            &[]
        };
        let utf8 = cx.options().string_encoding == StringEncoding::Utf8;
        Lifting {
            cx,
            memory,
            out: Vec::new(),
            limit,
            next_check: FREE_BYTES,
            charge: None,
            utf8,
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The bytes with their room on the ledger, as long as any clone of them lives.
    pub(super) fn charged(mut self) -> Result<Bytes> {
        if self.out.len() >= FREE_BYTES {
            self.checkpoint(self.out.len())?;
            self.out.shrink_to_fit();
        }
        Ok(match self.charge {
            Some(charge) => charge.hold(self.out),
            None => self.out.into(),
        })
    }

    /// Reads the values of a record whose pointer is given, as results that are not flat are returned.
    pub(super) fn indirect(&mut self, node: &Node, pointer: u32) -> Result<()> {
        self.check_align(pointer, node.align)?;
        let bytes = self.window(pointer as usize, node.size)?;
        self.load(node, bytes)
    }

    /// Reads one value, which is all of `bytes` but for what it points to.
    fn load(&mut self, node: &Node, bytes: &'cx [u8]) -> Result<()> {
        if node.plain {
            self.room(node.size + node.min_wire)?;
            return read_plain(node, bytes, &mut self.out);
        }
        match &node.kind {
            Kind::String => {
                let (pointer, len) = pair(bytes);
                self.string(pointer, len)
            }
            Kind::List(item) => {
                let (pointer, len) = pair(bytes);
                self.list(item, pointer, len)
            }
            Kind::Map(entry) => {
                let (pointer, len) = pair(bytes);
                self.map(entry, pointer, len)
            }
            Kind::FixedList(item, _) if item.size > 0 => bytes
                .chunks_exact(item.size)
                .try_for_each(|bytes| self.load(item, bytes)),
            Kind::Record(fields) => fields.iter().try_for_each(|field| {
                self.load(&field.node, &bytes[field.offset..][..field.node.size])
            }),
            Kind::Variant(variant) => {
                let case = read_tag(variant, bytes)?;
                push_len(&mut self.out, case);
                match &variant.cases[case as usize] {
                    Some(payload) => {
                        self.load(payload, &bytes[variant.payload_offset..][..payload.size])
                    }
                    None => self.room(0),
                }
            }
            Kind::Handle(_) | Kind::Stream(..) | Kind::Future(..) | Kind::ErrorContext => {
                self.handle(node, word(bytes))
            }
            _ => Ok(()),
        }
    }

    /// Reads one value from core values, the first in `flat[0]`.
    pub(super) fn unflatten(&mut self, node: &Node, flat: &[ValRaw]) -> Result<()> {
        match &node.kind {
            Kind::String => self.string(flat[0].get_u32(), flat[1].get_u32()),
            Kind::List(item) => self.list(item, flat[0].get_u32(), flat[1].get_u32()),
            Kind::Map(entry) => self.map(entry, flat[0].get_u32(), flat[1].get_u32()),
            Kind::FixedList(item, len) => {
                let width = item.flat.unwrap_or(0);
                (0..*len as usize)
                    .try_for_each(|index| self.unflatten(item, &flat[index * width..]))
            }
            Kind::Record(fields) => {
                let mut next = 0;
                for field in fields {
                    self.unflatten(&field.node, &flat[next..])?;
                    next += field.node.flat.unwrap_or(0);
                }
                Ok(())
            }
            Kind::Variant(variant) => {
                let case = check_case(variant, flat[0].get_u32())?;
                push_len(&mut self.out, case);
                match &variant.cases[case as usize] {
                    Some(payload) => self.unflatten(payload, &flat[1..]),
                    None => self.room(0),
                }
            }
            Kind::Flags(count) => {
                for word in 0..count.div_ceil(32) {
                    let bits = (count - word * 32).min(32);
                    push_flags(
                        &mut self.out,
                        &flat[word as usize].get_u32().to_le_bytes(),
                        bits,
                    );
                }
                self.room(0)
            }
            Kind::Handle(_) | Kind::Stream(..) | Kind::Future(..) | Kind::ErrorContext => {
                self.handle(node, flat[0].get_u32())
            }
            // Passed as an `i32`: any value that is not zero is true, and higher bits of small integers do not count.
            Kind::Bool => {
                self.out.push(u8::from(flat[0].get_u32() != 0));
                self.room(0)
            }
            Kind::Int { .. } | Kind::F32 | Kind::F64 | Kind::Char => {
                let bytes = flat[0].get_u64().to_le_bytes();
                self.room(node.size)?;
                read_plain(node, &bytes[..node.size], &mut self.out)
            }
        }
    }

    fn string(&mut self, pointer: u32, len: u32) -> Result<()> {
        if !self.utf8 {
            return self.transcode(pointer, len);
        }
        let bytes = self.window(pointer as usize, len as usize)?;
        self.room(bytes.len() + 5)?;
        if std::str::from_utf8(bytes).is_err() {
            bail!("a string in the result is not UTF-8");
        }
        push_len(&mut self.out, len);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// UTF-16 and Latin-1 guests, which wasmtime knows how to serve.
    fn transcode(&mut self, pointer: u32, len: u32) -> Result<()> {
        let pair = [ValRaw::u32(pointer), ValRaw::u32(len)];
        let text = String::linear_lift_from_flat(self.cx, InterfaceType::String, &pair)?;
        self.room(text.len() + 5)?;
        push_len(&mut self.out, text.len() as u32);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn list(&mut self, item: &Node, pointer: u32, len: u32) -> Result<()> {
        push_len(&mut self.out, len);
        self.items(item, pointer as usize, len as usize)
    }

    /// Reads a map, whose entries the guest may have in any order; on the wire they have one.
    fn map(&mut self, entry: &Node, pointer: u32, len: u32) -> Result<()> {
        let Kind::Record(fields) = &entry.kind else {
            bail!("a map's entries are not pairs");
        };
        if keys_there_are(&fields[0].node).is_some_and(|most| len > most) {
            bail!("a map in the result has a key twice");
        }
        push_len(&mut self.out, len);
        let Some(size) = (len as usize).checked_mul(entry.size) else {
            bail!("a map in the result lies outside memory")
        };
        let bytes = self.window(pointer as usize, size)?;
        self.check_align(pointer, entry.align)?;
        self.room((len as usize).saturating_mul(entry.min_wire))?;
        let mut written = Entries::new(self.out.len());
        for bytes in bytes.chunks_exact(entry.size.max(1)) {
            for (index, field) in fields.iter().enumerate() {
                self.load(&field.node, &bytes[field.offset..][..field.node.size])?;
                match index {
                    0 => written.key_ends(self.out.len()),
                    _ => written.ends(self.out.len()),
                }
            }
        }
        if written.sort(&mut self.out).is_some() {
            bail!("a map in the result has a key twice");
        }
        Ok(())
    }

    /// Reads `count` values one after the other, without a length before them.
    pub(super) fn items(&mut self, item: &Node, pointer: usize, count: usize) -> Result<()> {
        let Some(size) = count.checked_mul(item.size) else {
            bail!("a list in the result lies outside memory")
        };
        let bytes = self.window(pointer, size)?;
        self.check_align(pointer as u32, item.align)?;
        let Some(least) = count.checked_mul(item.min_wire) else {
            bail!("a list in the result is too long")
        };
        self.room(least)?;
        match &item.kind {
            _ if item.packed => self.out.extend_from_slice(bytes),
            Kind::F32 => extend_f32(&mut self.out, bytes),
            Kind::F64 => extend_f64(&mut self.out, bytes),
            _ if item.plain && item.size > 0 => {
                self.out.reserve(least);
                for bytes in bytes.chunks_exact(item.size) {
                    read_plain(item, bytes, &mut self.out)?;
                }
                self.room(0)?;
            }
            _ if item.size > 0 => bytes
                .chunks_exact(item.size)
                .try_for_each(|bytes| self.load(item, bytes))?,
            _ => {}
        }
        Ok(())
    }

    fn handle(&mut self, node: &Node, index: u32) -> Result<()> {
        let flat = ValRaw::u32(index);
        let number = match &node.kind {
            Kind::Handle(ty) => {
                let resource = ResourceAny::linear_lift_from_flat(self.cx, *ty, &flat)?;
                current::open_handle(resource)?
            }
            Kind::Stream(ty, None) => current::open_unit_stream(
                StreamReader::linear_lift_from_flat(self.cx, *ty, &flat)?,
            )?,
            Kind::Future(ty, None) => current::open_unit_future(
                FutureReader::linear_lift_from_flat(self.cx, *ty, &flat)?,
            )?,
            Kind::Stream(ty, Some(item)) if item.is_byte() => current::open_byte_stream(
                StreamReader::linear_lift_from_flat(self.cx, *ty, &flat)?,
            )?,
            Kind::Stream(ty, item) => {
                let reader = StreamReader::linear_lift_from_flat(self.cx, *ty, &flat)?;
                current::open_stream(reader, item.as_ref())?
            }
            Kind::Future(ty, item) => {
                let reader = FutureReader::linear_lift_from_flat(self.cx, *ty, &flat)?;
                current::open_future(reader, item.as_ref())?
            }
            // What it says is for the guest's debugger; the caller gets a name to tell contexts apart.
            Kind::ErrorContext => current::number(),
            _ => bail!("not a handle"),
        };
        self.room(4)?;
        self.out.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    /// Refuses to grow past the payload limit by `more` bytes; called before a copy, so the copy never happens.
    fn room(&mut self, more: usize) -> Result<()> {
        if self
            .out
            .len()
            .checked_add(more)
            .is_none_or(|len| len > self.limit)
        {
            bail!(LimitHit::Result);
        }
        if self.out.len() + more >= self.next_check {
            self.checkpoint(self.out.len() + more)?;
        }
        Ok(())
    }

    /// Looks at the clocks and takes room for the bytes up to `reached`, and some more.
    #[cold]
    fn checkpoint(&mut self, reached: usize) -> Result<()> {
        current::checkpoint()?;
        let taken = self
            .charge
            .as_ref()
            .map_or(0, |charge| charge.bytes() as usize);
        if reached > taken {
            let more = current::charge_result(reached - taken)?;
            match &mut self.charge {
                Some(charge) => charge.add(more),
                none => *none = Some(more),
            }
        }
        self.next_check = reached + CHECK_BYTES;
        Ok(())
    }

    fn window(&self, offset: usize, size: usize) -> Result<&'cx [u8]> {
        match self.memory.get(offset..).and_then(|rest| rest.get(..size)) {
            Some(window) => Ok(window),
            None => bail!("the result lies outside the guest's memory"),
        }
    }

    fn check_align(&self, pointer: u32, align: u32) -> Result<()> {
        if pointer.is_multiple_of(align) {
            Ok(())
        } else {
            bail!("a pointer in the result is not aligned")
        }
    }
}

/// How many keys of a type there can be, where they are so few that a map of more is known to
/// repeat one before it is read.
fn keys_there_are(key: &Node) -> Option<u32> {
    match (&key.kind, key.size) {
        (Kind::Bool, _) => Some(2),
        (Kind::Int { .. }, 1) => Some(1 << 8),
        (Kind::Int { .. }, 2) => Some(1 << 16),
        _ => None,
    }
}

/// Appends a value that is all in `bytes`, which are exactly its size.
fn read_plain(node: &Node, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if let Some(scalars) = &node.scalars {
        return scalars
            .iter()
            .try_for_each(|scalar| read_scalar(*scalar, bytes, out));
    }
    match &node.kind {
        Kind::Flags(count) => push_flags(out, bytes, *count),
        Kind::FixedList(item, _) if item.size > 0 => {
            for bytes in bytes.chunks_exact(item.size) {
                read_plain(item, bytes, out)?;
            }
        }
        Kind::Record(fields) => {
            for field in fields {
                read_plain(&field.node, &bytes[field.offset..][..field.node.size], out)?;
            }
        }
        Kind::Variant(variant) => {
            let case = read_tag(variant, bytes)?;
            push_len(out, case);
            if let Some(payload) = &variant.cases[case as usize] {
                read_plain(
                    payload,
                    &bytes[variant.payload_offset..][..payload.size],
                    out,
                )?;
            }
        }
        // Not plain, so never here; an empty fixed list has nothing to read.
        _ => {}
    }
    Ok(())
}

#[inline]
fn read_scalar(Scalar { at, kind }: Scalar, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match kind {
        ScalarKind::One => out.push(bytes[at]),
        ScalarKind::Two => out.extend_from_slice(&array::<2>(bytes, at)),
        ScalarKind::Four => out.extend_from_slice(&array::<4>(bytes, at)),
        ScalarKind::Eight => out.extend_from_slice(&array::<8>(bytes, at)),
        ScalarKind::F32 => out.extend_from_slice(&canonical_f32(array(bytes, at))),
        ScalarKind::F64 => out.extend_from_slice(&canonical_f64(array(bytes, at))),
        ScalarKind::Bool => out.push(u8::from(bytes[at] != 0)),
        ScalarKind::Char => {
            let code = array::<4>(bytes, at);
            if char::from_u32(u32::from_le_bytes(code)).is_none() {
                bail!("a `char` in the result is not a Unicode scalar value");
            }
            out.extend_from_slice(&code);
        }
    }
    Ok(())
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..].first_chunk().copied().unwrap_or([0; N])
}

fn read_tag(variant: &Variant, bytes: &[u8]) -> Result<u32> {
    let mut tag = [0; 4];
    tag[..usize::from(variant.tag)].copy_from_slice(&bytes[..usize::from(variant.tag)]);
    check_case(variant, u32::from_le_bytes(tag))
}

fn check_case(variant: &Variant, case: u32) -> Result<u32> {
    if (case as usize) < variant.cases.len() {
        Ok(case)
    } else {
        bail!("the result has a case that its type has not")
    }
}

/// Bits beyond the last flag do not count.
fn push_flags(out: &mut Vec<u8>, bytes: &[u8], count: u32) {
    out.extend_from_slice(&bytes[..count.div_ceil(8) as usize]);
    if let (Some(last), used @ 1..) = (out.last_mut(), count % 8) {
        *last &= (1 << used) - 1;
    }
}

/// Floats are copied a block at a time, so that the second look, for NaNs, finds them in the nearest cache.
const BLOCK_BYTES: usize = 8 << 10;

fn extend_f32(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    for block in bytes.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.extend_from_slice(block);
        for float in out[start..].as_chunks_mut::<4>().0 {
            *float = canonical_f32(*float);
        }
    }
}

fn extend_f64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    for block in bytes.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.extend_from_slice(block);
        for float in out[start..].as_chunks_mut::<8>().0 {
            *float = canonical_f64(*float);
        }
    }
}

#[inline]
fn canonical_f32(float: [u8; 4]) -> [u8; 4] {
    let bits = u32::from_le_bytes(float);
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    if nan { 0x7fc0_0000 } else { bits }.to_le_bytes()
}

#[inline]
fn canonical_f64(float: [u8; 8]) -> [u8; 8] {
    let bits = u64::from_le_bytes(float);
    let nan = bits & 0x7fff_ffff_ffff_ffff > 0x7ff0_0000_0000_0000;
    if nan { 0x7ff8_0000_0000_0000 } else { bits }.to_le_bytes()
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |word| u32::from_le_bytes(*word))
}

fn pair(bytes: &[u8]) -> (u32, u32) {
    (word(bytes), word(&bytes[4..]))
}
