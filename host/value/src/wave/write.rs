//! Wire bytes to WAVE text, without building a value.

use std::fmt::{Display, Write};

use crate::wire::packed::{self, NumberSink};
use crate::wire::{Keys, Reader};
use crate::{Error, ErrorKind, Limits, Type};

pub(super) fn to_string(ty: &Type, wire: &[u8], limits: &Limits) -> Result<String, Error> {
    let mut writer = WaveWriter {
        out: String::new(),
        max_bytes: limits.text_bytes(),
    };
    let mut reader = Reader::new(wire, limits)?;
    writer.value(ty, &mut reader)?;
    reader.finish()?;
    Ok(writer.out)
}

struct WaveWriter {
    out: String,
    max_bytes: usize,
}

impl WaveWriter {
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
            Type::F32 => self.float(r.f32()?),
            Type::F64 => self.float(r.f64()?),
            Type::Char => {
                let ch = r.char()?;
                self.quoted(std::iter::once(ch), '\'');
            }
            Type::String => {
                let text = r.str()?;
                self.quoted(text.chars(), '"');
            }
            Type::List(item) => {
                let len = r.len()?;
                return self.list(item, len, r);
            }
            Type::FixedList(item, len) => return self.list(item, *len as usize, r),
            Type::Map(key, value) => return self.map(key, value, r),
            Type::Record(record) => return r.nested(|r| self.record(record, r)),
            Type::Tuple(items) => return r.nested(|r| self.tuple(items, r)),
            Type::Variant(variant) => {
                let case = &variant.cases[r.case(variant.cases.len())?];
                self.case(&case.name);
                return self.payload(&case.name, case.ty.as_ref(), r);
            }
            Type::Enum(cases) => self.case(&cases.cases[r.case(cases.cases.len())?].name),
            Type::Option(payload) => {
                if r.second_case()? {
                    self.out.push_str("some(");
                    r.nested(|r| self.value(payload, r))?;
                    self.out.push(')');
                } else {
                    self.out.push_str("none");
                }
            }
            Type::Result(result) => {
                let (name, payload) = if r.second_case()? {
                    ("err", &result.err)
                } else {
                    ("ok", &result.ok)
                };
                self.out.push_str(name);
                return self.payload(name, payload.as_ref(), r);
            }
            Type::Flags(flags) => {
                self.flags(flags, r.flags(flags.flags.len())?);
            }
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

    /// Plain digits where they are few, as people write numbers; an exponent otherwise. Either is exact.
    fn float<F: Copy + Into<f64> + Display + std::fmt::LowerExp>(&mut self, value: F) {
        let wide: f64 = value.into();
        if wide.is_nan() {
            self.out.push_str("nan");
        } else if wide == 0.0 || wide.is_infinite() || (1e-5..1e17).contains(&wide.abs()) {
            self.plain(value);
        } else {
            self.plain(format_args!("{value:e}"));
        }
    }

    /// A string or char. What a terminal would not show as itself is escaped, so that output cannot forge or hide any.
    fn quoted(&mut self, chars: impl Iterator<Item = char>, quote: char) {
        self.out.push(quote);
        for ch in chars {
            match ch {
                '\t' => self.out.push_str("\\t"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\\' => self.out.push_str("\\\\"),
                ch if ch == quote => self.out.extend(['\\', ch]),
                '"' | '\'' => self.out.push(ch),
                ch if ch.is_control() || ch.escape_debug().len() > 1 => {
                    self.plain(ch.escape_unicode())
                }
                ch => self.out.push(ch),
            }
        }
        self.out.push(quote);
    }

    fn case(&mut self, name: &str) {
        self.out.push_str(&super::case(name));
    }

    fn payload(&mut self, case: &str, ty: Option<&Type>, r: &mut Reader<'_>) -> Result<(), Error> {
        if let Some(ty) = ty {
            self.out.push('(');
            r.nested(|r| self.value(ty, r))
                .map_err(|error| error.in_field(case))?;
            self.out.push(')');
        }
        Ok(())
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(", ");
        }
    }

    /// Fields that are none are left out.
    fn record(&mut self, record: &crate::Record, r: &mut Reader<'_>) -> Result<(), Error> {
        self.out.push('{');
        let mut written = 0;
        for field in &record.fields {
            if matches!(field.ty, Type::Option(_)) && r.next_byte() == Some(0) {
                r.second_case()?;
                continue;
            }
            self.separate(written);
            written += 1;
            self.out.push_str(&field.name);
            self.out.push_str(": ");
            self.value(&field.ty, r)
                .map_err(|error| error.in_field(&field.name))?;
        }
        self.out.push_str(if written == 0 { ":}" } else { "}" });
        Ok(())
    }

    fn flags(&mut self, flags: &crate::Flags, bytes: &[u8]) {
        self.out.push('{');
        let all = flags.flags.iter().enumerate();
        let set = all.filter(|(index, _)| bytes[index / 8] >> (index % 8) & 1 == 1);
        for (count, (_, flag)) in set.enumerate() {
            self.separate(count);
            self.out.push_str(&flag.name);
        }
        self.out.push('}');
    }

    fn tuple(&mut self, items: &[Type], r: &mut Reader<'_>) -> Result<(), Error> {
        self.out.push('(');
        for (index, item) in items.iter().enumerate() {
            self.separate(index);
            self.value(item, r).map_err(|error| error.in_item(index))?;
        }
        self.out.push(')');
        Ok(())
    }

    fn map(&mut self, key: &Type, value: &Type, r: &mut Reader<'_>) -> Result<(), Error> {
        let len = r.len()?;
        self.out.push('[');
        let mut index = 0;
        let mut keys = Keys::default();
        r.items(len, |r| {
            self.separate(index);
            index += 1;
            self.out.push('(');
            keys.next(r, |r| self.value(key, r))?;
            self.out.push_str(", ");
            self.value(value, r)
                .map_err(|error| error.in_field("value"))?;
            self.out.push(')');
            Ok(())
        })?;
        self.out.push(']');
        Ok(())
    }

    fn list(&mut self, item: &Type, len: usize, r: &mut Reader<'_>) -> Result<(), Error> {
        if item.packed_width().is_some() {
            self.out.push('[');
            packed::for_each(item, len, r, self)?;
            self.out.push(']');
            return Ok(());
        }
        self.out.push('[');
        let mut index = 0;
        r.items(len, |r| {
            self.separate(index);
            index += 1;
            self.value(item, r)
        })?;
        self.out.push(']');
        Ok(())
    }
}

impl NumberSink for WaveWriter {
    fn integer(&mut self, index: usize, value: impl Display) {
        self.separate(index);
        self.plain(value);
    }

    fn f32(&mut self, index: usize, value: f32) {
        self.separate(index);
        self.float(value);
    }

    fn f64(&mut self, index: usize, value: f64) {
        self.separate(index);
        self.float(value);
    }
}
