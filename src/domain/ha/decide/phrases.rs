//! Pieces of sentences.

use crate::domain::ids::MemberId;
use std::time::Duration;

/// `1.5 s`, `42 s`, `3 min`, `5 h`: as exact as a reader needs.
pub(super) fn for_time(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// `the standby 0123456789ab`: the digits are those in the names of its container and volume.
pub(super) fn member(role: &str, id: Option<&MemberId>) -> String {
    id.map_or_else(|| role.to_owned(), |id| format!("{role} {}", id.short()))
}

pub(super) fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}
