//! What looks at the archive found: when it was compared with what backups need, what is missing, and the places in the log
//! by which a hole is told in times.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::backup::continuity::Moment;
use crate::domain::backup::{ArchiveCheck, Gap};
use crate::domain::ha::Lsn;
use crate::domain::ids::ServerId;
use chrono::{DateTime, Utc};

impl Store {
    /// When the archive of a server was last compared with what its backups need, by number of the repository.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn archive_checks(&self, server: &ServerId) -> Result<Vec<ArchiveCheck>, StoreError> {
        let rows: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT repository, checked_at, needed, missing, log_bytes FROM archive_checks WHERE server_id = $1 ORDER BY repository",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let check = |(repository, at, needed, missing, log)| ArchiveCheck {
            repository,
            at: time(at),
            needed: count(needed),
            missing: count(missing),
            log_bytes: count(log),
        };
        Ok(rows.into_iter().map(check).collect())
    }

    /// Whether an operation that changes a server's backups, or waits to, is under way.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_backing_up(&self, server: &ServerId) -> Result<bool, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operations WHERE server_id = $1 AND is_active = 1 AND lane = 'backup'",
        )
        .bind(server.as_str())
        .fetch_one(self.read())
        .await?;
        Ok(count > 0)
    }

    /// Places in the log of a server with their moments, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn archive_moments(&self, server: &ServerId) -> Result<Vec<Moment>, StoreError> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT at, timeline, place FROM archive_moments WHERE server_id = $1 ORDER BY at",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        let moment = |(at, timeline, place): (i64, i64, String)| {
            Ok(Moment { at: time(at), timeline, place: parsed(&place, Lsn::parse, "lsn")? })
        };
        rows.into_iter().map(moment).collect()
    }
}

impl WriteTx {
    /// Keeps a place in the log.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn put_archive_moment(
        &mut self,
        server: &ServerId,
        moment: &Moment,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO archive_moments (server_id, at, timeline, place) VALUES ($1, $2, $3, $4) ON CONFLICT (server_id, at) DO NOTHING",
        )
        .bind(server.as_str())
        .bind(micros(moment.at))
        .bind(moment.timeline)
        .bind(moment.place.to_string())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets places that no backup reaches back to.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune_archive_moments(
        &mut self,
        server: &ServerId,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM archive_moments WHERE server_id = $1 AND at < $2")
            .bind(server.as_str())
            .bind(micros(before))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Writes when the archive in a repository was compared, and what came of it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn put_archive_check(
        &mut self,
        server: &ServerId,
        check: &ArchiveCheck,
    ) -> Result<(), StoreError> {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO archive_checks (server_id, repository, checked_at, needed, missing, log_bytes) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (server_id, repository) DO UPDATE SET checked_at = excluded.checked_at, needed = excluded.needed,
               missing = excluded.missing, log_bytes = excluded.log_bytes",
        )
        .bind(server.as_str())
        .bind(check.repository)
        .bind(micros(check.at))
        .bind(count(check.needed))
        .bind(count(check.missing))
        .bind(count(check.log_bytes))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes of one backup that it cannot be used; those that rest on it are told by themselves.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn condemn_backup(
        &mut self,
        server: &ServerId,
        repository: i64,
        (label, failure): (&str, &str),
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE backups SET failure = $4 WHERE server_id = $1 AND repository = $2 AND label = $3 AND failure = ''",
        )
        .bind(server.as_str())
        .bind(repository)
        .bind(label)
        .bind(failure)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Replaces what was noted of gaps that are over by what was measured. One that goes on stays.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replace_backup_gaps(
        &mut self,
        server: &ServerId,
        repository: i64,
        gaps: &[Gap],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM backup_gaps WHERE server_id = $1 AND repository = $2 AND ended_at IS NOT NULL",
        )
        .bind(server.as_str())
        .bind(repository)
        .execute(&mut *self.tx)
        .await?;
        for gap in gaps {
            self.put_backup_gap(server, gap).await?;
        }
        Ok(())
    }
}
