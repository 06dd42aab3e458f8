//! Values as WAVE, the text form of component values: `{depth: 3, name: "a"}`, `[1, 2]`, `some(ok(red))`.
//!
//! The grammar is that of the `wasm-wave` crate, whose own reader and writer the tests compare with. This one is driven by
//! the type: errors name the place, lists of numbers never become a tree, nesting is bounded. It adds what that
//! grammar leaves open: a map is a list of pairs, `[("a", 1), ("b", 2)]`; a handle or stream is its number; an empty
//! tuple is `()`.
//!
//! As there, `some(…)` and `ok(…)` may be left out around anything but an option or result, and a record's fields that are
//! options may be left out.

mod read;
mod write;

use std::borrow::Cow;

use crate::{Error, Limits, Type, Value};

/// The value this WAVE text spells.
pub fn parse(ty: &Type, text: &str, limits: &Limits) -> Result<Value, Error> {
    read::parse(ty, text, limits)
}

/// Wire bytes as WAVE.
pub fn to_string(ty: &Type, wire: &[u8], limits: &Limits) -> Result<String, Error> {
    write::to_string(ty, wire, limits)
}

/// A value as WAVE.
pub fn print(ty: &Type, value: &Value, limits: &Limits) -> Result<String, Error> {
    to_string(ty, &ty.encode(value, limits)?, limits)
}

/// The name of a case or a flag as it is written: `%none`, where it would be read as something else.
pub fn case(name: &str) -> Cow<'_, str> {
    if KEYWORDS.contains(&name) {
        Cow::Owned(format!("%{name}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// The labels that WAVE reads as something else, so that a case of this name is written `%name`.
const KEYWORDS: [&str; 8] = ["true", "false", "some", "none", "ok", "err", "inf", "nan"];
