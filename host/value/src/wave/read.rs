//! WAVE text to a [`Value`], driven by the type.

use std::borrow::Cow;
use std::fmt::Display;

use super::KEYWORDS;
use crate::error::{brief, excerpt};
use crate::text::{Fields, Number, Parser, Source, Special, case_of, set_flag, tuple};
use crate::{Error, ErrorKind, Limits, Type, Value};

pub(super) fn parse(ty: &Type, text: &str, limits: &Limits) -> Result<Value, Error> {
    let mut reader = WaveReader {
        source: Source::new(text, limits),
    };
    let value = reader.value(ty)?;
    reader.finish()?;
    Ok(value)
}

struct WaveReader<'a> {
    source: Source<'a>,
}

impl<'a> WaveReader<'a> {
    fn finish(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.source.expected("the end")),
        }
    }

    /// The first byte of the next token, after white space and `// comments`.
    fn peek(&mut self) -> Option<u8> {
        loop {
            self.source
                .skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if !self.source.eat("//") {
                return self.source.peek();
            }
            self.source.skip_while(|byte| byte != b'\n');
        }
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

    /// The label that comes next, with its `%` if it has one; empty when none comes.
    fn next_label(&mut self) -> &'a str {
        self.peek();
        let rest = self.source.rest();
        let start = usize::from(rest.starts_with('%'));
        let tail = rest.as_bytes().get(start..).unwrap_or_default();
        let len = match tail.first() {
            Some(first) if first.is_ascii_alphabetic() => tail
                .iter()
                // `_` is none of WIT's, and stands in names as sources have them.
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
                .count(),
            _ => return "",
        };
        &rest[..start + len]
    }

    /// Takes a keyword if it comes next.
    fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.next_label() == keyword;
        if found {
            self.source.pos += keyword.len();
        }
        found
    }

    fn label(&mut self, what: &dyn Display) -> Result<&'a str, Error> {
        let label = self.next_label();
        if label.is_empty() {
            return Err(self.mismatch(what));
        }
        self.source.pos += label.len();
        Ok(label.trim_start_matches('%'))
    }

    /// The label of a case; keywords need their `%` here.
    fn case_label(&mut self, ty: &Type) -> Result<&'a str, Error> {
        if KEYWORDS.contains(&self.next_label()) {
            return Err(self.mismatch(ty));
        }
        self.label(ty)
    }

    /// What is there instead of a value of the type.
    fn mismatch(&mut self, ty: &dyn Display) -> Error {
        let found = match self.peek() {
            Some(b'"') => "string",
            Some(b'\'') => "char",
            Some(b'-' | b'0'..=b'9') => "number",
            Some(b'[') => "list",
            Some(b'(') => "tuple",
            Some(b'{') => "record or flags",
            _ => match self.next_label() {
                "" => return self.source.expected(&brief(ty)),
                "true" | "false" => "bool",
                "some" | "none" => "option",
                "ok" | "err" => "result",
                "inf" | "nan" => "number",
                label => return Error::wrong_type(ty, format_args!("`{}`", excerpt(label))),
            },
        };
        Error::wrong_type(ty, found)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        if self.eat("\"\"\"") {
            return self.multiline_string();
        }
        if !self.eat("\"") {
            return Err(self.mismatch(&Type::String));
        }
        let plain = self.string_part(b'"')?;
        if self.source.eat("\"") {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while !self.source.eat("\"") {
            text.push(self.escape()?);
            text.push_str(self.string_part(b'"')?);
        }
        Ok(Cow::Owned(text))
    }

    /// Characters up to the next quote or escape.
    fn string_part(&mut self, quote: u8) -> Result<&'a str, Error> {
        let start = self.source.pos;
        self.source
            .skip_while(|byte| byte != quote && !matches!(byte, b'\\' | b'\n'));
        match self.source.peek() {
            Some(b'\n') => Err(self.source.error(
                "a line break in a string must be escaped, or the string begin with `\"\"\"`",
            )),
            Some(_) => Ok(&self.source.text[start..self.source.pos]),
            None => Err(self.source.expected(&format!("`{}`", char::from(quote)))),
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        match unescape(self.source.rest()) {
            Some((ch, len)) => {
                self.source.pos += len;
                Ok(ch)
            }
            None => Err(self.source.error("unknown escape")),
        }
    }

    /// The text between `"""` and `"""`: whole lines, indented as much as the closing quotes.
    fn multiline_string(&mut self) -> Result<Cow<'a, str>, Error> {
        let Some(end) = self.source.rest().find("\"\"\"") else {
            return Err(self
                .source
                .error("a string that begins with `\"\"\"` must end with it"));
        };
        let inner = &self.source.rest()[..end];
        let text = dedent(inner).map_err(|reason| self.source.error(reason))?;
        self.source.pos += end + 3;
        Ok(Cow::Owned(text))
    }

    fn char(&mut self) -> Result<Value, Error> {
        if !self.eat("'") {
            return Err(self.mismatch(&Type::Char));
        }
        let ch = match self.source.rest().chars().next() {
            Some('\\') => self.escape()?,
            Some(ch) if ch != '\'' && ch != '\n' => {
                self.source.pos += ch.len_utf8();
                ch
            }
            _ => return Err(self.source.expected("a character")),
        };
        if self.source.eat("'") {
            Ok(Value::Char(ch))
        } else {
            Err(self.source.expected("`'`"))
        }
    }

    /// Items up to the closing bracket, with an optional comma at the end.
    fn more(&mut self, close: &str, read: usize) -> Result<bool, Error> {
        if self.eat(close) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        if !self.eat(",") {
            return Err(self.source.expected(&format!("`,` or `{close}`")));
        }
        Ok(!self.eat(close))
    }

    fn record(&mut self, ty: &Type, record: &crate::Record) -> Result<Value, Error> {
        if !self.eat("{") {
            return Err(self.mismatch(ty));
        }
        let mut fields = Fields::new(record);
        if self.eat(":") {
            self.expect("}")?;
            return fields.finish(&mut self.source);
        }
        let mut read = 0;
        while self.more("}", read)? {
            let name = self.label(&"the name of a field")?;
            self.expect(":")?;
            fields.read(self, name)?;
            read += 1;
        }
        fields.finish(&mut self.source)
    }

    fn flags(&mut self, ty: &Type, flags: &crate::Flags) -> Result<Value, Error> {
        if !self.eat("{") {
            return Err(self.mismatch(ty));
        }
        let mut set = Vec::new();
        let mut read = 0;
        while self.more("}", read)? {
            let name = self.label(&"the name of a flag")?;
            set_flag(&mut self.source, &mut set, flags, name.into())?;
            read += 1;
        }
        Ok(Value::Flags(set))
    }

    fn variant(&mut self, ty: &Type, variant: &crate::Variant) -> Result<Value, Error> {
        let name = self.case_label(ty)?;
        let index = case_of(&mut self.source, "case", name, &variant.cases)?;
        let payload = self.case_payload(name, variant.cases[index as usize].ty.as_ref())?;
        Ok(Value::Variant(index, payload))
    }

    fn case_payload(&mut self, case: &str, ty: Option<&Type>) -> Result<Option<Box<Value>>, Error> {
        match (ty, self.eat("(")) {
            (Some(ty), true) => {
                let payload = self.payload(case, ty)?;
                self.expect(")")?;
                Ok(payload)
            }
            (None, false) => Ok(None),
            (Some(ty), false) => Err(ErrorKind::MissingPayload {
                case: case.to_owned(),
                expected: brief(ty),
            }
            .into()),
            (None, true) => Err(ErrorKind::UnexpectedPayload {
                case: case.to_owned(),
            }
            .into()),
        }
    }

    fn option(&mut self, ty: &Type, payload: &Type) -> Result<Value, Error> {
        if self.keyword("none") {
            return Ok(Value::Option(None));
        }
        if self.keyword("some") {
            self.expect("(")?;
            let value = self.nested(|r| r.value(payload))?;
            self.expect(")")?;
            return Ok(Value::Option(Some(Box::new(value))));
        }
        if !may_stand_alone(payload) {
            return Err(self.mismatch(ty));
        }
        Ok(Value::Option(Some(Box::new(
            self.nested(|r| r.value(payload))?,
        ))))
    }

    fn result(&mut self, ty: &Type, result: &crate::ResultType) -> Result<Value, Error> {
        if self.keyword("ok") {
            return Ok(Value::Result(Ok(
                self.case_payload("ok", result.ok.as_ref())?
            )));
        }
        if self.keyword("err") {
            return Ok(Value::Result(Err(
                self.case_payload("err", result.err.as_ref())?
            )));
        }
        match &result.ok {
            Some(payload) if may_stand_alone(payload) => {
                Ok(Value::Result(Ok(self.payload("ok", payload)?)))
            }
            _ => Err(self.mismatch(ty)),
        }
    }

    fn tuple(&mut self, ty: &Type, types: &[Type]) -> Result<Value, Error> {
        if !self.eat("(") {
            return Err(self.mismatch(ty));
        }
        tuple(self, ty, types, |r, read| r.more(")", read))
    }

    fn map(&mut self, ty: &Type, key: &Type, value: &Type) -> Result<Value, Error> {
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

    /// `(key, value)`
    fn pair(&mut self, key: &Type, value: &Type) -> Result<(Value, Value), Error> {
        if !self.eat("(") {
            return Err(self.mismatch(&"(key, value)"));
        }
        let key = self.value(key).map_err(|error| error.in_field("key"))?;
        self.expect(",")?;
        let value = self.value(value).map_err(|error| error.in_field("value"))?;
        self.eat(",");
        self.expect(")")?;
        Ok((key, value))
    }
}

