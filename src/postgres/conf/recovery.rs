//! The part of `postgresql.conf` by which a member recovers from an archive. It stands behind all else, and goes as soon
//! as the recovery is over.

use super::Group;
use super::values::Value::{Text, Word};
use crate::domain::ha::Lsn;
use chrono::{DateTime, Utc};

/// How far a recovery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// To the end of the log.
    End,
    /// Behind the last commit that is not later.
    Moment(DateTime<Utc>),
    Place(Lsn),
    /// A restore point of this name.
    Point(String),
    /// As soon as what the backup holds is of one moment.
    Consistent,
}

/// A recovery from an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// By which PostgreSQL fetches a piece of the log.
    pub restore_command: String,
    pub target: RecoveryTarget,
}

impl Recovery {
    /// The lines, to be put behind a rendered `postgresql.conf`.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        super::push_group(&mut text, "Recovery", self.group());
        text
    }

    fn group(&self) -> Group {
        let mut group = vec![
            ("restore_command", Text(self.restore_command.clone())),
            ("recovery_target_timeline", Text("latest".into())),
            ("recovery_target_action", Text("promote".into())),
            // Nobody reads before it is over. So PostgreSQL does not ask for as many connections as the source had when
            // it wrote the log.
            ("hot_standby", Word("off")),
        ];
        group.extend(match &self.target {
            RecoveryTarget::End => None,
            RecoveryTarget::Moment(at) => {
                let at = at.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
                Some(("recovery_target_time", Text(at)))
            }
            RecoveryTarget::Place(lsn) => Some(("recovery_target_lsn", Text(lsn.to_string()))),
            RecoveryTarget::Point(name) => Some(("recovery_target_name", Text(name.clone()))),
            RecoveryTarget::Consistent => Some(("recovery_target", Text("immediate".into()))),
        });
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(target: RecoveryTarget) -> String {
        let restore_command = "pgbackrest archive-get %f \"%p\"".into();
        Recovery { restore_command, target }.lines()
    }

    #[test]
    fn a_target_is_said_once_and_exactly() {
        let at = DateTime::from_timestamp(1_795_428_000, 123_456_000).unwrap();
        let text = lines(RecoveryTarget::Moment(at));
        assert!(
            text.contains("recovery_target_time = '2026-11-23 10:00:00.123456+00'\n"),
            "{text}"
        );
        assert!(text.contains("restore_command = 'pgbackrest archive-get %f \"%p\"'\n"), "{text}");
        assert!(text.contains("recovery_target_timeline = 'latest'\n"));
        assert_eq!(lines(RecoveryTarget::End).matches("recovery_target").count(), 2);
        let lsn = lines(RecoveryTarget::Place(Lsn::parse("0/5000128").unwrap()));
        assert!(lsn.contains("recovery_target_lsn = '0/5000128'\n"));
        assert!(lines(RecoveryTarget::Consistent).contains("recovery_target = 'immediate'\n"));
    }

    #[test]
    fn the_name_of_a_point_cannot_become_a_setting() {
        let text = lines(RecoveryTarget::Point("it's \\ here\nrestore_command = 'x'".into()));
        assert!(
            text.contains("recovery_target_name = 'it''s \\\\ here restore_command = ''x'''\n")
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("restore_command")).count(), 1);
    }
}
