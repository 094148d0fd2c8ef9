//! Failover drills that are under way, who measures them, and what came out. Each is measured by one process, which holds it
//! by a lease.

use super::codec::{micros, parsed};
use super::{Record, Store, StoreError, WriteTx};
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
    pub holder: Holder,
}

/// Who measures a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    /// A process that lives, as far as its lease says.
    Somebody,
    /// A process whose lease is over: what it had measured is lost with it.
    Gone,
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
    /// Drills that are not over, as they are held now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_drills(&self, now: DateTime<Utc>) -> Result<Vec<OpenDrill>, StoreError> {
        let rows: Vec<(String, String, Option<String>, i64)> = sqlx::query_as(
            "SELECT operation_id, server_id, owner, owned_until FROM ha_drills
             WHERE outcome = $1 AND operation_id IS NOT NULL ORDER BY id",
        )
        .bind(RUNNING)
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|(operation, server, owner, until)| {
                let holder = match owner {
                    None => Holder::Nobody,
                    Some(_) if *until > micros(now) => Holder::Somebody,
                    Some(_) => Holder::Gone,
                };
                Ok(OpenDrill {
                    holder,
                    operation_id: parsed(operation, OperationId::parse, "operation id")?,
                    server_id: parsed(server, ServerId::parse, "server id")?,
                })
            })
            .collect()
    }

    /// Takes a drill that nobody has had. `false` when somebody was faster, or it is over.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim_drill(
        &self,
        id: &OperationId,
        owner: &str,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let claimed = sqlx::query(
            "UPDATE ha_drills SET owner = $2, owned_until = $3 WHERE id = $1 AND outcome = $4 AND owner IS NULL",
        )
        .bind(id.as_str())
        .bind(owner.to_owned())
        .bind(micros(until))
        .bind(RUNNING)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("who measures a drill is no change that anybody asked for"))
            .await?;
        Ok(claimed.rows_affected() == 1)
    }

    /// Holds a drill for longer. `false` when it is over or was given up by others.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn renew_drill(
        &self,
        id: &OperationId,
        owner: &str,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let renewed = sqlx::query(
            "UPDATE ha_drills SET owned_until = $3 WHERE id = $1 AND owner = $2 AND outcome = $4",
        )
        .bind(id.as_str())
        .bind(owner.to_owned())
        .bind(micros(until))
        .bind(RUNNING)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("a longer lease is no change that anybody asked for")).await?;
        Ok(renewed.rows_affected() == 1)
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

    /// Ends a drill that this owner holds, or whose holder is gone; any other, and one that is over, stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_drill(
        &mut self,
        id: &OperationId,
        owner: &str,
        result: &DrillResult,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE ha_drills SET ended_at = $2, writes = $3, lost = $4, gap_micros = $5, outcome = $6
             WHERE id = $1 AND outcome = $7 AND owner IS NOT NULL AND (owner = $8 OR owned_until <= $9)",
        )
        .bind(id.as_str())
        .bind(micros(result.ended_at))
        .bind(result.writes)
        .bind(result.lost)
        .bind(result.gap_micros)
        .bind(result.outcome.clone())
        .bind(RUNNING)
        .bind(owner.to_owned())
        .bind(now)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
