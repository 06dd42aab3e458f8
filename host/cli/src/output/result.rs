//! A function's result and stream items as text: WAVE, or JSON with `--json`.

use std::collections::HashMap;
use std::sync::Arc;

use lydian_value::{Error, FuncType, Limits, Type, Value, json, wave};

use super::error::CliError;

/// How values are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Wave,
    Json,
}

/// Bounds on what is printed: the node has checked it against the function's own.
const PRINTED: Limits = Limits {
    depth: Limits::MAX_DEPTH,
    bytes: usize::MAX,
    values: usize::MAX,
};

impl Spelling {
    /// The text of a result, on one line. A function without one gives `None` in WAVE and `null` in JSON.
    ///
    /// # Errors
    /// The bytes are not of the type: the node is broken.
    pub(crate) fn result(
        self,
        ty: Option<&Type>,
        bytes: &[u8],
    ) -> Result<Option<String>, CliError> {
        match (self, ty) {
            (_, Some(ty)) => self.value(ty, bytes).map(Some),
            (Self::Json, None) => Ok(Some("null".to_owned())),
            (Self::Wave, None) => Ok(None),
        }
    }

    pub(crate) fn value(self, ty: &Type, bytes: &[u8]) -> Result<String, CliError> {
        match self {
            Self::Wave => wave::to_string(ty, bytes, &PRINTED),
            Self::Json => json::to_string(ty, bytes, &PRINTED),
        }
        .map_err(|error| broken(&error))
    }

    fn item(self, ty: &Type, value: &Value) -> Result<String, CliError> {
        match self {
            Self::Wave => wave::print(ty, value, &PRINTED),
            Self::Json => json::print(ty, value, &PRINTED),
        }
        .map_err(|error| broken(&error))
    }

    /// One line per item of a chunk of a stream, encoded as `list<item>`.
    pub(crate) fn items(self, item: &Type, chunk: &[u8]) -> Result<String, CliError> {
        let list = Type::list(item.clone())
            .decode(chunk, &PRINTED)
            .map_err(|error| broken(&error))?;
        let mut text = String::new();
        for value in unpacked(list) {
            text += &self.item(item, &value)?;
            text.push('\n');
        }
        Ok(text)
    }
}

fn broken(error: &Error) -> CliError {
    CliError::failed(
        "bad-answer",
        format!("the node's result cannot be read: {error}"),
    )
}

/// A result as a value.
pub(crate) fn decoded(ty: &Type, bytes: &[u8]) -> Result<Value, CliError> {
    ty.decode(bytes, &PRINTED).map_err(|error| broken(&error))
}

/// A value that was spelt in WAVE, in JSON.
pub(crate) fn wave_to_json(ty: &Type, text: &str) -> Result<String, CliError> {
    let value = wave::parse(ty, text, &PRINTED).map_err(|error| broken(&error))?;
    Spelling::Json.item(ty, &value)
}

/// The bytes of a chunk of a `stream<u8>`.
pub(crate) fn bytes(chunk: &[u8]) -> Result<bytes::Bytes, CliError> {
    match Type::list(Type::U8)
        .decode(chunk, &PRINTED)
        .map_err(|error| broken(&error))?
    {
        Value::Bytes(bytes) => Ok(bytes),
        // A list of u8 is decoded into bytes, always.
        _ => Ok(bytes::Bytes::new()),
    }
}

/// Whether a result is the function's own `err(…)`. Its first byte says so.
pub(crate) fn is_err(ty: Option<&Type>, bytes: &[u8]) -> bool {
    matches!(ty, Some(Type::Result(_))) && bytes.first() == Some(&1)
}

/// The type of the items when the whole result is a stream or future: its number means nothing to the user.
pub(crate) fn whole_stream(function: &FuncType) -> Option<&Type> {
    match &function.result {
        Some(Type::Stream(Some(item)) | Type::Future(Some(item))) => Some(item),
        _ => None,
    }
}

/// The streams in a result by number, with the type of their items.
pub(crate) fn streams(ty: Option<&Type>, bytes: &[u8]) -> Result<HashMap<u32, Type>, CliError> {
    let mut found = HashMap::new();
    if let Some(ty) = ty.filter(|ty| has_stream(ty)) {
        let value = ty.decode(bytes, &PRINTED).map_err(|error| broken(&error))?;
        collect(ty, &value, &mut found);
    }
    Ok(found)
}

pub(crate) fn has_stream(ty: &Type) -> bool {
    match ty {
        Type::Stream(_) | Type::Future(_) => true,
        other => super::signature::children(other)
            .into_iter()
            .any(has_stream),
    }
}

fn collect(ty: &Type, value: &Value, found: &mut HashMap<u32, Type>) {
    visit(ty, value, &mut |ty, value| {
        if let (Type::Stream(Some(item)) | Type::Future(Some(item)), Value::Stream(number)) =
            (ty, value)
        {
            found.insert(*number, (**item).clone());
        }
    });
}

