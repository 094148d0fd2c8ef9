//! Failover drills that are under way, and what they measured.

use super::codec::{micros, parsed};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{OperationId, ServerId};
use chrono::{DateTime, Utc};

/// Word of a drill that is not over.
pub const RUNNING: &str = "running";
/// Word of a drill after which every acknowledged write was there.
pub const PASSED: &str = "passed";
/// Word of a drill that lost an acknowledged write.
pub const LOST: &str = "lost";

/// A drill that is not over. Its id is that of its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDrill {
    pub operation_id: OperationId,
    pub server_id: ServerId,
}

/// What came out of a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillResult {
    pub ended_at: DateTime<Utc>,
    /// Writes that were acknowledged.
    pub writes: i64,
    /// Of them those that were not there afterwards.
    pub lost: i64,
    /// Longest time between two acknowledged writes, in microseconds; `None` when it was not measured.
    pub gap_micros: Option<i64>,
    /// [`PASSED`], [`LOST`], or a sentence that says why nothing was measured.
    pub outcome: String,
}

impl Store {
    /// Drills that are not over.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_drills(&self) -> Result<Vec<OpenDrill>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT operation_id, server_id FROM ha_drills WHERE outcome = $1 AND operation_id IS NOT NULL ORDER BY id",
        )
        .bind(RUNNING)
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|(operation, server)| {
                Ok(OpenDrill {
                    operation_id: parsed(operation, OperationId::parse, "operation id")?,
                    server_id: parsed(server, ServerId::parse, "server id")?,
                })
            })
            .collect()
    }

    /// Writes of an open drill so far; `None` when it is over or there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_drill_writes(&self, id: &OperationId) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT writes FROM ha_drills WHERE id = $1 AND outcome = $2")
                .bind(id.as_str())
                .bind(RUNNING)
                .fetch_optional(self.read())
                .await?;
        Ok(row.map(|(writes,)| writes))
    }
}

impl WriteTx {
    /// Notes that the probe of an open drill writes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_drill_writes(
        &mut self,
        id: &OperationId,
        writes: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE ha_drills SET writes = $2 WHERE id = $1 AND outcome = $3")
            .bind(id.as_str())
            .bind(writes)
            .bind(RUNNING)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Ends a drill; one that is over stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_drill(
        &mut self,
        id: &OperationId,
        result: &DrillResult,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE ha_drills SET ended_at = $2, writes = $3, lost = $4, gap_micros = $5, outcome = $6 WHERE id = $1 AND outcome = $7",
        )
        .bind(id.as_str())
        .bind(micros(result.ended_at))
        .bind(result.writes)
        .bind(result.lost)
        .bind(result.gap_micros)
        .bind(result.outcome.clone())
        .bind(RUNNING)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
