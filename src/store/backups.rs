//! Backups of servers: what is asked, where they lie, which there are, and how the archive stands.

use super::codec::{micros, parsed, time, time_option};
use super::{Store, StoreError, WriteTx};
use crate::domain::backup::{
    Archive, Backup, BackupPolicy, BackupType, CopiedFrom, Gap, Protection, Redundancy, Repository,
    RepositoryState, Retention,
};
use crate::domain::ha::Lsn;
use crate::domain::ids::{HostId, OperationId, ServerId};
use crate::domain::version::Major;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct SettingsRow {
    retention_days: i64,
    redundancy: String,
    archiving_since: Option<i64>,
    archived_until: Option<i64>,
    looked_at: Option<i64>,
    failing_since: Option<i64>,
    failure: String,
    version: i64,
}

impl SettingsRow {
    fn policy(&self) -> Result<BackupPolicy, StoreError> {
        let retention = Retention::days(self.retention_days).ok_or_else(|| {
            StoreError::Value(format!("retention of {} days", self.retention_days))
        })?;
        Ok(BackupPolicy {
            retention,
            redundancy: parsed(&self.redundancy, Redundancy::parse, "redundancy")?,
        })
    }

    fn archive(&self) -> Archive {
        Archive {
            since: time_option(self.archiving_since),
            until: time_option(self.archived_until),
            looked_at: time_option(self.looked_at),
            failing_since: time_option(self.failing_since),
            failure: self.failure.clone(),
        }
    }
}

#[derive(FromRow)]
struct RepositoryRow {
    server_id: String,
    number: i64,
    host_id: String,
    location: String,
    stanza: String,
    major: String,
    state: String,
    since: i64,
    looked_at: Option<i64>,
    bytes: Option<i64>,
}

impl RepositoryRow {
    fn into_repository(self) -> Result<Repository, StoreError> {
        Ok(Repository {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            number: self.number,
            host_id: parsed(&self.host_id, HostId::parse, "host id")?,
            location: Some(self.location).filter(|location| !location.is_empty()),
            stanza: self.stanza,
            major: parsed(&self.major, Major::parse, "major")?,
            state: parsed(&self.state, RepositoryState::parse, "repository state")?,
            since: time(self.since),
            looked_at: time_option(self.looked_at),
            bytes: self.bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        })
    }
}

#[derive(FromRow)]
struct BackupRow {
    repository: i64,
    label: String,
    #[sqlx(rename = "type")]
    kind: String,
    name: String,
    started_at: i64,
    ended_at: i64,
    bytes: i64,
    stored_bytes: i64,
    wal_start: String,
    wal_stop: String,
    lsn_start: String,
    lsn_stop: String,
    based_on: String,
    verified_at: Option<i64>,
    failure: String,
    operation_id: Option<String>,
    copied_from: String,
}

impl BackupRow {
    fn into_backup(self) -> Result<Backup, StoreError> {
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        Ok(Backup {
            repository: self.repository,
            kind: parsed(&self.kind, BackupType::parse, "backup type")?,
            label: self.label,
            name: self.name,
            started_at: time(self.started_at),
            ended_at: time(self.ended_at),
            bytes: size(self.bytes),
            stored_bytes: size(self.stored_bytes),
            wal: (self.wal_start, self.wal_stop),
            lsn: (
                parsed(&self.lsn_start, Lsn::parse, "lsn")?,
                parsed(&self.lsn_stop, Lsn::parse, "lsn")?,
            ),
            based_on: Some(self.based_on).filter(|label| !label.is_empty()),
            verified_at: time_option(self.verified_at),
            failure: self.failure,
            operation_id: self.operation_id.as_deref().and_then(OperationId::parse),
            copied_from: CopiedFrom::parse(&self.copied_from),
        })
    }
}

macro_rules! repositories {
    ($tail:literal) => {
        concat!(
            "SELECT server_id, number, host_id, location, stanza, major, state, since, looked_at, bytes FROM backup_repositories ",
            $tail
        )
    };
}

