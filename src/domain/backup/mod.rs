//! Backups: what is kept, for how long, where, and to which moments a server can be restored. Pure.
//!
//! A *backup* is one set of files that pgBackRest wrote and found whole. The *repository* is where backups and the
//! archived log lie; a server has a part of it, its *stanza*, which no other server ever writes into. The *window* is
//! what can be restored: computed from what the repository holds, never from what should be there.

pub mod allowance;
mod choose;
pub mod continuity;
mod name;
mod object_storage;
mod piece;
pub mod room;
mod schedule;
mod second;
mod source;
pub mod suspend;
mod target;
mod window;

pub use choose::{Chosen, choose};
pub use name::{NAME_CHARS_MAX, check_name};
pub use object_storage::{NO_OBJECT_STORAGE, ObjectStorage};
pub use piece::Piece;
pub use schedule::{Attempt, Due, FULL_EVERY, TAKE_EVERY, due, may_expire};
pub use second::{choose_second, choose_second_of, reason_against_leaving, reason_against_second};
pub use source::{BEHIND_MAX, CopiedFrom, Follower, Source, reason_to_stop, source};
pub use target::{RestoreTarget, TargetError};
pub use window::{Gap, Refused, Span, Window, check, window};

use super::ha::Lsn;
use super::ids::{HostId, OperationId, ServerId};
use super::version::Major;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Backups that a person asked for, at most, for each server.
pub const ON_DEMAND_MAX: usize = 7;
/// Days that a deleted server is kept at least.
pub const DELETED_DAYS_MIN: i64 = 5;

/// For how many days back every moment can be restored: 7 to 35.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Retention(u8);

impl Retention {
    pub const MIN: u8 = 7;
    pub const MAX: u8 = 35;

    /// `None` outside of 7 to 35.
    pub fn days(days: i64) -> Option<Self> {
        let days = u8::try_from(days).ok()?;
        (Self::MIN..=Self::MAX).contains(&days).then_some(Self(days))
    }

    pub fn as_days(self) -> i64 {
        self.0.into()
    }

    /// How long the backups of a deleted server are kept.
    pub fn after_deletion(self) -> chrono::Duration {
        chrono::Duration::days(self.as_days().max(DELETED_DAYS_MIN))
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

/// Where backups are kept beside the repository on the server's own host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Redundancy {
    /// In one repository, in the server's own zone: lost with its host.
    #[default]
    Local,
    /// In a second repository too, in another zone.
    Zone,
    /// In a repository in the configured object storage too, outside of every host.
    ObjectStorage,
}

impl Redundancy {
    pub const ALL: [Redundancy; 3] =
        [Redundancy::Local, Redundancy::Zone, Redundancy::ObjectStorage];

    pub fn key(self) -> &'static str {
        match self {
            Redundancy::Local => "Local",
            Redundancy::Zone => "Zone",
            Redundancy::ObjectStorage => "ObjectStorage",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Redundancy::Local => "Locally redundant",
            Redundancy::Zone => "Zone redundant",
            Redundancy::ObjectStorage => "Object storage",
        }
    }

    /// Number of the repository that it asks for beside the first. Each has a number of its own, so that a server can
    /// change between them without one being taken for the other.
    pub fn second(self) -> Option<i64> {
        match self {
            Redundancy::Local => None,
            Redundancy::Zone => Some(2),
            Redundancy::ObjectStorage => Some(3),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|redundancy| redundancy.key() == text)
    }
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupPolicy {
    pub retention: Retention,
    pub redundancy: Redundancy,
}

/// How a backup is taken; the words are pgBackRest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupType {
    /// All of the data.
    Full,
    /// What has changed since the last full one.
    Differential,
    /// What has changed since the last one of any type.
    Incremental,
}

impl BackupType {
    pub const ALL: [BackupType; 3] =
        [BackupType::Full, BackupType::Differential, BackupType::Incremental];

    /// As pgBackRest spells it.
    pub fn key(self) -> &'static str {
        match self {
            BackupType::Full => "full",
            BackupType::Differential => "diff",
            BackupType::Incremental => "incr",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            BackupType::Full => "Full",
            BackupType::Differential => "Differential",
            BackupType::Incremental => "Incremental",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backup| backup.key() == text)
    }
}

