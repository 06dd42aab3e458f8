//! What the readers of JSON and WAVE share: a cursor with budgets, numbers, and lists of numbers read packed.
//!
//! Both readers are driven by the type, one level of recursion per level of the value, so hostile nesting ends at the
//! depth limit or at the first bracket the type has no place for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;

use bytes::Bytes;

use crate::error::excerpt;
use crate::{Error, ErrorKind, Limits, Type, Value, names};

/// A position in a text, and how much may still be built from it.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) pos: usize,
    depth: u32,
    values: usize,
    /// Bytes of packed numbers and strings that may still be built.
    bytes: usize,
    /// The names of a type in their order, by where they lie: sorted once for all the values of the
    /// type. A reader is gone before the types it reads, so no other names come to lie there.
    sorted: HashMap<usize, Box<[u32]>>,
    limits: Limits,
}

/// Lists of names up to this long are searched from front to back.
const FEW_NAMES: usize = 16;

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str, limits: &Limits) -> Self {
        Self {
            text,
            pos: 0,
            depth: 0,
            values: limits.values,
            bytes: limits.bytes,
            sorted: HashMap::new(),
            limits: *limits,
        }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.pos..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes().first().copied()
    }

    /// Takes this text if it comes next.
    pub(crate) fn eat(&mut self, expected: &str) -> bool {
        let found = self.bytes().starts_with(expected.as_bytes());
        if found {
            self.pos += expected.len();
        }
        found
    }

    pub(crate) fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        let rest = self.bytes();
        let skipped = rest.iter().position(|byte| !belongs(*byte));
        self.pos += skipped.unwrap_or(rest.len());
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::syntax(self.pos, reason)
    }

    /// `expected …` at the current position.
    pub(crate) fn expected(&self, what: &str) -> Error {
        match self.rest().chars().next() {
            Some(found) => self.error(format!("expected {what}, found `{}`", found.escape_debug())),
            None => self.error(format!("expected {what}, found the end")),
        }
    }

    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > self.limits.max_depth() {
            return Err(ErrorKind::TooDeep {
                limit: self.limits.max_depth(),
            }
            .into());
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(crate) fn count_value(&mut self) -> Result<(), Error> {
        let left = self.values.checked_sub(1);
        self.values = left.ok_or(ErrorKind::TooManyValues {
            limit: self.limits.values,
        })?;
        Ok(())
    }

    /// Takes the room that these bytes need in the value.
    pub(crate) fn count_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(ErrorKind::TooManyBytes {
            limit: self.limits.bytes,
        })?;
        Ok(())
    }

    /// Where among `names` this one is. A value of many items looks its names up for each, so long
    /// lists are searched in their order.
    pub(crate) fn position<T: Named>(&mut self, known: &[T], name: &str) -> Option<usize> {
        let exact = self.exactly(known, name);
        // A name may be spelled as in the source.
        exact.or_else(|| self.exactly(known, &names::kebab(name)))
    }

    fn exactly<T: Named>(&mut self, names: &[T], name: &str) -> Option<usize> {
        if names.len() <= FEW_NAMES {
            return names.iter().position(|known| known.name() == name);
        }
        let sorted = self.sorted.entry(names.as_ptr().addr()).or_insert_with(|| {
            let mut order: Vec<u32> = (0u32..).take(names.len()).collect();
            order.sort_unstable_by_key(|index| names.get(*index as usize).map(T::name));
            order.into()
        });
        let at = |index: &u32| names.get(*index as usize).map(T::name);
        let found = sorted.binary_search_by(|index| at(index).cmp(&Some(name)));
        found.ok().map(|place| sorted[place] as usize)
    }

    /// A number as JSON and WAVE spell it: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?`.
    pub(crate) fn number(&mut self) -> Result<&'a str, Error> {
        let start = self.pos;
        self.eat("-");
        if !self.eat("0") {
            self.digits()?;
        }
        if self.eat(".") {
            self.digits()?;
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            self.digits()?;
        }
        Ok(&self.text[start..self.pos])
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.pos;
        self.skip_while(|byte| byte.is_ascii_digit());
        if self.pos > start {
            Ok(())
        } else {
            Err(self.expected("a digit"))
        }
    }
}

