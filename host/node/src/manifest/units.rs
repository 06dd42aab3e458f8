//! Durations, sizes and lists as manifests write them.

use super::Problem;
use serde_json::Value;
use std::time::Duration;

const DURATION: [(&str, f64); 5] = [
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

const SIZE: [(&str, f64); 9] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("k", 1024.0),
    ("M", 1_048_576.0),
];

/// A year: no call is meant to run longer, and every clock can add it.
const MAX_SECONDS: f64 = 31_536_000.0;
/// 2^53: whole numbers below are exact in an `f64`.
const MAX_BYTES: f64 = 9_007_199_254_740_992.0;

/// `500ms`, `5s`, `1.5h`, `1m30s`.
pub(super) fn duration(value: &Value) -> Result<Duration, Problem> {
    let wrong =
        || Problem::new("is not a duration").hint("write it as \"500ms\", \"5s\" or \"1m30s\"");
    let text = value.as_str().ok_or_else(wrong)?;
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, scale, after) = measure(rest, &DURATION).ok_or_else(wrong)?;
        seconds += number * scale;
        rest = after;
    }
    // Limits count milliseconds and zero would mean "not set".
    if !(0.001..=MAX_SECONDS).contains(&seconds) {
        return Err(Problem::new(format!(
            "`{text}` is not between 1ms and 365d"
        )));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// `512MiB`, `64KiB`, `1GB`, or a number of bytes.
pub(super) fn bytes(value: &Value) -> Result<u64, Problem> {
    let wrong =
        || Problem::new("is not a size").hint("write it as \"512MiB\", \"64KiB\" or \"1GB\"");
    let bytes = match value {
        Value::Number(number) => number.as_u64().ok_or_else(wrong)? as f64,
        Value::String(text) => match measure(text.trim(), &SIZE) {
            Some((number, scale, "")) => number * scale,
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    if !(1.0..=MAX_BYTES).contains(&bytes) {
        return Err(Problem::new("is not between one byte and 8 PiB"));
    }
    Ok(bytes as u64)
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

/// A number, the scale of its unit, and what follows.
fn measure<'a>(text: &'a str, units: &[(&str, f64)]) -> Option<(f64, f64, &'a str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    Some((number, scale, after.trim_start()))
}
