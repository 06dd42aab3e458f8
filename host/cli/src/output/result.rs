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

    /// The line of an item that carries nothing.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Wave => "()\n",
            Self::Json => "null\n",
        }
    }
}

/// How many items a chunk of a stream holds that carry nothing: their number is all that is sent.
pub(crate) fn units(chunk: &[u8]) -> u64 {
    let bytes = chunk.iter().take(5).enumerate();
    let mut count = 0;
    for (index, byte) in bytes {
        count |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    count
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

/// A value in WAVE.
pub(crate) fn printed(ty: &Type, value: &Value) -> Result<String, CliError> {
    Spelling::Wave.item(ty, value)
}

/// A value in WAVE with names in the place of numbers that say nothing by themselves, `[counter 1,
/// counter 2]`, `(42, stream 1)`; none when it holds none.
pub(crate) fn with_names(ty: &Type, value: &Value) -> Option<String> {
    // The writer knows the names of cases: a handle becomes one of them.
    let mut names: Vec<String> = Vec::new();
    let mut value = value.clone();
    relabel(ty, &mut value, &mut names);
    if names.is_empty() {
        return None;
    }
    let ty = relabelled(ty, &names);
    printed(&ty, &value).ok()
}

fn relabel(ty: &Type, value: &mut Value, names: &mut Vec<String>) {
    match (ty, value) {
        (Type::Own(name), value) => {
            if let Value::Handle(handle) = value {
                names.push(format!("{name} {handle}"));
                *value = Value::Enum(names.len() as u32 - 1);
            }
        }
        (Type::Stream(_) | Type::Future(_), value) => {
            if let (Some(part), Value::Stream(number)) = (Part::of(ty), &*value) {
                names.push(part.label(*number));
                *value = Value::Enum(names.len() as u32 - 1);
            }
        }
        (Type::List(item) | Type::FixedList(item, _), Value::List(values)) => {
            values
                .iter_mut()
                .for_each(|value| relabel(item, value, names));
        }
        (Type::Map(_, item), Value::Map(entries)) => entries
            .iter_mut()
            .for_each(|(_, value)| relabel(item, value, names)),
        (Type::Record(record), Value::Record(values)) => {
            let fields = record.fields.iter().zip(values);
            fields.for_each(|(field, value)| relabel(&field.ty, value, names));
        }
        (Type::Tuple(types), Value::Tuple(values)) => {
            let items = types.iter().zip(values);
            items.for_each(|(ty, value)| relabel(ty, value, names));
        }
        (Type::Variant(variant), Value::Variant(case, Some(payload))) => {
            let case = variant.cases.get(*case as usize);
            if let Some(ty) = case.and_then(|case| case.ty.as_ref()) {
                relabel(ty, payload, names);
            }
        }
        (Type::Option(ty), Value::Option(Some(payload))) => relabel(ty, payload, names),
        (Type::Result(result), Value::Result(payload)) => {
            match (payload, &result.ok, &result.err) {
                (Ok(Some(payload)), Some(ty), _) | (Err(Some(payload)), _, Some(ty)) => {
                    relabel(ty, payload, names);
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn relabelled(ty: &Type, names: &[String]) -> Type {
    let part = |ty: &Type| relabelled(ty, names);
    match ty {
        Type::Own(_) | Type::Stream(_) | Type::Future(_) => {
            Type::enumeration("named", names.iter().map(|name| &**name))
        }
        Type::List(item) => Type::list(part(item)),
        Type::FixedList(item, len) => Type::fixed_list(part(item), *len),
        Type::Map(key, item) => Type::map((**key).clone(), part(item)),
        Type::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields.map(|field| (&*field.name, part(&field.ty)));
            Type::record(record.name.as_deref().unwrap_or_default(), fields)
        }
        Type::Tuple(types) => Type::tuple(types.iter().map(part)),
        Type::Variant(variant) => {
            let cases = variant.cases.iter();
            let cases = cases.map(|case| (&*case.name, case.ty.as_ref().map(part)));
            Type::variant(variant.name.as_deref().unwrap_or_default(), cases)
        }
        Type::Option(payload) => Type::option(part(payload)),
        Type::Result(result) => {
            Type::result(result.ok.as_ref().map(part), result.err.as_ref().map(part))
        }
        other => other.clone(),
    }
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

/// A stream or future in a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it carries; none for one that only ticks, or is done.
    pub(crate) item: Option<Type>,
    /// It has one value.
    pub(crate) is_future: bool,
}

impl Part {
    /// That a type is, if it is one.
    fn of(ty: &Type) -> Option<Self> {
        let (item, is_future) = match ty {
            Type::Stream(item) => (item, false),
            Type::Future(item) => (item, true),
            _ => return None,
        };
        Some(Self {
            item: item.as_deref().cloned(),
            is_future,
        })
    }

    /// What stands for it in a result.
    pub(crate) fn label(&self, number: u32) -> String {
        let kind = if self.is_future { "future" } else { "stream" };
        format!("{kind} {number}")
    }

    /// Whether a chunk of it says that the function failed: the one value of a future is as good as
    /// a result.
    pub(crate) fn is_err(&self, chunk: &[u8]) -> bool {
        // A list of one begins with its length, in one byte.
        self.is_future && chunk.first() == Some(&1) && is_err(self.item.as_ref(), &chunk[1..])
    }
}

/// The whole result, when it is a stream or future: its number means nothing to the user.
pub(crate) fn whole_stream(function: &FuncType) -> Option<Part> {
    function.result.as_ref().and_then(Part::of)
}

/// The streams in a result by number.
pub(crate) fn streams(ty: Option<&Type>, bytes: &[u8]) -> Result<HashMap<u32, Part>, CliError> {
    let mut found = HashMap::new();
    if let Some(ty) = ty.filter(|ty| has_stream(ty)) {
        let value = ty.decode(bytes, &PRINTED).map_err(|error| broken(&error))?;
        visit(ty, &value, &mut |ty, value| {
            if let (Some(part), Value::Stream(number)) = (Part::of(ty), value) {
                found.insert(*number, part);
            }
        });
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
pub(crate) fn unpacked(list: Value) -> Vec<Value> {
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
    fn resources_are_shown_by_their_names() {
        let counter = || Type::Own("counter".into());
        let ty = Type::tuple([Type::list(counter()), Type::option(counter()), Type::U8]);
        let value = Value::Tuple(vec![
            Value::List(vec![Value::Handle(1), Value::Handle(2)]),
            Value::Option(Some(Box::new(Value::Handle(3)))),
            Value::U8(4),
        ]);
        let shown = with_names(&ty, &value).unwrap();
        assert_eq!(shown, "([counter 1, counter 2], some(counter 3), 4)");
        assert_eq!(with_names(&Type::U8, &Value::U8(1)), None);
        let ty = Type::result(Some(Type::Future(None)), None);
        let value = Value::Result(Ok(Some(Box::new(Value::Stream(2)))));
        assert_eq!(with_names(&ty, &value).unwrap(), "ok(future 2)");
    }

    #[test]
    fn the_value_of_a_future_fails_as_a_result_does() {
        let outcome = Type::result(Some(Type::U8), Some(Type::U8));
        let part = |ty: &Type| Part::of(ty).unwrap();
        let future = part(&Type::Future(Some(Arc::new(outcome.clone()))));
        assert!(future.is_err(&[1, 1, 7]));
        assert!(!future.is_err(&[1, 0, 1]));
        let stream = part(&Type::Stream(Some(Arc::new(outcome))));
        assert!(!stream.is_err(&[1, 1, 7]), "the others may be well");
        assert!(!part(&Type::Future(None)).is_err(&[1]));
    }

    #[test]
    fn units_are_counted() {
        for count in [0u32, 1, 127, 128, 300, u32::MAX] {
            let mut chunk = Vec::new();
            let mut left = count;
            loop {
                let more = left > 0x7f;
                chunk.push((left & 0x7f) as u8 | u8::from(more) << 7);
                left >>= 7;
                if !more {
                    break;
                }
            }
            assert_eq!(units(&chunk), u64::from(count));
        }
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
        let part = Part {
            item: Some(Type::U8),
            is_future: false,
        };
        assert_eq!(
            streams(Some(&ty), &bytes).unwrap(),
            HashMap::from([(3, part)])
        );
    }
}
