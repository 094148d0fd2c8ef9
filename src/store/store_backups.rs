//! The record of backups of the store itself, and what decides that one is due at once.

use super::codec::{micros, time, time_option};
use super::{Record, Store, StoreError};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

/// The last try in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreBackup {
    /// Id of a host; empty for the portal's own folder.
    pub place: String,
    pub tried_at: DateTime<Utc>,
    /// The moment that the newest backup there shows; `None` before the first.
    pub made_at: Option<DateTime<Utc>>,
    /// Its size.
    pub bytes: Option<i64>,
    /// Why the last try failed; empty when it did not.
    pub failure: String,
}

/// What a host that cannot have a backup yet has in place of a failure.
pub const WAITING: &str = "waiting for its first server";

impl StoreBackup {
    /// Whether the host has no server yet, and with it nothing to put a backup by.
    pub fn is_waiting(&self) -> bool {
        self.failure == WAITING
    }

    /// Whether the last try failed.
    pub fn is_failing(&self) -> bool {
        !self.failure.is_empty() && !self.is_waiting()
    }
}

#[derive(FromRow)]
struct Row {
    place: String,
    tried_at: i64,
    made_at: Option<i64>,
    bytes: Option<i64>,
    failure: String,
}

impl Row {
    fn into_backup(self) -> StoreBackup {
        StoreBackup {
            place: self.place,
            tried_at: time(self.tried_at),
            made_at: time_option(self.made_at),
            bytes: self.bytes,
            failure: self.failure,
        }
    }
}

impl Store {
    /// The last try in every place.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn store_backups(&self) -> Result<Vec<StoreBackup>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT place, tried_at, made_at, bytes, failure FROM store_backups ORDER BY place",
        )
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().map(Row::into_backup).collect())
    }

    /// Keeps how a backup of the moment `made_at` went in one place: its size, or why it is not there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_store_backup(
        &self,
        made_at: DateTime<Utc>,
        place: &str,
        outcome: Result<usize, String>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(made_at).await?;
        let (bytes, failure) = match outcome {
            Ok(bytes) => (Some(i64::try_from(bytes).unwrap_or(i64::MAX)), String::new()),
            Err(why) => (None, why),
        };
        sqlx::query(
            "INSERT INTO store_backups (place, tried_at, made_at, bytes, failure) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (place) DO UPDATE SET tried_at = excluded.tried_at, failure = excluded.failure,
               made_at = COALESCE(excluded.made_at, store_backups.made_at), bytes = COALESCE(excluded.bytes, store_backups.bytes)",
        )
        .bind(place)
        .bind(micros(made_at))
        .bind(bytes.map(|_| micros(made_at)))
        .bind(bytes)
        .bind(failure)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("the portal keeps its own record, asked by nobody")).await
    }

    /// A mark of what must be in a backup soon: it changes when a server comes or goes, when its creation or deletion ends, when a secret
    /// is kept or forgotten, and when a pair has another primary.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn store_mark(&self) -> Result<String, StoreError> {
        let (servers, members, secrets, newest, epochs, ended): (i64, i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM servers), (SELECT CAST(COALESCE(SUM(generation), 0) AS BIGINT) FROM members),
               (SELECT COUNT(*) FROM server_secrets), (SELECT CAST(COALESCE(MAX(created_at), 0) AS BIGINT) FROM server_secrets),
               (SELECT CAST(COALESCE(SUM(epoch), 0) AS BIGINT) FROM high_availability),
               (SELECT COUNT(*) FROM operations WHERE kind IN ('create', 'restore', 'delete') AND is_active = 0)",
        )
        .fetch_one(self.read())
        .await?;
        Ok(format!("{servers}/{members}/{secrets}/{newest}/{epochs}/{ended}"))
    }

    /// Forgets places that are no hosts any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_stray_store_backups(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "DELETE FROM store_backups WHERE place <> '' AND place NOT IN (SELECT id FROM hosts)",
        )
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("a host that is gone has its own line in the log")).await
    }
}
