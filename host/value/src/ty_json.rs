//! Types and functions as JSON: the `type_json` of the API.
//!
//! A simple type is its name; any other an object with one member: `{"list": T}`, `{"fixed-list": [T, n]}`,
//! `{"map": [K, V]}`, `{"record": {"name", "docs", "fields": [{"name", "docs", "type": T}]}}`, `{"tuple": [T]}`,
//! `{"variant": {"name", "docs", "cases": [{"name", "docs", "type": T}]}}`, `{"enum": {"name", "docs", "cases": [{"name", "docs"}]}}`,
//! `{"option": T}`, `{"result": {"ok": T, "err": T}}`, `{"flags": {"name", "docs", "flags": [{"name", "docs"}]}}`,
//! `{"own": name}`, `{"borrow": name}`, `{"stream": T}`, `{"future": T}`. What has no value is left out; a stream or future
//! without one is `null`.

use crate::json::parse_unbounded;
use crate::{Error, ErrorKind, FuncType, Limits, Type};

/// Levels of JSON that one level of type may take: `{"record": {"fields": [{"type": …}]}}`.
const JSON_LEVELS: usize = 4;

impl Type {
    /// The type this JSON describes.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] where it is no JSON of a type; [`ErrorKind::TooDeep`] and [`ErrorKind::MalformedType`] where no
    /// component could have the type.
    pub fn from_json(text: &str) -> Result<Type, Error> {
        let ty: Type = parse(text)?;
        ty.validate(0)?;
        Ok(ty)
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        // Maps with string keys and strings only: nothing serde_json refuses.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Refuses what no component could have. Returns how many values one value of the type consists
    /// of.
    fn validate(&self, depth: u32) -> Result<u64, Error> {
        if depth > Limits::MAX_DEPTH {
            return Err(ErrorKind::TooDeep {
                limit: Limits::MAX_DEPTH,
            }
            .into());
        }
        let mut parts = 0u64;
        let mut inner = |ty: &Type| {
            parts = parts.saturating_add(ty.validate(depth + 1)?);
            Ok::<_, Error>(())
        };
        match self {
            Type::List(item) | Type::Option(item) => inner(item)?,
            Type::FixedList(_, 0) => return Err(malformed("a list of length 0")),
            Type::FixedList(item, _) => inner(item)?,
            Type::Map(key, value) => {
                inner(key)?;
                inner(value)?;
            }
            Type::Tuple(items) => items.iter().try_for_each(inner)?,
            Type::Record(record) => {
                distinct(
                    record.fields.iter().map(|field| &*field.name),
                    "record without fields",
                )?;
                record
                    .fields
                    .iter()
                    .try_for_each(|field| inner(&field.ty))?;
            }
            Type::Variant(variant) => {
                distinct(
                    variant.cases.iter().map(|case| &*case.name),
                    "variant without cases",
                )?;
                let mut payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
                payloads.try_for_each(inner)?;
            }
            Type::Enum(cases) => distinct(
                cases.cases.iter().map(|case| &*case.name),
                "enum without cases",
            )?,
            Type::Flags(flags) => distinct(
                flags.flags.iter().map(|flag| &*flag.name),
                "flags without names",
            )?,
            Type::Result(result) => result.ok.iter().chain(&result.err).try_for_each(inner)?,
            Type::Stream(item) | Type::Future(item) => {
                item.iter().try_for_each(|item| inner(item))?;
            }
            _ => {}
        }
        let elements = self.elements(parts);
        if elements > Self::MAX_FIXED_ELEMENTS {
            return Err(malformed(&format!(
                "its fixed-length lists hold more than {} elements",
                Self::MAX_FIXED_ELEMENTS
            )));
        }
        Ok(elements)
    }
}

impl FuncType {
    /// The function this JSON describes; fails as [`Type::from_json`] does.
    pub fn from_json(text: &str) -> Result<FuncType, Error> {
        let func: FuncType = parse(text)?;
        func.validate()?;
        Ok(func)
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        for param in &self.params {
            let valid = param.ty.validate(0);
            valid.map_err(|error| error.in_field(&param.name))?;
        }
        if let Some(ty) = &self.result {
            ty.validate(0).map_err(|error| error.in_field("result"))?;
        }
        Ok(())
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Parses JSON whose nesting fits the deepest type there may be: deeper than serde_json's own limit, far from the stack's.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    if nesting(text) > (Limits::MAX_DEPTH as usize + 2) * JSON_LEVELS {
        return Err(ErrorKind::TooDeep {
            limit: Limits::MAX_DEPTH,
        }
        .into());
    }
    parse_unbounded(text).map_err(|error| {
        let offset = text
            .lines()
            .take(error.line() - usize::from(error.line() > 0))
            .map(|line| line.len() + 1);
        Error::syntax(offset.sum::<usize>() + error.column(), error.to_string())
    })
}

/// How deep brackets nest, outside strings.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>, empty: &str) -> Result<(), Error> {
    let mut names: Vec<&str> = names.collect();
    if names.is_empty() {
        return Err(malformed(empty));
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(malformed(&format!(
            "`{}` is there twice",
            crate::error::excerpt(pair[0])
        ))),
        None => Ok(()),
    }
}

fn malformed(reason: &str) -> Error {
    ErrorKind::MalformedType {
        reason: reason.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients in other languages read this; the examples of the module's header must hold.
    #[test]
    fn the_json_form_is_as_documented() {
        let fields = [
            ("depth", Type::U32),
            ("next", Type::option(Type::list(Type::U8))),
        ];
        let ty = Type::record("config", fields);
        let json = r#"{"record":{"name":"config","fields":[{"name":"depth","type":"u32"},{"name":"next","type":{"option":{"list":"u8"}}}]}}"#;
        assert_eq!(ty.to_json(), json);
        assert_eq!(Type::from_json(json), Ok(ty));
        let ty = Type::tuple([
            Type::fixed_list(Type::F32, 3),
            Type::map(Type::String, Type::Bool),
            Type::result(None, Some(Type::String)),
            Type::Own("image".into()),
            Type::Stream(Some(Type::U8.into())),
            Type::Future(None),
            Type::ErrorContext,
        ]);
        let json = r#"{"tuple":[{"fixed-list":["f32",3]},{"map":["string","bool"]},{"result":{"err":"string"}},{"own":"image"},{"stream":"u8"},{"future":null},"error-context"]}"#;
        assert_eq!(ty.to_json(), json);
        assert_eq!(Type::from_json(json), Ok(ty));
    }

    /// serde_json's own limit of 128 levels would refuse records that nest 32 deep.
    #[test]
    fn types_may_nest_as_deep_as_values_and_no_deeper() {
        let nested = |depth| (0..depth).fold(Type::U8, |ty, _| Type::record("r", [("a", ty)]));
        let deepest = nested(Limits::MAX_DEPTH);
        assert_eq!(Type::from_json(&deepest.to_json()), Ok(deepest));
        let error = Type::from_json(&nested(Limits::MAX_DEPTH + 1).to_json()).unwrap_err();
        assert_eq!(error.code(), "too-deep");
    }

    /// Hostile nesting must not reach the recursive parser underneath.
    #[test]
    fn a_million_brackets_are_an_error() {
        for open in ["[", "{\"list\":", "{\"record\":{\"fields\":[{\"type\":"] {
            assert_eq!(
                Type::from_json(&open.repeat(1_000_000)).unwrap_err().code(),
                "too-deep"
            );
            assert_eq!(
                FuncType::from_json(&open.repeat(1_000_000))
                    .unwrap_err()
                    .code(),
                "too-deep"
            );
        }
        assert_eq!(
            Type::from_json("{\"li[st\": [[\"").unwrap_err().code(),
            "malformed-text"
        );
    }

    /// No component has such types, so no code need handle their values.
    #[test]
    fn types_without_values_are_refused() {
        for json in [
            r#"{"record":{"fields":[]}}"#,
            r#"{"enum":{"cases":[]}}"#,
            r#"{"variant":{"cases":[{"name":"a"},{"name":"a"}]}}"#,
            r#"{"list":{"flags":{"flags":[]}}}"#,
            r#"{"fixed-list":["u8",0]}"#,
        ] {
            assert_eq!(
                Type::from_json(json).unwrap_err().code(),
                "malformed-type",
                "{json}"
            );
        }
    }
}
