//! Walks over wire bytes and builds nothing.

use super::{Keys, Reader, Side};
use crate::error::brief;
use crate::{Error, ErrorKind, Type};

impl Reader<'_> {
    /// Reads past one value of the type, checking it.
    pub fn skip(&mut self, ty: &Type) -> Result<(), Error> {
        match ty {
            Type::Bool => self.bool().map(drop),
            Type::S8 | Type::U8 => self.take(1).map(drop),
            Type::S16 | Type::U16 => self.take(2).map(drop),
            Type::S32 | Type::U32 | Type::Own(_) | Type::Borrow(_) => self.take(4).map(drop),
            Type::S64 | Type::U64 => self.take(8).map(drop),
            Type::F32 => self.f32().map(drop),
            Type::F64 => self.f64().map(drop),
            Type::Char => self.char().map(drop),
            Type::String => self.str().map(drop),
            Type::List(item) => {
                let len = self.len()?;
                self.skip_items(item, len)
            }
            Type::FixedList(item, len) => self.skip_items(item, *len as usize),
            Type::Map(key, value) => {
                let len = self.len()?;
                let mut keys = Keys::default();
                self.items(len, |r| {
                    keys.next(r, |r| r.skip(key))?;
                    r.skip(value).map_err(|error| error.in_field("value"))
                })
            }
            Type::Record(record) => self.nested(|r| {
                record.fields.iter().try_for_each(|field| {
                    r.skip(&field.ty)
                        .map_err(|error| error.in_field(&field.name))
                })
            }),
            Type::Tuple(items) => self.nested(|r| {
                items.iter().enumerate().try_for_each(|(index, item)| {
                    r.skip(item).map_err(|error| error.in_item(index))
                })
            }),
            Type::Variant(variant) => {
                let index = self.case(variant.cases.len())?;
                match &variant.cases[index].ty {
                    Some(ty) => self
                        .skip_payload(ty)
                        .map_err(|error| error.in_field(&variant.cases[index].name)),
                    None => Ok(()),
                }
            }
            Type::Enum(cases) => self.case(cases.cases.len()).map(drop),
            Type::Option(payload) => {
                if self.second_case()? {
                    self.skip_payload(payload)
                } else {
                    Ok(())
                }
            }
            Type::Result(result) => {
                let (name, payload) = if self.second_case()? {
                    ("err", &result.err)
                } else {
                    ("ok", &result.ok)
                };
                match payload {
                    Some(ty) => self.skip_payload(ty).map_err(|error| error.in_field(name)),
                    None => Ok(()),
                }
            }
            Type::Flags(flags) => self.flags(flags.flags.len()).map(drop),
            Type::Stream(_) | Type::Future(_) | Type::ErrorContext => {
                self.result_only(ty).map(drop)
            }
        }
    }

    fn skip_payload(&mut self, ty: &Type) -> Result<(), Error> {
        self.nested(|r| r.skip(ty))
    }

    fn skip_items(&mut self, item: &Type, len: usize) -> Result<(), Error> {
        match (item, item.packed_width()) {
            (Type::F32, _) => self.packed_f32(len).map(drop),
            (Type::F64, _) => self.packed_f64(len).map(drop),
            (_, Some(width)) => self.take_packed(len, width).map(drop),
            (_, None) => self.items(len, |r| r.skip(item)),
        }
    }

    /// The number of a stream, future or error context.
    pub(super) fn result_only(&mut self, ty: &Type) -> Result<u32, Error> {
        if self.side == Side::Arguments {
            return Err(ErrorKind::NotAnArgument { ty: brief(ty) }.into());
        }
        self.u32()
    }
}