/// A reader of one spelling.
pub(crate) trait Parser<'a>: Sized {
    fn source(&mut self) -> &mut Source<'a>;

    /// Reads one value of the type.
    fn value(&mut self, ty: &Type) -> Result<Value, Error>;

    /// Reads a number of the type.
    fn number<N: Number>(&mut self, ty: &Type) -> Result<N, Error>;

    /// Reads the brackets and commas of a list, and its items through `item`. `ty` is what an error expects.
    fn sequence(
        &mut self,
        ty: &dyn std::fmt::Display,
        item: &mut dyn FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Runs `read` one level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.source().enter()?;
        let value = read(self)?;
        self.source().leave();
        Ok(value)
    }

    /// The payload of a case.
    fn payload(&mut self, case: &str, ty: &Type) -> Result<Option<Box<Value>>, Error> {
        let value = self
            .nested(|p| p.value(ty))
            .map_err(|error| error.in_field(case))?;
        Ok(Some(Box::new(value)))
    }

    /// A list of this item type, packed when they are numbers; of a fixed length if one is given.
    fn list(&mut self, ty: &Type, item: &Type, len: Option<u32>) -> Result<Value, Error> {
        Ok(match item {
            Type::U8 => Value::Bytes(Bytes::from(self.numbers(ty, item, len)?)),
            Type::S8 => Value::S8s(self.numbers(ty, item, len)?),
            Type::S16 => Value::S16s(self.numbers(ty, item, len)?),
            Type::U16 => Value::U16s(self.numbers(ty, item, len)?),
            Type::S32 => Value::S32s(self.numbers(ty, item, len)?),
            Type::U32 => Value::U32s(self.numbers(ty, item, len)?),
            Type::S64 => Value::S64s(self.numbers(ty, item, len)?),
            Type::U64 => Value::U64s(self.numbers(ty, item, len)?),
            Type::F32 => Value::F32s(self.numbers(ty, item, len)?),
            Type::F64 => Value::F64s(self.numbers(ty, item, len)?),
            _ => Value::List(self.nested(|p| p.items(ty, len, |p| p.value(item)))?),
        })
    }

    fn numbers<N: Number>(
        &mut self,
        ty: &Type,
        item: &Type,
        len: Option<u32>,
    ) -> Result<Vec<N>, Error> {
        self.items(ty, len, |p| {
            p.source().count_bytes(size_of::<N>())?;
            p.number(item)
        })
    }

    fn items<T>(
        &mut self,
        ty: &Type,
        len: Option<u32>,
        mut read: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        self.sequence(ty, &mut |p| {
            items.push(read(p).map_err(|error| error.in_item(items.len()))?);
            Ok(())
        })?;
        match len {
            Some(len) if len as usize != items.len() => Err(ErrorKind::WrongLength {
                expected: len as usize,
                found: items.len(),
            }
            .into()),
            _ => Ok(items),
        }
    }

    /// The value of one of the simple types both spellings write as a number.
    fn number_value(&mut self, ty: &Type) -> Result<Value, Error> {
        Ok(match ty {
            Type::S8 => Value::S8(self.number(ty)?),
            Type::U8 => Value::U8(self.number(ty)?),
            Type::S16 => Value::S16(self.number(ty)?),
            Type::U16 => Value::U16(self.number(ty)?),
            Type::S32 => Value::S32(self.number(ty)?),
            Type::U32 => Value::U32(self.number(ty)?),
            Type::S64 => Value::S64(self.number(ty)?),
            Type::U64 => Value::U64(self.number(ty)?),
            Type::F32 => Value::F32(self.number(ty)?),
            Type::F64 => Value::F64(self.number(ty)?),
            Type::Own(_) | Type::Borrow(_) => Value::Handle(self.number(ty)?),
            _ => Value::Stream(self.number(ty)?),
        })
    }
}

/// A number that has no digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Nan,
    Infinity,
    NegativeInfinity,
}

/// A Rust number that a text can spell.
pub(crate) trait Number: Sized {
    fn from_token(token: &str, ty: &Type) -> Result<Self, Error>;

    fn special(special: Special) -> Option<Self>;
}

macro_rules! integers {
    ($($int:ty)*) => {
        $(impl Number for $int {
            fn from_token(token: &str, ty: &Type) -> Result<Self, Error> {
                token.parse().or_else(|_| integral(token, ty))
            }

            fn special(_: Special) -> Option<Self> {
                None
            }
        })*
    };
}

integers! { i8 u8 i16 u16 i32 u32 i64 u64 }

/// An integer written as a float, `1e3` or `2.0`: what a machine without integers sends.
fn integral<T: FromStr>(token: &str, ty: &Type) -> Result<T, Error> {
    /// Beyond 2^53 a float no longer says which integer was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float: f64 = token.parse().unwrap_or(f64::NAN);
    if float.fract().abs() > 0.0 {
        return Err(Error::wrong_type(ty, format!("number {}", excerpt(token))));
    }
    let exact = (float.abs() <= EXACT).then(|| (float as i64).to_string());
    let value = exact.and_then(|digits| digits.parse().ok());
    value.ok_or_else(|| Error::out_of_range(ty, excerpt(token)))
}

