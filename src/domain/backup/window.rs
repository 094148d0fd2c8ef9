//! What can be restored: spans of time, from what a repository holds.

use super::{Backup, RestoreTarget};
use chrono::{DateTime, Utc};

/// A stretch of time to which nothing can be restored, because a piece of the log is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub repository: i64,
    pub began_at: DateTime<Utc>,
    /// `None` while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
    /// For people.
    pub reason: String,
}

/// Every moment from `from` to `to` can be restored, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// What can be restored, oldest first. Empty: nothing yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    pub spans: Vec<Span>,
}

impl Window {
    pub fn earliest(&self) -> Option<DateTime<Utc>> {
        self.spans.first().map(|span| span.from)
    }

    pub fn latest(&self) -> Option<DateTime<Utc>> {
        self.spans.last().map(|span| span.to)
    }
}

/// A target that cannot be reached, and the nearest moment that can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For people.
    pub reason: String,
    pub nearest: Option<DateTime<Utc>>,
}

/// What can be restored from good backups of one repository, when every commit until `until` is in its log but for the
/// gaps. A span begins where a backup ends: what it holds is of one moment only when the log until its end is replayed.
pub fn window(backups: &[Backup], until: Option<DateTime<Utc>>, gaps: &[Gap]) -> Window {
    let mut backups: Vec<&Backup> = backups.iter().collect();
    backups.sort_by_key(|one| one.ended_at);
    let mut spans: Vec<Span> = vec![];
    for one in backups {
        // The log that a backup needs begins with it.
        let next = gaps.iter().filter(|gap| gap.ended_at.is_none_or(|end| end > one.started_at));
        let stop = next.map(|gap| gap.began_at).min();
        let archived = until.unwrap_or(one.ended_at);
        let to = stop.map_or(archived, |stop| stop.min(archived)).max(one.ended_at);
        match spans.last_mut() {
            Some(last) if last.to >= one.ended_at => last.to = last.to.max(to),
            _ => spans.push(Span { from: one.ended_at, to }),
        }
    }
    Window { spans }
}

/// Whether a target can be reached; what is not known before the log is replayed passes.
///
/// # Errors
/// The reason, and the nearest moment that can be reached.
pub fn check(window: &Window, backups: &[Backup], target: &RestoreTarget) -> Result<(), Refused> {
    let (Some(earliest), Some(latest)) = (window.earliest(), window.latest()) else {
        let reason = "There is no backup yet that could be restored.".into();
        return Err(Refused { reason, nearest: None });
    };
    match target {
        RestoreTarget::Latest | RestoreTarget::Point { .. } => Ok(()),
        RestoreTarget::Moment { at } => check_moment(window, *at),
        RestoreTarget::Place { lsn } => {
            let first = backups.iter().filter(|one| one.is_good()).map(|one| one.lsn.1).min();
            match first.filter(|first| lsn < first) {
                None => Ok(()),
                Some(first) => Err(Refused {
                    reason: format!("{lsn} is before {first}, where the oldest backup ends."),
                    nearest: Some(earliest),
                }),
            }
        }
        RestoreTarget::Backup { label } => match backups.iter().find(|one| one.label == *label) {
            Some(one) if one.is_good() => Ok(()),
            Some(one) => Err(Refused {
                reason: format!("Backup {label} cannot be used: {}", one.failure),
                nearest: Some(latest),
            }),
            None => Err(Refused {
                reason: format!("There is no backup {label} any more."),
                nearest: Some(latest),
            }),
        },
    }
}

fn check_moment(window: &Window, at: DateTime<Utc>) -> Result<(), Refused> {
    let spans = &window.spans;
    if spans.iter().any(|span| span.from <= at && at <= span.to) {
        return Ok(());
    }
    let before = spans.iter().rev().find(|span| span.to < at).map(|span| span.to);
    let after = spans.iter().find(|span| span.from > at).map(|span| span.from);
    let reason = match (before, after) {
        (None, Some(first)) => {
            format!(
                "{} is before {}, the earliest moment that can be restored.",
                shown(at),
                shown(first)
            )
        }
        (Some(last), None) => {
            format!(
                "{} is after {}, until when the log is in the repository.",
                shown(at),
                shown(last)
            )
        }
        (Some(last), Some(first)) => format!(
            "{} lies in a gap of the log: nothing between {} and {} can be restored.",
            shown(at),
            shown(last),
            shown(first)
        ),
        (None, None) => "Nothing can be restored yet.".into(),
    };
    let nearest = match (before, after) {
        (Some(last), Some(first)) if first - at < at - last => Some(first),
        (before, after) => before.or(after),
    };
    Err(Refused { reason, nearest })
}

fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::BackupType;
    use super::*;
    use crate::domain::ha::Lsn;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn backup(began: i64, ended: i64) -> Backup {
        Backup {
            repository: 1,
            label: format!("label-{began}"),
            kind: BackupType::Full,
            name: String::new(),
            started_at: at(began),
            ended_at: at(ended),
            bytes: 1,
            stored_bytes: 1,
            wal: (String::new(), String::new()),
            lsn: (Lsn(100), Lsn(200)),
            based_on: None,
            verified_at: None,
            failure: String::new(),
            operation_id: None,
            copied_from: None,
        }
    }

    fn gap(began: i64, ended: Option<i64>) -> Gap {
        Gap { repository: 1, began_at: at(began), ended_at: ended.map(at), reason: "x".into() }
    }

    fn spans(window: &Window) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        window.spans.iter().map(|span| (span.from, span.to)).collect()
    }

    #[test]
    fn a_window_is_whole_without_gaps_and_cut_by_them() {
        let backups = [backup(0, 5), backup(60, 65)];
        assert_eq!(spans(&window(&backups, Some(at(100)), &[])), [(at(5), at(100))]);
        let cut = window(&backups, Some(at(100)), &[gap(30, Some(40))]);
        assert_eq!(spans(&cut), [(at(5), at(30)), (at(65), at(100))]);
        let open = window(&backups, Some(at(100)), &[gap(70, None)]);
        assert_eq!(spans(&open), [(at(5), at(70))]);
        let during = window(&backups, Some(at(100)), &[gap(62, Some(63))]);
        assert_eq!(
            spans(&during),
            [(at(5), at(62)), (at(65), at(65))],
            "the backup is whole by itself"
        );
        assert_eq!(spans(&window(&backups, None, &[])), [(at(5), at(5)), (at(65), at(65))]);
        assert_eq!(spans(&window(&[], Some(at(100)), &[])), []);
    }

    #[test]
    fn a_moment_outside_is_refused_with_the_nearest_one() {
        let backups = [backup(0, 5), backup(60, 65)];
        let cut = window(&backups, Some(at(100)), &[gap(30, Some(40))]);
        let nearest = |minute| {
            let target = RestoreTarget::Moment { at: at(minute) };
            check(&cut, &backups, &target).map_err(|refused| refused.nearest)
        };
        for inside in [5, 30, 65, 100] {
            assert_eq!(nearest(inside), Ok(()));
        }
        assert_eq!(nearest(4), Err(Some(at(5))));
        assert_eq!(nearest(101), Err(Some(at(100))));
        assert_eq!(nearest(31), Err(Some(at(30))));
        assert_eq!(nearest(60), Err(Some(at(65))));
    }

    #[test]
    fn what_is_not_there_or_not_whole_is_refused() {
        let bad = Backup { failure: "a file is damaged".into(), ..backup(0, 5) };
        let backups = [bad, backup(60, 65)];
        let window = window(&backups[1..], Some(at(100)), &[]);
        let check = |target| check(&window, &backups, &target).is_ok();
        assert!(check(RestoreTarget::Backup { label: "label-60".into() }));
        assert!(!check(RestoreTarget::Backup { label: "label-0".into() }));
        assert!(!check(RestoreTarget::Backup { label: "label-7".into() }));
        assert!(check(RestoreTarget::Place { lsn: Lsn(200) }));
        assert!(!check(RestoreTarget::Place { lsn: Lsn(199) }));
        assert!(check(RestoreTarget::Latest));
        let none = super::check(&Window::default(), &[], &RestoreTarget::Latest);
        assert_eq!(none.unwrap_err().nearest, None);
    }
}