/// Whether a payload may be written without its `some(…)` or `ok(…)`.
fn may_stand_alone(payload: &Type) -> bool {
    !matches!(payload, Type::Option(_) | Type::Result(_))
}

impl<'a> Parser<'a> for WaveReader<'a> {
    fn source(&mut self) -> &mut Source<'a> {
        &mut self.source
    }

    fn value(&mut self, ty: &Type) -> Result<Value, Error> {
        self.source.count_value()?;
        match ty {
            Type::Bool if self.keyword("true") => Ok(Value::Bool(true)),
            Type::Bool if self.keyword("false") => Ok(Value::Bool(false)),
            Type::Bool => Err(self.mismatch(ty)),
            Type::Char => self.char(),
            Type::String => {
                let text = self.string()?;
                self.source.count_bytes(text.len())?;
                Ok(Value::String(text.into_owned()))
            }
            Type::List(item) => self.list(ty, item, None),
            Type::FixedList(item, len) => self.list(ty, item, Some(*len)),
            Type::Map(key, value) => self.map(ty, key, value),
            Type::Record(record) => self.nested(|r| r.record(ty, record)),
            Type::Tuple(types) => self.nested(|r| r.tuple(ty, types)),
            Type::Variant(variant) => self.variant(ty, variant),
            Type::Enum(cases) => {
                let name = self.case_label(ty)?;
                case_of(&mut self.source, "case", name, &cases.cases).map(Value::Enum)
            }
            Type::Option(payload) => self.option(ty, payload),
            Type::Result(result) => self.result(ty, result),
            Type::Flags(flags) => self.flags(ty, flags),
            _ => self.number_value(ty),
        }
    }

    fn number<N: Number>(&mut self, ty: &Type) -> Result<N, Error> {
        let special = if self.keyword("nan") {
            Special::Nan
        } else if self.keyword("inf") {
            Special::Infinity
        } else if self.eat("-inf") {
            Special::NegativeInfinity
        } else {
            return match self.peek() {
                Some(b'-' | b'0'..=b'9') => N::from_token(self.source.number()?, ty),
                _ => Err(self.mismatch(ty)),
            };
        };
        N::special(special).ok_or_else(|| Error::out_of_range(ty, "a number without digits"))
    }

    fn sequence(
        &mut self,
        ty: &dyn Display,
        item: &mut dyn FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.eat("[") {
            return Err(self.mismatch(ty));
        }
        let mut read = 0;
        while self.more("]", read)? {
            item(self)?;
            read += 1;
        }
        Ok(())
    }
}

