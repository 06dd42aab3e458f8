//! Rust types straight to wire bytes and back, without a [`Value`](crate::Value) in between.
//!
//! | Rust | WIT |
//! | --- | --- |
//! | `bool`, `i8`…`u64`, `f32`, `f64`, `char` | `bool`, `s8`…`u64`, `f32`, `f64`, `char` |
//! | `String` | `string` |
//! | `Vec<T>`, [`Bytes`] | `list<T>`, `list<u8>` |
//! | `[T; N]` | `list<T, N>` |
//! | `BTreeMap<K, V>`, `HashMap<K, V>` | `map<K, V>`; a function that takes `list<tuple<K, V>>` takes them too |
//! | `Option<T>`, `Result<T, E>` | `option<T>`, `result<T, E>`; a `()` in a result is an absent payload |
//! | tuples of up to 12 | `tuple<…>` |
//! | [`Handle`] | any `own` or `borrow` handle |
//! | structs and enums with `#[derive(Wit)]` | records, variants, enums |
//!
//! The entries of a map are written in the order of their keys' bytes. Pairs in a `Vec` that are
//! given for a `map` must be in that order.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{Entries, len_prefix, packed};
use crate::{Error, ErrorKind, Limits, Reader, Type};

/// A Rust type with a WIT type, encoded and decoded directly. Lists of numbers are one copy.
///
/// WIT has no recursive types: [`Wit::ty`] of a type that contains itself does not return.
pub trait Wit: Sized {
    /// The WIT type.
    fn ty() -> Type;

    /// Appends the wire encoding. Bounds are checked over the whole, by [`to_wire`].
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error>;

    /// Appends the items of a list; overridden where they are one copy.
    #[doc(hidden)]
    fn encode_items(items: &[Self], out: &mut Vec<u8>) {
        items.iter().for_each(|item| item.encode(out));
    }

    /// Reads the items of a list; overridden where they are one copy.
    #[doc(hidden)]
    fn decode_items(reader: &mut Reader<'_>, len: usize) -> Result<Vec<Self>, Error> {
        // Never more than the bytes that are there, whatever `len` claims.
        let room = reader.remaining() / size_of::<Self>().max(1);
        let mut items = Vec::with_capacity(len.min(room));
        reader.items(len, |r| Self::decode(r).map(|item| items.push(item)))?;
        Ok(items)
    }
}

/// The wire encoding of a value within these limits.
pub fn to_wire<T: Wit>(value: &T, limits: &Limits) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    value.encode(&mut out);
    if out.len() > limits.bytes {
        return Err(ErrorKind::TooManyBytes {
            limit: limits.bytes,
        }
        .into());
    }
    Ok(out.into())
}

/// The value these bytes encode.
pub fn from_wire<T: Wit>(bytes: &[u8], limits: &Limits) -> Result<T, Error> {
    let mut reader = Reader::new(bytes, limits)?;
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

impl Reader<'_> {
    /// A field of a record, named in its error.
    pub fn field<T: Wit>(&mut self, name: &str) -> Result<T, Error> {
        T::decode(self).map_err(|error| error.in_field(name))
    }

    /// The payload of a case, named in its error.
    pub fn payload_of<T: Wit>(&mut self, case: &str) -> Result<T, Error> {
        self.nested(T::decode).map_err(|error| error.in_field(case))
    }
}

/// An own or borrow handle of a resource, as numbered by the session it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub u32);

impl Wit for Handle {
    fn ty() -> Type {
        Type::Own(Arc::from(""))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.u32().map(Handle)
    }
}

macro_rules! numbers {
    ($($rust:ty, $case:ident, $read:ident, $extend:path, $take:expr;)*) => {
        $(impl Wit for $rust {
            fn ty() -> Type {
                Type::$case
            }

            fn encode(&self, out: &mut Vec<u8>) {
                $extend(out, std::slice::from_ref(self));
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                reader.$read()
            }

            fn encode_items(items: &[Self], out: &mut Vec<u8>) {
                $extend(out, items);
            }

            fn decode_items(reader: &mut Reader<'_>, len: usize) -> Result<Vec<Self>, Error> {
                $take(reader, len).map(packed::collect)
            }
        })*
    };
}

numbers! {
    i8, S8, s8, packed::extend, Reader::take;
    u8, U8, u8, packed::extend, Reader::take;
    i16, S16, s16, packed::extend, Reader::packed::<2>;
    u16, U16, u16, packed::extend, Reader::packed::<2>;
    i32, S32, s32, packed::extend, Reader::packed::<4>;
    u32, U32, u32, packed::extend, Reader::packed::<4>;
    i64, S64, s64, packed::extend, Reader::packed::<8>;
    u64, U64, u64, packed::extend, Reader::packed::<8>;
    f32, F32, f32, packed::extend_f32, Reader::packed_f32;
    f64, F64, f64, packed::extend_f64, Reader::packed_f64;
}