/// A backup that its repository was last seen to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Number of the repository it lies in.
    pub repository: i64,
    /// pgBackRest's own name of it, such as `20261123-160800F`; unique in its stanza.
    pub label: String,
    pub kind: BackupType,
    /// Given by the person who asked for it; empty for one that the schedule took.
    pub name: String,
    pub started_at: DateTime<Utc>,
    /// From this moment on it can be restored to.
    pub ended_at: DateTime<Utc>,
    /// Size of the data directory.
    pub bytes: u64,
    /// What it takes in the repository beside those it is based on.
    pub stored_bytes: u64,
    /// First and last file of the log that it needs.
    pub wal: (String, String),
    pub lsn: (Lsn, Lsn),
    /// Label of the backup without which it is worth nothing; `None` for a full one.
    pub based_on: Option<String>,
    /// When every file of it was last read and found whole; `None` before that.
    pub verified_at: Option<DateTime<Utc>>,
    /// What was found wrong with it; then it is not restored from. Empty for none.
    pub failure: String,
    pub operation_id: Option<OperationId>,
    /// `None` for one from before this was noted.
    pub copied_from: Option<CopiedFrom>,
}

impl Backup {
    /// Whether a person asked for it.
    pub fn is_on_demand(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether it may be restored from.
    pub fn is_good(&self) -> bool {
        self.failure.is_empty()
    }
}

/// How a repository stands to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepositoryState {
    /// Chosen, not yet prepared.
    Planned,
    /// The log goes into it.
    Active,
    /// It could not be reached for so long that the log does not wait for it any more: it has a gap from then on.
    Suspended,
}

impl RepositoryState {
    pub const ALL: [RepositoryState; 3] =
        [RepositoryState::Planned, RepositoryState::Active, RepositoryState::Suspended];

    pub fn key(self) -> &'static str {
        match self {
            RepositoryState::Planned => "Planned",
            RepositoryState::Active => "Active",
            RepositoryState::Suspended => "Suspended",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == text)
    }
}

/// A server's part of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub server_id: ServerId,
    /// 1, 2 for the one in another zone, or 3 for the one in object storage.
    pub number: i64,
    /// The host that has the repository. Of one in object storage: a host from which it is worked on, which may be any.
    pub host_id: HostId,
    /// Where in the object storage it lies, as [`ObjectStorage::location`] says it; `None` for one that is on its host.
    pub location: Option<String>,
    /// Name of the server's own part in it. Never used for another server or another line of data.
    pub stanza: String,
    /// Of the PostgreSQL that is in it, and so of the pgBackRest that reads it: both sides must be of one version.
    pub major: Major,
    pub state: RepositoryState,
    /// In this state since.
    pub since: DateTime<Utc>,
    /// When its list was last read.
    pub looked_at: Option<DateTime<Utc>>,
    /// Bytes that all of the server's backups take in it, by its list. The log comes on top: [`ArchiveCheck::log_bytes`].
    pub bytes: Option<u64>,
}

impl Repository {
    /// Whether it lies in object storage, and so on no host.
    pub fn is_in_object_storage(&self) -> bool {
        self.location.is_some()
    }
}

/// Where a server's part of a repository lies in its volume. pgBackRest refuses to work with two repositories of one
/// path, though each is on a host of its own.
pub fn path_of(number: i64) -> String {
    match number {
        1 => "/var/lib/pgbackrest".into(),
        number => format!("/var/lib/pgbackrest/{number}"),
    }
}

/// The name of a server's part of a repository.
pub fn stanza_of(server: &ServerId) -> String {
    format!("pgflex-{}", server.short())
}

/// How the archive of a server was last seen to stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    /// Since when the log goes into a repository; `None` while it does not.
    pub since: Option<DateTime<Utc>>,
    /// Every commit until this moment is in the repository: measured, not assumed.
    pub until: Option<DateTime<Utc>>,
    /// When that was looked at.
    pub looked_at: Option<DateTime<Utc>>,
    /// Since when pieces of the log are refused.
    pub failing_since: Option<DateTime<Utc>>,
    /// What the last refusal said.
    pub failure: String,
}

