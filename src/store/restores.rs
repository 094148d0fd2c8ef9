//! Where restored servers came from, and what their recovery reached. While a row is open its server is let into the
//! part of the repository that it is restored from.

use super::codec::{from_json, json, micros, parsed, time_option};
use super::{Store, StoreError, WriteTx};
use crate::domain::backup::RestoreTarget;
use crate::domain::ha::Lsn;
use crate::domain::ids::{OperationId, ServerId};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

/// The origin of a server that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The new server.
    pub server_id: ServerId,
    /// May have been deleted before or since.
    pub source_id: ServerId,
    /// As it was called then.
    pub source_name: String,
    pub target: RestoreTarget,
    /// Number of the repository.
    pub repository: i64,
    /// The last try.
    pub operation_id: Option<OperationId>,
    /// What was reached; nothing before that.
    pub reached: Option<Reached>,
    /// When the restore ended, well or not; `None` while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What a recovery reached, as PostgreSQL told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Time of the last commit that was replayed; `None` when the log after the backup had none.
    pub at: Option<DateTime<Utc>>,
    /// The place that was replayed last.
    pub lsn: Lsn,
    /// The new line of data.
    pub timeline: i64,
}

#[derive(FromRow)]
struct Row {
    server_id: String,
    source_id: String,
    source_name: String,
    target: String,
    repository: i64,
    operation_id: Option<String>,
    reached_at: Option<i64>,
    reached_lsn: Option<String>,
    timeline: Option<i64>,
    ended_at: Option<i64>,
}

impl Row {
    fn into_origin(self) -> Result<Origin, StoreError> {
        let lsn = self.reached_lsn.map(|text| parsed(&text, Lsn::parse, "lsn")).transpose()?;
        let reached = lsn.zip(self.timeline).map(|(lsn, timeline)| Reached {
            at: time_option(self.reached_at),
            lsn,
            timeline,
        });
        Ok(Origin {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            source_id: parsed(&self.source_id, ServerId::parse, "server id")?,
            source_name: self.source_name,
            target: from_json(&self.target, "restore target")?,
            repository: self.repository,
            operation_id: self.operation_id.as_deref().and_then(OperationId::parse),
            reached,
            ended_at: time_option(self.ended_at),
        })
    }
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT server_id, source_id, source_name, target, repository, operation_id, reached_at, reached_lsn, timeline, ended_at FROM restores ",
            $tail
        )
    };
}

impl Store {
    /// Where a server came from; `None` for one that was not restored.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn origin(&self, server: &ServerId) -> Result<Option<Origin>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE server_id = $1"))
            .bind(server.as_str())
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_origin).transpose()
    }

    /// The servers that were restored from one, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restored_from(&self, source: &ServerId) -> Result<Vec<Origin>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(select!("WHERE source_id = $1 ORDER BY server_id"))
            .bind(source.as_str())
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(Row::into_origin).collect()
    }
}

impl WriteTx {
    /// Writes where a new server comes from; it is open from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn insert_origin(&mut self, origin: &Origin) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO restores (server_id, source_id, source_name, target, repository, operation_id) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(origin.server_id.as_str())
        .bind(origin.source_id.as_str())
        .bind(origin.source_name.clone())
        .bind(json(&origin.target))
        .bind(origin.repository)
        .bind(origin.operation_id.as_ref().map(|id| id.as_str().to_owned()))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Opens the row of a restore for a try, which has reached nothing yet.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reopen_origin(
        &mut self,
        server: &ServerId,
        operation: &OperationId,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE restores SET operation_id = $2, ended_at = NULL, reached_at = NULL, reached_lsn = NULL, timeline = NULL WHERE server_id = $1",
        )
        .bind(server.as_str())
        .bind(operation.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes what a recovery reached.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_reached(
        &mut self,
        server: &ServerId,
        reached: &Reached,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE restores SET reached_at = $2, reached_lsn = $3, timeline = $4 WHERE server_id = $1",
        )
        .bind(server.as_str())
        .bind(reached.at.map(micros))
        .bind(reached.lsn.to_string())
        .bind(reached.timeline)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Closes the row of a restore: its server needs the repository no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close_origin(&mut self, server: &ServerId) -> Result<(), StoreError> {
        sqlx::query("UPDATE restores SET ended_at = $2 WHERE server_id = $1 AND ended_at IS NULL")
            .bind(server.as_str())
            .bind(micros(self.now))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