impl Wit for bool {
    fn ty() -> Type {
        Type::Bool
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.bool()
    }
}

impl Wit for char {
    fn ty() -> Type {
        Type::Char
    }

    fn encode(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.char()
    }
}

impl Wit for String {
    fn ty() -> Type {
        Type::String
    }

    fn encode(&self, out: &mut Vec<u8>) {
        len_prefix(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.str().map(str::to_owned)
    }
}

impl Wit for Bytes {
    fn ty() -> Type {
        Type::list(Type::U8)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        len_prefix(self.len(), out);
        out.extend_from_slice(self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.bytes().map(Bytes::copy_from_slice)
    }
}

impl<T: Wit> Wit for Vec<T> {
    fn ty() -> Type {
        Type::list(T::ty())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        len_prefix(self.len(), out);
        T::encode_items(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let len = reader.len()?;
        T::decode_items(reader, len)
    }
}

impl<T: Wit, const N: usize> Wit for [T; N] {
    fn ty() -> Type {
        Type::fixed_list(T::ty(), u32::try_from(N).unwrap_or(u32::MAX))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        T::encode_items(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let items = T::decode_items(reader, N)?;
        items.try_into().map_err(|items: Vec<T>| {
            ErrorKind::WrongLength {
                expected: N,
                found: items.len(),
            }
            .into()
        })
    }
}

impl<T: Wit> Wit for Box<T> {
    fn ty() -> Type {
        T::ty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        T::encode(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        T::decode(reader).map(Box::new)
    }
}

impl<T: Wit> Wit for Option<T> {
    fn ty() -> Type {
        Type::option(T::ty())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(payload) = self {
            payload.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        if reader.second_case()? {
            reader.nested(T::decode).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<T: Wit, E: Wit> Wit for Result<T, E> {
    fn ty() -> Type {
        Type::result(unless_empty(T::ty()), unless_empty(E::ty()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.is_err().encode(out);
        match self {
            Ok(payload) => payload.encode(out),
            Err(payload) => payload.encode(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(if reader.second_case()? {
            Err(reader.payload_of("err")?)
        } else {
            Ok(reader.payload_of("ok")?)
        })
    }
}

/// `()` stands for an absent payload.
fn unless_empty(ty: Type) -> Option<Type> {
    (!ty.is_empty_tuple()).then_some(ty)
}

impl<K: Wit + Ord, V: Wit> Wit for BTreeMap<K, V> {
    fn ty() -> Type {
        Type::map(K::ty(), V::ty())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_entries(self.len(), self.iter(), out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut map = BTreeMap::new();
        decode_entries(reader, |key, value| map.insert(key, value).is_some())?;
        Ok(map)
    }
}

impl<K: Wit + Eq + Hash, V: Wit, S: BuildHasher + Default> Wit for HashMap<K, V, S> {
    fn ty() -> Type {
        Type::map(K::ty(), V::ty())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_entries(self.len(), self.iter(), out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut map = HashMap::default();
        decode_entries(reader, |key, value| map.insert(key, value).is_some())?;
        Ok(map)
    }
}

/// Writes a map's entries in the order of their keys' bytes, so that equal maps have equal bytes.
fn encode_entries<'a, K: Wit + 'a, V: Wit + 'a>(
    len: usize,
    entries: impl Iterator<Item = (&'a K, &'a V)>,
    out: &mut Vec<u8>,
) {
    len_prefix(len, out);
    let mut written = Entries::new(out.len());
    for (key, value) in entries {
        key.encode(out);
        written.key_ends(out.len());
        value.encode(out);
        written.ends(out.len());
    }
    // Keys that differ and have the same bytes are for the reader to refuse.
    let _ = written.sort(out);
}

/// Reads a map's entries; `insert` says whether the key was there before, which is refused. Their
/// order is not looked at: the bytes may be those of a list of pairs, which a map is read from as
/// well.
fn decode_entries<K: Wit, V: Wit>(
    reader: &mut Reader<'_>,
    mut insert: impl FnMut(K, V) -> bool,
) -> Result<(), Error> {
    let len = reader.len()?;
    reader.items(len, |r| {
        let (key, value) = (r.field("key")?, r.field("value")?);
        if insert(key, value) {
            Err(Error::new(ErrorKind::Duplicate).in_field("key"))
        } else {
            Ok(())
        }
    })
}

macro_rules! tuples {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Wit),*> Wit for ($($name,)*) {
            fn ty() -> Type {
                Type::tuple([$($name::ty()),*])
            }

            fn encode(&self, _out: &mut Vec<u8>) {
                $(self.$index.encode(_out);)*
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                reader.nested(|_r| Ok(($($name::decode(_r).map_err(|error| error.in_item($index))?,)*)))
            }
        }

        impl<$($name: Wit),*> crate::Args for ($($name,)*) {}
    };
}

tuples!();
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