/// The resources that a value hands over, each by its handle and name.
pub(crate) fn owned(ty: &Type, value: &Value) -> Vec<(u32, Arc<str>)> {
    let mut found = Vec::new();
    visit(ty, value, &mut |ty, value| {
        if let (Type::Own(name), Value::Handle(handle)) = (ty, value) {
            found.push((*handle, name.clone()));
        }
    });
    found
}

/// Shows every part of a value that has no parts, with its type. Packed lists hold numbers only and are left out.
fn visit(ty: &Type, value: &Value, see: &mut dyn FnMut(&Type, &Value)) {
    match (ty, value) {
        (Type::List(item) | Type::FixedList(item, _), Value::List(values)) => {
            values.iter().for_each(|value| visit(item, value, see));
        }
        (Type::Map(_, item), Value::Map(entries)) => {
            entries
                .iter()
                .for_each(|(_, value)| visit(item, value, see));
        }
        (Type::Record(record), Value::Record(values)) => {
            let fields = record.fields.iter().zip(values);
            fields.for_each(|(field, value)| visit(&field.ty, value, see));
        }
        (Type::Tuple(types), Value::Tuple(values)) => {
            let items = types.iter().zip(values);
            items.for_each(|(ty, value)| visit(ty, value, see));
        }
        (Type::Variant(variant), Value::Variant(case, Some(payload))) => {
            let case = variant.cases.get(*case as usize);
            if let Some(ty) = case.and_then(|case| case.ty.as_ref()) {
                visit(ty, payload, see);
            }
        }
        (Type::Option(ty), Value::Option(Some(payload))) => visit(ty, payload, see),
        (Type::Result(result), Value::Result(payload)) => {
            match (payload, &result.ok, &result.err) {
                (Ok(Some(payload)), Some(ty), _) | (Err(Some(payload)), _, Some(ty)) => {
                    visit(ty, payload, see);
                }
                _ => {}
            }
        }
        (ty, value) => see(ty, value),
    }
}

/// The items of a list, packed or not.
fn unpacked(list: Value) -> Vec<Value> {
    macro_rules! each {
        ($($packed:ident => $item:ident),*) => {
            match list {
                Value::List(items) => items,
                Value::Bytes(items) => items.iter().copied().map(Value::U8).collect(),
                $(Value::$packed(items) => items.into_iter().map(Value::$item).collect(),)*
                other => vec![other],
            }
        };
    }
    each!(S8s => S8, S16s => S16, U16s => U16, S32s => S32, U32s => U32, S64s => S64, U64s => U64, F32s => F32, F64s => F64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(ty: &Type, value: &Value) -> bytes::Bytes {
        ty.encode(value, &Limits::default()).unwrap()
    }

    #[test]
    fn items_come_one_per_line_packed_or_not() {
        let numbers = encoded(&Type::list(Type::U64), &Value::from(vec![1u64, 2]));
        assert_eq!(
            Spelling::Wave.items(&Type::U64, &numbers).unwrap(),
            "1\n2\n"
        );
        let words = encoded(
            &Type::list(Type::String),
            &Value::List(vec!["a".into(), "b".into()]),
        );
        assert_eq!(
            Spelling::Json.items(&Type::String, &words).unwrap(),
            "\"a\"\n\"b\"\n"
        );
    }

    #[test]
    fn a_missing_result_is_nothing_in_wave_and_null_in_json() {
        assert_eq!(Spelling::Wave.result(None, &[]).unwrap(), None);
        assert_eq!(
            Spelling::Json.result(None, &[]).unwrap().as_deref(),
            Some("null")
        );
    }

    #[test]
    fn err_is_told_from_ok_by_its_tag() {
        let ty = Type::result(Some(Type::U8), Some(Type::U8));
        let err = encoded(&ty, &Value::Result(Err(Some(Box::new(Value::U8(1))))));
        let ok = encoded(&ty, &Value::Result(Ok(Some(Box::new(Value::U8(1))))));
        assert!(is_err(Some(&ty), &err));
        assert!(!is_err(Some(&ty), &ok));
        assert!(!is_err(Some(&Type::U8), &[1]));
    }

    #[test]
    fn streams_inside_a_result_are_found() {
        let body = Type::Stream(Some(std::sync::Arc::new(Type::U8)));
        let ty = Type::result(Some(Type::tuple([Type::U32, body])), None);
        let value = Value::Result(Ok(Some(Box::new(Value::Tuple(vec![
            Value::U32(7),
            Value::Stream(3),
        ])))));
        let mut bytes = vec![0];
        bytes.extend(7u32.to_le_bytes());
        bytes.extend(3u32.to_le_bytes());
        let _ = value;
        assert_eq!(
            streams(Some(&ty), &bytes).unwrap(),
            HashMap::from([(3, Type::U8)])
        );
    }
}
