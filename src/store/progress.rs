//! Writes of a running operation. Each begins with [`WriteTx::guard`], which locks the row and
//! refuses a runner that lost its lease.

use super::codec::{flag, json, micros, parsed};
use super::operations::NewOperation;
use super::{StoreError, WriteTx};
use crate::domain::ids::{OperationId, ServerId};
use crate::domain::operation::{Lease, OperationKind, OperationStatus, StepStatus};
use chrono::{DateTime, Utc};

/// A change of an operation's row by its runner; `None` leaves a column as it is.
#[derive(Debug, Default)]
pub struct OperationChange<'a> {
    pub status: Option<OperationStatus>,
    pub cursor: Option<i64>,
    pub attempt: Option<i64>,
    pub run_at: Option<DateTime<Utc>>,
    pub error: Option<&'a str>,
    pub advice: Option<&'a str>,
    pub failed_step: Option<&'a str>,
    /// Gives the lease back, so that anybody may go on at `run_at`.
    pub release: bool,
}

/// A change of a step's row; `None` leaves a column as it is.
#[derive(Debug, Default)]
pub struct StepChange<'a> {
    pub status: Option<StepStatus>,
    pub output: Option<&'a serde_json::Value>,
    pub note: Option<&'a str>,
    pub begins: bool,
    /// The call before failed in a way that may pass: the next one is one more attempt.
    pub retries: bool,
    pub ends: bool,
}

impl WriteTx {
    /// Kinds of the operations that are active on a server, of every lane.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn active_kinds(
        &mut self,
        server: &ServerId,
    ) -> Result<Vec<OperationKind>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT kind FROM operations WHERE server_id = $1 AND is_active = 1")
                .bind(server.as_str())
                .fetch_all(&mut *self.tx)
                .await?;
        rows.iter().map(|(kind,)| parsed(kind, OperationKind::parse, "operation kind")).collect()
    }

    /// Writes a new operation with its plan, in the group of its server. Unique violations: the idempotency key, or the busy lane.
    pub async fn insert_operation(&mut self, new: &NewOperation<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO operations (id, kind, lane, server_id, server_name, status, is_active, input, run_at, requested_by, requested_from,
               idempotency_key, retry_of, code_version, created_at, deadline_at, group_id)
             VALUES ($1, $2, $3, $4, $5, 'queued', 1, $6, $7, $8, $9, $10, $11, $12, $7, $13, (SELECT s.group_id FROM servers s WHERE s.id = $4))",
        )
        .bind(new.id.as_str())
        .bind(new.kind.key())
        .bind(new.kind.lane().key())
        .bind(new.server_id.as_str())
        .bind(new.server_name)
        .bind(json(&new.input))
        .bind(micros(self.now))
        .bind(new.requested_by)
        .bind(new.requested_from)
        .bind(new.idempotency_key)
        .bind(new.retry_of.map(OperationId::as_str))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(micros(self.now + new.kind.deadline()))
        .execute(&mut *self.tx)
        .await?;
        for (ordinal, (name, title)) in (0i64..).zip(&new.plan) {
            sqlx::query("INSERT INTO operation_steps (operation_id, ordinal, name, title, status) VALUES ($1, $2, $3, $4, 'pending')")
                .bind(new.id.as_str())
                .bind(ordinal)
                .bind(*name)
                .bind(*title)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Locks the operation's row if the lease still holds, extending it when `until` is given.
    pub async fn guard(
        &mut self,
        lease: &Lease,
        until: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE operations SET lease_until = COALESCE($4, lease_until) WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND is_active = 1",
        )
        .bind(lease.operation_id.as_str())
        .bind(lease.owner.clone())
        .bind(lease.fence)
        .bind(until.map(micros))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }

    /// Changes the operation's row; call [`WriteTx::guard`] first.
    pub async fn change_operation(
        &mut self,
        id: &OperationId,
        change: &OperationChange<'_>,
    ) -> Result<(), StoreError> {
        let ends = change.status.is_some_and(|status| !status.is_active());
        let undoing = change.status == Some(OperationStatus::Undoing);
        sqlx::query(
            "UPDATE operations SET status = COALESCE($2, status), cursor = COALESCE($3, cursor), attempt = COALESCE($4, attempt),
               run_at = COALESCE($5, run_at), error = COALESCE($6, error), advice = COALESCE($7, advice), failed_step = COALESCE($8, failed_step),
               lease_until = CASE WHEN $9 = 1 THEN 0 ELSE lease_until END, lease_owner = CASE WHEN $9 = 1 THEN NULL ELSE lease_owner END, is_active = CASE WHEN $10 = 1 THEN 0 ELSE is_active END,
               ended_at = CASE WHEN $10 = 1 THEN $11 ELSE ended_at END, is_undoing = CASE WHEN $12 = 1 THEN 1 ELSE is_undoing END
             WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(change.status.map(OperationStatus::key))
        .bind(change.cursor)
        .bind(change.attempt)
        .bind(change.run_at.map(micros))
        .bind(change.error)
        .bind(change.advice)
        .bind(change.failed_step)
        .bind(flag(change.release || ends))
        .bind(flag(ends))
        .bind(micros(self.now))
        .bind(flag(undoing))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Changes one step's row; call [`WriteTx::guard`] first.
    pub async fn change_step(
        &mut self,
        id: &OperationId,
        ordinal: i64,
        change: &StepChange<'_>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE operation_steps SET status = COALESCE($3, status), output = COALESCE($4, output), note = $5,
               attempts = attempts + CASE WHEN $9 = 1 OR ($6 = 1 AND status <> 'waiting') THEN 1 ELSE 0 END,
               started_at = CASE WHEN $6 = 1 THEN COALESCE(started_at, $7) ELSE started_at END,
               ended_at = CASE WHEN $8 = 1 THEN $7 ELSE ended_at END
             WHERE operation_id = $1 AND ordinal = $2",
        )
        .bind(id.as_str())
        .bind(ordinal)
        .bind(change.status.map(StepStatus::key))
        .bind(change.output.map(json))
        .bind(change.note)
        .bind(flag(change.begins))
        .bind(micros(self.now))
        .bind(flag(change.ends))
        .bind(flag(change.retries))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Whether the server was in service at any time: a creation of it succeeded.
    pub async fn was_created(&mut self, server: &ServerId) -> Result<bool, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operations WHERE server_id = $1 AND kind IN ('create', 'restore') AND status = 'succeeded'",
        )
        .bind(server.as_str())
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count > 0)
    }

    /// Whether somebody asked to cancel; call [`WriteTx::guard`] first, whose lock keeps the answer true
    /// until the commit.
    pub async fn is_cancel_requested(&mut self, id: &OperationId) -> Result<bool, StoreError> {
        let (flag,): (i64,) =
            sqlx::query_as("SELECT cancel_requested FROM operations WHERE id = $1")
                .bind(id.as_str())
                .fetch_one(&mut *self.tx)
                .await?;
        Ok(flag != 0)
    }

    /// Marks every step that never began as not needed.
    pub async fn skip_pending_steps(&mut self, id: &OperationId) -> Result<(), StoreError> {
        sqlx::query("UPDATE operation_steps SET status = 'skipped' WHERE operation_id = $1 AND status = 'pending'")
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

impl WriteTx {
    /// Locks a parked operation for a person's decision. `false` when it is not parked.
    pub async fn claim_parked(&mut self, id: &OperationId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE operations SET lease_until = 0 WHERE id = $1 AND status = 'needs_attention'",
        )
        .bind(id.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
