//! When the next backup is due. Decided from what is there, so that whatever was missed is caught up.

use super::{Backup, BackupType, Retention};
use chrono::{DateTime, Duration, Utc};

/// A full backup at least so often: retention by days needs them.
pub const FULL_EVERY: Duration = Duration::days(7);
/// A backup of any type at least so often.
pub const TAKE_EVERY: Duration = Duration::days(1);
/// Wait after a first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::minutes(5);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::hours(4);

/// Backups that were tried since the last good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub failures: u32,
    /// When the last of them ended.
    pub ended_at: DateTime<Utc>,
}

/// A backup that is due, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub kind: BackupType,
    /// For people.
    pub reason: &'static str,
}

/// What is due now in one repository. `backups`: those in it, in any order; `gap`: when the last gap of its log ended;
/// `failed`: what was tried since the last good one.
pub fn due(
    now: DateTime<Utc>,
    backups: &[Backup],
    gap: Option<DateTime<Utc>>,
    failed: Option<Attempt>,
) -> Option<Due> {
    if failed.is_some_and(|attempt| now < attempt.ended_at + wait_after(attempt.failures)) {
        return None;
    }
    let good = || backups.iter().filter(|one| one.is_good());
    let full = good().filter(|one| one.kind == BackupType::Full).map(|one| one.started_at).max();
    let newest = good().map(|one| one.started_at).max();
    let (kind, reason) = match (full, newest) {
        (None, _) => (BackupType::Full, "there is no full backup yet"),
        (_, Some(newest)) if gap.is_some_and(|gap| newest < gap) => {
            (BackupType::Full, "the log has a gap since the last one")
        }
        (Some(full), _) if now - full >= FULL_EVERY => {
            (BackupType::Full, "the last full backup is seven days old")
        }
        (_, Some(newest)) if now - newest >= TAKE_EVERY => {
            (BackupType::Differential, "the last backup is a day old")
        }
        _ => return None,
    };
    Some(Due { kind, reason })
}

/// Whether what is older than the retention may be removed now. pgBackRest keeps the newest full backup that is as old
/// as the retention, and the log from there on, whatever we found out about that backup: it must be a good one.
pub fn may_expire(backups: &[&Backup], retention: Retention, now: DateTime<Utc>) -> bool {
    let limit = now - Duration::days(retention.as_days());
    let fulls = backups.iter().filter(|one| one.kind == BackupType::Full);
    let pivot = fulls.filter(|one| one.ended_at <= limit).max_by_key(|one| one.ended_at);
    pivot.is_none_or(|one| one.is_good())
}

fn wait_after(failures: u32) -> Duration {
    let doubled = RETRY_FIRST * 2_i32.pow(failures.saturating_sub(1).min(10));
    doubled.min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ha::Lsn;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + hour * 3600, 0).unwrap()
    }

    fn backup(kind: BackupType, hour: i64) -> Backup {
        Backup {
            repository: 1,
            label: String::new(),
            kind,
            name: String::new(),
            started_at: at(hour),
            ended_at: at(hour),
            bytes: 1,
            stored_bytes: 1,
            wal: (String::new(), String::new()),
            lsn: (Lsn(0), Lsn(0)),
            based_on: None,
            verified_at: None,
            failure: String::new(),
            operation_id: None,
            copied_from: None,
        }
    }

    fn kind(
        now: i64,
        backups: &[Backup],
        gap: Option<i64>,
        failed: Option<Attempt>,
    ) -> Option<BackupType> {
        due(at(now), backups, gap.map(at), failed).map(|due| due.kind)
    }

    #[test]
    fn a_full_one_weekly_and_a_differential_one_daily() {
        use BackupType::{Differential, Full};
        assert_eq!(kind(0, &[], None, None), Some(Full));
        let full = backup(Full, 0);
        assert_eq!(kind(23, std::slice::from_ref(&full), None, None), None);
        assert_eq!(kind(24, std::slice::from_ref(&full), None, None), Some(Differential));
        let daily = backup(Differential, 24);
        assert_eq!(kind(47, &[full.clone(), daily.clone()], None, None), None);
        assert_eq!(kind(168, &[full.clone(), daily], None, None), Some(Full));
        assert_eq!(kind(3, std::slice::from_ref(&full), Some(2), None), Some(Full), "a gap");
        let bad = Backup { failure: "damaged".into(), ..full };
        assert_eq!(kind(1, &[bad], None, None), Some(Full), "one that is not whole does not count");
    }

    #[test]
    fn a_backup_that_is_not_good_pushes_none_out() {
        let bad = |hour| Backup { failure: "damaged".into(), ..backup(BackupType::Full, hour) };
        let (old, new) = (backup(BackupType::Full, 0), backup(BackupType::Full, 24));
        let may = |backups: &[&Backup]| may_expire(backups, Retention::default(), at(24 * 9));
        assert!(may(&[&old, &new]));
        assert!(!may(&[&old, &bad(24)]), "the retention would rest on a damaged one");
        assert!(may(&[&old, &new, &bad(24 * 8)]), "one that is younger pushes nothing out");
        assert!(may(&[]));
    }

    #[test]
    fn a_failed_one_is_tried_again_later_and_later_but_always() {
        let failed = |failures| Some(Attempt { failures, ended_at: at(0) });
        let first = |failures| {
            let minutes = (0..100_000).find(|minute| {
                due(at(0) + Duration::minutes(*minute), &[], None, failed(failures)).is_some()
            });
            minutes.unwrap()
        };
        assert_eq!([1, 2, 3, 6, 7, 1000].map(first), [5, 10, 20, 160, 240, 240]);
    }
}