/// A comparison of what a repository holds of the log with what its backups need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveCheck {
    pub repository: i64,
    pub at: DateTime<Utc>,
    /// Pieces that backups which can be used need, up to the last one that was archived.
    pub needed: u64,
    /// Pieces that were needed and not there.
    pub missing: u64,
    /// Bytes that all pieces take that are there.
    pub log_bytes: u64,
}

/// All that is on record about the backups of a server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Protection {
    pub policy: BackupPolicy,
    pub archive: Archive,
    pub repositories: Vec<Repository>,
    /// Newest first.
    pub backups: Vec<Backup>,
    pub gaps: Vec<Gap>,
    /// When each repository was last compared with what its backups need.
    pub checks: Vec<ArchiveCheck>,
    /// Grows with each change of the policy.
    pub version: i64,
}

impl Protection {
    /// Good backups of one repository, newest first.
    pub fn good_in(&self, repository: i64) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(move |one| one.repository == repository && one.is_good())
    }

    /// What can be restored from a repository.
    pub fn window_of(&self, repository: i64) -> Window {
        let backups: Vec<_> = self.good_in(repository).cloned().collect();
        let gaps: Vec<_> =
            self.gaps.iter().filter(|gap| gap.repository == repository).cloned().collect();
        window(&backups, self.archive.until, &gaps)
    }

    /// Whether backups shall go into a repository: into the first always, into another while it is asked for.
    pub fn asks_for(&self, repository: i64) -> bool {
        repository == 1 || self.policy.redundancy.second() == Some(repository)
    }

    /// The repository that is restored from unless a person chooses another: of those that hold something one whose host answers,
    /// of these the one with the newest moment, and the first of equals. Without any backup the first.
    pub fn to_restore_from(&self, is_away: impl Fn(&HostId) -> bool) -> i64 {
        let holding =
            self.repositories.iter().filter(|one| self.good_in(one.number).next().is_some());
        let worth = |one: &&Repository| {
            let latest = self.window_of(one.number).latest();
            let is_away = !one.is_in_object_storage() && is_away(&one.host_id);
            (!is_away, latest, std::cmp::Reverse(one.number))
        };
        let best = holding.max_by_key(worth).or(self.repositories.first());
        best.map_or(1, |one| one.number)
    }

    /// The repository whose turn it is to be proven: of those that hold something, one whose host answers, of these the one
    /// whose last proof is the longest ago. `proofs`: when each was last tried. Without any backup the first.
    pub fn to_prove(
        &self,
        proofs: &[(i64, DateTime<Utc>)],
        is_away: impl Fn(&HostId) -> bool,
    ) -> i64 {
        let holding =
            self.repositories.iter().filter(|one| self.good_in(one.number).next().is_some());
        let rank = |one: &&Repository| {
            let tried = proofs.iter().filter(|(number, _)| *number == one.number);
            let is_away = !one.is_in_object_storage() && is_away(&one.host_id);
            (is_away, tried.map(|(_, at)| *at).max(), one.number)
        };
        holding.min_by_key(rank).map_or(1, |one| one.number)
    }

    /// When nothing in a repository that is not asked for any more is within the retention: then it is removed. `None` while
    /// it is asked for, or the log still goes into it.
    pub fn kept_until(&self, repository: &Repository) -> Option<DateTime<Utc>> {
        if self.asks_for(repository.number) || repository.state == RepositoryState::Active {
            return None;
        }
        let days = chrono::Duration::days(self.policy.retention.as_days());
        let latest = self.window_of(repository.number).latest();
        Some(latest.map_or(repository.since, |latest| latest + days))
    }

    /// The good backups that are worth nothing without the one of this label.
    pub fn based_on(&self, repository: i64, label: &str) -> Vec<&Backup> {
        let needs = |one: &&Backup| one.based_on.as_deref() == Some(label);
        self.backups.iter().filter(|one| one.repository == repository).filter(needs).collect()
    }
}
