//! Wire bytes to JSON text, without building a value.

use std::fmt::{Display, Write};

use crate::wire::packed::{self, NumberSink};
use crate::wire::{Keys, Reader};
use crate::{Error, ErrorKind, Limits, Type};

pub(super) fn to_string(
    ty: &Type,
    wire: &[u8],
    limits: &Limits,
    pretty: bool,
) -> Result<String, Error> {
    let mut writer = JsonWriter {
        out: String::new(),
        max_bytes: limits.text_bytes(),
        indent: pretty.then_some(0),
    };
    let mut reader = Reader::new(wire, limits)?;
    writer.value(ty, &mut reader)?;
    reader.finish()?;
    Ok(writer.out)
}

struct JsonWriter {
    out: String,
    max_bytes: usize,
    /// Levels of indentation; none on one line.
    indent: Option<usize>,
}

impl JsonWriter {
    fn value(&mut self, ty: &Type, r: &mut Reader<'_>) -> Result<(), Error> {
        if self.out.len() > self.max_bytes {
            return Err(ErrorKind::TooMuchText {
                limit: self.max_bytes,
            }
            .into());
        }
        match ty {
            Type::Bool => self.plain(r.bool()?),
            Type::S8 => self.plain(r.s8()?),
            Type::U8 => self.plain(r.u8()?),
            Type::S16 => self.plain(r.s16()?),
            Type::U16 => self.plain(r.u16()?),
            Type::S32 => self.plain(r.s32()?),
            Type::U32 | Type::Own(_) | Type::Borrow(_) => self.plain(r.u32()?),
            Type::S64 => self.plain(r.s64()?),
            Type::U64 => self.plain(r.u64()?),
            Type::F32 => self.float(r.f32()?, f32::is_finite),
            Type::F64 => self.float(r.f64()?, f64::is_finite),
            Type::Char => self.string(r.char()?.encode_utf8(&mut [0; 4])),
            Type::String => self.string(r.str()?),
            Type::List(item) => {
                let len = r.len()?;
                return self.list(item, len, r);
            }
            Type::FixedList(item, len) => return self.list(item, *len as usize, r),
            Type::Map(key, value) => return self.map(key, value, r),
            Type::Record(record) => {
                return r.nested(|r| {
                    self.open("{");
                    for (index, field) in record.fields.iter().enumerate() {
                        self.separate(index);
                        self.name(&field.name);
                        self.value(&field.ty, r)
                            .map_err(|error| error.in_field(&field.name))?;
                    }
                    self.close("}", record.fields.is_empty());
                    Ok(())
                });
            }
            Type::Tuple(items) => {
                return r.nested(|r| {
                    self.open("[");
                    for (index, item) in items.iter().enumerate() {
                        self.separate(index);
                        self.value(item, r).map_err(|error| error.in_item(index))?;
                    }
                    self.close("]", items.is_empty());
                    Ok(())
                });
            }
            Type::Variant(variant) => {
                let case = &variant.cases[r.case(variant.cases.len())?];
                match &case.ty {
                    Some(ty) => return self.payload(&case.name, Some(ty), r),
                    None => self.string(&case.name),
                }
            }
            Type::Enum(cases) => self.string(&cases.cases[r.case(cases.cases.len())?].name),
            Type::Option(payload) => match r.second_case()? {
                false => self.out.push_str("null"),
                true if matches!(**payload, Type::Option(_)) => {
                    return self.payload("some", Some(payload), r);
                }
                true => return r.nested(|r| self.value(payload, r)),
            },
            Type::Result(result) => {
                let (name, payload) = if r.second_case()? {
                    ("err", &result.err)
                } else {
                    ("ok", &result.ok)
                };
                return self.payload(name, payload.as_ref(), r);
            }
            Type::Flags(flags) => self.flags(flags, r.flags(flags.flags.len())?),
            Type::Stream(_) | Type::Future(_) | Type::ErrorContext => {
                let number = r.u32()?;
                self.plain(number);
            }
        }
        Ok(())
    }

