//! A [`Value`] to wire bytes, checked against its type on the way.

use bytes::Bytes;

use super::{Entries, Side, flag_bytes, len_prefix, packed};
use crate::error::brief;
use crate::{Error, ErrorKind, Limits, Type, Value};

/// Writes values one after the other.
pub(crate) struct Encoder {
    out: Vec<u8>,
    depth: u32,
    free_items: usize,
    limits: Limits,
    side: Side,
}

impl Encoder {
    pub(crate) fn new(limits: &Limits, side: Side) -> Self {
        Self {
            out: Vec::new(),
            depth: 0,
            free_items: limits.bytes,
            limits: *limits,
            side,
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        self.out.into()
    }

    /// Appends one value of the type.
    pub(crate) fn value(&mut self, ty: &Type, value: &Value) -> Result<(), Error> {
        match (ty, value) {
            (Type::Bool, Value::Bool(v)) => self.put(&[u8::from(*v)]),
            (Type::S8, Value::S8(v)) => self.put(&v.to_le_bytes()),
            (Type::U8, Value::U8(v)) => self.put(&v.to_le_bytes()),
            (Type::S16, Value::S16(v)) => self.put(&v.to_le_bytes()),
            (Type::U16, Value::U16(v)) => self.put(&v.to_le_bytes()),
            (Type::S32, Value::S32(v)) => self.put(&v.to_le_bytes()),
            (Type::U32, Value::U32(v)) => self.put(&v.to_le_bytes()),
            (Type::S64, Value::S64(v)) => self.put(&v.to_le_bytes()),
            (Type::U64, Value::U64(v)) => self.put(&v.to_le_bytes()),
            (Type::F32, Value::F32(v)) => {
                packed::extend_f32(&mut self.out, &[*v]);
                self.within_bytes()
            }
            (Type::F64, Value::F64(v)) => {
                packed::extend_f64(&mut self.out, &[*v]);
                self.within_bytes()
            }
            (Type::Char, Value::Char(v)) => self.put(&u32::from(*v).to_le_bytes()),
            (Type::String, Value::String(v)) => {
                self.len(v.len())?;
                self.put(v.as_bytes())
            }
            (Type::List(item), _) => self.list(ty, item, value, None),
            (Type::FixedList(item, len), _) => self.list(ty, item, value, Some(*len as usize)),
            (Type::Map(key, item), Value::Map(entries)) => self.map(key, item, entries),
            (Type::Record(record), Value::Record(values)) => {
                same_len(record.fields.len(), values.len())?;
                self.deeper(|e| {
                    let fields = record.fields.iter().zip(values);
                    fields.into_iter().try_for_each(|(field, value)| {
                        e.value(&field.ty, value)
                            .map_err(|error| error.in_field(&field.name))
                    })
                })
            }
            (Type::Tuple(types), Value::Tuple(values)) => {
                same_len(types.len(), values.len())?;
                self.deeper(|e| {
                    let items = types.iter().zip(values).enumerate();
                    items.into_iter().try_for_each(|(index, (ty, value))| {
                        e.value(ty, value).map_err(|error| error.in_item(index))
                    })
                })
            }
            (Type::Variant(variant), Value::Variant(index, payload)) => {
                let case = variant
                    .cases
                    .get(*index as usize)
                    .ok_or_else(|| no_case(ty, *index))?;
                self.len(*index as usize)?;
                self.payload(&case.name, case.ty.as_ref(), payload.as_deref())
            }
            (Type::Enum(cases), Value::Enum(index)) => {
                cases
                    .cases
                    .get(*index as usize)
                    .ok_or_else(|| no_case(ty, *index))?;
                self.len(*index as usize)
            }
            (Type::Option(_), Value::Option(None)) => self.put(&[0]),
            (Type::Option(ty), Value::Option(Some(value))) => {
                self.put(&[1])?;
                self.nested(ty, value)
            }
            (Type::Result(result), Value::Result(Ok(payload))) => {
                self.put(&[0])?;
                self.payload("ok", result.ok.as_ref(), payload.as_deref())
            }
            (Type::Result(result), Value::Result(Err(payload))) => {
                self.put(&[1])?;
                self.payload("err", result.err.as_ref(), payload.as_deref())
            }
            (Type::Flags(flags), Value::Flags(set)) => self.flags(ty, flags.flags.len(), set),
            (Type::Own(_) | Type::Borrow(_), Value::Handle(v)) => self.put(&v.to_le_bytes()),
            (Type::Stream(_) | Type::Future(_) | Type::ErrorContext, _)
                if self.side == Side::Arguments =>
            {
                Err(ErrorKind::NotAnArgument { ty: brief(ty) }.into())
            }
            (Type::Stream(_) | Type::Future(_) | Type::ErrorContext, Value::Stream(v)) => {
                self.put(&v.to_le_bytes())
            }
            _ => Err(Error::wrong_type(ty, value.kind())),
        }
    }

    /// Appends one value a level deeper.
    pub(crate) fn nested(&mut self, ty: &Type, value: &Value) -> Result<(), Error> {
        self.deeper(|e| e.value(ty, value))
    }

    fn deeper(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > self.limits.max_depth() {
            return Err(ErrorKind::TooDeep {
                limit: self.limits.max_depth(),
            }
            .into());
        }
        write(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.room_for(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn len(&mut self, len: usize) -> Result<(), Error> {
        if len > self.limits.bytes {
            return Err(ErrorKind::TooManyBytes {
                limit: self.limits.bytes,
            }
            .into());
        }
        len_prefix(len, &mut self.out);
        self.within_bytes()
    }

    /// Refuses a large copy before it is made.
    fn room_for(&self, more: usize) -> Result<(), Error> {
        if more > self.limits.bytes.saturating_sub(self.out.len()) {
            return Err(ErrorKind::TooManyBytes {
                limit: self.limits.bytes,
            }
            .into());
        }
        Ok(())
    }

    fn within_bytes(&self) -> Result<(), Error> {
        self.room_for(0).and(if self.out.len() > self.limits.bytes {
            Err(ErrorKind::TooManyBytes {
                limit: self.limits.bytes,
            }
            .into())
        } else {
            Ok(())
        })
    }

    fn payload(
        &mut self,
        case: &str,
        ty: Option<&Type>,
        value: Option<&Value>,
    ) -> Result<(), Error> {
        match (ty, value) {
            (Some(ty), Some(value)) => self.nested(ty, value).map_err(|error| error.in_field(case)),
            (None, None) => Ok(()),
            (Some(ty), None) => Err(ErrorKind::MissingPayload {
                case: case.to_owned(),
                expected: brief(ty),
            }
            .into()),
            (None, Some(_)) => Err(ErrorKind::UnexpectedPayload {
                case: case.to_owned(),
            }
            .into()),
        }
    }

    fn map(&mut self, key: &Type, item: &Type, entries: &[(Value, Value)]) -> Result<(), Error> {
        self.len(entries.len())?;
        let mut written = Entries::new(self.out.len());
        self.items(entries, |e, (k, v)| {
            let key = e.value(key, k);
            key.map_err(|error| error.in_field("key"))?;
            written.key_ends(e.out.len());
            let value = e.value(item, v);
            value.map_err(|error| error.in_field("value"))?;
            written.ends(e.out.len());
            Ok(())
        })?;
        match written.sort(&mut self.out) {
            None => Ok(()),
            Some(twice) => Err(Error::new(ErrorKind::Duplicate)
                .in_field("key")
                .in_item(twice)),
        }
    }

    fn items<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.deeper(|e| {
            for (index, item) in items.iter().enumerate() {
                let before = e.out.len();
                write(e, item).map_err(|error| error.in_item(index))?;
                if e.out.len() == before {
                    let left = e.free_items.checked_sub(1);
                    e.free_items = left.ok_or(ErrorKind::TooManyBytes {
                        limit: e.limits.bytes,
                    })?;
                }
            }
            Ok(())
        })
    }

    fn list(
        &mut self,
        ty: &Type,
        item: &Type,
        value: &Value,
        fixed: Option<usize>,
    ) -> Result<(), Error> {
        macro_rules! packed {
            ($items:expr, $extend:path) => {{
                self.list_len($items.len(), fixed)?;
                self.room_for(size_of_val(&$items[..]))?;
                $extend(&mut self.out, $items);
                Ok(())
            }};
        }
        match (item, value) {
            (Type::U8, Value::Bytes(items)) => packed!(items, packed::extend),
            (Type::S8, Value::S8s(items)) => packed!(items, packed::extend),
            (Type::S16, Value::S16s(items)) => packed!(items, packed::extend),
            (Type::U16, Value::U16s(items)) => packed!(items, packed::extend),
            (Type::S32, Value::S32s(items)) => packed!(items, packed::extend),
            (Type::U32, Value::U32s(items)) => packed!(items, packed::extend),
            (Type::S64, Value::S64s(items)) => packed!(items, packed::extend),
            (Type::U64, Value::U64s(items)) => packed!(items, packed::extend),
            (Type::F32, Value::F32s(items)) => packed!(items, packed::extend_f32),
            (Type::F64, Value::F64s(items)) => packed!(items, packed::extend_f64),
            (_, Value::List(items)) if item.packed_width().is_some() => {
                self.list_len(items.len(), fixed)?;
                // Not `items`: packed numbers take no level, whoever wrote them.
                items.iter().enumerate().try_for_each(|(index, value)| {
                    self.value(item, value)
                        .map_err(|error| error.in_item(index))
                })
            }
            (_, Value::List(items)) => {
                self.list_len(items.len(), fixed)?;
                self.items(items, |e, value| e.value(item, value))
            }
            _ => Err(Error::wrong_type(ty, value.kind())),
        }
    }

    fn list_len(&mut self, len: usize, fixed: Option<usize>) -> Result<(), Error> {
        match fixed {
            Some(expected) => same_len(expected, len),
            None => self.len(len),
        }
    }

    fn flags(&mut self, ty: &Type, count: usize, set: &[u32]) -> Result<(), Error> {
        let start = self.out.len();
        self.room_for(flag_bytes(count))?;
        self.out.resize(start + flag_bytes(count), 0);
        for &index in set {
            if index as usize >= count {
                return Err(Error::out_of_range(ty, format!("flag {index}")));
            }
            self.out[start + index as usize / 8] |= 1 << (index % 8);
        }
        Ok(())
    }
}

fn same_len(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(ErrorKind::WrongLength { expected, found }.into())
    }
}

fn no_case(ty: &Type, index: u32) -> Error {
    Error::out_of_range(ty, format!("case {index}"))
}
