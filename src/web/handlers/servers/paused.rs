//! What every page of a stopped server says: since when, and when it starts by itself.

use crate::domain::power::{self, Pause};
use crate::domain::server::Server;
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::{DateTime, Duration, Utc};

/// The banner of a stopped server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    pub since: Stamp,
    /// "2 d 3 h ago"
    pub ago: String,
    pub starts_at: Stamp,
    /// "in 4 d 21 h"
    pub left: String,
    /// Less than a day is left.
    pub is_near: bool,
}

impl Paused {
    /// `None` for a server that is not stopped, or on which something is under way: that has a banner of its own.
    pub fn of(server: &Server, now: DateTime<Utc>) -> Option<Self> {
        let pause = power::pause(server, now).filter(|_| server.active.is_none())?;
        Some(Self::new(pause, now))
    }

    fn new(pause: Pause, now: DateTime<Utc>) -> Self {
        let left = pause.starts_at - now;
        Self {
            since: Stamp(pause.since),
            ago: ago_text(pause.since, now),
            starts_at: Stamp(pause.starts_at),
            left: match left > Duration::zero() {
                true => {
                    format!("in {}", duration_text(Duration::minutes(left.num_minutes().max(1))))
                }
                false => "within minutes".into(),
            },
            is_near: pause.is_near,
        }
    }

    /// CSS class of the banner.
    pub fn class(&self) -> &'static str {
        if self.is_near { "banner-warn" } else { "banner-info" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_is_told_louder() {
        let since = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let at = |after: Duration| {
            let starts_at = power::starts_at(since);
            let now = since + after;
            let is_near = now >= starts_at - power::NOTICE_BEFORE;
            Paused::new(Pause { since, starts_at, is_near }, now)
        };
        let early = at(Duration::hours(51));
        assert_eq!((&*early.ago, &*early.left), ("2 d 3 h ago", "in 4 d 21 h"));
        assert_eq!((early.class(), at(Duration::days(6)).class()), ("banner-info", "banner-warn"));
        assert_eq!(at(Duration::days(8)).left, "within minutes");
    }
}
