//! Durations and sizes as people write and read them. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number of bytes given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// Reads `500ms`, `5s`, `1.5h`, `1m30s`.
///
/// # Errors
/// As of [`lydian_value::units::duration`].
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    lydian_value::units::duration(text)
}

/// Reads `512MiB`, `64k`, `1.5GB`, `1000` (bytes).
///
/// # Errors
/// As of [`lydian_value::units::bytes`].
pub(crate) fn parse_bytes(text: &str) -> Result<Bytes, String> {
    lydian_value::units::bytes(text).map(Bytes)
}

/// Reads a count that must not be zero, which would mean "not set".
pub(crate) fn parse_count(text: &str) -> Result<u32, String> {
    lydian_value::units::refuse_negative(text, "a count")?;
    match text.trim().parse::<u32>() {
        Ok(0) => Err("the least is 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("`{text}` is not a whole number up to {}", u32::MAX)),
    }
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
