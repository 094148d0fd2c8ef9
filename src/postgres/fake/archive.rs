//! The archive of the log in memory.

use super::FakePostgres;
use crate::domain::backup::Piece;
use crate::domain::backup::continuity::Line;
use crate::domain::ha::Lsn;
use crate::postgres::archive::{ArchiverLook, Archiving, Marker, RecoveryLook};
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// What the archive of every member says, and how its recovery stands.
#[derive(Default)]
pub(super) struct Archives {
    look: Option<ArchiverLook>,
    recovery: Option<RecoveryLook>,
    markers: u64,
    line: Option<Line>,
    /// Names of pieces that are on the disk, taken for archived.
    kept: Vec<String>,
    /// Names of pieces that were marked to be archived again.
    handed: Vec<String>,
}

/// Monday, 23 November 2026, 10:00 UTC: what every answer says that nobody ordered otherwise.
fn usual_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_428_000, 0).unwrap_or_default()
}

impl FakePostgres {
    /// What the archiver says from now on; `None`: all is archived.
    pub fn set_archiver(&self, look: Option<ArchiverLook>) {
        self.state().archives.look = look;
    }

    /// The line of the log that is written from now on; `None`: the first one.
    pub fn set_line(&self, line: Option<Line>) {
        self.state().archives.line = line;
    }

    /// Pieces that are on the disk from now on and taken for archived.
    pub fn set_kept(&self, names: &[&str]) {
        self.state().archives.kept = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Pieces that were marked to be archived again, in the order of that.
    pub fn handed_over(&self) -> Vec<String> {
        self.state().archives.handed.clone()
    }

    /// How a recovery stands from now on; `None`: it is over.
    pub fn set_recovery(&self, look: Option<RecoveryLook>) {
        self.state().archives.recovery = look;
    }
}

#[async_trait]
impl Archiving for FakePostgres {
    async fn ensure_backup_role(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("ensure_backup_role", target).map(|_| ())
    }

    async fn archiver(&self, target: &Target) -> Result<ArchiverLook, PostgresError> {
        self.answer("archiver", target)?;
        let usual = || ArchiverLook {
            is_on: true,
            archived: Some(("000000010000000000000009".into(), usual_time())),
            at: usual_time(),
            written: Lsn(0x0900_0000),
            timeline: 1,
            piece_bytes: 16 << 20,
            ..ArchiverLook::default()
        };
        Ok(self.state().archives.look.clone().unwrap_or_else(usual))
    }

    async fn end_piece(&self, target: &Target) -> Result<Marker, PostgresError> {
        self.answer("end_piece", target)?;
        let mut state = self.state();
        state.archives.markers += 1;
        Ok(Marker { at: usual_time(), lsn: Lsn(0x0900_0000 + state.archives.markers) })
    }

    async fn line(&self, target: &Target) -> Result<Line, PostgresError> {
        self.answer("line", target)?;
        let first = || Line { timeline: 1, former: vec![] };
        Ok(self.state().archives.line.clone().unwrap_or_else(first))
    }

    async fn hand_over(
        &self,
        target: &Target,
        pieces: &[Piece],
        piece_bytes: u64,
    ) -> Result<usize, PostgresError> {
        self.answer("hand_over", target)?;
        let archives = &mut self.state().archives;
        let asked = pieces.iter().map(|piece| piece.name(piece_bytes));
        let kept: Vec<String> = asked.filter(|name| archives.kept.contains(name)).collect();
        archives.handed.extend(kept.iter().cloned());
        Ok(kept.len())
    }

    async fn recovery(&self, target: &Target) -> Result<RecoveryLook, PostgresError> {
        self.answer("recovery", target)?;
        let over = || RecoveryLook {
            is_under_way: false,
            reached_at: Some(usual_time()),
            reached: Some(Lsn(0x0900_0000)),
            timeline: 2,
        };
        Ok(self.state().archives.recovery.clone().unwrap_or_else(over))
    }
}