impl Store {
    /// All that is on record about the backups of a server, also of a deleted one. A server without a row has the
    /// policy that every server begins with.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn protection(&self, server: &ServerId) -> Result<Protection, StoreError> {
        let settings: Option<SettingsRow> = sqlx::query_as(
            "SELECT retention_days, redundancy, archiving_since, archived_until, looked_at, failing_since, failure, version
             FROM backup_settings WHERE server_id = $1",
        )
        .bind(server.as_str())
        .fetch_optional(self.read())
        .await?;
        let backups: Vec<BackupRow> = sqlx::query_as(
            "SELECT repository, label, type, name, started_at, ended_at, bytes, stored_bytes, wal_start, wal_stop, lsn_start, lsn_stop,
                    based_on, verified_at, failure, operation_id, copied_from
             FROM backups WHERE server_id = $1 ORDER BY ended_at DESC, repository, label DESC",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        let mut found = Protection {
            repositories: self.repositories(server).await?,
            backups: backups.into_iter().map(BackupRow::into_backup).collect::<Result<_, _>>()?,
            gaps: self.backup_gaps(server).await?,
            checks: self.archive_checks(server).await?,
            ..Protection::default()
        };
        if let Some(row) = settings {
            (found.policy, found.archive, found.version) =
                (row.policy()?, row.archive(), row.version);
        }
        Ok(found)
    }

    /// Where the backups of a server lie, by number.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn repositories(&self, server: &ServerId) -> Result<Vec<Repository>, StoreError> {
        let sql = repositories!("WHERE server_id = $1 ORDER BY number");
        let rows: Vec<RepositoryRow> =
            sqlx::query_as(sql).bind(server.as_str()).fetch_all(self.read()).await?;
        rows.into_iter().map(RepositoryRow::into_repository).collect()
    }

    /// Everything that is reached through the server of a host's repository, of servers that are there and of deleted
    /// ones: what lies on the host, and what lies in object storage.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn repositories_on(&self, host: &HostId) -> Result<Vec<Repository>, StoreError> {
        let sql = repositories!("WHERE host_id = $1 OR location <> '' ORDER BY server_id, number");
        let rows: Vec<RepositoryRow> =
            sqlx::query_as(sql).bind(host.as_str()).fetch_all(self.read()).await?;
        rows.into_iter().map(RepositoryRow::into_repository).collect()
    }

    async fn backup_gaps(&self, server: &ServerId) -> Result<Vec<Gap>, StoreError> {
        let rows: Vec<(i64, i64, Option<i64>, String)> = sqlx::query_as(
            "SELECT repository, began_at, ended_at, reason FROM backup_gaps WHERE server_id = $1 ORDER BY repository, began_at",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        let gap = |(repository, began, ended, reason)| Gap {
            repository,
            began_at: time(began),
            ended_at: time_option(ended),
            reason,
        };
        Ok(rows.into_iter().map(gap).collect())
    }
}

