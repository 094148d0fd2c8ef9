//! What steps need of the backups on record: who is let into a repository, and single rows taken out or marked.

use super::codec::{micros, parsed, time_option};
use super::{Store, StoreError, WriteTx};
use crate::domain::backup::Attempt;
use crate::domain::ids::{HostId, OperationId, ServerId};
use crate::domain::operation::{OperationKind, OperationStatus};
use crate::domain::version::Major;
use chrono::{DateTime, Utc};
use std::collections::HashSet;

impl Store {
    /// Servers that are being restored from a repository of this host, with the stanza they read and its major.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restoring_from(
        &self,
        host: &HostId,
    ) -> Result<Vec<(ServerId, String, Major)>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT r.server_id, b.stanza, b.major FROM restores r
             JOIN backup_repositories b ON b.server_id = r.source_id AND b.number = r.repository
             WHERE (b.host_id = $1 OR b.location <> '') AND r.ended_at IS NULL ORDER BY r.server_id",
        )
        .bind(host.as_str())
        .fetch_all(self.read())
        .await?;
        let read = |(server, stanza, major): (String, String, String)| {
            let server = parsed(&server, ServerId::parse, "server id")?;
            Ok((server, stanza, parsed(&major, Major::parse, "major")?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Hosts on which a backup is being taken now; one that waits for a person keeps no other from its turn.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn hosts_backing_up(&self) -> Result<HashSet<HostId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT m.host_id FROM operations o JOIN members m ON m.server_id = o.server_id
             WHERE o.is_active = 1 AND o.kind = $1 AND o.status <> $2",
        )
        .bind(OperationKind::Backup.key())
        .bind(OperationStatus::NeedsAttention.key())
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(|(id,)| parsed(&id, HostId::parse, "host id")).collect()
    }

    /// What was tried since the last good backup began: how it ended does not matter, for none of it is a good one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn backup_attempts(
        &self,
        (server, repository): (&ServerId, i64),
        since: Option<DateTime<Utc>>,
    ) -> Result<Option<Attempt>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = sqlx::query_as(
            "SELECT input, ended_at FROM operations
             WHERE server_id = $1 AND kind = $2 AND is_active = 0 AND created_at > $3",
        )
        .bind(server.as_str())
        .bind(OperationKind::Backup.key())
        .bind(since.map_or(i64::MIN, micros))
        .fetch_all(self.read())
        .await?;
        let number = |input: &str| {
            let asked: serde_json::Value = serde_json::from_str(input).unwrap_or_default();
            asked.get("repository").and_then(serde_json::Value::as_i64).unwrap_or(1)
        };
        let ended: Vec<Option<i64>> = rows
            .into_iter()
            .filter(|(input, _)| number(input) == repository)
            .map(|(_, ended)| ended)
            .collect();
        let failures = u32::try_from(ended.len()).unwrap_or(u32::MAX);
        let last = time_option(ended.into_iter().flatten().max());
        Ok(last.map(|ended_at| Attempt { failures, ended_at }))
    }
}

impl WriteTx {
    /// Notes what is wrong with a backup and with all that rest on it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn condemn_backups(
        &mut self,
        server: &ServerId,
        repository: i64,
        label: &str,
        failure: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE backups SET failure = $4 WHERE server_id = $1 AND repository = $2 AND (label = $3 OR based_on = $3) AND failure = ''",
        )
        .bind(server.as_str())
        .bind(repository)
        .bind(label)
        .bind(failure)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Takes what an operation wrote out of the list again.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_backups_of(
        &mut self,
        server: &ServerId,
        operation: &OperationId,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM backups WHERE server_id = $1 AND operation_id = $2")
            .bind(server.as_str())
            .bind(operation.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
