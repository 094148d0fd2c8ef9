//! A stopped server starts again by itself: when, and from when on people are told.

use super::server::{Server, SettledState};
use chrono::{DateTime, Duration, Utc};

/// Longest time that a server stays stopped.
pub const STOPPED_MAX: Duration = Duration::days(7);
/// How long before the start people are told.
pub const NOTICE_BEFORE: Duration = Duration::days(1);
/// After a start by itself that failed, the next one waits.
pub const START_AGAIN_AFTER: Duration = Duration::hours(1);

/// When a server that was stopped at a time starts by itself.
pub fn starts_at(stopped_at: DateTime<Utc>) -> DateTime<Utc> {
    stopped_at + STOPPED_MAX
}

/// A stopped server at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub since: DateTime<Utc>,
    pub starts_at: DateTime<Utc>,
    /// Less than a day is left.
    pub is_near: bool,
}

/// Since when a server is stopped and until when; `None` when it is not.
pub fn pause(server: &Server, now: DateTime<Utc>) -> Option<Pause> {
    let since = server.stopped_at.filter(|_| server.settled == SettledState::Stopped)?;
    let starts_at = starts_at(since);
    Some(Pause { since, starts_at, is_near: now >= starts_at - NOTICE_BEFORE })
}
