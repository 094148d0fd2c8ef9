//! What the archive of the log needs of PostgreSQL, and what a recovery from it tells.

use super::{PostgresError, Target};
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
    /// How the recovery of a member stands that is being restored.
    async fn recovery(&self, target: &Target) -> Result<RecoveryLook, PostgresError>;
}
