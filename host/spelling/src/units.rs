//! Durations and sizes as people write them. Errors are sentences about the text.

use std::time::Duration;

/// A year: no call is meant to run longer, and every clock can add it.
const MAX_SECONDS: f64 = 31_536_000.0;
/// 2^53: whole numbers below are exact in an `f64`, and no machine holds 8 PiB.
const MAX_BYTES: f64 = 9_007_199_254_740_992.0;

/// Reads `500ms`, `5s`, `1.5h`, `1m30s`.
///
/// # Errors
/// A unit is missing or unknown, the number is not one, or the whole is under a millisecond, since limits count in
/// milliseconds and zero would mean "not set", or over a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
        ("d", 86_400.0),
    ];
    refuse_negative(text, "a duration")?;
    let mut rest = text.trim();
    let mut seconds = 0.0;
    loop {
        let (number, after) = split_number(rest)
            .ok_or_else(|| format!("`{text}` is not a duration; write `500ms`, `5s` or `1m30s`"))?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, tail) = after.split_at(end);
        let scale = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .map(|(_, scale)| scale)
            .ok_or_else(|| match unit.trim() {
                "" if number == 0.0 => format!("`{text}` is too short; the least is 1ms"),
                "" => format!("`{text}` has no unit; write `{text}s` or `{text}ms`"),
                unit => format!("unit `{unit}` is not known; use ms, s, m, h or d"),
            })?;
        seconds += number * scale;
        rest = tail.trim_start();
        if rest.is_empty() {
            break;
        }
    }
    if seconds < 0.001 {
        return Err(format!("`{text}` is too short; the least is 1ms"));
    }
    if seconds > MAX_SECONDS {
        return Err(format!("`{text}` is too long; the most is 365d"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads `512MiB`, `64k`, `1.5GB`, `1000` (bytes).
///
/// # Errors
/// The number or unit is not one, the whole is zero, which would mean "not set", or too large.
pub fn bytes(text: &str) -> Result<u64, String> {
    refuse_negative(text, "a size")?;
    let (number, unit) = split_number(text.trim())
        .ok_or_else(|| format!("`{text}` is not a size; write `512MiB`, `64KiB` or `1GB`"))?;
    let unit = unit.trim();
    let scale: f64 = match unit.trim_end_matches("/s").to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "ki" | "kib" => 1024.0,
        "m" | "mi" | "mib" => 1024.0 * 1024.0,
        "g" | "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => {
            return Err(format!(
                "unit `{unit}` is not known; use B, KiB, MiB, GiB, kB, MB or GB"
            ));
        }
    };
    let bytes = number * scale;
    if bytes > MAX_BYTES {
        return Err(format!("`{text}` is too large"));
    }
    if bytes < 1.0 {
        return Err(format!("`{text}` is too small; the least is one byte"));
    }
    Ok(bytes as u64)
}

/// What is wrong with `-5s` is not how it is written.
///
/// # Errors
/// The text is a negative number; `what` is what cannot be one.
pub fn refuse_negative(text: &str, what: &str) -> Result<(), String> {
    let digits = text.trim().strip_prefix('-');
    let negative = digits.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match negative {
        true => Err(format!("`{text}` is negative, which {what} cannot be")),
        false => Ok(()),
    }
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_with_units_and_compounds() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration(" 2 m "), Ok(Duration::from_secs(120)));
        assert_eq!(duration("365d"), Ok(Duration::from_secs(31_536_000)));
    }

    /// A bare `5` could be seconds or milliseconds; guessing wrong is off by a thousand.
    #[test]
    fn durations_without_or_with_a_wrong_unit_are_refused() {
        for text in [
            "5",
            "",
            "s",
            "5 parsecs",
            "0s",
            "0.1ms",
            "-1s",
            "1e400s",
            "5s3",
            "5s!",
            "366d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        let error = duration("5").unwrap_err();
        assert_eq!(error, "`5` has no unit; write `5s` or `5ms`");
    }

    /// Naming a unit would lead to the next refusal.
    #[test]
    fn no_time_at_all_is_told_so_at_once() {
        for text in ["0", "0s", "0.0"] {
            let error = duration(text).unwrap_err();
            assert_eq!(error, format!("`{text}` is too short; the least is 1ms"));
        }
    }

    #[test]
    fn sizes_read_binary_and_decimal_units() {
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(bytes("64k"), Ok(64 << 10));
        assert_eq!(bytes("1.5GB"), Ok(1_500_000_000));
        assert_eq!(bytes("1MiB/s"), Ok(1 << 20));
        assert_eq!(bytes("1000"), Ok(1000));
        for text in [
            "",
            "MiB",
            "0",
            "0B",
            "1TiBs",
            "-1",
            "99999999999GiB",
            "1.2.3",
            "1MiB2",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
