//! Times on pages: UTC in words, with the machine-readable form beside it. The script adds the
//! reader's own zone; without it nothing is missing.

use askama::filters::HtmlSafe;
use chrono::{DateTime, Duration, Utc};
use std::fmt;

/// A time as a page shows it: `{{ server.created }}` gives `<time datetime="…">…</time>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub DateTime<Utc>);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.0.format("%Y-%m-%dT%H:%M:%SZ");
        write!(f, r#"<time datetime="{machine}">{} UTC</time>"#, self.0.format("%Y-%m-%d %H:%M:%S"))
    }
}

// Digits and fixed markup only.
impl HtmlSafe for Stamp {}

impl From<DateTime<Utc>> for Stamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

/// Only the time of day, for lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTime(pub DateTime<Utc>);

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        write!(
            f,
            r#"<time datetime="{machine}" data-short>{}</time>"#,
            self.0.format("%H:%M:%S%.3f")
        )
    }
}

impl HtmlSafe for ClockTime {}

/// A length of time in words: `under 0.1 s`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 2 h`.
pub fn duration_text(length: Duration) -> String {
    let millis = length.num_milliseconds().max(0);
    let seconds = millis / 1000;
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    if millis < 100 {
        return "under 0.1 s".into();
    }
    match seconds {
        0..=9 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..=59 => format!("{seconds} s"),
        60..=3599 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..=86_399 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// How long ago, for observations: `12 s ago`; the future (clocks differ) is `just now`.
pub fn ago_text(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if now - then < Duration::seconds(1) {
        return "just now".into();
    }
    let whole = Duration::seconds((now - then).num_seconds());
    if whole < Duration::seconds(10) {
        return format!("{} s ago", whole.num_seconds());
    }
    format!("{} ago", duration_text(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lengths_read_well() {
        let time = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        assert_eq!(
            Stamp(time).to_string(),
            r#"<time datetime="2026-09-21T14:13:20Z">2026-09-21 14:13:20 UTC</time>"#
        );
        for (millis, text) in [
            (40, "under 0.1 s"),
            (412, "0.4 s"),
            (12_000, "12 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (352_800_000, "4 d 2 h"),
        ] {
            assert_eq!(duration_text(Duration::milliseconds(millis)), text);
        }
        assert_eq!(ago_text(time, time), "just now");
        assert_eq!(ago_text(time - Duration::seconds(3), time), "3 s ago");
    }
}
