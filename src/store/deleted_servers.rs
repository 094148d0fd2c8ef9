//! Servers that were deleted and whose backups are kept for a while: they can be restored until they are erased.

use super::codec::{from_json, json, micros, parsed, time, time_option};
use super::scope::{Viewer, seen_by};
use super::{Store, StoreError, WriteTx};
use crate::domain::backup::{BackupPolicy, Retention};
use crate::domain::configuration::Configuration;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::server::ServerSpec;
use chrono::{DateTime, Duration, Utc};
use sqlx::FromRow;

/// A server that was deleted, as it was then.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletedServer {
    pub id: ServerId,
    pub name: String,
    pub group_id: GroupId,
    pub spec: ServerSpec,
    pub configuration: Configuration,
    /// Every commit until this moment was in its repository, as last measured.
    pub archived_until: Option<DateTime<Utc>>,
    pub deleted_at: DateTime<Utc>,
    /// Who asked for it.
    pub deleted_by: String,
    /// From then on it can be restored no more, and what is left of it goes.
    pub erase_after: DateTime<Utc>,
    /// When its key was deleted: its files cannot be read from then on, even where they are still to be removed.
    pub erased_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    server_id: String,
    name: String,
    group_id: String,
    spec: String,
    configuration: String,
    archived_until: Option<i64>,
    deleted_at: i64,
    deleted_by: String,
    erase_after: i64,
    erased_at: Option<i64>,
}

impl Row {
    fn into_server(self) -> Result<DeletedServer, StoreError> {
        Ok(DeletedServer {
            id: parsed(&self.server_id, ServerId::parse, "server id")?,
            name: self.name,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            spec: from_json(&self.spec, "spec")?,
            configuration: from_json(&self.configuration, "configuration")?,
            archived_until: time_option(self.archived_until),
            deleted_at: time(self.deleted_at),
            deleted_by: self.deleted_by,
            erase_after: time(self.erase_after),
            erased_at: time_option(self.erased_at),
        })
    }
}

macro_rules! select {
    ($tail:expr) => {
        concat!(
            "SELECT d.server_id, d.name, d.group_id, d.spec, d.configuration, d.archived_until, d.deleted_at, d.deleted_by, d.erase_after, d.erased_at
             FROM deleted_servers d WHERE ",
            $tail
        )
    };
}

/// Nobody is being restored from it, or about to be.
macro_rules! unread {
    () => {
        " NOT EXISTS (SELECT 1 FROM servers s WHERE s.id = d.server_id)
          AND NOT EXISTS (SELECT 1 FROM restores r LEFT JOIN operations o ON o.id = r.operation_id
          WHERE r.source_id = d.server_id AND (r.ended_at IS NULL OR o.is_active = 1))"
    };
}

impl Store {
    /// Deleted servers that the viewer may see and that can still be restored, the last deleted first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn deleted_servers(
        &self,
        viewer: &Viewer,
        now: DateTime<Utc>,
    ) -> Result<Vec<DeletedServer>, StoreError> {
        let sql = select!(concat!(
            "d.erased_at IS NULL AND d.erase_after > $2 AND ",
            seen_by!("$1", "d.group_id"),
            " ORDER BY d.deleted_at DESC, d.server_id"
        ));
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(viewer.bind())
            .bind(micros(now))
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(Row::into_server).collect()
    }

    /// One deleted server, erased or not, if the viewer may see it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn deleted_server(
        &self,
        server: &ServerId,
        viewer: &Viewer,
    ) -> Result<Option<DeletedServer>, StoreError> {
        let sql = select!(concat!("d.server_id = $1 AND ", seen_by!("$2", "d.group_id")));
        let row: Option<Row> = sqlx::query_as(sql)
            .bind(server.as_str())
            .bind(viewer.bind())
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_server).transpose()
    }

    /// Deleted servers whose time is over and of which something is left, the one that waits longest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn erasures_due(&self, now: DateTime<Utc>) -> Result<Vec<DeletedServer>, StoreError> {
        let sql = select!(concat!("d.erase_after <= $1 AND", unread!(), " ORDER BY d.erase_after"));
        let rows: Vec<Row> = sqlx::query_as(sql).bind(micros(now)).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_server).collect()
    }
}

