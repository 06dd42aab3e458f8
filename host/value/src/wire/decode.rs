//! Wire bytes to a [`Value`].

use bytes::Bytes;

use super::{FIRST_ITEMS, Keys, Reader, packed};
use crate::{Error, Type, Value};

impl Reader<'_> {
    /// Reads one value of the type.
    pub fn value(&mut self, ty: &Type) -> Result<Value, Error> {
        self.count_value()?;
        Ok(match ty {
            Type::Bool => Value::Bool(self.bool()?),
            Type::S8 => Value::S8(self.s8()?),
            Type::U8 => Value::U8(self.u8()?),
            Type::S16 => Value::S16(self.s16()?),
            Type::U16 => Value::U16(self.u16()?),
            Type::S32 => Value::S32(self.s32()?),
            Type::U32 => Value::U32(self.u32()?),
            Type::S64 => Value::S64(self.s64()?),
            Type::U64 => Value::U64(self.u64()?),
            Type::F32 => Value::F32(self.f32()?),
            Type::F64 => Value::F64(self.f64()?),
            Type::Char => Value::Char(self.char()?),
            Type::String => Value::String(self.str()?.to_owned()),
            Type::List(item) => {
                let len = self.len()?;
                self.list(item, len)?
            }
            Type::FixedList(item, len) => self.list(item, *len as usize)?,
            Type::Map(key, value) => self.map(key, value)?,
            Type::Record(record) => Value::Record(self.nested(|r| {
                let fields = record.fields.iter();
                fields
                    .map(|field| {
                        r.value(&field.ty)
                            .map_err(|error| error.in_field(&field.name))
                    })
                    .collect()
            })?),
            Type::Tuple(items) => Value::Tuple(self.nested(|r| {
                let items = items.iter().enumerate();
                items
                    .map(|(index, item)| r.value(item).map_err(|error| error.in_item(index)))
                    .collect()
            })?),
            Type::Variant(variant) => {
                let index = self.case(variant.cases.len())?;
                let case = &variant.cases[index];
                let payload = self
                    .payload(case.ty.as_ref())
                    .map_err(|error| error.in_field(&case.name))?;
                Value::Variant(index as u32, payload)
            }
            Type::Enum(cases) => Value::Enum(self.case(cases.cases.len())? as u32),
            Type::Option(payload) => {
                let payload = self.second_case()?.then_some(&**payload);
                Value::Option(self.payload(payload)?)
            }
            Type::Result(result) => Value::Result(if self.second_case()? {
                Err(self
                    .payload(result.err.as_ref())
                    .map_err(|error| error.in_field("err"))?)
            } else {
                Ok(self
                    .payload(result.ok.as_ref())
                    .map_err(|error| error.in_field("ok"))?)
            }),
            Type::Flags(flags) => Value::Flags(set_bits(self.flags(flags.flags.len())?)),
            Type::Own(_) | Type::Borrow(_) => Value::Handle(self.u32()?),
            Type::Stream(_) | Type::Future(_) | Type::ErrorContext => {
                Value::Stream(self.result_only(ty)?)
            }
        })
    }

    fn payload(&mut self, ty: Option<&Type>) -> Result<Option<Box<Value>>, Error> {
        ty.map(|ty| self.nested(|r| r.value(ty)).map(Box::new))
            .transpose()
    }

    fn list(&mut self, item: &Type, len: usize) -> Result<Value, Error> {
        Ok(match item {
            Type::U8 => Value::Bytes(Bytes::copy_from_slice(self.take(len)?)),
            Type::S8 => Value::S8s(packed::collect(self.take(len)?)),
            Type::S16 => Value::S16s(packed::collect(self.take_packed(len, 2)?)),
            Type::U16 => Value::U16s(packed::collect(self.take_packed(len, 2)?)),
            Type::S32 => Value::S32s(packed::collect(self.take_packed(len, 4)?)),
            Type::U32 => Value::U32s(packed::collect(self.take_packed(len, 4)?)),
            Type::S64 => Value::S64s(packed::collect(self.take_packed(len, 8)?)),
            Type::U64 => Value::U64s(packed::collect(self.take_packed(len, 8)?)),
            Type::F32 => Value::F32s(packed::collect(self.packed_f32(len)?)),
            Type::F64 => Value::F64s(packed::collect(self.packed_f64(len)?)),
            _ => {
                let mut items = Vec::with_capacity(len.min(FIRST_ITEMS));
                self.items(len, |r| r.value(item).map(|value| items.push(value)))?;
                Value::List(items)
            }
        })
    }

    fn map(&mut self, key: &Type, value: &Type) -> Result<Value, Error> {
        let len = self.len()?;
        let mut entries = Vec::with_capacity(len.min(FIRST_ITEMS));
        let mut keys = Keys::default();
        self.items(len, |r| {
            let key = keys.next(r, |r| r.value(key))?;
            let value = r.value(value).map_err(|error| error.in_field("value"))?;
            entries.push((key, value));
            Ok(())
        })?;
        Ok(Value::Map(entries))
    }
}

fn set_bits(bytes: &[u8]) -> Vec<u32> {
    let indices = (0u32..).zip(bytes).flat_map(|(byte_index, byte)| {
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| byte_index * 8 + bit)
    });
    indices.collect()
}