macro_rules! floats {
    ($($float:ident)*) => {
        $(impl Number for $float {
            fn from_token(token: &str, ty: &Type) -> Result<Self, Error> {
                match token.parse::<$float>() {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(Error::out_of_range(ty, excerpt(token))),
                }
            }

            fn special(special: Special) -> Option<Self> {
                Some(match special {
                    Special::Nan => $float::NAN,
                    Special::Infinity => $float::INFINITY,
                    Special::NegativeInfinity => $float::NEG_INFINITY,
                })
            }
        })*
    };
}

floats! { f32 f64 }

/// The fields of a record as they arrive, in any order.
pub(crate) struct Fields<'t> {
    record: &'t crate::Record,
    values: Vec<Option<Value>>,
    /// Fields mostly come in order, so the search for the next one starts here.
    next: usize,
}

impl<'t> Fields<'t> {
    pub(crate) fn new(record: &'t crate::Record) -> Self {
        Self {
            record,
            values: record.fields.iter().map(|_| None).collect(),
            next: 0,
        }
    }

    /// Reads the value of the field of this name.
    pub(crate) fn read<'a, P: Parser<'a>>(
        &mut self,
        parser: &mut P,
        name: &str,
    ) -> Result<(), Error> {
        let fields = &self.record.fields;
        let in_order = fields
            .get(self.next)
            .is_some_and(|field| field.name == name)
            .then_some(self.next);
        let found = in_order.or_else(|| parser.source().position(fields, name));
        let Some(index) = found else {
            return Err(Error::unknown(
                "field",
                name,
                fields.iter().map(|field| &*field.name),
            ));
        };
        if self.values[index].is_some() {
            return Err(Error::new(ErrorKind::Duplicate).in_field(name));
        }
        let value = parser
            .value(&fields[index].ty)
            .map_err(|error| error.in_field(name))?;
        self.values[index] = Some(value);
        self.next = index + 1;
        Ok(())
    }

    /// The record; an absent option is none, and counts as a value like one that is written.
    pub(crate) fn finish(self, source: &mut Source<'_>) -> Result<Value, Error> {
        let fields = self.record.fields.iter().zip(self.values);
        let values = fields.map(|(field, value)| match (value, &field.ty) {
            (Some(value), _) => Ok(value),
            (None, Type::Option(_)) => source.count_value().map(|()| Value::Option(None)),
            (None, _) => Err(ErrorKind::MissingField {
                name: field.name.clone(),
            }
            .into()),
        });
        values.collect::<Result<_, Error>>().map(Value::Record)
    }
}

/// What has a name to be looked up by.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

impl Named for &str {
    fn name(&self) -> &str {
        self
    }
}

macro_rules! named {
    ($($ty:ident)*) => {
        $(impl Named for crate::$ty {
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

named! { Field Case Label }

/// Index of the case of this name.
pub(crate) fn case_of<T: Named>(
    source: &mut Source<'_>,
    what: &'static str,
    name: &str,
    names: &[T],
) -> Result<u32, Error> {
    let found = source.position(names, name);
    found
        .map(|index| index as u32)
        .ok_or_else(|| Error::unknown(what, name, names.iter().map(T::name)))
}

/// Adds the flag of this name to those already set.
pub(crate) fn set_flag(
    source: &mut Source<'_>,
    set: &mut Vec<u32>,
    flags: &crate::Flags,
    name: Cow<'_, str>,
) -> Result<(), Error> {
    let index = case_of(source, "flag", &name, &flags.flags)?;
    match set.binary_search(&index) {
        Ok(_) => Err(Error::new(ErrorKind::Duplicate).in_field(&name)),
        Err(place) => {
            set.insert(place, index);
            Ok(())
        }
    }
}

/// The tuple of these types, item by item; `next` reads what separates an item from the one before.
pub(crate) fn tuple<'a, P: Parser<'a>>(
    parser: &mut P,
    ty: &Type,
    types: &[Type],
    mut next: impl FnMut(&mut P, usize) -> Result<bool, Error>,
) -> Result<Value, Error> {
    let mut items = Vec::with_capacity(types.len());
    while next(parser, items.len())? {
        let index = items.len();
        let Some(item) = types.get(index) else {
            let found = format!("more than {} items", types.len());
            return Err(Error::wrong_type(ty, found));
        };
        items.push(parser.value(item).map_err(|error| error.in_item(index))?);
    }
    if items.len() < types.len() {
        return Err(ErrorKind::WrongLength {
            expected: types.len(),
            found: items.len(),
        }
        .into());
    }
    Ok(Value::Tuple(items))
}
