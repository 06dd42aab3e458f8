//! Durations and sizes as people write and read them. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number of bytes given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// Reads `500ms`, `5s`, `1.5h`, `1m30s`.
///
/// # Errors
/// A unit is missing or unknown, the number is not one, or the whole is under a millisecond: limits
/// count in milliseconds and zero would mean "not set".
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
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
    let duration =
        Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is too long"))?;
    if duration < Duration::from_millis(1) {
        return Err(format!("`{text}` is too short; the least is 1ms"));
    }
    Ok(duration)
}

/// Reads `512MiB`, `64k`, `1.5GB`, `1000` (bytes).
///
/// # Errors
/// The number or unit is not one, or the whole is zero, which would mean "not set".
pub(crate) fn parse_bytes(text: &str) -> Result<Bytes, String> {
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
    // 2^53: every whole number below is exact in an f64, and no machine holds 9 petabytes.
    if bytes > 9_007_199_254_740_992.0 {
        return Err(format!("`{text}` is too large"));
    }
    if bytes < 1.0 {
        return Err(format!("`{text}` is too small; the least is one byte"));
    }
    Ok(Bytes(bytes as u64))
}

/// Reads a count that must not be zero, which would mean "not set".
pub(crate) fn parse_count(text: &str) -> Result<u32, String> {
    refuse_negative(text, "a count")?;
    match text.trim().parse::<u32>() {
        Ok(0) => Err("the least is 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("`{text}` is not a whole number up to {}", u32::MAX)),
    }
}

/// What is wrong with `-5s` is not how it is written.
fn refuse_negative(text: &str, what: &str) -> Result<(), String> {
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

/// `1.2 MiB`; exact below 1 KiB.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Three significant figures with their unit: `340 ns`, `12.3 µs`, `1.25 s`, `2 m 05 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos < 1_000 {
        return format!("{nanos} ns");
    }
    let seconds = duration.as_secs_f64();
    for (unit, scale, limit) in [("µs", 1e6, 999.5), ("ms", 1e3, 999.5), ("s", 1.0, 59.95)] {
        let value = seconds * scale;
        if value < limit {
            return format!("{} {unit}", three_figures(value));
        }
    }
    let whole = seconds.round() as u64;
    match whole {
        0..3_600 => format!("{} m {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

fn three_figures(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A running clock: `0:38`, `12:04`, `1:00:38`.
pub(crate) fn clock(duration: Duration) -> String {
    let s = duration.as_secs();
    match s / 3_600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s % 3_600 / 60, s % 60),
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 function`, `3 functions`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// A point in time as `2026-08-21 14:03:22Z`; one before 1970 as 1970.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let seconds = unix_ms(at) / 1000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        of_day / 3_600,
        of_day % 3_600 / 60,
        of_day % 60
    )
}

/// Milliseconds since 1970, as `--json` shows times.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Days since 1970-01-01 to a Gregorian date, counting in 400-year eras that start on 1 March
/// (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era_day = z % 146_097;
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = z / 146_097 * 400 + era_year + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_with_units_and_compounds() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration(" 2 m "), Ok(Duration::from_secs(120)));
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
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("5").unwrap_err(),
            "`5` has no unit; write `5s` or `5ms`"
        );
    }

    /// Naming a unit would lead to the next refusal.
    #[test]
    fn no_time_at_all_is_told_so_at_once() {
        for text in ["0", "0s", "0.0"] {
            assert_eq!(
                parse_duration(text).unwrap_err(),
                format!("`{text}` is too short; the least is 1ms")
            );
        }
    }

    #[test]
    fn sizes_read_binary_and_decimal_units() {
        assert_eq!(parse_bytes("512MiB"), Ok(Bytes(512 << 20)));
        assert_eq!(parse_bytes("64k"), Ok(Bytes(64 << 10)));
        assert_eq!(parse_bytes("1.5GB"), Ok(Bytes(1_500_000_000)));
        assert_eq!(parse_bytes("1MiB/s"), Ok(Bytes(1 << 20)));
        assert_eq!(parse_bytes("1000"), Ok(Bytes(1000)));
        for text in ["", "MiB", "0", "1TiBs", "-1", "99999999999GiB", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_print_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(duration(Duration::from_nanos(340)), "340 ns");
        assert_eq!(duration(Duration::from_nanos(12_345)), "12.3 µs");
        assert_eq!(duration(Duration::from_millis(1250)), "1.25 s");
        assert_eq!(duration(Duration::from_micros(999_900)), "1.00 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 m 05 s");
        assert_eq!(clock(Duration::from_secs(38)), "0:38");
        assert_eq!(clock(Duration::from_secs(3638)), "1:00:38");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "call"), "1 call");
    }

    #[test]
    fn dates_follow_the_calendar() {
        let at = |ms| timestamp(UNIX_EPOCH + Duration::from_millis(ms));
        assert_eq!(at(0), "1970-01-01 00:00:00Z");
        assert_eq!(at(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(at(1_787_321_002_123), "2026-08-21 14:03:22Z");
    }
}