impl WriteTx {
    /// Notes a server that is about to be forgotten, when anything of it lies in a repository: its backups stay for
    /// their time. One without any backup could never be restored, so its files may go at once. Call it in the
    /// transaction of [`WriteTx::delete_server`], before that.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_deleted(&mut self, server: &ServerId, by: &str) -> Result<(), StoreError> {
        let (used, taken): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM backup_repositories WHERE server_id = $1), (SELECT COUNT(*) FROM backups WHERE server_id = $1)",
        )
        .bind(server.as_str())
        .fetch_one(&mut *self.tx)
        .await?;
        let Some(row) = self.lock_server(server).await?.filter(|_| used > 0) else { return Ok(()) };
        let settings: Option<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT retention_days, archived_until FROM backup_settings WHERE server_id = $1",
        )
        .bind(server.as_str())
        .fetch_optional(&mut *self.tx)
        .await?;
        let retention = settings.and_then(|(days, _)| Retention::days(days)).unwrap_or_default();
        // Also what was found damaged: most of it may be readable, and a deletion by mistake is no time to throw it away.
        let kept = if taken > 0 { retention.after_deletion() } else { Duration::zero() };
        sqlx::query(
            "INSERT INTO deleted_servers (server_id, name, group_id, spec, configuration, archived_until, deleted_at, deleted_by, erase_after)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (server_id) DO NOTHING",
        )
        .bind(server.as_str())
        .bind(row.spec.name.as_str())
        .bind(row.group_id.as_str())
        .bind(json(&row.spec))
        .bind(json(&row.configuration))
        .bind(settings.and_then(|(_, until)| until))
        .bind(micros(self.now))
        .bind(by)
        .bind(micros(self.now + kept))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes that every commit of a server until this moment is in its repository; never back.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn raise_archived_until(
        &mut self,
        server: &ServerId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let usual = BackupPolicy::default();
        sqlx::query(
            "INSERT INTO backup_settings (server_id, retention_days, redundancy, archived_until, looked_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server_id) DO UPDATE SET archived_until = excluded.archived_until, looked_at = excluded.looked_at
             WHERE backup_settings.archived_until IS NULL OR backup_settings.archived_until < excluded.archived_until",
        )
        .bind(server.as_str())
        .bind(usual.retention.as_days())
        .bind(usual.redundancy.key())
        .bind(micros(until))
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Holds the row of a deleted server until the end of the transaction. `false` when it can be restored no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn hold_deleted(&mut self, server: &ServerId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE deleted_servers SET name = name WHERE server_id = $1 AND erased_at IS NULL AND erase_after > $2",
        )
        .bind(server.as_str())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes the key and all other secrets of a deleted server whose time is over: from then on nobody can read its
    /// backups. `false` when that was done before, is not due, or a restore from it is under way.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn erase_key(&mut self, server: &ServerId) -> Result<bool, StoreError> {
        let sql = concat!(
            "UPDATE deleted_servers AS d SET erased_at = $2 WHERE d.server_id = $1 AND d.erased_at IS NULL AND d.erase_after <= $2 AND",
            unread!()
        );
        let done = sqlx::query(sql)
            .bind(server.as_str())
            .bind(micros(self.now))
            .execute(&mut *self.tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        // A server of that id that is there would lose what it lives from.
        sqlx::query(
            "DELETE FROM server_secrets WHERE server_id = $1 AND NOT EXISTS (SELECT 1 FROM servers WHERE id = $1)",
        )
        .bind(server.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(true)
    }

    /// Forgets a deleted server whose key is gone and whose files are removed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_deleted(&mut self, server: &ServerId) -> Result<(), StoreError> {
        self.forget_backups(server).await?;
        sqlx::query("DELETE FROM deleted_servers WHERE server_id = $1 AND erased_at IS NOT NULL")
            .bind(server.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Forgets all that is on record about the backups of a server that is not on the list.
    async fn forget_backups(&mut self, server: &ServerId) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM backups WHERE server_id = $1",
            "DELETE FROM backup_gaps WHERE server_id = $1",
            "DELETE FROM archive_checks WHERE server_id = $1",
            "DELETE FROM archive_moments WHERE server_id = $1",
            "DELETE FROM backup_repositories WHERE server_id = $1",
            "DELETE FROM backup_settings WHERE server_id = $1",
            "DELETE FROM restore_drills WHERE server_id = $1",
        ] {
            sqlx::query(statement).bind(server.as_str()).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Forgets what hangs on a server that is deleted now, but what its backups need while they are kept.
    pub(super) async fn leave_backups(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let (kept,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM deleted_servers WHERE server_id = $1")
                .bind(server.as_str())
                .fetch_one(&mut *self.tx)
                .await?;
        let secrets = if kept > 0 {
            "DELETE FROM server_secrets WHERE server_id = $1 AND name NOT LIKE 'backup/%'"
        } else {
            self.forget_backups(server).await?;
            "DELETE FROM server_secrets WHERE server_id = $1"
        };
        for statement in [secrets, "DELETE FROM restores WHERE server_id = $1"] {
            sqlx::query(statement).bind(server.as_str()).execute(&mut *self.tx).await?;
        }
        Ok(())
    }
}