impl WriteTx {
    /// Writes what is asked of a server's backups, for the first time or again.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_backup_policy(
        &mut self,
        server: &ServerId,
        policy: &BackupPolicy,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO backup_settings (server_id, retention_days, redundancy) VALUES ($1, $2, $3)
             ON CONFLICT (server_id) DO UPDATE SET retention_days = excluded.retention_days, redundancy = excluded.redundancy,
               version = backup_settings.version + 1",
        )
        .bind(server.as_str())
        .bind(policy.retention.as_days())
        .bind(policy.redundancy.key())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes how the archive of a server was seen to stand. A server without a row gets the usual policy with it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_archive(
        &mut self,
        server: &ServerId,
        archive: &Archive,
    ) -> Result<(), StoreError> {
        let usual = BackupPolicy::default();
        sqlx::query(
            "INSERT INTO backup_settings (server_id, retention_days, redundancy, archiving_since, archived_until, looked_at, failing_since, failure)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (server_id) DO UPDATE SET archiving_since = excluded.archiving_since, archived_until = CASE WHEN backup_settings.archived_until > excluded.archived_until THEN backup_settings.archived_until
                 ELSE COALESCE(excluded.archived_until, backup_settings.archived_until) END,
               looked_at = excluded.looked_at, failing_since = excluded.failing_since, failure = excluded.failure",
        )
        .bind(server.as_str())
        .bind(usual.retention.as_days())
        .bind(usual.redundancy.key())
        .bind(archive.since.map(micros))
        .bind(archive.until.map(micros))
        .bind(archive.looked_at.map(micros))
        .bind(archive.failing_since.map(micros))
        .bind(archive.failure.clone())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes where backups of a server lie, for the first time or again.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn put_repository(&mut self, one: &Repository) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO backup_repositories (server_id, number, host_id, stanza, major, state, since, looked_at, bytes, location)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (server_id, number) DO UPDATE SET host_id = excluded.host_id, stanza = excluded.stanza, major = excluded.major,
               state = excluded.state, since = excluded.since, looked_at = excluded.looked_at, bytes = excluded.bytes,
               location = excluded.location",
        )
        .bind(one.server_id.as_str())
        .bind(one.number)
        .bind(one.host_id.as_str())
        .bind(one.stanza.clone())
        .bind(one.major.number().to_string())
        .bind(one.state.key())
        .bind(micros(one.since))
        .bind(one.looked_at.map(micros))
        .bind(one.bytes.and_then(|bytes| i64::try_from(bytes).ok()))
        .bind(one.location.clone().unwrap_or_default())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Replaces the list of backups in one repository by what it was seen to hold.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replace_backups(
        &mut self,
        server: &ServerId,
        repository: i64,
        backups: &[Backup],
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM backups WHERE server_id = $1 AND repository = $2")
            .bind(server.as_str())
            .bind(repository)
            .execute(&mut *self.tx)
            .await?;
        for one in backups {
            self.insert_backup(server, repository, one).await?;
        }
        Ok(())
    }

    async fn insert_backup(
        &mut self,
        server: &ServerId,
        repository: i64,
        one: &Backup,
    ) -> Result<(), StoreError> {
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO backups (server_id, repository, label, type, name, started_at, ended_at, bytes, stored_bytes, wal_start, wal_stop,
               lsn_start, lsn_stop, based_on, verified_at, failure, operation_id, copied_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        )
        .bind(server.as_str())
        .bind(repository)
        .bind(one.label.clone())
        .bind(one.kind.key())
        .bind(one.name.clone())
        .bind(micros(one.started_at))
        .bind(micros(one.ended_at))
        .bind(size(one.bytes))
        .bind(size(one.stored_bytes))
        .bind(one.wal.0.clone())
        .bind(one.wal.1.clone())
        .bind(one.lsn.0.to_string())
        .bind(one.lsn.1.to_string())
        .bind(one.based_on.clone().unwrap_or_default())
        .bind(one.verified_at.map(micros))
        .bind(one.failure.clone())
        .bind(one.operation_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(one.copied_from.map_or("", CopiedFrom::key))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes a gap of the log in a repository, or when one that is noted ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn put_backup_gap(&mut self, server: &ServerId, gap: &Gap) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO backup_gaps (server_id, repository, began_at, ended_at, reason) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server_id, repository, began_at) DO UPDATE SET ended_at = excluded.ended_at, reason = excluded.reason",
        )
        .bind(server.as_str())
        .bind(gap.repository)
        .bind(micros(gap.began_at))
        .bind(gap.ended_at.map(micros))
        .bind(gap.reason.clone())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets gaps of a repository that ended before its oldest backup began.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune_backup_gaps(
        &mut self,
        server: &ServerId,
        repository: i64,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM backup_gaps WHERE server_id = $1 AND repository = $2 AND ended_at < $3",
        )
        .bind(server.as_str())
        .bind(repository)
        .bind(micros(before))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