/// The character an escape stands for and the escape's length in bytes.
fn unescape(text: &str) -> Option<(char, usize)> {
    let escape = text.strip_prefix('\\')?;
    Some(match escape.chars().next()? {
        plain @ ('\\' | '\'' | '"') => (plain, 2),
        't' => ('\t', 2),
        'n' => ('\n', 2),
        'r' => ('\r', 2),
        'u' => {
            let (digits, _) = escape.strip_prefix("u{")?.split_once('}')?;
            let hex = (1..=6).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let scalar = hex
                .then(|| u32::from_str_radix(digits, 16).ok())
                .flatten()?;
            (char::from_u32(scalar)?, digits.len() + 4)
        }
        _ => return None,
    })
}

/// The content of a multi-line string: its lines without the indentation of the last one.
fn dedent(inner: &str) -> Result<String, &'static str> {
    let inner = inner.strip_prefix('\r').unwrap_or(inner);
    let Some((lines, indent)) = inner
        .strip_prefix('\n')
        .map(|body| body.rsplit_once('\n').unwrap_or(("", body)))
    else {
        return Err("an opening `\"\"\"` must end its line");
    };
    if indent.contains(|ch| ch != ' ') {
        return Err("a closing `\"\"\"` must be first on its line");
    }
    let mut text = String::with_capacity(lines.len());
    for (index, line) in lines.split('\n').enumerate() {
        let Some(line) = line.strip_prefix(indent) else {
            return Err("each line must be indented as much as the closing `\"\"\"`");
        };
        if index > 0 {
            text.push('\n');
        }
        unescape_into(line.strip_suffix('\r').unwrap_or(line), &mut text)?;
    }
    Ok(text)
}

fn unescape_into(mut line: &str, text: &mut String) -> Result<(), &'static str> {
    while let Some(plain) = line.find('\\') {
        text.push_str(&line[..plain]);
        let (ch, len) = unescape(&line[plain..]).ok_or("unknown escape")?;
        text.push(ch);
        line = &line[plain + len..];
    }
    text.push_str(line);
    Ok(())
}
