//! What the archive of the log needs of PostgreSQL, and what a recovery from it tells.

use super::{PostgresError, Target};
use crate::domain::backup::Piece;
use crate::domain::backup::continuity::Line;
use crate::domain::ha::Lsn;
use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// How a server archives: one answer, taken at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArchiverLook {
    /// Whether it was started to archive at all; without, only a restart helps.
    pub is_on: bool,
    /// The last piece of the log that the archive took, and when.
    pub archived: Option<(String, DateTime<Utc>)>,
    /// The last piece that it refused, and when.
    pub failed: Option<(String, DateTime<Utc>)>,
    pub failures: i64,
    /// The end of the log, and the server's time then.
    pub written: Lsn,
    pub at: DateTime<Utc>,
    pub timeline: i64,
    /// Bytes of one piece.
    pub piece_bytes: u64,
}

/// A commit of our own that ends a piece of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// When it was committed, by the server's clock: every commit before it is in the log before it.
    pub at: DateTime<Utc>,
    /// The place behind it.
    pub lsn: Lsn,
}

/// How a recovery stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecoveryLook {
    /// Whether it still goes on.
    pub is_under_way: bool,
    /// Time of the last commit that was replayed; `None` when there was none.
    pub reached_at: Option<DateTime<Utc>>,
    /// The place that was replayed last.
    pub reached: Option<Lsn>,
    pub timeline: i64,
}

/// The archive of the log.
#[async_trait]
pub trait Archiving: Send + Sync {
    /// The role of backups is there: may log in by certificate, begin and end a backup, and nothing else.
    async fn ensure_backup_role(&self, target: &Target) -> Result<(), PostgresError>;
    async fn archiver(&self, target: &Target) -> Result<ArchiverLook, PostgresError>;
    /// Commits a marker and ends the piece of the log that it is in, so that it is archived now.
    async fn end_piece(&self, target: &Target) -> Result<Marker, PostgresError>;
    /// The line of the log that a primary writes now.
    ///
    /// # Errors
    /// Of a standby, too.
    async fn line(&self, target: &Target) -> Result<Line, PostgresError>;
    /// Has those of the pieces archived once more that a primary still has and takes for archived; how many these are.
    /// A standby takes every piece for archived as soon as it has it. Asking again does no harm: the archive takes a piece
    /// that it has when it is the same.
    async fn hand_over(
        &self,
        target: &Target,
        pieces: &[Piece],
        piece_bytes: u64,
    ) -> Result<usize, PostgresError>;
    /// How the recovery of a member stands that is being restored.
    async fn recovery(&self, target: &Target) -> Result<RecoveryLook, PostgresError>;
}

/// The former timelines of a line, oldest first, from what PostgreSQL writes into the file with the history of the newest.
/// `None` when it is no such file.
pub fn parse_history(text: &str) -> Option<Vec<(i64, Lsn)>> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let former = lines.map(|line| {
        let mut words = line.split_whitespace();
        let timeline = words.next()?.parse().ok()?;
        Some((timeline, Lsn::parse(words.next()?)?))
    });
    former.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read() {
        let text =
            "1\t0/3000158\tno recovery target specified\n\n# x\n2\t1/5000000\tbefore 2000-01-01\n";
        let found = parse_history(text).unwrap();
        assert_eq!(found, [(1, Lsn(0x0300_0158)), (2, Lsn(0x1_0500_0000))]);
        assert_eq!(parse_history(""), Some(vec![]));
        assert_eq!(parse_history("1"), None);
        assert_eq!(parse_history("x 0/1"), None);
    }
}
