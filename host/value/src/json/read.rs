//! JSON text to a [`Value`], driven by the type.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;

use crate::error::{brief, excerpt};
use crate::text::{Fields, Number, Parser, Source, Special, case_of, set_flag, tuple};
use crate::{Error, ErrorKind, Limits, Type, Value};

pub(super) fn from_str(ty: &Type, text: &str, limits: &Limits) -> Result<Value, Error> {
    let mut reader = JsonReader {
        source: Source::new(text, limits),
    };
    let value = reader.value(ty)?;
    reader.finish()?;
    Ok(value)
}

pub(crate) struct JsonReader<'a> {
    source: Source<'a>,
}

impl<'a> JsonReader<'a> {
    pub(crate) fn new(text: &'a str, limits: &Limits) -> Self {
        Self {
            source: Source::new(text, limits),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.source.expected("the end")),
        }
    }

    /// The first byte of the next token.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.source
            .skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.source.peek()
    }

    fn eat(&mut self, token: &str) -> bool {
        self.peek();
        self.source.eat(token)
    }

    fn expect(&mut self, token: &str) -> Result<(), Error> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.source.expected(&format!("`{token}`")))
        }
    }

    /// What is there instead of a value of the type.
    fn mismatch(&mut self, ty: &dyn Display) -> Error {
        let found = match self.peek() {
            Some(b'"') => "string",
            Some(b'-' | b'0'..=b'9') => "number",
            Some(b'[') => "array",
            Some(b'{') => "object",
            _ if self.source.rest().starts_with("null") => "null",
            _ if self.source.rest().starts_with("true")
                || self.source.rest().starts_with("false") =>
            {
                "bool"
            }
            _ => return self.source.expected(&brief(ty)),
        };
        Error::wrong_type(ty, found)
    }

    fn string(&mut self, ty: &dyn Display) -> Result<Cow<'a, str>, Error> {
        if !self.eat("\"") {
            return Err(self.mismatch(ty));
        }
        let plain = self.string_part()?;
        if self.source.eat("\"") {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while !self.source.eat("\"") {
            text.push(self.escape()?);
            text.push_str(self.string_part()?);
        }
        Ok(Cow::Owned(text))
    }

    /// Characters up to the next quote or escape.
    fn string_part(&mut self) -> Result<&'a str, Error> {
        let start = self.source.pos;
        self.source
            .skip_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
        match self.source.peek() {
            Some(b'"' | b'\\') => Ok(&self.source.text[start..self.source.pos]),
            Some(_) => Err(self
                .source
                .error("a control character in a string must be escaped")),
            None => Err(self.source.expected("`\"`")),
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        self.source.pos += 1;
        let escaped = self.source.peek();
        self.source.pos += usize::from(escaped.is_some_and(|byte| byte.is_ascii()));
        Ok(match escaped {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.source.error("unknown escape in a string")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Error> {
        let first = self.hex4()?;
        let scalar = match first {
            0xd800..0xdc00 if self.source.eat("\\u") => {
                let second = self.hex4()?;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                low.map(|low| 0x10000 + ((first - 0xd800) << 10) + low)
            }
            _ => Some(first),
        };
        scalar
            .and_then(char::from_u32)
            .ok_or_else(|| self.source.error("half of a surrogate pair in a string"))
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let digits = self
            .source
            .rest()
            .get(..4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.source.expected("four hex digits"))?;
        self.source.pos += 4;
        Ok(value)
    }

    /// An object's members, each read by `member` after its name.
    pub(crate) fn object(
        &mut self,
        ty: &dyn Display,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.eat("{") {
            return Err(self.mismatch(ty));
        }
        if self.eat("}") {
            return Ok(());
        }
        loop {
            let name = self.string(&"a name in quotes")?;
            self.expect(":")?;
            member(self, name)?;
            if self.eat("}") {
                return Ok(());
            }
            if !self.eat(",") {
                return Err(self.source.expected("`,` or `}`"));
            }
        }
    }

    /// `"case"`, or `{"case": payload}` with the payload read by `read` when there is one.
    fn case<T>(
        &mut self,
        ty: &Type,
        read: impl FnOnce(&mut Self, &str, bool) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.peek() == Some(b'"') {
            let name = self.string(ty)?;
            return read(self, &name, false);
        }
        if !self.eat("{") {
            return Err(self.mismatch(ty));
        }
        let name = self.string(&"the name of a case")?;
        self.expect(":")?;
        let value = read(self, &name, true)?;
        self.expect("}")?;
        Ok(value)
    }

    /// The payload of a case, or the `null` in place of none.
    fn case_payload(
        &mut self,
        case: &str,
        ty: Option<&Type>,
        given: bool,
    ) -> Result<Option<Box<Value>>, Error> {
        match ty {
            Some(ty) if given => self.payload(case, ty),
            Some(ty) => Err(ErrorKind::MissingPayload {
                case: case.to_owned(),
                expected: brief(ty),
            }
            .into()),
            None if !given || self.eat("null") => Ok(None),
            None => Err(ErrorKind::UnexpectedPayload {
                case: case.to_owned(),
            }
            .into()),
        }
    }

    fn variant(&mut self, ty: &Type, variant: &crate::Variant) -> Result<Value, Error> {
        self.case(ty, |r, name, given| {
            let index = case_of(&mut r.source, "case", name, &variant.cases)?;
            let payload = variant.cases[index as usize].ty.as_ref();
            Ok(Value::Variant(index, r.case_payload(name, payload, given)?))
        })
    }

    fn result(&mut self, ty: &Type, result: &crate::ResultType) -> Result<Value, Error> {
        self.case(ty, |r, name, given| {
            Ok(Value::Result(
                match case_of(&mut r.source, "case", name, &["ok", "err"])? {
                    0 => Ok(r.case_payload("ok", result.ok.as_ref(), given)?),
                    _ => Err(r.case_payload("err", result.err.as_ref(), given)?),
                },
            ))
        })
    }

    fn option(&mut self, payload: &Type) -> Result<Value, Error> {
        if self.eat("null") {
            return Ok(Value::Option(None));
        }
        if !matches!(payload, Type::Option(_)) {
            return Ok(Value::Option(Some(Box::new(
                self.nested(|r| r.value(payload))?,
            ))));
        }
        if !self.eat("{") {
            return Err(self.mismatch(&"null or {\"some\": …}"));
        }
        let name = self.string(&"\"some\"")?;
        case_of(&mut self.source, "case", &name, &["some"])?;
        self.expect(":")?;
        let value = self.nested(|r| r.value(payload))?;
        self.expect("}")?;
        Ok(Value::Option(Some(Box::new(value))))
    }

    fn map(&mut self, ty: &Type, key: &Type, value: &Type) -> Result<Value, Error> {
        if *key == Type::String && self.peek() == Some(b'{') {
            return self.nested(|r| r.map_object(ty, value));
        }
        let mut entries = Vec::new();
        self.nested(|r| {
            r.sequence(ty, &mut |r| {
                let entry = r
                    .pair(key, value)
                    .map_err(|error| error.in_item(entries.len()))?;
                entries.push(entry);
                Ok(())
            })
        })?;
        Ok(Value::Map(entries))
    }

    fn map_object(&mut self, ty: &Type, value: &Type) -> Result<Value, Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        self.object(ty, |r, name| {
            r.source.count_value()?;
            r.source.count_bytes(name.len())?;
            if !names.insert(name.clone()) {
                return Err(Error::new(ErrorKind::Duplicate).in_field(&excerpt(&name)));
            }
            let value = r
                .value(value)
                .map_err(|error| error.in_field(&excerpt(&name)))?;
            entries.push((Value::String(name.into_owned()), value));
            Ok(())
        })?;
        Ok(Value::Map(entries))
    }

    /// `[key, value]`
    fn pair(&mut self, key: &Type, value: &Type) -> Result<(Value, Value), Error> {
        if !self.eat("[") {
            return Err(self.mismatch(&"[key, value]"));
        }
        let key = self.value(key).map_err(|error| error.in_field("key"))?;
        self.expect(",")?;
        let value = self.value(value).map_err(|error| error.in_field("value"))?;
        self.expect("]")?;
        Ok((key, value))
    }

    fn tuple(&mut self, ty: &Type, types: &[Type]) -> Result<Value, Error> {
        if !self.eat("[") {
            return Err(self.mismatch(ty));
        }
        tuple(self, ty, types, |r, read| {
            if r.eat("]") {
                return Ok(false);
            }
            if read > 0 && !r.eat(",") {
                return Err(r.source.expected("`,` or `]`"));
            }
            Ok(true)
        })
    }

    fn char(&mut self) -> Result<Value, Error> {
        let text = self.string(&Type::Char)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(Value::Char(only)),
            _ => Err(Error::wrong_type(
                Type::Char,
                format!("string of {} characters", text.chars().count()),
            )),
        }
    }
}

