//! Formatting of money, counts, times and bars for people. Scripts read JSON instead.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::terms::NanoUsd;

/// Formats exact US dollars: `$0.000123`.
pub(super) fn dollars(amount: NanoUsd) -> String {
    match amount.to_string().strip_prefix('-') {
        Some(positive) => format!("-${positive}"),
        None => format!("${amount}"),
    }
}

/// Formats a count with thousands separators: `1,234,567`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Formats Unix milliseconds as local time with offset: `2026-08-01T14:00:00+02:00`.
pub(super) fn local_time(milliseconds: i64) -> String {
    time_in(milliseconds, TimeZone::system())
}

fn time_in(milliseconds: i64, zone: TimeZone) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) => time.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => milliseconds.to_string(),
    }
}

/// Returns a bar of `width` cells times `value / largest`, in steps of an eighth of a cell.
pub(super) fn bar(value: i64, largest: i64, width: u32) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if value <= 0 || largest <= 0 {
        return String::new();
    }
    let cells = i128::from(width) * 8;
    let eighths = (i128::from(value.min(largest)) * cells / i128::from(largest)).max(1);
    let (full, rest) = (usize::try_from(eighths / 8).unwrap_or(0), usize::try_from(eighths % 8).unwrap_or(0));
    "█".repeat(full) + EIGHTHS.get(rest).copied().unwrap_or("")
}

/// Formats a duration: `480 ms`, `2.5 s`, `1 min 1 s`.
pub(super) fn milliseconds(milliseconds: i64) -> String {
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_the_last_billionth() {
        assert_eq!(dollars(NanoUsd(123_000)), "$0.000123");
        assert_eq!(dollars(NanoUsd(-1)), "-$0.000000001");
        assert_eq!(dollars(NanoUsd(0)), "$0");
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678"), (-1_234, "-1,234")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(i64::MIN), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn times_carry_their_offset() {
        assert_eq!(time_in(0, TimeZone::UTC), "1970-01-01T00:00:00+00:00");
        assert_eq!(time_in(i64::MAX, TimeZone::UTC), i64::MAX.to_string());
    }

    #[test]
    fn a_bar_is_never_empty_for_a_positive_value_and_never_overflows() {
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 3), "█▌");
        assert_eq!(bar(1, i64::MAX, 4), "▏");
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(i64::MAX, 1, 2), "██");
    }

    #[test]
    fn durations_use_the_largest_fitting_unit() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (2_540, "2.5 s"), (61_000, "1 min 1 s")] {
            assert_eq!(milliseconds(ms), text);
        }
    }
}