    fn plain(&mut self, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// `Debug` of a float is its shortest exact form, with an exponent where digits would be many; it is valid JSON.
    fn float<F: std::fmt::Debug + PartialOrd + Default + Copy>(
        &mut self,
        value: F,
        finite: fn(F) -> bool,
    ) {
        if finite(value) {
            let _ = write!(self.out, "{value:?}");
            return;
        }
        self.out.push_str(match value.partial_cmp(&F::default()) {
            None => "\"NaN\"",
            Some(std::cmp::Ordering::Less) => "\"-Infinity\"",
            Some(_) => "\"Infinity\"",
        });
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        let mut start = 0;
        for (index, byte) in text.bytes().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f) {
                continue;
            }
            self.out.push_str(&text[start..index]);
            start = index + 1;
            match byte {
                b'"' => self.out.push_str("\\\""),
                b'\\' => self.out.push_str("\\\\"),
                b'\n' => self.out.push_str("\\n"),
                b'\r' => self.out.push_str("\\r"),
                b'\t' => self.out.push_str("\\t"),
                _ => self.plain(format_args!("\\u{byte:04x}")),
            }
        }
        self.out.push_str(&text[start..]);
        self.out.push('"');
    }

    fn name(&mut self, name: &str) {
        self.string(name);
        self.out
            .push_str(if self.indent.is_some() { ": " } else { ":" });
    }

    fn open(&mut self, bracket: &str) {
        self.out.push_str(bracket);
        self.indent = self.indent.map(|level| level + 1);
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.new_line();
    }

    /// Between things on one line.
    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out
                .push_str(if self.indent.is_some() { ", " } else { "," });
        }
    }

    fn close(&mut self, bracket: &str, empty: bool) {
        self.indent = self.indent.map(|level| level - 1);
        if !empty {
            self.new_line();
        }
        self.out.push_str(bracket);
    }

    fn new_line(&mut self) {
        if let Some(level) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", level));
        }
    }

    /// `{"case": payload}`
    fn payload(&mut self, case: &str, ty: Option<&Type>, r: &mut Reader<'_>) -> Result<(), Error> {
        self.open("{");
        self.separate(0);
        self.name(case);
        match ty {
            Some(ty) => r
                .nested(|r| self.value(ty, r))
                .map_err(|error| error.in_field(case))?,
            None => self.out.push_str("null"),
        }
        self.close("}", false);
        Ok(())
    }

    fn flags(&mut self, flags: &crate::Flags, bytes: &[u8]) {
        let set = flags
            .flags
            .iter()
            .enumerate()
            .filter(|(index, _)| bytes[index / 8] >> (index % 8) & 1 == 1);
        self.out.push('[');
        for (count, (_, flag)) in set.enumerate() {
            self.comma(count);
            self.string(&flag.name);
        }
        self.out.push(']');
    }

    fn list(&mut self, item: &Type, len: usize, r: &mut Reader<'_>) -> Result<(), Error> {
        if item.packed_width().is_some() {
            // On one line, also where the rest is indented.
            self.out.push('[');
            packed::for_each(item, len, r, self)?;
            self.out.push(']');
            return Ok(());
        }
        self.open("[");
        let mut index = 0;
        r.items(len, |r| {
            self.separate(index);
            index += 1;
            self.value(item, r)
        })?;
        self.close("]", len == 0);
        Ok(())
    }

    fn map(&mut self, key: &Type, value: &Type, r: &mut Reader<'_>) -> Result<(), Error> {
        let len = r.len()?;
        let as_object = *key == Type::String;
        let mut keys = Keys::default();
        self.open(if as_object { "{" } else { "[" });
        let mut index = 0;
        r.items(len, |r| {
            self.separate(index);
            index += 1;
            if as_object {
                let name = keys.next(r, Reader::str)?;
                self.name(name);
                return self
                    .value(value, r)
                    .map_err(|error| error.in_field("value"));
            }
            self.out.push('[');
            keys.next(r, |r| self.value(key, r))?;
            self.comma(1);
            self.value(value, r)
                .map_err(|error| error.in_field("value"))?;
            self.out.push(']');
            Ok(())
        })?;
        self.close(if as_object { "}" } else { "]" }, len == 0);
        Ok(())
    }
}

impl NumberSink for JsonWriter {
    fn integer(&mut self, index: usize, value: impl Display) {
        self.comma(index);
        self.plain(value);
    }

    fn f32(&mut self, index: usize, value: f32) {
        self.comma(index);
        self.float(value, f32::is_finite);
    }

    fn f64(&mut self, index: usize, value: f64) {
        self.comma(index);
        self.float(value, f64::is_finite);
    }
}