impl<'a> Parser<'a> for JsonReader<'a> {
    fn source(&mut self) -> &mut Source<'a> {
        &mut self.source
    }

    fn value(&mut self, ty: &Type) -> Result<Value, Error> {
        self.source.count_value()?;
        match ty {
            Type::Bool if self.eat("true") => Ok(Value::Bool(true)),
            Type::Bool if self.eat("false") => Ok(Value::Bool(false)),
            Type::Bool => Err(self.mismatch(ty)),
            Type::Char => self.char(),
            Type::String => {
                let text = self.string(ty)?;
                self.source.count_bytes(text.len())?;
                Ok(Value::String(text.into_owned()))
            }
            Type::List(item) => self.list(ty, item, None),
            Type::FixedList(item, len) => self.list(ty, item, Some(*len)),
            Type::Map(key, value) => self.map(ty, key, value),
            Type::Record(record) => self.nested(|r| {
                let mut fields = Fields::new(record);
                r.object(ty, |r, name| fields.read(r, &name))?;
                fields.finish(&mut r.source)
            }),
            Type::Tuple(types) => self.nested(|r| r.tuple(ty, types)),
            Type::Variant(variant) => self.variant(ty, variant),
            Type::Enum(cases) => {
                let name = self.string(ty)?;
                case_of(&mut self.source, "case", &name, &cases.cases).map(Value::Enum)
            }
            Type::Option(payload) => self.option(payload),
            Type::Result(result) => self.result(ty, result),
            Type::Flags(flags) => {
                let mut set = Vec::new();
                self.sequence(ty, &mut |r| {
                    let name = r.string(&"the name of a flag")?;
                    set_flag(&mut r.source, &mut set, flags, name)
                })?;
                Ok(Value::Flags(set))
            }
            _ => self.number_value(ty),
        }
    }

    fn number<N: Number>(&mut self, ty: &Type) -> Result<N, Error> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => N::from_token(self.source.number()?, ty),
            Some(b'"') => {
                let text = self.string(ty)?;
                let special = match &*text {
                    "NaN" => N::special(Special::Nan),
                    "Infinity" => N::special(Special::Infinity),
                    "-Infinity" => N::special(Special::NegativeInfinity),
                    digits if matches!(ty, Type::U64 | Type::S64) => whole_number(digits, ty),
                    _ => None,
                };
                special.ok_or_else(|| Error::wrong_type(ty, "string"))
            }
            _ => Err(self.mismatch(ty)),
        }
    }

    fn sequence(
        &mut self,
        ty: &dyn Display,
        item: &mut dyn FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.eat("[") {
            return Err(self.mismatch(ty));
        }
        if self.eat("]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat("]") {
                return Ok(());
            }
            if !self.eat(",") {
                return Err(self.source.expected("`,` or `]`"));
            }
        }
    }
}

/// A 64-bit integer as a string of digits, for senders whose numbers are floats.
fn whole_number<N: Number>(text: &str, ty: &Type) -> Option<N> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| N::from_token(text, ty).ok()).flatten()
}
