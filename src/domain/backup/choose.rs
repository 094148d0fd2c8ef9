//! From which backup a restore begins.

use super::window::{Refused, check, window};
use super::{Backup, Gap, Protection, RestoreTarget};
use chrono::Duration;

/// The backup that a restore begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub label: String,
    /// Bytes of the data directory.
    pub bytes: u64,
}

/// Chooses the backup from which a target in a repository is reached. `wanted` is the label of one that a person
/// chose; it must lead there too.
///
/// # Errors
/// The reason why the target cannot be reached, and the nearest moment that can.
pub fn choose(
    protection: &Protection,
    repository: i64,
    target: &RestoreTarget,
    wanted: Option<&str>,
) -> Result<Chosen, Refused> {
    let all: Vec<Backup> =
        protection.backups.iter().filter(|one| one.repository == repository).cloned().collect();
    let gaps: Vec<Gap> =
        protection.gaps.iter().filter(|gap| gap.repository == repository).cloned().collect();
    let whole = protection.window_of(repository);
    check(&whole, &all, target)?;
    let good: Vec<&Backup> = all.iter().filter(|one| one.is_good()).collect();
    let Some(wanted) = wanted else {
        let found = by_itself(&good, &gaps, target);
        return found.map(chosen).ok_or_else(|| refused("No backup leads there.", &whole));
    };
    let one = good.iter().find(|one| one.label == wanted);
    let one = one.ok_or_else(|| refused(&format!("There is no backup {wanted}."), &whole))?;
    // What that one alone reaches.
    let own = window(std::slice::from_ref(*one), protection.archive.until, &gaps);
    check(&own, std::slice::from_ref(*one), target)?;
    Ok(chosen(one))
}

fn chosen(one: &Backup) -> Chosen {
    Chosen { label: one.label.clone(), bytes: one.bytes }
}

fn refused(reason: &str, whole: &super::Window) -> Refused {
    Refused { reason: reason.to_owned(), nearest: whole.latest() }
}

/// `good`: newest first.
fn by_itself<'a>(good: &[&'a Backup], gaps: &[Gap], target: &RestoreTarget) -> Option<&'a Backup> {
    let newest = |fits: &dyn Fn(&Backup) -> bool| good.iter().copied().find(|one| fits(one));
    match target {
        RestoreTarget::Latest => newest(&|_| true),
        RestoreTarget::Moment { at } => {
            // Its end is on record in whole seconds, cut off: within that second only an older one is sure to do.
            let sure = newest(&|one| one.ended_at + Duration::seconds(1) <= *at);
            sure.or_else(|| newest(&|one| one.ended_at <= *at))
        }
        RestoreTarget::Place { lsn } => newest(&|one| one.lsn.1 <= *lsn),
        RestoreTarget::Backup { label } => newest(&|one| one.label == *label),
        // When it was made is not known: the oldest from which the log goes on without a gap.
        RestoreTarget::Point { .. } => {
            let last_gap = gaps.iter().map(|gap| gap.ended_at.unwrap_or(gap.began_at)).max();
            let after = |one: &&&Backup| last_gap.is_none_or(|gap| one.started_at >= gap);
            let oldest = good.iter().rev().find(after);
            oldest.copied().or_else(|| newest(&|_| true))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Archive, BackupType};
    use super::*;
    use crate::domain::ha::Lsn;
    use chrono::{DateTime, Utc};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn backup(label: &str, ended: i64, failure: &str) -> Backup {
        Backup {
            repository: 1,
            label: label.into(),
            kind: BackupType::Full,
            name: String::new(),
            started_at: at(ended - 5),
            ended_at: at(ended),
            bytes: 7,
            stored_bytes: 1,
            wal: (String::new(), String::new()),
            lsn: (Lsn(ended as u64), Lsn(ended as u64)),
            based_on: None,
            verified_at: None,
            failure: failure.into(),
            operation_id: None,
            copied_from: None,
        }
    }

    fn protection(gaps: Vec<Gap>) -> Protection {
        let elsewhere = Backup { repository: 2, ..backup("far", 95, "") };
        Protection {
            archive: Archive { until: Some(at(100)), ..Archive::default() },
            backups: vec![
                elsewhere,
                backup("third", 80, ""),
                backup("broken", 60, "damaged"),
                backup("second", 40, ""),
                backup("first", 20, ""),
            ],
            gaps,
            ..Protection::default()
        }
    }

    fn chosen(target: &RestoreTarget, wanted: Option<&str>, gaps: Vec<Gap>) -> Option<String> {
        choose(&protection(gaps), 1, target, wanted).ok().map(|one| one.label)
    }

    fn moment(second: i64) -> RestoreTarget {
        RestoreTarget::Moment { at: at(second) }
    }

    #[test]
    fn the_newest_good_one_before_the_target_is_chosen() {
        let by = |target| chosen(&target, None, vec![]).unwrap();
        assert_eq!(by(RestoreTarget::Latest), "third");
        assert_eq!(by(moment(79)), "second", "the broken one is passed over");
        assert_eq!(by(moment(80)), "second", "within the second of its end it may not do");
        assert_eq!(by(moment(81)), "third");
        assert_eq!(by(moment(20)), "first", "there is no older one");
        assert_eq!(by(RestoreTarget::Place { lsn: Lsn(40) }), "second");
        assert_eq!(by(RestoreTarget::Backup { label: "first".into() }), "first");
        assert_eq!(chosen(&RestoreTarget::Backup { label: "broken".into() }, None, vec![]), None);
        assert_eq!(chosen(&moment(19), None, vec![]), None);
        assert_eq!(chosen(&moment(101), None, vec![]), None);
    }

    #[test]
    fn a_named_point_is_looked_for_from_the_oldest_on() {
        let point = RestoreTarget::Point { name: "x".into() };
        assert_eq!(chosen(&point, None, vec![]).unwrap(), "first");
        let gap =
            Gap { repository: 1, began_at: at(25), ended_at: Some(at(30)), reason: "x".into() };
        assert_eq!(chosen(&point, None, vec![gap]).unwrap(), "second");
    }

    #[test]
    fn one_that_a_person_chose_must_lead_there() {
        assert_eq!(chosen(&moment(90), Some("first"), vec![]).unwrap(), "first");
        assert_eq!(chosen(&moment(30), Some("second"), vec![]), None);
        assert_eq!(chosen(&moment(90), Some("broken"), vec![]), None);
        assert_eq!(chosen(&moment(90), Some("far"), vec![]), None, "it is in another repository");
        let gap =
            Gap { repository: 1, began_at: at(25), ended_at: Some(at(30)), reason: "x".into() };
        assert_eq!(chosen(&moment(90), Some("first"), vec![gap]), None, "a gap lies between");
    }
}
