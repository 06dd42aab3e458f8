//! Durations, sizes and lists as manifests write them.

use super::Problem;
use lydian_value::units;
use serde_json::Value;
use std::time::Duration;

/// `500ms`, `5s`, `1.5h`, `1m30s`.
pub(super) fn duration(value: &Value) -> Result<Duration, Problem> {
    let wrong =
        || Problem::new("is not a duration").hint("write it as \"500ms\", \"5s\" or \"1m30s\"");
    let text = value.as_str().ok_or_else(wrong)?;
    units::duration(text).map_err(|why| match is_out_of_range(&why) {
        true => Problem::new(format!("`{text}` is not between 1ms and 365d")),
        false => wrong(),
    })
}

/// `512MiB`, `64KiB`, `1GB`, or a number of bytes.
pub(super) fn bytes(value: &Value) -> Result<u64, Problem> {
    let wrong =
        || Problem::new("is not a size").hint("write it as \"512MiB\", \"64KiB\" or \"1GB\"");
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(wrong()),
    };
    units::bytes(&text).map_err(|why| match is_out_of_range(&why) {
        true => Problem::new("is not between one byte and 8 PiB"),
        false => wrong(),
    })
}

/// It is written well, and too much or too little.
fn is_out_of_range(why: &str) -> bool {
    why.contains("` is too ")
}

/// A whole number from 1.
pub(super) fn count(value: &Value) -> Result<u32, Problem> {
    value
        .as_u64()
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or_else(|| Problem::new(format!("is not a whole number from 1 to {}", u32::MAX)))
}

pub(super) fn string(value: &Value) -> Result<&str, Problem> {
    value
        .as_str()
        .ok_or_else(|| Problem::new("is not a string"))
}

pub(super) fn strings(value: &Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::new("is not a list of strings");
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}
