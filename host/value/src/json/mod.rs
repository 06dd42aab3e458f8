//! Values as JSON, both ways.
//!
//! | WIT | JSON |
//! | --- | --- |
//! | bool, string, char | `true`, `"text"`, `"x"` |
//! | integers | a number, exact up to 64 bits; 64-bit ones also as a string of digits |
//! | f32, f64 | a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | list, tuple | an array; `list<u8>` too: its text forms (base64, hex) cannot be told from one another |
//! | record | an object; a field that is an option may be left out |
//! | map | an object when the keys are strings, else an array of `[key, value]`; both are read |
//! | variant | `"case"`, or `{"case": payload}` |
//! | enum | `"case"` |
//! | option | `null` or the payload; where the payload is itself an option, `{"some": payload}` |
//! | result | `{"ok": payload}` or `{"err": payload}`, `null` where there is no payload |
//! | flags | an array of names |
//! | own, borrow, stream, future, error-context | its number |
//!
//! What is printed here reads back as the same wire bytes.

mod read;
mod write;

pub(crate) use read::JsonReader;

use crate::{Error, Limits, Type, Value};

/// The value this JSON text spells.
pub fn from_str(ty: &Type, text: &str, limits: &Limits) -> Result<Value, Error> {
    read::from_str(ty, text, limits)
}

/// The value this JSON spells.
pub fn from_json(ty: &Type, json: &serde_json::Value, limits: &Limits) -> Result<Value, Error> {
    read::from_str(ty, &json.to_string(), limits)
}

/// Wire bytes as JSON on one line.
pub fn to_string(ty: &Type, wire: &[u8], limits: &Limits) -> Result<String, Error> {
    write::to_string(ty, wire, limits, false)
}

/// Wire bytes as indented JSON; lists of numbers stay on one line.
pub fn to_string_pretty(ty: &Type, wire: &[u8], limits: &Limits) -> Result<String, Error> {
    write::to_string(ty, wire, limits, true)
}

/// Wire bytes as a JSON value.
pub fn to_json(ty: &Type, wire: &[u8], limits: &Limits) -> Result<serde_json::Value, Error> {
    let text = to_string(ty, wire, limits)?;
    parse_unbounded(&text).map_err(|error| Error::syntax(error.column(), error.to_string()))
}

/// A value as JSON on one line.
pub fn print(ty: &Type, value: &Value, limits: &Limits) -> Result<String, Error> {
    to_string(ty, &ty.encode(value, limits)?, limits)
}

/// Parses JSON whose nesting is already known to be bounded.
pub(crate) fn parse_unbounded<'de, T: serde::Deserialize<'de>>(
    text: &'de str,
) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}
